/** Shapes by name: what `synth` writes, what a run is projected to, what the engine is timed on. */
import { nearestName, OnefetError } from '../error.ts';
import type { RopeScaling } from './rope.ts';
import { type ModelShape, modelShape } from './shape.ts';

export interface NamedShape extends ModelShape {
  readonly name: string;
  /** A synthetic model has it as rope_freqs.weight. */
  readonly ropeScaling?: RopeScaling;
}

const LLAMA3 = { normEpsilon: 1e-5, ropeBase: 500_000 } as const;
const LLAMA31_ROPE: RopeScaling = {
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContextTokens: 8192,
};

/** Meta, model card and config.json of meta-llama/Llama-3.1-8B: 7,504,658,432 MAC per token without attention. */
export const LLAMA_3_1_8B = modelShape({
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
});

/**
 * Dimensions of the published models from their config.json (meta-llama/Llama-3.2-1B and -3B); the small ones
 * are made up for tests, with widths that are multiples of the K types' blocks of 256.
 */
export const MODEL_SHAPES = {
  /** 1.4 M parameters. */
  tiny: modelShape({
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
  }),
  /** 31 M parameters. */
  small: modelShape({
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
  }),
  'llama-3.2-1b': modelShape({
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
  }),
  'llama-3.2-3b': modelShape({
    ...LLAMA3,
    name: 'llama-3.2-3b',
    dim: 3072,
    ffnDim: 8192,
    layers: 28,
    heads: 24,
    kvHeads: 8,
    headDim: 128,
    vocab: 128_256,
    contextTokens: 131_072,
    ropeScaling: { ...LLAMA31_ROPE, factor: 32 },
    tied: true,
  }),
  'llama-3.1-8b': LLAMA_3_1_8B,
} satisfies Record<string, NamedShape>;

type ModelShapeName = keyof typeof MODEL_SHAPES;

/** Throws OnefetError('usage', 'SYNTH_SHAPE') for a name that is not in MODEL_SHAPES. */
export function shapeByName(name: string): NamedShape {
  if (Object.hasOwn(MODEL_SHAPES, name)) return MODEL_SHAPES[name as ModelShapeName];
  const known = Object.keys(MODEL_SHAPES);
  const nearest = nearestName(name, known);
  throw new OnefetError('usage', 'SYNTH_SHAPE', `no shape "${name}"`, {
    hint: nearest ? `did you mean ${nearest}?` : `shapes are ${known.join(', ')}`,
  });
}
