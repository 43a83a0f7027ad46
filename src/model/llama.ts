/**
 * The forward pass of the Llama architecture, one token at a time, in plain scalar code: the reference for every
 * faster engine. Linear layers are whatever was plugged in; everything between them is digital float32, with the sums
 * in double.
 *
 * Per block, with x[D] the residual stream (Touvron et al. 2023, arXiv:2302.13971; GQA: arXiv:2305.13245):
 *   a = rmsnorm(x) g_attn;  q = Wq a;  k = Wk a;  v = Wv a;  rotate q and k by position
 *   x += Wo concat_h softmax(q_h . K / sqrt(d)) V
 *   b = rmsnorm(x) g_ffn;   x += Wdown (silu(Wgate b) * (Wup b))
 * and logits = Wout (rmsnorm(x) g_out).
 */

import { OnefetError } from '../error.ts';
import { requireMemory } from '../memory.ts';
import type { TokenPosition } from '../random.ts';
import type { LlamaBlock, LlamaLayers, LlamaModel } from './model.ts';
import type { LlamaShape } from './shape.ts';

/** The state of one text: how far it got, and its keys and values. */
export interface Session {
  readonly shape: LlamaShape;
  readonly layers: LlamaLayers;
  /** Tokens the cache holds. */
  readonly contextTokens: number;
  /** Position of the next token = tokens seen. */
  position: number;
  /** Per block, [contextTokens][kvHeads d]. */
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
  readonly buffers: Buffers;
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
 * a whole number from 1 to the model's own context length, 'MEMORY' when its cache does not fit the machine.
 */
export function newSession(model: LlamaModel, layers: LlamaLayers, contextTokens: number): Session {
  const { shape } = model;
  if (!Number.isInteger(contextTokens) || contextTokens < 1 || contextTokens > shape.contextTokens) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a context of ${contextTokens} tokens is impossible: ${model.name} takes 1 to ${shape.contextTokens}`,
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
  };
}

/** Back to an empty text; the cache is overwritten as positions are reached again. */
export function resetSession(session: Session): void {
  session.position = 0;
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
  const { x, normed, delta, gate, up, logits } = buffers;
  layers.embedding(tokenId, x);
  for (let layer = 0; layer < shape.layers; layer++) {
    const block = layers.blocks[layer];
    rmsNorm(normed, x, block.attnNorm, shape.normEpsilon);
    attend(session, block, layer, at);
    block.attnOutput.apply(delta, buffers.attended, at);
    for (let i = 0; i < x.length; i++) x[i] += delta[i];

    rmsNorm(normed, x, block.ffnNorm, shape.normEpsilon);
    block.ffnGate.apply(gate, normed, at);
    block.ffnUp.apply(up, normed, at);
    // silu(z) = z / (1 + e^-z)
    for (let i = 0; i < gate.length; i++) gate[i] = (gate[i] / (1 + Math.exp(-gate[i]))) * up[i];
    block.ffnDown.apply(delta, gate, at);
    for (let i = 0; i < x.length; i++) x[i] += delta[i];
    onBlock?.(layer, x);
  }
  rmsNorm(normed, x, layers.outputNorm, shape.normEpsilon);
  layers.output.apply(logits, normed, at);
  session.position = position + 1;
  return logits;
}

/** normed[D] -> attended[heads d], after adding this position's key and value to the cache. */
function attend(session: Session, block: LlamaBlock, layer: number, at: TokenPosition): void {
  const { shape, position, buffers, layers } = session;
  const { heads, kvHeads, headDim, kvDim } = shape;
  const { normed, q, attended, scores } = buffers;
  const keys = session.keys[layer]; // [contextTokens][kvHeads d]
  const values = session.values[layer];
  const k = keys.subarray(position * kvDim, (position + 1) * kvDim);
  const v = values.subarray(position * kvDim, (position + 1) * kvDim);
  block.attnQ.apply(q, normed, at);
  block.attnK.apply(k, normed, at);
  block.attnV.apply(v, normed, at);
  rotate(q, headDim, position, layers.ropeFrequencies);
  rotate(k, headDim, position, layers.ropeFrequencies);

  const scale = 1 / Math.sqrt(headDim);
  const headsPerKv = heads / kvHeads;
  attended.fill(0);
  for (let head = 0; head < heads; head++) {
    const from = head * headDim;
    const shared = Math.floor(head / headsPerKv) * headDim;
    let largest = -Infinity;
    for (let t = 0; t <= position; t++) {
      const key = t * kvDim + shared;
      let sum = 0;
      for (let i = 0; i < headDim; i++) sum += q[from + i] * keys[key + i];
      scores[t] = sum * scale;
      if (scores[t] > largest) largest = scores[t];
    }
    let total = 0;
    for (let t = 0; t <= position; t++) {
      scores[t] = Math.exp(scores[t] - largest);
      total += scores[t];
    }
    for (let t = 0; t <= position; t++) {
      const weight = scores[t] / total;
      const value = t * kvDim + shared;
      for (let i = 0; i < headDim; i++) attended[from + i] += weight * values[value + i];
    }
  }
}

/** y = x / sqrt(mean(x^2) + epsilon) * gain, all [D]. */
export function rmsNorm(y: Float32Array, x: Float32Array, gain: Float32Array, epsilon: number): void {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const scale = 1 / Math.sqrt(squares / x.length + epsilon);
  for (let i = 0; i < x.length; i++) y[i] = x[i] * scale * gain[i];
}

/**
 * RoPE on neighbouring pairs (2j, 2j + 1) of each head, as GGUF stores Llama's query and key rows: a turn by
 * position * frequencies[j] (Su et al. 2021, arXiv:2104.09864).
 */
function rotate(x: Float32Array, headDim: number, position: number, frequencies: Float64Array): void {
  for (let j = 0; j < frequencies.length; j++) {
    const cosine = Math.cos(position * frequencies[j]);
    const sine = Math.sin(position * frequencies[j]);
    for (let i = 2 * j; i < x.length; i += headDim) {
      const even = x[i];
      const odd = x[i + 1];
      x[i] = even * cosine - odd * sine;
      x[i + 1] = even * sine + odd * cosine;
    }
  }
}
