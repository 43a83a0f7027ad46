/** Attention of a batch: fills the cache of keys and values, and reads it for blocks of queries. */
import { windowTokens } from '../../../model/shape.ts';
import { floatBits } from '../../integers.ts';
import type { Batch } from '../control.ts';
import {
  CACHE_BYTES,
  GROUP_QUERIES,
  planAttention,
  runProducts,
  VALUE_POSITIONS,
} from '../kernels/attention.ts';
import type { WorkerContext } from '../plan/context.ts';
import { padded } from '../plan/operations.ts';
import { placeOf } from './place.ts';

/** Rotates a token's queries and keys and puts its key and value into the cache. */
export function enterCache(context: WorkerContext, batch: Batch, layer: number, token: number): void {
  const { data, kernels, f32 } = context;
  const { shape, layout, cache } = data;
  const { heads, kvHeads, headDim } = shape;
  const wasm = kernels[0];
  const { position, text } = placeOf(context, batch, token);
  const q = layout.q + token * layout.widths.q * 4;
  const k = layout.k + token * layout.widths.k * 4;
  const v = layout.v + token * layout.widths.v * 4;
  const blocks = windowTokens(shape, layer) === undefined ? 'full' : 'local';
  const rope = layout.ropes[blocks] + position * 2 * headDim * 4;
  if (shape.architecture.rotary.pairs === 'adjacent') {
    wasm.rotate(q, rope, headDim / 4, heads);
    wasm.rotate(k, rope, headDim / 4, kvHeads);
  } else {
    const half = (shape.ropeDim ?? headDim) / 2;
    wasm.rotate_halves(q, rope, half / 4, heads, headDim * 4);
    wasm.rotate_halves(k, rope, half / 4, kvHeads, headDim * 4);
  }
  const entry = CACHE_BYTES[cache];
  const store = wasm[`cache_${cache}`];
  for (let head = 0; head < kvHeads; head++) {
    const slot = (text * shape.layers + layer) * kvHeads + head;
    const scaleOf = (from: number, scales: number): number => {
      if (cache !== 'i8') return 0;
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
    store(
      values + position * padded(headDim) * entry,
      entry,
      vHead,
      headDim,
      scaleOf(vHead, layout.valueScales),
    );
  }
}

type Plan = ReturnType<typeof planAttention>;

/** Query tokens of a job, one after another in the batch, and their key/value head. */
interface Job {
  readonly kvHead: number;
  readonly firstToken: number;
  readonly tokens: number;
}

/** The jobs of a layer's attention, and a worker's function that does one of them. */
export function attentionJobs(
  context: WorkerContext,
  batch: Batch,
  layer: number,
): { readonly count: number; readonly run: (job: number) => void } {
  const { shape, layout } = context.data;
  const { kvHeads } = shape;
  const plan = planAttention(shape.heads / kvHeads, shape.headDim, layout.contextPadded);
  // Tokens of different texts have nothing in common.
  const most = batch.text < 0 ? 1 : plan.tokens;
  return {
    count: kvHeads * Math.ceil(batch.count / most),
    run(job) {
      const firstToken = Math.floor(job / kvHeads) * most;
      const tokens = Math.min(most, batch.count - firstToken);
      attend(context, plan, batch, layer, { kvHead: job % kvHeads, firstToken, tokens });
    },
  };
}

/**
 * One job: scores of all its queries, their soft-max, the weighted values. Positions that only some of them see have weight
 * zero for the others, which adds nothing to a sum.
 */
function attend(context: WorkerContext, plan: Plan, batch: Batch, layer: number, job: Job): void {
  const { data, f32, index } = context;
  const { shape, layout } = data;
  const { headDim } = shape;
  const perKv = shape.heads / shape.kvHeads;
  const window = windowTokens(shape, layer) ?? Infinity;
  const { position: first, text } = placeOf(context, batch, job.firstToken);
  const end = first + job.tokens;
  // Keys come in blocks of 16 positions: those before the window's first are computed and taken out again.
  const skipped = Math.floor(Math.max(0, first + 1 - window) / 16) * 16;
  const span: Span = {
    slot: (text * shape.layers + layer) * shape.kvHeads + job.kvHead,
    skipped,
    positions: padded(end - skipped),
    queries: job.tokens * perKv,
    scratch: layout.scores[index],
    plan,
  };
  const rowFloats = perKv * headDim;
  const headAt = job.kvHead * rowFloats;
  const queries = (span.scratch + plan.queries) / 4;
  const attended = (span.scratch + plan.out) / 4;
  for (let t = 0; t < job.tokens; t++) {
    const from = layout.q / 4 + (job.firstToken + t) * layout.widths.q + headAt;
    f32.copyWithin(queries + t * rowFloats, from, from + rowFloats);
  }
  score(context, span);
  for (let t = 0; t < job.tokens; t++) {
    const seen = first + t + 1;
    const hidden = Math.max(0, seen - window) - skipped;
    for (let head = 0; head < perKv; head++) {
      weigh(context, span, t * perKv + head, Math.max(0, hidden), seen - skipped);
    }
  }
  addValues(context, span);
  for (let t = 0; t < job.tokens; t++) {
    const to = layout.attended / 4 + (job.firstToken + t) * padded(shape.queryDim) + headAt;
    for (let head = 0; head < perKv; head++) {
      const from = attended + (t * perKv + head) * padded(headDim);
      f32.copyWithin(to + head * headDim, from, from + headDim);
    }
  }
}

/** What a job reads of the cache, and where it computes. */
interface Span {
  /** Text, layer and key/value head. */
  readonly slot: number;
  /** Position of the first key, a multiple of 16, and how many there are, another. */
  readonly skipped: number;
  readonly positions: number;
  readonly queries: number;
  readonly scratch: number;
  readonly plan: Plan;
}

/** scores[query][position] = q . k, in units of the cache. */
function score({ data, kernels }: WorkerContext, span: Span): void {
  const { layout, cache, shape } = data;
  const { headDim } = shape;
  const [wasm] = kernels;
  const rowBytes = 16 * CACHE_BYTES[cache];
  const keys = layout.keys + span.slot * layout.headBytes + (span.skipped / 16) * headDim * rowBytes;
  const b = span.scratch + span.plan.decoded;
  for (let block = 0; block < span.positions / 16; block++) {
    wasm[`decode_${cache}`](b, keys + block * headDim * rowBytes, rowBytes, headDim);
    runProducts(wasm.products, {
      out: span.scratch + span.plan.scores + block * 64,
      outStride: span.plan.scoreRow,
      a: span.scratch + span.plan.queries,
      aStride: headDim * 4,
      b,
      count: headDim,
      groups: Math.ceil(span.queries / GROUP_QUERIES),
      add: 0,
    });
  }
}

/** Makes the scores of a query weights of the values: those of positions `hidden` to `seen` - 1, the others zero. */
function weigh(
  { data, kernels, f32 }: WorkerContext,
  span: Span,
  query: number,
  hidden: number,
  seen: number,
): void {
  const { shape, layout, cache } = data;
  const [wasm] = kernels;
  const at = span.scratch + span.plan.scores + query * span.plan.scoreRow;
  const scalesAt = (span.slot * layout.contextPadded + span.skipped) * 4;
  const scale = floatBits(shape.scales?.scores ?? 1 / Math.sqrt(shape.headDim));
  const cap = shape.softCaps?.scores;
  const vectors = Math.ceil(seen / 16) * 4;
  if (cache === 'i8') wasm.multiply(at, layout.keyScales + scalesAt, vectors);
  if (cap !== undefined) wasm.soft_cap(at, vectors, scale, floatBits(cap));
  if (hidden > 0) f32.fill(-3e38, at / 4, at / 4 + hidden);
  wasm.softmax(at, seen, cap === undefined ? scale : floatBits(1));
  if (cache === 'i8') wasm.multiply(at, layout.valueScales + scalesAt, vectors);
  if (hidden > 0) f32.fill(0, at / 4, at / 4 + hidden);
  f32.fill(0, at / 4 + seen, at / 4 + span.positions);
}

/** out[query][padded headDim] = sum over positions of weight value. */
function addValues({ data, kernels }: WorkerContext, span: Span): void {
  const { layout, cache, shape } = data;
  const width = padded(shape.headDim);
  const [wasm] = kernels;
  const entry = CACHE_BYTES[cache];
  const values = layout.values + span.slot * layout.headBytes + span.skipped * width * entry;
  const b = span.scratch + span.plan.decoded;
  for (let from = 0; from < span.positions; from += VALUE_POSITIONS) {
    const count = Math.min(VALUE_POSITIONS, span.positions - from);
    for (let column = 0; column < width; column += 16) {
      wasm[`decode_${cache}`](b, values + (from * width + column) * entry, width * entry, count);
      runProducts(wasm.products, {
        out: span.scratch + span.plan.out + column * 4,
        outStride: width * 4,
        a: span.scratch + span.plan.scores + from * 4,
        aStride: span.plan.scoreRow,
        b,
        count,
        groups: Math.ceil(span.queries / GROUP_QUERIES),
        add: from > 0 ? 1 : 0,
      });
    }
  }
}
