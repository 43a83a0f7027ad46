/** Texts on a loaded engine: tokens in, logits out, and what was counted on the way. */

import { rotationOf } from '../../mapping/hadamard.ts';
import { STAGES, type Stage } from '../../model/architecture.ts';
import { type Engine, type EngineRequest, isShapeOnly, type Visitors } from '../backend.ts';
import { unrotated } from '../image.ts';
import { newTurns, requireFinite, requireInputs, requireSpace, requireToken } from '../turns.ts';
import { sampleCodingLoss } from './coding-loss.ts';
import type { Work } from './control.ts';
import { COUNTS_BYTES } from './kernels/adc.ts';
import type { EngineData } from './plan/context.ts';
import { padded } from './plan/operations.ts';
import type { EnginePlan } from './plan/plan.ts';
import { collectActivity, collectRanges, toldActivity } from './run/collect.ts';
import { fillWindow } from './run/fill.ts';
import type { ModelVectors } from './source.ts';

export type Texts = Pick<
  Engine,
  'prefill' | 'decode' | 'activity' | 'resetActivity' | 'ranges' | 'codingLoss' | 'close'
>;

/** Position in the text. */
interface Place {
  /** Of the next token. */
  position: number;
  /** Key of the draws. */
  window: number;
  /** Since activity was reset. */
  tokens: number;
}

/** `run` does work on all threads; `stop` lets them go. */
export function newTexts(
  { model, fabric, mode, image, onProgress, contextTokens }: EngineRequest,
  { layout: choice, physics }: EnginePlan,
  data: EngineData,
  vectors: ModelVectors,
  run: (work: Work) => Promise<void>,
  stop: () => Promise<void>,
): Texts {
  const { shape, layout } = data;
  const state = newStateMemory(data);
  const residual = choice.residual && rotationOf(choice.residual);
  const place: Place = { position: 0, window: 0, tokens: 0 };
  const turns = newTurns();

  /** A batch through all blocks, with a stop wherever someone looks. */
  const runBatch = async (ids: ArrayLike<number>, from: number, count: number, visitors: Visitors) => {
    const { states, inputs, stream } = visitors;
    for (let token = 0; token < count; token++) {
      const id = ids[from + token];
      requireToken(id, shape.vocab);
      state.putEmbedding(token, (row) =>
        stream ? stream(place.position + token, row) : vectors.embedding(id, row),
      );
    }
    const { position, window } = place;
    const batch = { count, position, window };
    const wanted = Array.from({ length: count }, (_, token) => token).filter((token) =>
      states?.wants(position + token),
    );
    const steps = shape.layers * STAGES.length;
    let begun = 0;
    for (let step = 0; step < steps; step++) {
      const block = Math.floor(step / STAGES.length);
      const stage = STAGES[step % STAGES.length];
      const looks = inputs?.wants(block, stage);
      const behind = stage === STAGES[STAGES.length - 1] && wanted.length > 0;
      if (!looks && !behind && step < steps - 1) continue;
      await run({ kind: 'layers', batch, from: begun, to: step + 1 });
      begun = step + 1;
      if (looks) inputs?.visit(block, stage, state.inputs(stage, count), count);
      if (behind) {
        for (const token of wanted) {
          // Behind the last block the stream is the model's own again.
          const x = state.behindBlock(token, block);
          states!.visit(position + token, block, step < steps - 1 ? unrotated(x, residual) : x);
        }
      }
    }
    for (let token = 0; token < count; token++) {
      requireFinite(state.stream(token), 'the activations', position + token);
    }
    place.position += count;
    place.tokens += count;
  };

  return {
    prefill: (ids, window, onLogits, from = 0, visitors = {}) =>
      turns.take(async () => {
        requireInputs(mode, visitors.inputs);
        place.position = 0;
        place.window = window;
        requireSpace(0, ids.length, contextTokens);
        if (physics) fillWindow(data, window);
        for (let start = 0; start < ids.length; start += choice.tokens) {
          const count = Math.min(choice.tokens, ids.length - start);
          await runBatch(ids, start, count, visitors);
          onProgress?.('prefill', (start + count) / ids.length);
          if (!onLogits) continue;
          for (let first = Math.max(0, from - start); first < count; first += choice.headTokens) {
            const rows = Math.min(choice.headTokens, count - first);
            const batch = { count: rows, position: start + first, window };
            await run({ kind: 'head', batch, from: first });
            for (let row = 0; row < rows; row++) onLogits(start + first + row, state.logits(row));
          }
        }
      }),
    decode: (id) =>
      turns.take(async () => {
        const { position, window } = place;
        requireSpace(position, 1, contextTokens);
        if (position === 0 && physics) fillWindow(data, window);
        await runBatch([id], 0, 1, {});
        await run({ kind: 'head', batch: { count: 1, position, window }, from: 0 });
        return state.logits(0);
      }),
    activity() {
      if (physics) return collectActivity(data, physics, choice.integerResponses, place.tokens);
      return mode === 'chip' ? toldActivity(data, fabric, place.tokens) : [];
    },
    resetActivity() {
      place.tokens = 0;
      data.rowSums.fill(0);
      const bytes = new Uint8Array(data.state.buffer);
      data.operations.forEach(({ panels }, i) => {
        bytes.fill(0, layout.counts[i], layout.counts[i] + panels * COUNTS_BYTES);
      });
    },
    ranges: () => (physics ? collectRanges(data, physics) : {}),
    codingLoss: () =>
      isShapeOnly(model) || mode === 'digital' ? [] : sampleCodingLoss(model, fabric, image),
    async close() {
      turns.close();
      await stop();
    },
  };
}

/** The parts of the state memory that hold a token's embedding, its stream and its logits. */
function newStateMemory({ state: memory, shape, layout }: EngineData) {
  const f32 = new Float32Array(memory.buffer);
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
    /** Inputs of the matrices of the stage that ran last: [tokens][K]. */
    inputs(stage: Stage, count: number): Float32Array {
      const [from, elements, width] = {
        'attention-input': [layout.normed, shape.dim, padded(shape.dim)],
        'attention-output': [layout.attended, shape.queryDim, padded(shape.queryDim)],
        'feed-forward-input': [layout.normed, shape.dim, padded(shape.dim)],
        'feed-forward-hidden': [layout.gate, shape.ffnDim, layout.widths.gate],
      }[stage];
      const out = new Float32Array(count * elements);
      for (let token = 0; token < count; token++) {
        const at = from / 4 + token * width;
        out.set(f32.subarray(at, at + elements), token * elements);
      }
      return out;
    },
    logits(row: number): Float32Array {
      const at = layout.logits / 4 + row * logitsWidth;
      logits.set(f32.subarray(at, at + shape.vocab));
      return logits;
    },
  };
}
