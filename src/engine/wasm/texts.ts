/** Texts on a loaded engine: tokens in, logits out, and what was counted on the way. */

import { rotationOf } from '../../mapping/hadamard.ts';
import { matricesReading, STAGES, type Stage } from '../../model/architecture.ts';
import { type Engine, type EngineRequest, isShapeOnly, type NextToken, type Visitors } from '../backend.ts';
import type { Bases } from '../bases.ts';
import { unrotated } from '../image.ts';
import {
  newTurns,
  requireFinite,
  requireKept,
  requireSpace,
  requireTexts,
  requireToken,
  requireVisitors,
} from '../turns.ts';
import { sampleCodingLoss } from './coding-loss.ts';
import type { Batch, Beginning, Work } from './control.ts';
import type { EngineData } from './plan/context.ts';
import { PLACE_WORDS } from './plan/layout.ts';
import { padded } from './plan/operations.ts';
import type { EnginePlan } from './plan/plan.ts';
import { clearCounts, collectActivity, collectColumns, collectRanges, toldActivity } from './run/collect.ts';
import { fillWindow } from './run/fill.ts';
import { inputRows, outputRows, type Rows } from './run/rows.ts';
import type { ModelVectors } from './source.ts';

export type Texts = Pick<
  Engine,
  | 'prefill'
  | 'decode'
  | 'turnTo'
  | 'decodeMany'
  | 'activity'
  | 'resetActivity'
  | 'ranges'
  | 'columnCounts'
  | 'codingLoss'
  | 'close'
>;

/** Position in the text. */
interface Place {
  /** Of the next token. */
  position: number;
  /** Key of the draws. */
  window: number;
}

/** `run` does work on all threads; `stop` lets them go. */
export function newTexts(
  { model, fabric, mode, image, onProgress, contextTokens }: EngineRequest,
  { layout: choice, physics }: EnginePlan,
  data: EngineData,
  vectors: ModelVectors,
  bases: Bases,
  run: (work: Work) => Promise<void>,
  stop: () => Promise<void>,
): Texts {
  const { shape } = data;
  const state = newStateMemory(data);
  const residual = choice.residual && rotationOf(choice.residual);
  const places: readonly Place[] = Array.from({ length: choice.texts }, () => ({ position: 0, window: 0 }));
  let current = 0;
  /** Since activity was reset. */
  let tokensSeen = 0;
  /** Whose keys of slow noise are in the tables. */
  let filledWindow: number | undefined;
  const turns = newTurns();

  const enterWindow = (window: number) => {
    if (physics && window !== filledWindow) fillWindow(data, window);
    filledWindow = window;
  };

  /** A batch through all blocks, with a stop wherever someone looks. */
  const runBatch = async (
    ids: ArrayLike<number>,
    from: number,
    batch: Batch,
    visitors: Visitors = {},
  ): Promise<void> => {
    const { count, position, window } = batch;
    const hidden = Math.max(0, (visitors.from ?? 0) - position);
    const { inputs, outputs } = hidden < count ? visitors : {};
    const { states, stream, given } = visitors;
    enterWindow(window);
    for (let token = 0; token < count; token++) {
      const id = ids[from + token];
      requireToken(id, shape.vocab);
      state.putEmbedding(token, (row) =>
        stream ? stream(position + token, row) : vectors.embedding(id, row),
      );
    }
    const wanted = Array.from({ length: count }, (_, token) => token).filter((token) =>
      states?.wants(position + token),
    );
    const steps = shape.layers * STAGES.length;
    const looksAt = (step: number): boolean =>
      inputs?.wants(Math.floor(step / STAGES.length), STAGES[step % STAGES.length]) ?? false;
    let end = steps;
    if (inputs?.alone) while (end > 1 && !looksAt(end - 1)) end--;
    let begun = 0;
    let begin: Beginning = 'behind';
    /** Stages up to `to`; `shows`: whose last stops at its outputs. */
    const runTo = async (to: number, shows: boolean) => {
      await run({ kind: 'layers', batch, from: begun, to, begin, shows });
      begun = to;
      begin = shows && !given ? 'shown' : 'behind';
    };
    for (let step = 0; step < end; step++) {
      const block = Math.floor(step / STAGES.length);
      const stage = STAGES[step % STAGES.length];
      const looks = looksAt(step);
      const behind = stage === STAGES[STAGES.length - 1] && wanted.length > 0;
      if (!looks && !behind && !outputs && !given && step < end - 1) continue;
      if (given) {
        state.putInputs(
          stage,
          count,
          (x) => given(block, stage, x, count, position),
          (x) => bases.enter(block, stage, x),
        );
        begin = 'given';
      }
      await runTo(step + 1, outputs !== undefined || given !== undefined);
      const seen = count - hidden;
      if (looks) inputs!.visit(block, stage, state.inputs(stage, hidden, count), seen);
      if (outputs) {
        for (const ordinal of matricesReading(shape.architecture, stage)) {
          const y = state.outputs(ordinal, hidden, count, (own) => bases.leave(block, ordinal, own));
          outputs.visit(block, ordinal, y, seen, position + hidden);
        }
        // What lies behind the outputs that were shown last.
        if (!given && (behind || step === steps - 1)) await runTo(step + 1, false);
      }
      if (behind) {
        for (const token of wanted) {
          // Behind the last block the stream is the model's own again.
          const x = state.behindBlock(token, block);
          states!.visit(position + token, block, step < steps - 1 ? unrotated(x, residual) : x);
        }
      }
    }
    for (let token = 0; token < count; token++) {
      const at = batch.text < 0 ? state.position(token) : position + token;
      requireFinite(state.stream(token), 'the activations', at);
    }
    tokensSeen += count;
  };

  /** Tokens of texts that share a window; the buffer holds that many. */
  const decodeTogether = async (
    tokens: readonly (NextToken & { readonly index: number })[],
    onLogits: (index: number, logits: Float32Array) => void,
  ) => {
    const { window } = places[tokens[0].text];
    tokens.forEach(({ text }, token) => {
      state.putPlace(token, places[text].position, text);
    });
    const ids = tokens.map(({ id }) => id);
    const batch = { count: tokens.length, position: 0, window, text: -1 };
    await runBatch(ids, 0, batch);
    for (const { text } of tokens) places[text].position++;
    for (let first = 0; first < tokens.length; first += choice.headTokens) {
      const rows = Math.min(choice.headTokens, tokens.length - first);
      await run({ kind: 'head', batch: { ...batch, count: rows }, from: first });
      for (let row = 0; row < rows; row++) onLogits(tokens[first + row].index, state.logits(row));
    }
  };

  return {
    prefill: (ids, window, onLogits, from = 0, visitors = {}, kept = 0) =>
      turns.take(async () => {
        requireVisitors(mode, visitors, onLogits !== undefined);
        const text = current;
        const place = places[text];
        requireKept(kept, ids.length, window, place);
        requireSpace(0, ids.length, contextTokens);
        place.position = kept;
        place.window = window;
        for (let start = kept; start < ids.length; start += choice.tokens) {
          const count = Math.min(choice.tokens, ids.length - start);
          await runBatch(ids, start, { count, position: start, window, text }, visitors);
          place.position += count;
          onProgress?.('prefill', (start + count - kept) / (ids.length - kept));
          if (!onLogits) continue;
          for (let first = Math.max(0, from - start); first < count; first += choice.headTokens) {
            const rows = Math.min(choice.headTokens, count - first);
            const batch = { count: rows, position: start + first, window, text };
            await run({ kind: 'head', batch, from: first });
            for (let row = 0; row < rows; row++) onLogits(start + first + row, state.logits(row));
          }
        }
        if (visitors.given) place.position = kept;
      }),
    decode: (id) =>
      turns.take(async () => {
        const place = places[current];
        requireSpace(place.position, 1, contextTokens);
        const batch = { count: 1, ...place, text: current };
        await runBatch([id], 0, batch);
        place.position++;
        await run({ kind: 'head', batch, from: 0 });
        return state.logits(0);
      }),
    turnTo(text) {
      requireTexts([text], places.length);
      current = text;
    },
    decodeMany: (next, onLogits) =>
      turns.take(async () => {
        requireTexts(
          next.map(({ text }) => text),
          places.length,
        );
        for (const { text } of next) requireSpace(places[text].position, 1, contextTokens);
        const byWindow = Map.groupBy(
          next.map((token, index) => ({ ...token, index })),
          ({ text }) => places[text].window,
        );
        for (const tokens of byWindow.values()) await decodeTogether(tokens, onLogits);
      }),
    activity() {
      if (physics) return collectActivity(data, physics, choice.integerResponses, tokensSeen);
      return mode === 'chip' ? toldActivity(data, fabric, tokensSeen) : [];
    },
    resetActivity() {
      tokensSeen = 0;
      clearCounts(data);
    },
    ranges: () => (physics ? collectRanges(data, physics) : {}),
    columnCounts: () => (physics ? collectColumns(data, physics) : null),
    codingLoss: () =>
      isShapeOnly(model) || mode === 'digital' ? [] : sampleCodingLoss(model, fabric, image),
    async close() {
      turns.close();
      await stop();
    },
  };
}

/** The parts of the state memory that hold a token's embedding, its stream and its logits. */
function newStateMemory(data: EngineData) {
  const { state: memory, shape, layout, operations } = data;
  const inputsAt = inputRows(data);
  const outputsAt = outputRows(data);
  const elementsOf: Readonly<Record<Stage, number>> = {
    'attention-input': shape.dim,
    'attention-output': shape.queryDim,
    'feed-forward-input': shape.dim,
    'feed-forward-hidden': shape.ffnDim,
  };
  const rowOf = ({ at, width }: Rows, token: number, elements: number): Float32Array =>
    f32.subarray(at / 4 + token * width, at / 4 + token * width + elements);
  const gather = (rows: Rows, from: number, to: number, elements: number): Float32Array => {
    const out = new Float32Array((to - from) * elements);
    for (let token = from; token < to; token++) {
      out.set(rowOf(rows, token, elements), (token - from) * elements);
    }
    return out;
  };
  const f32 = new Float32Array(memory.buffer);
  const i32 = new Int32Array(memory.buffer);
  const width = padded(shape.dim);
  const logitsWidth = padded(shape.vocab);
  const embedding = new Float32Array(shape.dim);
  const stream = new Float32Array(shape.dim);
  const logits = new Float32Array(shape.vocab);
  return {
    putEmbedding(token: number, fill: (row: Float32Array) => void) {
      fill(embedding);
      const at = layout.x / 4 + token * width;
      f32.set(embedding, at);
      f32.fill(0, at + shape.dim, at + width);
    },
    putPlace(token: number, position: number, text: number) {
      i32.set([position, text], layout.places / 4 + token * PLACE_WORDS);
    },
    position: (token: number): number => i32[layout.places / 4 + token * PLACE_WORDS],
    /** The residual stream as it stands: what any block added to it. */
    stream(token: number): Float32Array {
      const x = layout.x / 4 + token * width;
      return f32.subarray(x, x + shape.dim);
    },
    /** Behind the last block the stream is whole; behind the others the feed-forward's part still waits in `delta`. */
    behindBlock(token: number, block: number): Float32Array {
      const x = layout.x / 4 + token * width;
      const delta = layout.delta / 4 + token * width;
      const last = block === shape.layers - 1;
      for (let i = 0; i < stream.length; i++) stream[i] = f32[x + i] + (last ? 0 : f32[delta + i]);
      return stream;
    },
    /** Inputs of the matrices of the stage that ran last, of tokens `from` to `to` - 1: [tokens][K]. */
    inputs: (stage: Stage, from: number, to: number) => gather(inputsAt[stage], from, to, elementsOf[stage]),
    /** Puts what `fill` makes [tokens][K], each row turned by `enter`, where a stage reads. */
    putInputs(
      stage: Stage,
      count: number,
      fill: (x: Float32Array) => void,
      enter: (x: Float32Array) => void,
    ) {
      const elements = elementsOf[stage];
      const x = new Float32Array(count * elements);
      fill(x);
      const rows = inputsAt[stage];
      for (let token = 0; token < count; token++) {
        const own = x.subarray(token * elements, (token + 1) * elements);
        enter(own);
        const row = rowOf(rows, token, padded(elements));
        row.set(own);
        row.fill(0, elements);
      }
    },
    /** What a matrix of the stage that ran last gave to these tokens: [tokens][N], each row turned by `leave`. */
    outputs(ordinal: number, from: number, to: number, leave: (y: Float32Array) => void): Float32Array {
      const { outputs } = operations[ordinal];
      const y = gather(outputsAt[ordinal], from, to, outputs);
      for (let at = 0; at < y.length; at += outputs) leave(y.subarray(at, at + outputs));
      return y;
    },
    logits(row: number): Float32Array {
      const at = layout.logits / 4 + row * logitsWidth;
      logits.set(f32.subarray(at, at + shape.vocab));
      return logits;
    },
  };
}
