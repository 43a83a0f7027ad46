/** The dimensions of a model and what follows from them: its matrices, and the features that a forward pass must know. */
import type { LinearName } from '../fabric/linear.ts';
import {
  type Architecture,
  type BlockMatrix,
  type BlockNorms,
  HEAD,
  type HeadNorm,
  LLAMA,
  type Part,
  type Stage,
} from './architecture.ts';

export interface ModelShape {
  readonly architecture: Architecture;
  /** D: width of the residual stream. */
  readonly dim: number;
  /** F: width of the feed-forward layer. */
  readonly ffnDim: number;
  readonly layers: number;
  /** Of a part of a model: the block of the file that is its first; absent: 0. */
  readonly firstBlock?: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** d: width of one head, an even number; heads * headDim need not equal dim. */
  readonly headDim: number;
  /** heads * headDim. */
  readonly queryDim: number;
  /** kvHeads * headDim. */
  readonly kvDim: number;
  readonly vocab: number;
  /** Tokens the model was made for. */
  readonly contextTokens: number;
  readonly normEpsilon: number;
  readonly ropeBase: number;
  /** Positions are divided by this (linear scaling); 1 = none. */
  readonly ropeLinearFactor: number;
  /** Elements of a head that turn, the first of it, an even number; absent: all. */
  readonly ropeDim?: number;
  /** Length of rotated pairs over that of unrotated ones; absent: YaRN's, else 1. */
  readonly ropeMagnitude?: number;
  readonly yarn?: Yarn;
  /** The head is the embedding matrix. */
  readonly tied: boolean;
  /** Matrices of a block whose outputs get a bias. */
  readonly biases: readonly string[];
  readonly window?: AttentionWindow;
  readonly softCaps?: SoftCaps;
  readonly scales?: Scales;
}

/** Positions stretched by YaRN (Peng et al. 2023, arXiv:2309.00071). */
export interface Yarn {
  readonly factor: number;
  readonly originalContextTokens: number;
}

/** Blocks that see only the last tokens. */
export interface AttentionWindow {
  /** Tokens seen, the newest included. */
  readonly tokens: number;
  /** Every n-th block (n - 1, 2n - 1, ...) sees all tokens; 0: none does. */
  readonly fullEvery: number;
  /** RoPE's base in the blocks with a window; without linear scaling. */
  readonly ropeBase: number;
}

/** c tanh(z / c) of attention scores and of logits. */
export interface SoftCaps {
  readonly scores?: number;
  readonly logits?: number;
}

/** Multipliers; 1 where absent, but the scores' is 1 / sqrt(d). */
export interface Scales {
  readonly embedding?: number;
  /** Of what attention and feed-forward add to the stream. */
  readonly residual?: number;
  readonly scores?: number;
  readonly logits?: number;
}

/** Tokens that a block sees; undefined: all. */
export function windowTokens({ window, firstBlock = 0 }: ModelShape, layer: number): number | undefined {
  if (!window) return undefined;
  const { tokens, fullEvery } = window;
  return fullEvery > 0 && (firstBlock + layer + 1) % fullEvery === 0 ? undefined : tokens;
}

/** Width of what matrices read and give. */
const STAGE_WIDTH = {
  'attention-input': 'dim',
  'attention-output': 'queryDim',
  'feed-forward-input': 'dim',
  'feed-forward-hidden': 'ffnDim',
} as const satisfies Record<Stage, keyof ModelShape>;

const PART_WIDTH = {
  query: 'queryDim',
  key: 'kvDim',
  value: 'kvDim',
  attention: 'dim',
  gate: 'ffnDim',
  up: 'ffnDim',
  'feed-forward': 'dim',
} as const satisfies Record<Part, keyof ModelShape>;

type Derived = 'queryDim' | 'kvDim';
type WithDefault = 'architecture' | 'ropeLinearFactor' | 'biases';

/** Completes a shape: a plain Llama where nothing else is said. */
export function modelShape<S extends Omit<ModelShape, Derived | WithDefault> & Partial<ModelShape>>(
  given: S,
): S & ModelShape {
  return {
    architecture: LLAMA,
    ropeLinearFactor: 1,
    biases: [],
    ...given,
    queryDim: given.heads * given.headDim,
    kvDim: given.kvHeads * given.headDim,
  };
}

/** A linear layer: which one, and its matrix [outputs][inputs]. */
export interface MatrixShape {
  readonly name: LinearName;
  readonly outputs: number;
  readonly inputs: number;
}

/** The matrices of one block, in the order of the data flow. */
export function blockMatrices(shape: ModelShape, layer: number): MatrixShape[] {
  const { matrices } = shape.architecture;
  return matrices.map(({ tensor, reads, gives }, ordinal) => ({
    name: { layer, tensor, ordinal, count: matrices.length },
    outputs: gives.reduce((sum, part) => sum + shape[PART_WIDTH[part]], 0),
    inputs: shape[STAGE_WIDTH[reads]],
  }));
}

/** The output head [vocab][D]. */
export function headMatrix({ architecture, vocab, dim }: ModelShape): MatrixShape {
  const count = architecture.matrices.length;
  return { name: { layer: -1, tensor: HEAD, ordinal: count, count }, outputs: vocab, inputs: dim };
}

/** All linear layers in the order in which a token passes them. */
export function modelMatrices(shape: ModelShape): MatrixShape[] {
  const blocks = Array.from({ length: shape.layers }, (_, layer) => blockMatrices(shape, layer));
  return [...blocks.flat(), headMatrix(shape)];
}

/** Weights of all blocks: what a token multiplies outside attention and the head. */
export function blockWeights(shape: ModelShape): number {
  return shape.layers * blockMatrices(shape, 0).reduce((sum, m) => sum + m.outputs * m.inputs, 0);
}

/** Elements that the norms of one block take. */
export function normElements({ architecture, dim, queryDim, kvDim }: ModelShape): number {
  const { query, key, ...places } = architecture.norms;
  const rows = (query ? queryDim : 0) + (key ? kvDim : 0);
  return Object.keys(places).length * dim + rows;
}

/** Elements of the gains of a block's norms, by place. */
export function normWidths(shape: ModelShape): { readonly [place in keyof BlockNorms]?: number } {
  const { architecture, dim, headDim, queryDim, kvDim } = shape;
  const width = (place: string, norm: string | HeadNorm): number => {
    if (typeof norm === 'string') return dim;
    return norm.over === 'head' ? headDim : place === 'query' ? queryDim : kvDim;
  };
  return Object.fromEntries(
    Object.entries(architecture.norms).map(([place, norm]: [string, string | HeadNorm]) => [
      place,
      width(place, norm),
    ]),
  );
}

/** Elements of each part that a matrix gives, in the order of its rows. */
export const partWidths = (shape: ModelShape, { gives }: BlockMatrix): number[] =>
  gives.map((part) => shape[PART_WIDTH[part]]);

/** The tensor of a linear layer in a GGUF file. */
export function sourceTensor(
  { layer, tensor }: LinearName,
  { tied, firstBlock = 0 }: Pick<ModelShape, 'tied' | 'firstBlock'>,
): string {
  if (layer >= 0) return `blk.${firstBlock + layer}.${tensor}.weight`;
  return tied ? 'token_embd.weight' : `${HEAD}.weight`;
}

/** Features of a model beyond a plain Llama, as messages name them. */
const FEATURES = {
  biases: 'biases of linear layers',
  'fused-matrices': 'matrices of several parts in one',
  'head-norms': 'norms of queries and keys',
  'norm-places': 'norms elsewhere than before attention and feed-forward',
  'halves-rotation': 'rotation of halves of a head',
  'partial-rotation': 'rotation of a part of each head',
  yarn: 'YaRN',
  gelu: 'GELU',
  window: 'an attention window',
  'soft-caps': 'soft caps',
  scales: 'scales of embeddings, residuals, scores or logits',
} as const;
export type Feature = keyof typeof FEATURES;

/** The features that a forward pass must have to run a model of this shape. */
export function requiredFeatures(shape: ModelShape): Feature[] {
  const { architecture, biases, window, softCaps, scales, ropeDim, headDim, yarn } = shape;
  const { matrices, norms, rotary, activation } = architecture;
  const { attentionInput, feedForwardInput, attentionOutput, feedForwardOutput } = norms;
  const has: Record<Feature, boolean> = {
    biases: biases.length > 0,
    'fused-matrices': matrices.some(({ gives }) => gives.length > 1),
    'head-norms': norms.query !== undefined || norms.key !== undefined,
    'norm-places': !attentionInput || !feedForwardInput || !!attentionOutput || !!feedForwardOutput,
    'halves-rotation': rotary.pairs === 'halves',
    'partial-rotation': ropeDim !== undefined && ropeDim !== headDim,
    yarn: yarn !== undefined,
    gelu: activation === 'gelu',
    window: window !== undefined,
    'soft-caps': softCaps !== undefined,
    scales: scales !== undefined,
  };
  return (Object.keys(has) as Feature[]).filter((feature) => has[feature]);
}

/** Says which features a forward pass that has `supported` lacks for this shape; undefined: none. */
export function missingFeatures(shape: ModelShape, supported: readonly Feature[]): string | undefined {
  const missing = requiredFeatures(shape).filter((feature) => !supported.includes(feature));
  if (missing.length === 0) return undefined;
  return `architecture ${shape.architecture.name}: ${missing.map((feature) => FEATURES[feature]).join(', ')}`;
}

/** The shape for printing: the architecture by its name. */
export function shapeRecord(shape: ModelShape): Record<string, unknown> {
  const { architecture, biases, ...rest } = shape;
  return { architecture: architecture.name, ...rest, ...(biases.length > 0 ? { biases } : {}) };
}
