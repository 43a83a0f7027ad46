/**
 * The interface of all that computes a model. A backend is one way to compute (WebAssembly, scalar TypeScript); an
 * engine is a backend loaded with one model, fabric and mode, and runs texts; a host is what engines are made on:
 *
 *   digital  the model as shipped
 *   mapped   the mapped weights in exact arithmetic: the coding loss alone
 *   range    the nominal chip with its converters left open; `ranges()` gives their full scales
 *   chip     one chip with everything that its design says
 *
 * What a backend can do is data (`Capabilities`). Whether it can do a given request follows from the data alone, by
 * `refusal`; a request that is not refused can be built wherever there is memory for it.
 *
 * With a chip image (src/mapping/image.ts) all modes but `digital` take the matrices of the blocks from it: codes, scales
 * and bits, and what the digital part does around the tiles (src/mapping/apply.ts). Without one the weights are mapped by
 * rounding when the engine is made.
 */
import { versions } from 'node:process';
import { OnefetError } from '../error.ts';
import type { LayerActivity } from '../fabric/activity.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';
import type { ColumnCounts } from '../fabric/column-currents.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { ImageReader } from '../mapping/image.ts';
import type { Stage } from '../model/architecture.ts';
import type { Model } from '../model/model.ts';
import { blockWeights, type Feature, type ModelShape, partWidths, requiredFeatures } from '../model/shape.ts';
import { type ImagePlan, imageParts, weightBits } from './image.ts';
import type { BackendName, Precision } from './names.ts';

export type EngineMode = 'digital' | 'mapped' | 'range' | 'chip';
const ENGINE_MODES = ['digital', 'mapped', 'range', 'chip'] as const satisfies readonly EngineMode[];

/** Modes that a run on a fabric needs: without converters there are no ranges to measure. */
export const neededModes = ({ measuresRanges }: Fabric): readonly EngineMode[] =>
  ENGINE_MODES.filter((mode) => mode !== 'range' || measuresRanges);

/** A shape without a file, for benchmarks: weights are made up by the backend and mean nothing. */
export interface ShapeOnly {
  readonly shape: ModelShape;
  /** GGUF type that the weights would have. */
  readonly madeUpType: string;
}

/** Choices that trade accuracy for speed; a backend without the choice refuses it. */
export interface EngineTuning {
  /** Tokens of a batch. */
  readonly batchTokens?: number;
  /**
   * fast: inputs of 7 bits (a 6-bit DAC and its sign exactly) and weights of 7; row noise is below that and left out.
   * exact: inputs of 14 bits, weights of 8, row noise; ranges are always measured so. Default: what `precisionOf` of the
   * backend says.
   */
  readonly precision?: Precision;
  /**
   * Noise of a column from the current that it draws (product), from its own weights at the mean input of its tile (column), or
   * from the mean of the tile's columns (token, 3 % of sigma). Default: column.
   */
  readonly noise?: 'product' | 'column' | 'token';
  /**
   * Weights of a chip: made of its codes for every batch, or kept, a byte for each cell and rank, which is faster where
   * tokens come one at a time. Results are the same. Default: made.
   */
  readonly cells?: 'made' | 'baked';
  /**
   * Real-valued inputs in two passes, the second over what the 14 bits of the first leave, and keys and values in f32: to
   * check mapped weights against their definition, at twice the time and twice the cache. Tiles are as they are. Default: not.
   */
  readonly refined?: boolean;
  /** Bytes per digital weight; default 2 up to 2^28 weights, else 1. */
  readonly int8Terms?: 1 | 2;
}

/** Above this many weights a second byte per digital weight is not taken by default. */
const TWO_TERMS_WEIGHTS = 2 ** 28;

/** Bytes per digital weight of a model where nothing else is asked for. */
export const int8Terms = (shape: ModelShape): 1 | 2 =>
  blockWeights(shape) + shape.dim * shape.vocab <= TWO_TERMS_WEIGHTS ? 2 : 1;

/** The part of a request that decides whether a backend can do it, and how much memory it takes. */
export interface EngineNeeds {
  /** Its shape decides, and GGUF types by tensor where they are known; `ShapeOnly` has no more. */
  readonly model: (Pick<Model, 'shape'> & { readonly codecs?: ReadonlyMap<string, string> }) | ShapeOnly;
  readonly fabric: Fabric;
  readonly mode: EngineMode;
  readonly threads: number;
  /** Most tokens a text may have. */
  readonly contextTokens: number;
  /** Texts that are kept beside each other, each with its own cache of keys and values; default 1. */
  readonly texts?: number;
  readonly tuning?: EngineTuning;
  /** What a chip image holds; mode `digital` ignores it. */
  readonly image?: ImagePlan | undefined;
}

export interface EngineRequest extends EngineNeeds {
  readonly model: Model | ShapeOnly;
  /**
   * The chip image, open until the engine is made. That it was made of this model is for the caller to see to
   * (`header.model.sha256`); what does not fit the model's shape or the design is refused with `IMAGE_FIT`.
   */
  readonly image?: ImageReader | undefined;
  /** Chip: seed of its draws. */
  readonly chipSeed?: number;
  /** Chip: full scales of the converters; by default the image's. */
  readonly ranges?: RangeTable;
  /** Folder of mapped weights, so that the next engine on this model need not map them again; default: nowhere. */
  readonly codesCache?: {
    readonly folder: string;
    readonly modelSha256: string;
    /** Smaller models are not worth a file. */
    readonly leastWeights?: number;
  };
  /** Share of the weights that is loaded, then of each text; a few times a second. */
  readonly onProgress?: ((stage: 'load' | 'prefill', share: number) => void) | undefined;
  /** Ends what is being done with an error of kind `interrupted`; only `close` is left then. */
  readonly signal?: AbortSignal | undefined;
  /** Counts seconds by stage; see `Engine.profile`. */
  readonly profile?: boolean;
}

/** An engine in use: texts in, logits out, one at a time. */
export interface Engine {
  readonly backend: BackendName;
  readonly mode: EngineMode;
  readonly contextTokens: number;
  readonly memory: MemoryEstimate;
  /** Largest number of separable products of a layer; 1 without analog tiles. */
  readonly rank: number;
  /**
   * A new text: its tokens from position 0 on. `onLogits` sees the logits [vocab] of every position from `from` on, in
   * order, in a buffer that the next call overwrites. `window` keys the draws. `visitors` see what is inside, in buffers
   * that are overwritten too. The first `kept` tokens are those of the text before, of the same window: their keys and values
   * are taken from its cache, nobody sees them, and all else is as if they had been computed again.
   */
  prefill(
    ids: ArrayLike<number>,
    window: number,
    onLogits?: (position: number, logits: Float32Array) => void,
    from?: number,
    visitors?: Visitors,
    kept?: number,
  ): Promise<void>;
  /** The next token of the text; resolves to the logits of its successor, overwritten by the next call. */
  decode(id: number): Promise<Float32Array>;
  /** Turns to another of the engine's texts, 0 at first: `prefill` begins it anew, `decode` continues it. */
  turnTo(text: number): void;
  /**
   * One more token of several texts, at most one each: exactly what `decode` gives text by text, with the weights read once.
   * `onLogits` sees the logits [vocab] behind each of them, by its place in `next`, in a buffer that the next call overwrites.
   */
  decodeMany(
    next: readonly NextToken[],
    onLogits: (index: number, logits: Float32Array) => void,
  ): Promise<void>;
  /** Activity of the analog layers since the last `resetActivity`; empty without any. */
  activity(): LayerActivity[];
  resetActivity(): void;
  /** Coding loss of every mapped matrix; a backend may take an even sample of a large one's rows. */
  codingLoss(): CodingLoss[];
  /** Range mode: full scales from what was seen so far. */
  ranges(): RangeTable;
  /** Range mode: how far columns were driven, against those full scales; null without converters. */
  columnCounts(): ColumnCounts | null;
  /** With `profile`: seconds by stage since the start; empty where a backend does not count them. */
  profile(): Record<string, number>;
  close(): Promise<void>;
}

export interface NextToken {
  readonly text: number;
  readonly id: number;
}

export interface Visitors {
  /** Puts the residual stream x[D] in front of the first block, in place of the token's embedding. */
  readonly stream?: ((position: number, x: Float32Array) => void) | undefined;
  readonly states?: StateVisitor | undefined;
  /**
   * Of modes `digital` and `mapped`; in the latter in the image's bases, and where the image centres a stage or turns it online,
   * before or behind that as the backend has it.
   */
  readonly inputs?: InputVisitor | undefined;
  readonly outputs?: OutputVisitor | undefined;
  /** First position whose inputs and outputs are looked at; default: all. */
  readonly from?: number | undefined;
  /**
   * What every stage reads is put there, so that each matrix is seen by itself: with it nobody looks at logits or states, and the
   * cache does not keep these tokens.
   */
  readonly given?: InputGiver | undefined;
}

/** Fills what a stage reads, x[tokens][K] as the model has it, for tokens from `position` on. Tokens come in order, some at a time. */
export type InputGiver = (
  layer: number,
  stage: Stage,
  x: Float32Array,
  tokens: number,
  position: number,
) => void;

/** Looks at what a matrix gives, y[tokens][N] with its bias, as the model has it: before a norm, a rotation by position or a gate. */
export interface OutputVisitor {
  /** `ordinal`: the matrix's place in a block. */
  visit(layer: number, ordinal: number, y: Float32Array, tokens: number, position: number): void;
}

/** Looks at what the matrices of a stage read, x[tokens][K]: behind a norm's gain. Tokens come in order, some at a time. */
export interface InputVisitor {
  /** Nothing else is wanted of the text: what lies behind the last stage that it wants may be left out. */
  readonly alone?: boolean;
  wants(layer: number, stage: Stage): boolean;
  visit(layer: number, stage: Stage, x: Float32Array, tokens: number): void;
}

/** Looks at the residual stream x[D] behind each block, in the model's own basis, at the positions that it wants. */
export interface StateVisitor {
  wants(position: number): boolean;
  visit(position: number, block: number, x: Float32Array): void;
}

export interface MemoryEstimate {
  /** All of it: what must be free. */
  readonly bytes: number;
  readonly weightBytes: number;
  /** Of them, what the products of every token read: with baked cells not the codes that they were made of. */
  readonly tokenBytes: number;
  /** Beside the weights: activations, key-value cache, tables. */
  readonly stateBytes: number;
  /** Weights of the largest matrix. */
  readonly largestMatrixBytes: number;
}

export interface Backend {
  readonly name: BackendName;
  /** One line for a table of backends. */
  readonly description: string;
  readonly capabilities: Capabilities;
  /** `tokens`: the threads of one engine share every token. `texts`: an engine has one thread, and texts run side by side. */
  readonly parallelism: 'tokens' | 'texts';
  /** The precision of a request that asks for none. */
  precisionOf(needs: EngineNeeds): Precision;
  /** Memory of all that `threads` threads hold, without the program itself. */
  memory(needs: EngineNeeds): MemoryEstimate;
  /** A host of so many threads, which start with its first engine. */
  open(threads: number): Host;
  /** Limits of this machine for this backend; only where it has such limits. */
  measureLimits?(): Promise<MachineLimits>;
}

/**
 * What lives as long as a command: the threads of a backend with their compiled kernels. The engines of all variants, chips
 * and designs are made on it, one after another or beside each other; what one of them computes does not depend on the
 * others.
 */
export interface Host {
  /** Throws what `refusal` says, `RANGES` where a chip lacks them, `MEMORY`, `INTERRUPTED`. */
  create(request: EngineRequest): Promise<Engine>;
  /** Ends the threads, and with them the engines that are open; what was kept for the next engine goes. */
  close(): Promise<void>;
}

export interface MachineLimits {
  /** The kernel that the self-test chose, and why others were passed over. */
  readonly kernel: string;
  readonly rejected: Readonly<Record<string, string>>;
  /** 10^9 multiply-adds a second, one thread, of each kernel that is right. */
  readonly gemmGmacPerSecond: Readonly<Record<string, number>>;
  /** The chosen kernel's product on registers alone. */
  readonly peakGmacPerSecond: number;
  /** May exceed 1: `gemm_small` has a shortcut that the peak does not count. */
  readonly gemmShareOfPeak: number;
  /** Reading memory that is in no cache, one thread. */
  readonly streamGbytePerSecond: number;
}

/** Values that a backend takes: a list, or a range of numbers. */
export type Allowed =
  | { readonly oneOf: readonly (string | number)[] }
  | { readonly from?: number; readonly to?: number; readonly multipleOf?: number };

/** By what is asked; a key that is left out takes every value. */
export type Capabilities = Readonly<Partial<Record<QuestionKey, Allowed>>>;

/** Values that a request has of each key; none where the key does not matter to it. Asked in this order. */
const QUESTIONS = {
  /** WebAssembly with several memories came with 22. */
  'Node version': () => [Number.parseInt(versions.node, 10)],
  'model weights': ({ model }) => [isShapeOnly(model) ? 'made up' : 'from a file'],
  'model features': ({ model }): Feature[] => requiredFeatures(model.shape),
  'model head elements': ({ model }) => [model.shape.headDim],
  'model rotating elements, in halves': ({ model: { shape } }) =>
    shape.architecture.rotary.pairs === 'halves' ? [shape.ropeDim ?? shape.headDim] : [],
  'model part of a fused matrix': ({ model: { shape } }) =>
    shape.architecture.matrices.flatMap((matrix) =>
      matrix.gives.length > 1 ? partWidths(shape, matrix) : [],
    ),
  mode: ({ mode }) => [mode],
  fabric: ({ fabric }) => [fabric.kind],
  kvBits: ({ fabric }) => [fabric.design.kvBits],
  'weights.bits': (needs) => {
    if (needs.mode === 'digital') return [];
    return weightBits(needs);
  },
  'chip image': (needs) => imageParts(needs),
  'input.bits': (needs) => tiles(needs, ({ design }) => design.input.bits),
  'input.codes': (needs) => tiles(needs, ({ design }) => design.input.codes),
  'tile.rows': (needs) => tiles(needs, ({ design }) => design.tile.rows),
  'precision with real-valued inputs': (needs) =>
    tiles(needs, ({ design }) => (design.input.bits === 'float' ? needs.tuning?.precision : undefined)),
  'tuning.precision': ({ tuning }) => asked(tuning?.precision),
  'tuning.noise': ({ tuning }) => asked(tuning?.noise),
  'tuning.cells': ({ tuning }) => asked(tuning?.cells),
  'tuning.refined': ({ tuning }) => (tuning?.refined ? ['yes'] : []),
  'tuning.int8Terms': ({ tuning }) => asked(tuning?.int8Terms),
  /** Sigma of the natural logarithm of a cell's current, on a chip. */
  'spread of a cell': (needs) =>
    needs.mode === 'chip'
      ? tiles(needs, ({ gmOverIPerV, sigmaVtV, sigmaBeta }) => Math.hypot(gmOverIPerV * sigmaVtV, sigmaBeta))
      : [],
  /** Relative droop of a column by its clamp and source line when every row is fully on. */
  'column droop': (needs) =>
    tiles(needs, ({ droop, design }) => (droop.clamp + droop.source) * design.tile.rows),
  /** Relative loss of current where it grows by one e-fold. */
  'loss of a cascode per e-fold of current': (needs) =>
    tiles(needs, ({ droop }) => (droop.cascode ? 1 - droop.cascode.exponent : undefined)),
  'bytes of a matrix': (_needs, memory) => [memory().largestMatrixBytes],
  'bytes beside the weights': (_needs, memory) => [memory().stateBytes],
} as const satisfies Record<
  string,
  (needs: EngineNeeds, memory: () => MemoryEstimate) => readonly (string | number)[]
>;

export type QuestionKey = keyof typeof QUESTIONS;
const QUESTION_KEYS = Object.keys(QUESTIONS) as QuestionKey[];

/** Of requests with analog tiles. */
function tiles<T extends string | number>(
  { fabric, mode }: EngineNeeds,
  value: (physics: NonNullable<Fabric['physics']>) => T | undefined,
): T[] {
  const { physics } = fabric;
  return (mode === 'range' || mode === 'chip') && physics ? asked(value(physics)) : [];
}

const asked = <T>(value: T | undefined): T[] => (value === undefined ? [] : [value]);

export const isShapeOnly = (model: EngineNeeds['model']): model is ShapeOnly => 'madeUpType' in model;

/** A question that a backend refuses, and what it takes instead. */
export interface Refusal {
  readonly backend: BackendName;
  readonly key: string;
  readonly value: string | number;
  readonly allowed: string;
}

/** The first thing of a request that a backend does not do, or undefined. */
export function refusal(backend: Backend, needs: EngineNeeds): Refusal | undefined {
  let estimate: MemoryEstimate | undefined;
  const memory = () => {
    estimate ??= backend.memory(needs);
    return estimate;
  };
  for (const key of QUESTION_KEYS) {
    const allowed = backend.capabilities[key];
    if (allowed === undefined) continue;
    const value = QUESTIONS[key](needs, memory).find((value) => !isAllowed(allowed, value));
    if (value === undefined) continue;
    return { backend: backend.name, key, value: shown(value), allowed: allowedText(allowed) };
  }
  return undefined;
}

export const refusalText = ({ backend, key, value, allowed }: Refusal): string =>
  `the ${backend} engine does not take ${key} = ${value}; it takes ${allowed}`;

/** Throws OnefetError('usage', 'ENGINE_REFUSAL') where the backend cannot do the request. */
export function requireCapable(backend: Backend, needs: EngineNeeds): void {
  const refused = refusal(backend, needs);
  if (refused) {
    throw new OnefetError('usage', 'ENGINE_REFUSAL', refusalText(refused), {
      hint: 'use --engine auto, which takes an engine that can',
    });
  }
}

/** Throws where an engine is asked for with other threads than those of its host. */
export function requireThreads(threads: number, request: EngineNeeds): void {
  if (request.threads === threads) return;
  throw new OnefetError(
    'internal',
    'HOST_THREADS',
    `a host of ${threads} threads has no engine of ${request.threads}`,
  );
}

/** Throws OnefetError('usage', 'CONTEXT_RANGE') unless the model has that many positions. */
export function requireContext({ model, contextTokens }: EngineNeeds): void {
  const most = model.shape.contextTokens;
  if (Number.isInteger(contextTokens) && contextTokens >= 1 && contextTokens <= most) return;
  throw new OnefetError(
    'usage',
    'CONTEXT_RANGE',
    `a context of ${contextTokens} tokens is out of range: the model takes 1 to ${most}`,
  );
}

function isAllowed(allowed: Allowed, value: string | number): boolean {
  if ('oneOf' in allowed) return allowed.oneOf.includes(value);
  const { from = -Infinity, to = Infinity, multipleOf } = allowed;
  if (typeof value !== 'number' || !(value >= from && value <= to)) return false;
  return multipleOf === undefined || value % multipleOf === 0;
}

const shown = (value: string | number): string | number =>
  typeof value === 'number' ? Number(value.toPrecision(4)) : value;

/** As a reader says it: `3, 4 or 6`, `multiples of 8 up to 1024`. */
export function allowedText(allowed: Allowed): string {
  if ('oneOf' in allowed) {
    const words = allowed.oneOf.map(String);
    if (words.length === 0) return 'none';
    return words.length === 1 ? words[0] : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  }
  const { from, to, multipleOf } = allowed;
  const low = from === undefined ? '' : to === undefined ? `at least ${from}` : `from ${from}`;
  const high = to === undefined ? '' : from === undefined ? `up to ${to}` : `to ${to}`;
  const step = multipleOf === undefined ? '' : `multiples of ${multipleOf}`;
  return [step, low, high].filter(Boolean).join(' ');
}

/** A row of the table of capabilities: what each backend takes of a key that at least one of them restricts. */
export interface CapabilityRow {
  readonly key: string;
  /** In the order of the backends; `any` where it takes every value. */
  readonly allowed: readonly string[];
}

export function capabilityTable(backends: readonly Backend[]): CapabilityRow[] {
  return QUESTION_KEYS.filter((key) => backends.some(({ capabilities }) => capabilities[key])).map((key) => ({
    key,
    allowed: backends.map(({ capabilities }) => {
      const allowed = capabilities[key];
      return allowed ? allowedText(allowed) : 'any';
    }),
  }));
}

/** The same as lines of Markdown. */
export function capabilityMarkdown(backends: readonly Backend[]): string {
  const rows = capabilityTable(backends).map(({ key, allowed }) => [key, ...allowed]);
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const head = ['', ...backends.map(({ name }) => `\`${name}\``)];
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
