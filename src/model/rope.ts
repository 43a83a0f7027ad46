/** Angles of rotary positions (RoPE: Su et al. 2021, arXiv:2104.09864). */
import type { ModelShape, Yarn } from './shape.ts';

/** Llama 3.1's stretching of RoPE's slow pairs. */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContextTokens: number;
}

type RopeShape = Pick<ModelShape, 'headDim' | 'ropeDim' | 'ropeBase' | 'ropeLinearFactor' | 'yarn'>;

/**
 * Gives the angle per position of each pair j, [ropeDim / 2] radians: base^(-2j / ropeDim) / (linear factor * factor_j).
 * The factors of `rope_freqs.weight` carry Llama 3.1's scaling: 1 for short wavelengths, 8 for long ones, a ramp between
 * (llama.cpp's converter).
 */
export function ropeFrequencies(
  { headDim, ropeDim = headDim, ropeBase, ropeLinearFactor, yarn }: RopeShape,
  factors?: ArrayLike<number>,
): Float64Array {
  const kept = yarn ? yarnRamp(ropeDim, ropeBase, yarn) : undefined;
  return Float64Array.from({ length: ropeDim / 2 }, (_, j) => {
    const angle = ropeBase ** ((-2 * j) / ropeDim) / (ropeLinearFactor * (factors?.[j] ?? 1));
    return kept && yarn ? angle * (kept(j) + (1 - kept(j)) / yarn.factor) : angle;
  });
}

/** Length of the rotated pairs over that of the unrotated: what the shape says, else YaRN's 1 + 0.1 ln(factor), else 1. */
export function ropeMagnitude({ yarn, ropeMagnitude }: Pick<ModelShape, 'yarn' | 'ropeMagnitude'>): number {
  return ropeMagnitude ?? (yarn ? 1 + 0.1 * Math.log(yarn.factor) : 1);
}

/**
 * Share of its own angle that pair j keeps (YaRN, section 3.2): 1 for pairs that turn 32 times or more within the
 * original context, 0 for those that turn once or less; between the two (rounded outward, as in llama.cpp) a ramp.
 */
function yarnRamp(ropeDim: number, base: number, { originalContextTokens }: Yarn): (pair: number) => number {
  const pairOf = (turns: number) =>
    (ropeDim * Math.log(originalContextTokens / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const low = Math.max(0, Math.floor(pairOf(32)));
  const high = Math.min(ropeDim - 1, Math.ceil(pairOf(1)));
  return (pair) => 1 - Math.min(1, Math.max(0, (pair - low) / Math.max(0.001, high - low)));
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
