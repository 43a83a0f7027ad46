/** An engine in use: texts in, logits out, one at a time. */
import { OnefetError } from '../../error.ts';
import type { TilePhysics } from '../../tile/physics.ts';
import { COMMAND } from './control.ts';
import type { Engine, EngineOptions, EngineSource, StateVisitor } from './engine.ts';
import type { EngineData } from './plan/context.ts';
import type { Layout, LayoutChoice, MemoryEstimate } from './plan/layout.ts';
import { padded } from './plan/operations.ts';
import { collectActivity, collectRanges } from './run/collect.ts';
import { fillWindow } from './run/fill.ts';
import { STAGES } from './run/forward.ts';

export interface SessionParts {
  readonly source: EngineSource;
  readonly data: EngineData;
  readonly layout: Layout;
  readonly choice: LayoutChoice;
  readonly kernel: string;
  readonly memory: MemoryEstimate;
  readonly physics: TilePhysics | undefined;
  run(command: number, operands: readonly number[]): Promise<void>;
  stop(): Promise<void>;
  readonly onProgress: EngineOptions['onProgress'];
}

export function newSession(parts: SessionParts): Engine {
  const { source, data, layout, choice, physics, run } = parts;
  const { shape } = source;
  const f32 = new Float32Array(data.state.buffer);
  const width = padded(shape.dim);
  const logitsWidth = padded(shape.vocab);
  const logits = new Float32Array(shape.vocab);
  let position = 0;
  let window = 0;
  let tokens = 0;
  let busy = false;

  const layers = async (ids: ArrayLike<number>, from: number, count: number, states?: StateVisitor) => {
    for (let t = 0; t < count; t++) {
      const id = ids[from + t];
      if (!Number.isInteger(id) || id < 0 || id >= shape.vocab) {
        throw new OnefetError(
          'internal',
          'TOKEN_RANGE',
          `token ${id} is outside the vocabulary of ${shape.vocab}`,
        );
      }
      const at = layout.x / 4 + t * width;
      const row = new Float32Array(shape.dim);
      source.embedding(id, row);
      f32.set(row, at);
      f32.fill(0, at + shape.dim, at + width);
    }
    const wanted = states
      ? Array.from({ length: count }, (_, t) => t).filter((t) => states.wants(position + t))
      : [];
    if (wanted.length === 0) {
      await run(COMMAND.layers, [count, position, window, 0, shape.layers]);
    } else {
      for (let block = 0; block < shape.layers; block++) {
        await run(COMMAND.layers, [count, position, window, block, block + 1]);
        for (const t of wanted) states!.visit(position + t, block, stateOf(t, block));
      }
    }
    position += count;
    tokens += count;
  };
  /** Behind the last block the stream is whole; behind the others the feed-forward's part still waits in `delta`. */
  const state = new Float32Array(shape.dim);
  const stateOf = (token: number, block: number): Float32Array => {
    const x = layout.x / 4 + token * width;
    const delta = layout.delta / 4 + token * width;
    const last = block === shape.layers - 1;
    for (let i = 0; i < state.length; i++) state[i] = f32[x + i] + (last ? 0 : f32[delta + i]);
    return state;
  };
  const checkSpace = (count: number) => {
    if (position + count > choice.contextTokens) {
      throw new OnefetError(
        'usage',
        'CONTEXT_FULL',
        `the context of ${choice.contextTokens} tokens is full`,
        {
          hint: 'choose a longer context or a shorter text',
        },
      );
    }
  };
  const exclusive = async <T>(work: () => Promise<T>): Promise<T> => {
    if (busy) throw new OnefetError('internal', 'ENGINE_BUSY', 'the engine does one text at a time');
    busy = true;
    try {
      return await work();
    } finally {
      busy = false;
    }
  };
  const take = (row: number) => {
    const at = layout.logits / 4 + row * logitsWidth;
    logits.set(f32.subarray(at, at + shape.vocab));
    return logits;
  };
  return {
    mode: data.mode,
    kernel: parts.kernel,
    memory: parts.memory,
    rank: Math.max(...data.operations.map((o) => o.rank)),
    contextTokens: choice.contextTokens,
    prefill: (ids, newWindow, onLogits, from = 0, states = undefined) =>
      exclusive(async () => {
        position = 0;
        window = newWindow;
        checkSpace(ids.length);
        if (physics) fillWindow(data, window);
        for (let start = 0; start < ids.length; start += choice.tokens) {
          const count = Math.min(choice.tokens, ids.length - start);
          await layers(ids, start, count, states);
          parts.onProgress?.('prefill', (start + count) / ids.length);
          if (!onLogits) continue;
          for (let first = Math.max(0, from - start); first < count; first += choice.headTokens) {
            const rows = Math.min(choice.headTokens, count - first);
            await run(COMMAND.head, [rows, start + first, window, first]);
            for (let row = 0; row < rows; row++) onLogits(start + first + row, take(row));
          }
        }
      }),
    decode: (id) =>
      exclusive(async () => {
        checkSpace(1);
        if (position === 0 && physics) fillWindow(data, window);
        await layers([id], 0, 1);
        await run(COMMAND.head, [1, position - 1, window, 0]);
        return take(0);
      }),
    activity: () => (physics ? collectActivity(data, physics, choice.codings, tokens) : []),
    resetActivity() {
      tokens = 0;
      data.rowSums.fill(0);
      const bytes = new Uint8Array(data.state.buffer);
      data.operations.forEach((o, i) => {
        bytes.fill(0, layout.counts[i], layout.counts[i] + o.panels * 32);
      });
    },
    ranges: () => collectRanges(data, physics?.meanGain ?? 1),
    profile: () => Object.fromEntries(STAGES.map((name, i) => [name, data.profile?.[i] ?? 0])),
    close: parts.stop,
  };
}
