/**
 * The fast engine: the whole forward pass in WebAssembly on several threads, behind the meaning of the scalar reference
 * (src/model/llama.ts with src/fabric and src/tile).
 *
 *   digital  int8 weights in blocks of 32 (two terms where they fit), activations of 14 bits
 *   recoded  the hardware weights in exact arithmetic, activations of 14 bits
 *   range    the nominal chip with its converters left open; `ranges()` gives their full scales
 *   chip     one chip: baked cells, converters, noise
 *
 * Results do not depend on the number of threads or on how a text is cut into batches.
 */
import { availableParallelism } from 'node:os';
import type { Calibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import type { LayerActivity } from '../fabric/activity.ts';
import type { LinearName } from '../fabric/linear.ts';
import type { RangeTable } from '../fabric/log-domain.ts';
import { requireMemory } from '../fabric/memory.ts';
import type { LlamaModel } from '../model/model.ts';
import { buildLayers } from '../model/model.ts';
import type { LlamaShape } from '../model/shape.ts';
import type { Design } from '../tile/design.ts';
import { type TilePhysics, tilePhysics } from '../tile/physics.ts';
import { codingsOf, requireSupported } from './chip.ts';
import { dropCodesFile, finishCodesFile, prepareCodesFile } from './codes-cache.ts';
import { collectActivity, collectRanges } from './collect.ts';
import { COMMAND, CONTROL_WORDS, type Crew, fail, finished, itemsTaken, send } from './control.ts';
import { fillNumbers, fillState, fillWindow } from './fill.ts';
import { STAGES } from './forward.ts';
import {
  allocateMemories,
  estimateMemory,
  type Layout,
  type LayoutChoice,
  type MemoryEstimate,
} from './layout.ts';
import { sameInputs } from './linear.ts';
import { loadStarts } from './load.ts';
import {
  type EngineMode,
  type Operation,
  type OperationChoice,
  padded,
  planOperations,
  tensorName,
} from './plan.ts';
import { chooseKernels } from './selftest.ts';
import { type EngineData, isAnalogMode, NUMBERS, TAP_COUNTS, tileStarts, virtualStarts } from './setup.ts';
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
  readonly shape: LlamaShape;
  readonly modelPath: string | undefined;
  /** GGUF type of a layer's weights. */
  codecOf(name: LinearName): string | undefined;
  embedding(id: number, out: Float32Array): void;
  readonly attnNorm: readonly Float32Array[];
  readonly ffnNorm: readonly Float32Array[];
  readonly outputNorm: Float32Array;
  readonly ropeFrequencies: Float64Array;
}

const DEFAULT_BATCH = 252;
/** Above this many weights a second byte per digital weight is not taken by default. */
const TWO_TERMS_WEIGHTS = 2 ** 28;

export function createEngine(options: EngineOptions): Promise<Engine> {
  return createEngineFrom(sourceOf(options.model), options);
}

function sourceOf(model: LlamaModel): EngineSource {
  const none = (outputs: number, inputs: number) => ({ outputs, inputs, apply: () => {} });
  const layers = buildLayers(model, (_name, outputs, inputs) => none(outputs, inputs));
  return {
    shape: model.shape,
    modelPath: model.file.path,
    codecOf: (name) => model.file.tensors.get(tensorName(name, model.shape.tied))?.codec.name,
    embedding: layers.embedding,
    attnNorm: layers.blocks.map((block) => block.attnNorm),
    ffnNorm: layers.blocks.map((block) => block.ffnNorm),
    outputNorm: layers.outputNorm,
    ropeFrequencies: layers.ropeFrequencies,
  };
}

interface Plan {
  readonly physics: TilePhysics | undefined;
  readonly operations: Operation[];
  readonly choice: LayoutChoice;
  readonly varied: boolean;
  readonly noise: OperationChoice['noise'];
  readonly precision: 'fast' | 'exact';
}

type PlanOptions = Omit<EngineOptions, 'model'>;

function planEngine(
  shape: LlamaShape,
  options: PlanOptions,
  codecOf: EngineSource['codecOf'] = () => undefined,
): Plan {
  const { design, mode, calibration, contextTokens } = options;
  const precision = options.precision ?? 'exact';
  if (shape.headDim % 16 !== 0) {
    throw new OnefetError(
      'usage',
      'ENGINE_MODEL',
      `heads of ${shape.headDim} elements: the fast engine needs multiples of 16`,
      {
        hint: 'use the scalar kernel',
      },
    );
  }
  if (!Number.isInteger(contextTokens) || contextTokens < 1 || contextTokens > shape.contextTokens) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a context of ${contextTokens} tokens is impossible: the model takes 1 to ${shape.contextTokens}`,
    );
  }
  const physics = isAnalogMode(mode) ? tilePhysics(calibration, design) : undefined;
  if (physics) requireSupported(physics);
  if (physics?.input.float && precision === 'fast') {
    throw new OnefetError('usage', 'ENGINE_PRECISION', 'real-valued inputs need precision exact');
  }
  const chip = mode === 'chip';
  const varied =
    chip &&
    physics !== undefined &&
    physics.sigmaVtV + physics.sigmaBeta + design.driver.offsetSigmaV + design.driver.resistorSigma > 0;
  const dynamic =
    chip &&
    physics !== undefined &&
    physics.whiteVariance + physics.clampVariance + physics.samplingVariance + physics.lowFrequencyVariance >
      0;
  const noise = dynamic ? (options.noise ?? 'product') : 'off';
  const cache = new Map<number, number>();
  const operations = planOperations(shape, {
    mode,
    design,
    precision,
    int8Terms: options.int8Terms ?? (weightsOf(shape) <= TWO_TERMS_WEIGHTS ? 2 : 1),
    noise,
    floatConverter: physics?.adc.bits === 'float',
    varied,
    codecOf,
    rankOf(taps) {
      let rank = cache.get(taps);
      if (rank === undefined) {
        rank = codingsOf(physics!, [taps], precision, varied).get(taps)!.rank;
        cache.set(taps, rank);
      }
      return rank;
    },
  });
  const taps = operations.filter((o) => o.kind === 'tile').map((o) => o.taps);
  const noisyRows = chip && physics !== undefined && design.driver.noiseV > 0 && precision === 'exact';
  const groups = [
    [0, 1, 2],
    [4, 5],
  ];
  const mixed = groups.some((group) => group.some((i) => !sameInputs(operations[group[0]], operations[i])));
  const tokens = Math.max(1, Math.min(options.batchTokens ?? DEFAULT_BATCH, contextTokens));
  return {
    physics,
    operations,
    varied,
    noise,
    precision,
    choice: {
      shape,
      operations,
      codings: physics ? codingsOf(physics, taps, precision, varied) : new Map(),
      contextTokens,
      tokens,
      headTokens: Math.min(tokens, 64),
      threads: options.threads ?? availableParallelism(),
      cache: design.kvBits === 8 ? 'i8' : 'f16',
      ownInputs: noisyRows || mixed,
    },
  };
}

function weightsOf(shape: LlamaShape): number {
  const block = shape.dim * (2 * shape.queryDim + 2 * shape.kvDim + 3 * shape.ffnDim);
  return shape.layers * block + shape.dim * shape.vocab;
}

/** What an engine with these options would take, without building it. */
export function estimateEngineMemory(shape: LlamaShape, options: PlanOptions): MemoryEstimate {
  return estimateMemory(planEngine(shape, options).choice);
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
  return session({ source, data, layout, choice, kernel, memory, physics, run, stop, onProgress });
}

interface Parts {
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

/** Between two looks at how far the loading is. */
const WATCH_MS = 500;

const interruption = () => new OnefetError('interrupted', 'INTERRUPTED', 'interrupted');

function session(parts: Parts): Engine {
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
