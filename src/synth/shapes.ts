/** The shapes that `synth` knows by name. */
import { nearestName, OnefetError } from '../error.ts';

/** Llama 3.1's stretching of RoPE's slow pairs. */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContextTokens: number;
}

export interface SynthShape {
  readonly name: string;
  /** D: width of the residual stream. */
  readonly dim: number;
  /** F: width of the feed-forward layer. */
  readonly ffnDim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** At least 512: 256 bytes and Llama 3's 256 special tokens. */
  readonly vocab: number;
  readonly contextTokens: number;
  readonly normEpsilon: number;
  readonly ropeBase: number;
  /** Written as rope_freqs.weight. */
  readonly ropeScaling?: RopeScaling;
  /** The head is the embedding matrix. */
  readonly tied: boolean;
}

const LLAMA3 = { normEpsilon: 1e-5, ropeBase: 500_000 } as const;
const LLAMA31_ROPE: RopeScaling = {
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContextTokens: 8192,
};

/**
 * Dimensions of the published models from their config.json (meta-llama/Llama-3.1-8B and Llama-3.2-1B); the small ones
 * are made up for tests, with widths that are multiples of the K types' blocks of 256.
 */
export const SYNTH_SHAPES = {
  /** 1.4 M parameters. */
  tiny: {
    ...LLAMA3,
    name: 'tiny',
    dim: 256,
    ffnDim: 512,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    vocab: 512,
    contextTokens: 2048,
    ropeScaling: LLAMA31_ROPE,
    tied: false,
  },
  /** 31 M parameters. */
  small: {
    ...LLAMA3,
    name: 'small',
    dim: 512,
    ffnDim: 1536,
    layers: 10,
    heads: 8,
    kvHeads: 2,
    headDim: 64,
    vocab: 1024,
    contextTokens: 2048,
    tied: true,
  },
  'llama-3.2-1b': {
    ...LLAMA3,
    name: 'llama-3.2-1b',
    dim: 2048,
    ffnDim: 8192,
    layers: 16,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    vocab: 128_256,
    contextTokens: 131_072,
    ropeScaling: { ...LLAMA31_ROPE, factor: 32 },
    tied: true,
  },
  'llama-3.1-8b': {
    ...LLAMA3,
    name: 'llama-3.1-8b',
    dim: 4096,
    ffnDim: 14_336,
    layers: 32,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    vocab: 128_256,
    contextTokens: 131_072,
    ropeScaling: LLAMA31_ROPE,
    tied: false,
  },
} as const satisfies Record<string, SynthShape>;

export type SynthShapeName = keyof typeof SYNTH_SHAPES;

/** Throws OnefetError('usage', 'SYNTH_SHAPE') for a name that is not in SYNTH_SHAPES. */
export function shapeByName(name: string): SynthShape {
  if (Object.hasOwn(SYNTH_SHAPES, name)) return SYNTH_SHAPES[name as SynthShapeName];
  const known = Object.keys(SYNTH_SHAPES);
  const nearest = nearestName(name, known);
  throw new OnefetError('usage', 'SYNTH_SHAPE', `no shape "${name}"`, {
    hint: nearest ? `did you mean ${nearest}?` : `shapes are ${known.join(', ')}`,
  });
}

/**
 * Divisors of RoPE's angles per pair j of a head, [headDim / 2] (Llama 3.1; transformers' rope type "llama3" and
 * llama.cpp's rope_freqs.weight). With the wavelength w = 2 pi base^(2j / headDim) and the original context C:
 *   w < C / high: 1;   w > C / low: factor;   between: 1 / ((1 - t) / factor + t), t = (C / w - low) / (high - low).
 */
export function ropeFactors(shape: SynthShape, scaling: RopeScaling): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContextTokens } = scaling;
  return Float32Array.from({ length: shape.headDim / 2 }, (_, j) => {
    const wavelength = 2 * Math.PI * shape.ropeBase ** ((2 * j) / shape.headDim);
    const turns = originalContextTokens / wavelength;
    if (turns > high) return 1;
    if (turns < low) return factor;
    const t = (turns - low) / (high - low);
    return 1 / ((1 - t) / factor + t);
  });
}
