/**
 * The fast engine: the whole forward pass in WebAssembly on several threads, behind the meaning of the scalar reference
 * (src/model/forward.ts with src/fabric and src/tile).
 *
 *   digital  int8 weights in blocks of 32 (two terms where they fit), activations of 14 bits
 *   recoded  the hardware weights in exact arithmetic, activations of 14 bits
 *   range    the nominal chip with its converters left open; `ranges()` gives their full scales
 *   chip     one chip: baked cells, converters, noise
 *
 * Results do not depend on the number of threads or on how a text is cut into batches.
 */

import type { Calibration } from '../../cell/calibration.ts';
import { OnefetError } from '../../error.ts';
import type { TileActivity as LayerActivity } from '../../fabric/activity.ts';
import type { LinearName } from '../../fabric/linear.ts';
import type { LogDomainDesign as Design } from '../../fabric/log-domain.ts';
import type { RangeTable } from '../../fabric/ranges.ts';
import { requireMemory } from '../../memory.ts';
import type { LlamaModel } from '../../model/model.ts';
import { buildLayers } from '../../model/model.ts';
import { type ModelShape, sourceTensor } from '../../model/shape.ts';
import { chooseKernels } from './check/selftest.ts';
import { COMMAND, CONTROL_WORDS, type Crew, fail, finished, itemsTaken, send } from './control.ts';
import { dropCodesFile, finishCodesFile, prepareCodesFile } from './load/codes-cache.ts';
import { loadStarts } from './load/load.ts';
import { type EngineData, NUMBERS, TAP_COUNTS } from './plan/context.ts';
import { allocateMemories, estimateMemory, type MemoryEstimate } from './plan/layout.ts';
import { type EngineMode, tileStarts, virtualStarts } from './plan/operations.ts';
import { type PlanOptions, planEngine } from './plan/plan.ts';
import { fillNumbers, fillState } from './run/fill.ts';
import { newSession } from './session.ts';
import { startWorkers } from './threads.ts';

export interface EngineOptions {
  readonly model: LlamaModel;
  readonly design: Design;
  readonly calibration: Calibration;
  readonly mode: EngineMode;
  /** Chip: seed of its draws. */
  readonly chipSeed?: number;
  /** Chip: full scales of the converters. */
  readonly ranges?: RangeTable;
  readonly threads?: number;
  /** Most tokens a text may have. */
  readonly contextTokens: number;
  /** Tokens of a batch; default 252, whole blocks of 6. */
  readonly batchTokens?: number;
  /**
   * fast: inputs of 7 bits (a 6-bit DAC and its sign exactly) and weights of 7; row noise is below that and left out.
   * exact: inputs of 14 bits, weights of 8, row noise. Default: exact.
   */
  readonly precision?: 'fast' | 'exact';
  /** Noise from the current that each column draws, or from the tile's mean (3 % of sigma). Default: product. */
  readonly noise?: 'product' | 'token';
  /** Bytes per digital weight; default 2 up to 2^28 weights, else 1. */
  readonly int8Terms?: 1 | 2;
  /** Where hardware codes are kept, so that the next engine on this model need not recode them; default: nowhere. */
  readonly codesCache?: {
    readonly folder: string;
    readonly modelSha256: string;
    /** Smaller models are not worth a file. */
    readonly leastWeights?: number;
  };
  /** Share of the weights that is loaded, then of each text; some times a second. */
  readonly onProgress?: (stage: 'load' | 'prefill', share: number) => void;
  /** Ends what is being done with an error of kind `interrupted`; only `close` is left then. */
  readonly signal?: AbortSignal | undefined;
  /** Counts seconds by stage; see bench.ts. */
  readonly profile?: boolean;
}

export interface Engine {
  readonly mode: EngineMode;
  /** The dot product that the self-test accepted, such as `relaxed`. */
  readonly kernel: string;
  readonly memory: MemoryEstimate;
  /** Largest number of separable products of a layer. */
  readonly rank: number;
  readonly contextTokens: number;
  /**
   * A new text: its tokens from position 0 on, in batches. `onLogits` sees the logits [vocab] of every position from
   * `from` on, in order, in a buffer that the next call overwrites. `window` keys the draws. `states` sees the residual
   * stream behind the blocks, in the same way.
   */
  prefill(
    ids: ArrayLike<number>,
    window: number,
    onLogits?: (position: number, logits: Float32Array) => void,
    from?: number,
    states?: StateVisitor,
  ): Promise<void>;
  /** The next token of the text; resolves to the logits of its successor, overwritten by the next call. */
  decode(id: number): Promise<Float32Array>;
  /** What the analog layers did since the last `resetActivity`; empty in digital modes. */
  activity(): LayerActivity[];
  resetActivity(): void;
  /** Range mode: full scales from what was seen so far. */
  ranges(): RangeTable;
  /** With `profile`: seconds by stage since the start. */
  profile(): Record<string, number>;
  close(): Promise<void>;
}

/** Looks at the residual stream x[D] behind each block, at the positions that it wants. */
export interface StateVisitor {
  wants(position: number): boolean;
  visit(position: number, block: number, x: Float32Array): void;
}

/** Shape and weights; `bench` has no file. */
export interface EngineSource {
  readonly shape: ModelShape;
  readonly modelPath: string | undefined;
  /** GGUF type of a layer's weights. */
  codecOf(name: LinearName): string | undefined;
  embedding(id: number, out: Float32Array): void;
  readonly attnNorm: readonly Float32Array[];
  readonly ffnNorm: readonly Float32Array[];
  readonly outputNorm: Float32Array;
  readonly ropeFrequencies: Float64Array;
}

export function createEngine(options: EngineOptions): Promise<Engine> {
  return createEngineFrom(sourceOf(options.model), options);
}

function sourceOf(model: LlamaModel): EngineSource {
  const none = (outputs: number, inputs: number) => ({ outputs, inputs, apply: () => {} });
  const layers = buildLayers(model, (_name, outputs, inputs) => none(outputs, inputs));
  return {
    shape: model.shape,
    modelPath: model.file.path,
    codecOf: (name) => model.file.tensors.get(sourceTensor(name, model.shape.tied))?.codec.name,
    embedding: layers.embedding,
    attnNorm: layers.blocks.map((block) => block.norms.attentionInput!),
    ffnNorm: layers.blocks.map((block) => block.norms.feedForwardInput!),
    outputNorm: layers.outputNorm,
    ropeFrequencies: layers.blocks[0].ropeFrequencies,
  };
}

export async function createEngineFrom(source: EngineSource, options: PlanOptions): Promise<Engine> {
  const { shape } = source;
  const plan = planEngine(shape, options, source.codecOf);
  const { choice, operations, physics } = plan;
  const { threads } = choice;
  const memory = estimateMemory(choice);
  requireMemory(
    memory.bytes,
    `the fast engine (${options.mode}, context ${choice.contextTokens})`,
    'use a smaller model or a shorter context',
  );
  if (options.mode === 'chip' && !options.ranges && physics?.adc.bits !== 'float') {
    throw new OnefetError('internal', 'RANGES', 'a chip needs the ranges of its converters');
  }
  const { module, kernel } = await chooseKernels();
  const { layout, state, weights } = allocateMemories(choice);
  const starts = virtualStarts(operations);
  const virtualTiles = starts[operations.length];
  const shared = (count: number, size: number) => new SharedArrayBuffer(count * size);
  const codesFile =
    options.codesCache && source.modelPath !== undefined
      ? prepareCodesFile(
          options.codesCache.folder,
          options.codesCache.modelSha256,
          operations,
          options.codesCache.leastWeights,
        )
      : undefined;
  const data: EngineData = {
    modelPath: source.modelPath,
    shape,
    mode: options.mode,
    operations,
    layout,
    module,
    state,
    weights,
    control: new Int32Array(shared(CONTROL_WORDS, 4)),
    threads,
    contextTokens: choice.contextTokens,
    cache: choice.cache,
    precision: plan.precision,
    varied: plan.varied,
    ownInputs: choice.ownInputs,
    design: options.design,
    physics,
    codings: choice.codings,
    chip:
      options.mode === 'chip' ? { errors: true, seed: options.chipSeed ?? 0 } : { errors: false, seed: 0 },
    ranges: options.ranges,
    tapCounts: new Int32Array(shared(virtualTiles * TAP_COUNTS, 4)),
    numbers: new Float64Array(shared(virtualTiles * NUMBERS, 8)),
    rowSums: new Float64Array(shared(threads * tileStarts(operations)[operations.length] * 2, 8)),
    codesFile,
    profile: options.profile ? new Float64Array(shared(8, 8)) : undefined,
  };
  fillState(data, source, choice);
  const workers = await startWorkers(data);
  const crew: Crew = { words: data.control, threads };
  const { signal } = options;
  const abort = () => fail(crew);
  signal?.addEventListener('abort', abort, { once: true });
  const stop = async () => {
    signal?.removeEventListener('abort', abort);
    send(crew, COMMAND.stop, []);
    await workers.stop();
  };
  const run = async (command: number, operands: readonly number[]) => {
    if (signal?.aborted) throw interruption();
    send(crew, command, operands);
    try {
      await finished(crew);
    } catch (error) {
      if (signal?.aborted) throw interruption();
      // The worker's own report arrives as a message.
      await new Promise((resolve) => setTimeout(resolve, 20));
      throw workers.failure() ?? error;
    }
  };
  const items = loadStarts(operations)[operations.length];
  const watch = setInterval(() => {
    options.onProgress?.('load', Math.min(1, itemsTaken(crew) / items));
  }, WATCH_MS);
  try {
    await run(COMMAND.load, []);
    if (codesFile) finishCodesFile(codesFile);
  } catch (error) {
    await stop();
    if (codesFile) dropCodesFile(codesFile);
    throw error;
  } finally {
    clearInterval(watch);
  }
  if (physics) fillNumbers(data, physics, choice.codings);
  const { onProgress } = options;
  return newSession({ source, data, layout, choice, kernel, memory, physics, run, stop, onProgress });
}

/** Between two looks at how far the loading is. */
const WATCH_MS = 500;

const interruption = () => new OnefetError('interrupted', 'INTERRUPTED', 'interrupted');
