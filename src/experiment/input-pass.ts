/**
 * The calibration text through the model as shipped, some blocks at a time: the residual streams behind the last block
 * that was passed are kept, so that a model of any depth is passed once and a part of its weights is in memory.
 *
 * Memory: T D f32 of streams, and an engine of the blocks of one part.
 */
import {
  type Backend,
  type Engine,
  type EngineNeeds,
  type InputVisitor,
  int8Terms,
} from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import type { Stage } from '../model/architecture.ts';
import { readRow } from '../model/gguf.ts';
import { type Model, modelPart } from '../model/model.ts';
import { requireTensor } from '../model/model-tensors.ts';
import { blockWeights, type ModelShape } from '../model/shape.ts';

/** Sees inputs x [tokens][K] of a stage of a block. */
export type InputLook = (layer: number, stage: Stage, x: Float32Array, tokens: number) => void;

interface Blocks {
  readonly first: number;
  readonly count: number;
}

/** `look` sees the inputs of the blocks that `wants`; `onProgress` the share that is done. */
interface Looks {
  wants(layer: number): boolean;
  readonly look: InputLook;
  onProgress(share: number): void;
}

export interface PassEngine extends Pick<EngineNeeds, 'fabric' | 'threads'> {
  readonly backend: Backend;
}

export interface InputPass {
  /** Tokens of the text. */
  readonly tokens: number;
  /** What it runs on. */
  readonly on: PassEngine;
  /** Passes these blocks, and first what lies between them and those that were passed last; blocks before those begin again. */
  run(blocks: Blocks, looks: Looks): Promise<void>;
}

/** Weights of the blocks of one engine where nobody looks. */
const PART_WEIGHTS = 2 ** 28;

/** Blocks that are passed together where nobody looks at their inputs. */
const blocksPerPart = (shape: ModelShape): number =>
  Math.max(1, Math.min(shape.layers, Math.floor((PART_WEIGHTS * shape.layers) / blockWeights(shape))));

/** A pass over a text (token ids by window) on an engine. */
export function newInputPass(
  model: Model,
  windows: readonly Int32Array[],
  { fabric, threads }: Pick<EngineNeeds, 'fabric' | 'threads'>,
  backend: Backend,
  signal: AbortSignal | undefined,
): InputPass {
  const { shape } = model;
  const tokens = windows.reduce((sum, ids) => sum + ids.length, 0);
  const contextTokens = Math.max(...windows.map((ids) => ids.length));
  let streams: Float32Array[] | undefined;
  let reached = 0;
  const begin = () => {
    streams = undefined;
    reached = 0;
  };
  const part = async ({ first, count }: Blocks, { wants, look, onProgress }: Looks): Promise<void> => {
    streams ??= windows.map((ids) => embed(model, ids));
    let before = 0;
    let length = 0;
    const engine = await createEngine(backend.name, {
      ...partRequest(model, { first, count }, { fabric, threads, backend }),
      mode: 'digital',
      contextTokens,
      onProgress: (stage, share) => {
        if (stage === 'prefill') onProgress((before + share * length) / tokens);
      },
      signal,
    });
    try {
      for (const [window, x] of streams.entries()) {
        length = windows[window].length;
        // Nothing is behind the last block.
        await passStream(engine, window, x, shape.dim, first + count < shape.layers, {
          wants: (layer) => wants(first + layer),
          visit: (layer, stage, a, rows) => look(first + layer, stage, a, rows),
        });
        before += length;
        onProgress(before / tokens);
      }
    } catch (error) {
      begin();
      throw error;
    } finally {
      await engine.close();
    }
    reached = first + count;
    if (reached === shape.layers) begin();
  };
  return {
    tokens,
    on: { fabric, threads, backend },
    async run({ first, count }, looks) {
      if (first < reached) begin();
      const start = reached;
      const share = (blocks: number) => (blocks - start) / (first + count - start);
      while (reached < first) {
        const at = reached;
        const own = Math.min(blocksPerPart(shape), first - at);
        await part(
          { first: at, count: own },
          { wants: () => false, look: () => {}, onProgress: (x) => looks.onProgress(share(at + x * own)) },
        );
      }
      await part(
        { first, count },
        { ...looks, onProgress: (x) => looks.onProgress(share(first + x * count)) },
      );
    },
  };
}

/** What an engine of some blocks is made of. */
export const partRequest = (
  model: Model,
  { first, count }: Blocks,
  { fabric, threads, backend }: PassEngine,
) => ({
  model: modelPart(model, first, count),
  fabric,
  threads,
  // As of the whole model; what takes no choice has one precision.
  ...(backend.capabilities['tuning.int8Terms'] ? {} : { tuning: { int8Terms: int8Terms(model.shape) } }),
});

/** A window's residual stream x [tokens][D] through the blocks of an engine; with `advance` it becomes that behind the last of them. */
export async function passStream(
  engine: Engine,
  window: number,
  x: Float32Array,
  dim: number,
  advance: boolean,
  inputs?: InputVisitor,
): Promise<void> {
  const length = x.length / dim;
  const row = (position: number) => x.subarray(position * dim, (position + 1) * dim);
  await engine.prefill(new Int32Array(length), window, undefined, length, {
    stream: (position, out) => out.set(row(position)),
    inputs,
    // The streams of a batch are read before they are written; of several blocks the last one's stays.
    states: { wants: () => advance, visit: (position, _block, state) => row(position).set(state) },
  });
}

/** The stream in front of the first block [tokens][D]. */
export function embed({ file, shape: { dim, scales } }: Model, ids: Int32Array): Float32Array {
  const table = requireTensor(file, 'token_embd.weight');
  const x = new Float32Array(ids.length * dim);
  ids.forEach((id, t) => {
    readRow(file, table, id, x.subarray(t * dim, (t + 1) * dim));
  });
  const factor = scales?.embedding;
  return factor === undefined ? x : x.map((value) => factor * value);
}
