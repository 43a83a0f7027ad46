/** Angles of rotary positions (RoPE: Su et al. 2021, arXiv:2104.09864). */
import type { ModelShape } from './shape.ts';

/** Llama 3.1's stretching of RoPE's slow pairs. */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContextTokens: number;
}

/**
 * Gives the angle per position of each pair j, [headDim / 2] radians: base^(-2j / headDim) / (linear factor * factor_j).
 * The factors of `rope_freqs.weight` carry Llama 3.1's scaling: 1 for short wavelengths, 8 for long ones, a ramp between
 * (llama.cpp's converter).
 */
export function ropeFrequencies(
  { headDim, ropeBase, ropeLinearFactor }: Pick<ModelShape, 'headDim' | 'ropeBase' | 'ropeLinearFactor'>,
  factors?: ArrayLike<number>,
): Float64Array {
  return Float64Array.from(
    { length: headDim / 2 },
    (_, j) => ropeBase ** ((-2 * j) / headDim) / (ropeLinearFactor * (factors?.[j] ?? 1)),
  );
}

/**
 * Divisors of RoPE's angles per pair j of a head, [headDim / 2] (Llama 3.1; transformers' rope type "llama3" and
 * llama.cpp's rope_freqs.weight). With the wavelength w = 2 pi base^(2j / headDim) and the original context C:
 *   w < C / high: 1;   w > C / low: factor;   between: 1 / ((1 - t) / factor + t), t = (C / w - low) / (high - low).
 */
export function ropeFactors(
  { headDim, ropeBase }: Pick<ModelShape, 'headDim' | 'ropeBase'>,
  scaling: RopeScaling,
): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContextTokens } = scaling;
  return Float32Array.from({ length: headDim / 2 }, (_, j) => {
    const wavelength = 2 * Math.PI * ropeBase ** ((2 * j) / headDim);
    const turns = originalContextTokens / wavelength;
    if (turns > high) return 1;
    if (turns < low) return factor;
    const t = (turns - low) / (high - low);
    return 1 / ((1 - t) / factor + t);
  });
}
