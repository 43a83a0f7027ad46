/**
 * The forward pass of src/model/forward.ts for a batch of tokens, run by all workers at once: a stage ends when all its
 * items are done. Items are tokens, panels of a layer, or (token, key/value head) pairs.
 */
import {
  type Architecture,
  STAGES as BLOCK_STAGES,
  type Stage as BlockStage,
  type Part,
} from '../../../model/architecture.ts';
import { type Batch, stage } from '../control.ts';
import { CACHE_BYTES, QUERIES, runProducts } from '../kernels/attention.ts';
import type { WorkerContext } from '../plan/context.ts';
import { padded } from '../plan/operations.ts';
import { addPaths } from './digital.ts';
import { encodeToken, panelRunner } from './linear.ts';
import { rotateVector, unrotateVector } from './rotation.ts';

/** Stages of the profile. */
export const STAGES = ['encode', 'linear', 'cache', 'attention', 'head'] as const;
type Stage = (typeof STAGES)[number];

/** Adds the time since the last mark to a stage: of the first worker, waiting for the others included. */
function mark({ data, index, clock }: WorkerContext, stageName: Stage | undefined): void {
  if (!data.profile || index !== 0) return;
  const now = performance.now();
  if (stageName) data.profile[STAGES.indexOf(stageName)] += (now - clock.last) / 1e3;
  clock.last = now;
}

const floatBits = (x: number): number => new Int32Array(new Float32Array([x]).buffer)[0];

interface LayerTarget {
  readonly operation: number;
  readonly out: number;
  readonly width: number;
}

/** Returns the place of the operation that gives a part among all, by block: planOperations lays them out matrix by matrix. */
function operationsByPart({ matrices }: Architecture): (layer: number) => Record<Part, number> {
  return (layer) =>
    Object.fromEntries(
      matrices.map(({ gives: [part] }, ordinal) => [part, layer * matrices.length + ordinal]),
    ) as Record<Part, number>;
}

/**
 * Stages `from` to `to` - 1, four a block, one after the other over a batch. Behind a stage its inputs still stand where
 * they were coded from. What the feed-forward adds to the stream is added at the
 * start of the next block; behind the last block of the model, which also leaves its normed activations in `normed`. A chip
 * image may have the stream rotated in between: it is the model's own before the first stage and behind the last.
 */
export function runLayers(context: WorkerContext, batch: Batch, from: number, to: number): void {
  const { data, crew, kernels } = context;
  const { shape, layout } = data;
  const wasm = kernels[0];
  const widths = {
    dim: padded(shape.dim),
    ffn: padded(shape.ffnDim),
    query: padded(shape.queryDim),
    kv: padded(shape.kvDim),
  };
  const epsilon = floatBits(shape.normEpsilon);
  const rowOf = (base: number, width: number, token: number) => base + token * width * 4;
  const row = {
    x: (t: number) => rowOf(layout.x, widths.dim, t),
    normed: (t: number) => rowOf(layout.normed, widths.dim, t),
    delta: (t: number) => rowOf(layout.delta, widths.dim, t),
    gate: (t: number) => rowOf(layout.gate, widths.ffn, t),
    up: (t: number) => rowOf(layout.up, widths.ffn, t),
    attended: (t: number) => rowOf(layout.attended, widths.query, t),
  };
  const tokens = (visit: (token: number) => void) => stage(crew, batch.count, visit);
  const norm = (t: number, gain: number) => {
    wasm.norm(row.normed(t), row.x(t), gain, widths.dim / 4, shape.dim, epsilon);
  };
  const addDelta = (t: number) => wasm.residual(row.x(t), row.delta(t), widths.dim / 4);
  /** What is added behind an operation's tiles: bias and addend, and an image's paths of low rank. */
  const addRest = (operation: number, member: number, t: number, at: number, width: number) => {
    const bias = layout.biases[operation];
    if (bias !== undefined) wasm.residual(at, bias, width / 4);
    addPaths(context, operation, member, t, at);
  };
  const { residual } = layout.digital;
  const mixing = layout.digital.scratches[context.index];
  const operationsOf = operationsByPart(shape.architecture);
  const runStage: Readonly<Record<BlockStage, (layer: number, of: Record<Part, number>) => void>> = {
    'attention-input'(layer, { query, key, value }) {
      tokens((t) => {
        if (layer > 0) addDelta(t);
        else if (residual) rotateVector(wasm, residual, row.x(t), mixing);
        norm(t, layout.attnNorm[layer]);
        encodeToken(context, [query, key, value], batch, t, row.normed(t));
      });
      mark(context, 'encode');
      multiply(context, batch, [
        { operation: query, out: layout.q, width: widths.query },
        { operation: key, out: layout.k, width: widths.kv },
        { operation: value, out: layout.v, width: widths.kv },
      ]);
      mark(context, 'linear');
      tokens((t) => {
        addRest(query, 0, t, rowOf(layout.q, widths.query, t), widths.query);
        addRest(key, 1, t, rowOf(layout.k, widths.kv, t), widths.kv);
        addRest(value, 2, t, rowOf(layout.v, widths.kv, t), widths.kv);
        enterCache(context, batch, layer, t);
      });
      mark(context, 'cache');
      const jobs = batch.count * shape.kvHeads;
      stage(crew, jobs, (job) =>
        attend(context, batch, layer, Math.floor(job / shape.kvHeads), job % shape.kvHeads),
      );
      mark(context, 'attention');
    },
    'attention-output'(_layer, { attention }) {
      tokens((t) => encodeToken(context, [attention], batch, t, row.attended(t)));
      mark(context, 'encode');
      multiply(context, batch, [{ operation: attention, out: layout.delta, width: widths.dim }]);
      mark(context, 'linear');
    },
    'feed-forward-input'(layer, { attention, gate, up }) {
      tokens((t) => {
        addRest(attention, 0, t, row.delta(t), widths.dim);
        addDelta(t);
        norm(t, layout.ffnNorm[layer]);
        encodeToken(context, [gate, up], batch, t, row.normed(t));
      });
      mark(context, 'encode');
      multiply(context, batch, [
        { operation: gate, out: layout.gate, width: widths.ffn },
        { operation: up, out: layout.up, width: widths.ffn },
      ]);
      mark(context, 'linear');
    },
    'feed-forward-hidden'(_layer, { gate, up, 'feed-forward': down }) {
      tokens((t) => {
        addRest(gate, 0, t, row.gate(t), widths.ffn);
        addRest(up, 1, t, row.up(t), widths.ffn);
        wasm.gate(row.gate(t), row.up(t), widths.ffn / 4);
        encodeToken(context, [down], batch, t, row.gate(t));
      });
      mark(context, 'encode');
      multiply(context, batch, [{ operation: down, out: layout.delta, width: widths.dim }]);
      // Whoever looks at the stream between two blocks finds all of what is added in `delta`.
      if (layout.biases[down] !== undefined || layout.digital.operations[down]) {
        tokens((t) => addRest(down, 0, t, row.delta(t), widths.dim));
      }
      mark(context, 'linear');
    },
  };
  mark(context, undefined);
  for (let step = from; step < to; step++) {
    const layer = Math.floor(step / BLOCK_STAGES.length);
    runStage[BLOCK_STAGES[step % BLOCK_STAGES.length]](layer, operationsOf(layer));
  }
  if (to < shape.layers * BLOCK_STAGES.length) return;
  tokens((t) => {
    addDelta(t);
    if (residual) unrotateVector(wasm, residual, row.x(t), mixing);
    norm(t, layout.outputNorm);
  });
}

/** Logits of `count` tokens from token `first` of the batch on, to the rows of `logits`. */
export function runHead(context: WorkerContext, batch: Batch, first: number): void {
  const { data, crew } = context;
  const { shape, layout } = data;
  const head = data.operations.length - 1;
  const width = padded(shape.dim);
  mark(context, undefined);
  stage(crew, batch.count, (t) =>
    encodeToken(context, [head], batch, t, layout.normed + (first + t) * width * 4),
  );
  multiply(context, batch, [{ operation: head, out: layout.logits, width: padded(shape.vocab) }]);
  mark(context, 'head');
}

/** The linear layers of a group over one queue of panels. */
function multiply(context: WorkerContext, batch: Batch, group: readonly LayerTarget[]): void {
  const { data, crew } = context;
  const ends: number[] = [];
  let total = 0;
  for (const { operation } of group) {
    total += data.operations[operation].panels;
    ends.push(total);
  }
  const runners = group.map((target, member) => panelRunner(context, { ...target, member }, batch));
  stage(crew, total, (item) => {
    const member = ends.findIndex((end) => item < end);
    runners[member](item - (member > 0 ? ends[member - 1] : 0));
  });
}

/** Rotates a token's queries and keys and puts its key and value into the cache. */
function enterCache({ data, kernels, f32 }: WorkerContext, batch: Batch, layer: number, token: number): void {
  const { shape, layout, cache } = data;
  const { heads, kvHeads, headDim } = shape;
  const wasm = kernels[0];
  const position = batch.position + token;
  const rope = layout.rope + position * 2 * headDim * 4;
  wasm.rotate(layout.q + token * padded(shape.queryDim) * 4, rope, headDim / 4, heads);
  const k = layout.k + token * padded(shape.kvDim) * 4;
  const v = layout.v + token * padded(shape.kvDim) * 4;
  wasm.rotate(k, rope, headDim / 4, kvHeads);
  const entry = CACHE_BYTES[cache];
  const store = wasm[`cache_${cache}`];
  for (let head = 0; head < kvHeads; head++) {
    const slot = layer * kvHeads + head;
    const scaleOf = (from: number, scales: number): number => {
      if (cache === 'f16') return 0;
      let largest = 0;
      for (let i = 0; i < headDim; i++) largest = Math.max(largest, Math.abs(f32[from / 4 + i]));
      f32[scales / 4 + slot * layout.contextPadded + position] = largest / 127;
      return floatBits(largest > 0 ? 127 / largest : 0);
    };
    const kHead = k + head * headDim * 4;
    const vHead = v + head * headDim * 4;
    const keys = layout.keys + slot * layout.headBytes;
    const values = layout.values + slot * layout.headBytes;
    const column = (Math.floor(position / 16) * headDim * 16 + (position % 16)) * entry;
    store(keys + column, 16 * entry, kHead, headDim, scaleOf(kHead, layout.keyScales));
    store(values + position * headDim * entry, entry, vHead, headDim, scaleOf(vHead, layout.valueScales));
  }
}

/** The query heads of one token that share a key/value head, four at a time. */
function attend(
  { data, kernels, f32, index }: WorkerContext,
  batch: Batch,
  layer: number,
  token: number,
  kvHead: number,
): void {
  const { shape, layout, cache } = data;
  const { headDim, heads, kvHeads } = shape;
  const wasm = kernels[0];
  const products = wasm[`products_${cache}`];
  const entry = CACHE_BYTES[cache];
  const count = batch.position + token + 1;
  const blocks = Math.ceil(count / 16);
  const perKv = heads / kvHeads;
  const slot = layer * kvHeads + kvHead;
  const keys = layout.keys + slot * layout.headBytes;
  const values = layout.values + slot * layout.headBytes;
  const scores = layout.scores[index];
  const scoreBytes = layout.contextPadded * 4;
  const part = scores + QUERIES * scoreBytes;
  const scale = floatBits(1 / Math.sqrt(headDim));
  const scalesAt = slot * layout.contextPadded * 4;
  const queryRow = layout.q + token * padded(shape.queryDim) * 4;
  const outRow = layout.attended + token * padded(shape.queryDim) * 4;
  for (let from = 0; from < perKv; from += QUERIES) {
    // Queries beyond the group's last are computed and ignored; their rows are inside the padded buffer.
    const first = (kvHead * perKv + from) * headDim * 4;
    const used = Math.min(QUERIES, perKv - from);
    for (let block = 0; block < blocks; block++) {
      runProducts(products, {
        out: scores + block * 64,
        outStride: scoreBytes,
        a: queryRow + first,
        aStride: headDim * 4,
        b: keys + block * headDim * 16 * entry,
        bStride: 16 * entry,
        count: headDim,
      });
    }
    for (let query = 0; query < used; query++) {
      const at = scores + query * scoreBytes;
      if (cache === 'i8') wasm.multiply(at, layout.keyScales + scalesAt, blocks * 4);
      wasm.softmax(at, count, scale);
      if (cache === 'i8') wasm.multiply(at, layout.valueScales + scalesAt, blocks * 4);
    }
    for (let chunk = 0; chunk < headDim; chunk += 16) {
      runProducts(products, {
        out: part,
        outStride: 64,
        a: scores,
        aStride: scoreBytes,
        b: values + chunk * entry,
        bStride: headDim * entry,
        count,
      });
      for (let query = 0; query < used; query++) {
        const to = (outRow + first) / 4 + query * headDim + chunk;
        f32.copyWithin(to, part / 4 + query * 16, part / 4 + query * 16 + 16);
      }
    }
  }
}
