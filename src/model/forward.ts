/**
 * The forward pass of a decoder-only transformer, one token at a time, in plain scalar code: the reference for every
 * faster engine. Linear layers are whatever was plugged in; everything between them is digital float32, with the sums
 * in double. What a block consists of is data (architecture.ts).
 *
 * Per block, with x[D] the residual stream, of a plain Llama (Touvron et al. 2023, arXiv:2302.13971; GQA:
 * arXiv:2305.13245):
 *   a = rmsnorm(x) g_attn;  q = Wq a;  k = Wk a;  v = Wv a;  rotate q and k by position
 *   x += Wo concat_h softmax(q_h . K / sqrt(d)) V
 *   b = rmsnorm(x) g_ffn;   x += Wdown (silu(Wgate b) * (Wup b))
 * and logits = Wout (rmsnorm(x) g_out).
 */
import { OnefetError } from '../error.ts';
import { requireMemory } from '../memory.ts';
import type { TokenPosition } from '../random.ts';
import {
  type Activation,
  type HeadNorm,
  matricesReading,
  type Part,
  type Rotary,
  STAGES,
  type Stage,
} from './architecture.ts';
import type { Model, ModelBlock, ModelLayers } from './model.ts';
import { type Feature, type ModelShape, missingFeatures, windowTokens } from './shape.ts';

/** Features of this pass, and of the fast one, beyond a plain Llama. */
export const FORWARD_FEATURES: readonly Feature[] = [
  'biases',
  'fused-matrices',
  'head-norms',
  'norm-places',
  'halves-rotation',
  'partial-rotation',
  'yarn',
  'gelu',
  'window',
  'soft-caps',
  'scales',
];

/** The state of one text: how far it got, and its keys and values. */
export interface Session {
  readonly shape: ModelShape;
  readonly layers: ModelLayers;
  /** Tokens the cache holds. */
  readonly contextTokens: number;
  /** Position of the next token = tokens seen. */
  position: number;
  /** Per block, [contextTokens][kvHeads d]. */
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
  readonly buffers: Buffers;
  /** Places of the matrices that read at each stage. */
  readonly readers: Readonly<Record<Stage, readonly number[]>>;
}

interface Buffers {
  readonly x: Float32Array; // [D] residual stream
  readonly normed: Float32Array; // [D]
  readonly delta: Float32Array; // [D] what a sub-layer adds to x
  readonly q: Float32Array; // [heads d]
  readonly attended: Float32Array; // [heads d]
  readonly gate: Float32Array; // [F]
  readonly up: Float32Array; // [F]
  readonly scores: Float32Array; // [contextTokens] of one head
  readonly logits: Float32Array; // [vocab]
}

/**
 * A fresh session for up to `contextTokens` tokens. Throws OnefetError('usage', 'CONTEXT_RANGE') when that is not
 * a whole number from 1 to the model's own context length, 'MEMORY' when its cache does not fit the machine,
 * OnefetError('input', 'MODEL_FEATURE') for a model with features that this pass lacks.
 */
export function newSession(model: Model, layers: ModelLayers, contextTokens: number): Session {
  const { shape } = model;
  const missing = missingFeatures(shape, FORWARD_FEATURES);
  if (missing !== undefined) {
    throw new OnefetError('input', 'MODEL_FEATURE', `${model.name}: ${missing} cannot be computed`);
  }
  if (!Number.isInteger(contextTokens) || contextTokens < 1 || contextTokens > shape.contextTokens) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a context of ${contextTokens} tokens is out of range: ${model.name} takes 1 to ${shape.contextTokens}`,
    );
  }
  requireMemory(
    2 * 4 * shape.layers * contextTokens * shape.kvDim,
    `the float32 key-value cache of ${contextTokens} tokens`,
    'choose a shorter context',
  );
  const cache = (): Float32Array[] =>
    Array.from({ length: shape.layers }, () => new Float32Array(contextTokens * shape.kvDim));
  return {
    shape,
    layers,
    contextTokens,
    position: 0,
    keys: cache(),
    values: cache(),
    buffers: {
      x: new Float32Array(shape.dim),
      normed: new Float32Array(shape.dim),
      delta: new Float32Array(shape.dim),
      q: new Float32Array(shape.queryDim),
      attended: new Float32Array(shape.queryDim),
      gate: new Float32Array(shape.ffnDim),
      up: new Float32Array(shape.ffnDim),
      scores: new Float32Array(contextTokens),
      logits: new Float32Array(shape.vocab),
    },
    readers: Object.fromEntries(
      STAGES.map((stage) => [stage, matricesReading(shape.architecture, stage)]),
    ) as Record<Stage, number[]>,
  };
}

/** Back to an empty text, or to its first `position` tokens; the cache is overwritten as positions are reached again. */
export function resetSession(session: Session, position = 0): void {
  session.position = position;
}

/**
 * Takes one token and returns the logits [vocab] of its successor, in a buffer that the next call overwrites. The
 * session counts the position; `at` only tells the linear layers what to draw. `onBlock` sees the residual stream x[D]
 * behind each block.
 */
export function forward(
  session: Session,
  tokenId: number,
  at: TokenPosition,
  onBlock?: (block: number, x: Float32Array) => void,
): Float32Array {
  const { shape, layers, buffers, position } = session;
  if (position >= session.contextTokens) {
    throw new OnefetError('usage', 'CONTEXT_FULL', `the context of ${session.contextTokens} tokens is full`, {
      hint: 'choose a longer context or a shorter text',
    });
  }
  if (!Number.isInteger(tokenId) || tokenId < 0 || tokenId >= shape.vocab) {
    throw new OnefetError(
      'internal',
      'TOKEN_RANGE',
      `token ${tokenId} is outside the vocabulary of ${shape.vocab}`,
    );
  }
  const { x, normed, logits } = buffers;
  const { scales, softCaps } = shape;
  layers.embedding(tokenId, x);
  if (scales?.embedding !== undefined) scale(x, scales.embedding);
  layers.blocks.slice(0, shape.layers).forEach((block, layer) => {
    attentionHalf(session, block, layer, at);
    feedForwardHalf(session, block, at);
    onBlock?.(layer, x);
  });
  rmsNorm(normed, x, layers.outputNorm, shape.normEpsilon);
  layers.output.apply(logits, normed, at);
  if (scales?.logits !== undefined) scale(logits, scales.logits);
  if (softCaps?.logits !== undefined) softCap(logits, logits.length, softCaps.logits);
  session.position = position + 1;
  return logits;
}

/** x += Wo concat_h softmax(q_h . K / sqrt(d)) V, after adding this position's key and value to the cache. */
function attentionHalf(session: Session, block: ModelBlock, layer: number, at: TokenPosition): void {
  const { shape, position, buffers } = session;
  const { kvDim, headDim, normEpsilon } = shape;
  const { norms, rotary } = shape.architecture;
  const { normed, delta, q, attended } = buffers;
  const k = session.keys[layer].subarray(position * kvDim, (position + 1) * kvDim);
  const v = session.values[layer].subarray(position * kvDim, (position + 1) * kvDim);
  normInput(session, block.norms.attentionInput);
  multiply(session, block, 'attention-input', normed, { query: q, key: k, value: v }, at);
  if (norms.query) headNorm(q, block.norms.query!, norms.query, headDim, normEpsilon);
  if (norms.key) headNorm(k, block.norms.key!, norms.key, headDim, normEpsilon);
  rotate(q, headDim, position, block, rotary.pairs);
  rotate(k, headDim, position, block, rotary.pairs);
  attend(session, layer);
  multiply(session, block, 'attention-output', attended, { attention: delta }, at);
  addToStream(session, block.norms.attentionOutput);
}

/** x += Wdown (act(Wgate b) * (Wup b)), b = rmsnorm(x) g_ffn. */
function feedForwardHalf(session: Session, block: ModelBlock, at: TokenPosition): void {
  const { normed, delta, gate, up } = session.buffers;
  normInput(session, block.norms.feedForwardInput);
  multiply(session, block, 'feed-forward-input', normed, { gate, up }, at);
  const act = ACTIVATIONS[session.shape.architecture.activation];
  for (let i = 0; i < gate.length; i++) gate[i] = act(gate[i]) * up[i];
  multiply(session, block, 'feed-forward-hidden', gate, { 'feed-forward': delta }, at);
  addToStream(session, block.norms.feedForwardOutput);
}

const ACTIVATIONS: Readonly<Record<Activation, (z: number) => number>> = {
  silu: (z) => z / (1 + Math.exp(-z)),
  gelu: (z) => 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z * z * z))),
};

/** Runs the matrices that read at a stage, and puts their parts where `to` says. */
function multiply(
  { readers, shape }: Session,
  block: ModelBlock,
  stage: Stage,
  from: Float32Array,
  to: { readonly [part in Part]?: Float32Array },
  at: TokenPosition,
): void {
  for (const place of readers[stage]) {
    const linear = block.linears[place];
    const bias = block.biases[place];
    const { gives } = shape.architecture.matrices[place];
    const out = gives.length === 1 ? to[gives[0]]! : new Float32Array(linear.outputs);
    linear.apply(out, from, at);
    if (bias) for (let i = 0; i < out.length; i++) out[i] += bias[i];
    if (gives.length === 1) continue;
    let start = 0;
    for (const part of gives) {
      const end = start + to[part]!.length;
      to[part]!.set(out.subarray(start, end));
      start = end;
    }
  }
}

/** normed = rmsnorm(x) gain, or x itself where the architecture has no norm. */
function normInput({ buffers: { normed, x }, shape }: Session, gain: Float32Array | undefined): void {
  if (gain) rmsNorm(normed, x, gain, shape.normEpsilon);
  else normed.set(x);
}

/** x += delta, normed and scaled where the architecture does so. */
function addToStream({ buffers: { x, delta }, shape }: Session, gain: Float32Array | undefined): void {
  if (gain) rmsNorm(delta, delta, gain, shape.normEpsilon);
  const residual = shape.scales?.residual;
  if (residual !== undefined) scale(delta, residual);
  for (let i = 0; i < x.length; i++) x[i] += delta[i];
}

function headNorm(
  x: Float32Array,
  gain: Float32Array,
  { over }: HeadNorm,
  headDim: number,
  epsilon: number,
): void {
  const width = over === 'head' ? headDim : x.length;
  for (let from = 0; from < x.length; from += width) {
    const part = x.subarray(from, from + width);
    rmsNorm(part, part, gain, epsilon);
  }
}

/** q[heads d] and the cache -> attended[heads d]. */
function attend(session: Session, layer: number): void {
  const { shape, position, buffers } = session;
  const { heads, kvHeads, headDim, kvDim } = shape;
  const { q, attended, scores } = buffers;
  const keys = session.keys[layer]; // [contextTokens][kvHeads d]
  const values = session.values[layer];
  const scoreScale = shape.scales?.scores ?? 1 / Math.sqrt(headDim);
  const cap = shape.softCaps?.scores;
  const first = Math.max(0, position + 1 - (windowTokens(shape, layer) ?? Infinity));
  const headsPerKv = heads / kvHeads;
  attended.fill(0);
  for (let head = 0; head < heads; head++) {
    const from = head * headDim;
    const shared = Math.floor(head / headsPerKv) * headDim;
    for (let t = first; t <= position; t++) {
      const key = t * kvDim + shared;
      let sum = 0;
      for (let i = 0; i < headDim; i++) sum += q[from + i] * keys[key + i];
      scores[t] = sum * scoreScale;
    }
    if (cap !== undefined) softCap(scores, position + 1, cap);
    let largest = -Infinity;
    for (let t = first; t <= position; t++) if (scores[t] > largest) largest = scores[t];
    let total = 0;
    for (let t = first; t <= position; t++) {
      scores[t] = Math.exp(scores[t] - largest);
      total += scores[t];
    }
    for (let t = first; t <= position; t++) {
      const weight = scores[t] / total;
      const value = t * kvDim + shared;
      for (let i = 0; i < headDim; i++) attended[from + i] += weight * values[value + i];
    }
  }
}

/** y = x / sqrt(mean(x^2) + epsilon) * gain, all [D]; y may be x. */
function rmsNorm(y: Float32Array, x: Float32Array, gain: Float32Array, epsilon: number): void {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const inverse = 1 / Math.sqrt(squares / x.length + epsilon);
  for (let i = 0; i < x.length; i++) y[i] = x[i] * inverse * gain[i];
}

function scale(x: Float32Array, factor: number): void {
  for (let i = 0; i < x.length; i++) x[i] *= factor;
}

/** x = cap tanh(x / cap) of the first `count` (Gemma Team 2024, arXiv:2408.00118). */
function softCap(x: Float32Array, count: number, cap: number): void {
  for (let i = 0; i < count; i++) x[i] = cap * Math.tanh(x[i] / cap);
}

/**
 * RoPE on pairs of each head: a turn by position * frequencies[j] (Su et al. 2021, arXiv:2104.09864). `adjacent` are
 * (2j, 2j + 1), as GGUF stores Llama's query and key rows; `halves` are (j, j + n / 2) of the n elements that turn,
 * GPT-NeoX's order.
 */
function rotate(
  x: Float32Array,
  headDim: number,
  position: number,
  { ropeFrequencies, ropeMagnitude }: Pick<ModelBlock, 'ropeFrequencies' | 'ropeMagnitude'>,
  pairs: Rotary['pairs'],
): void {
  const [step, apart] = pairs === 'adjacent' ? [2, 1] : [1, ropeFrequencies.length];
  for (let j = 0; j < ropeFrequencies.length; j++) {
    const cosine = ropeMagnitude * Math.cos(position * ropeFrequencies[j]);
    const sine = ropeMagnitude * Math.sin(position * ropeFrequencies[j]);
    for (let i = step * j; i < x.length; i += headDim) {
      const first = x[i];
      const second = x[i + apart];
      x[i] = first * cosine - second * sine;
      x[i + apart] = first * sine + second * cosine;
    }
  }
}
