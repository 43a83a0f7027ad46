/**
 * Layout of the state memory, which has everything but weights, and how much memory an engine takes.
 *
 * Rows of activations are padded to 16 elements, so that panels write whole vectors; padding is zero. `tokens` is the
 * largest batch.
 */

import { type Arena, allocate, newArena } from '../../../emit/arena.ts';
import { CONSTANTS_END } from '../../../emit/constants.ts';
import type { RotationSpec } from '../../../mapping/hadamard.ts';
import { type BlockNorms, matricesReading, STAGES, type Stage } from '../../../model/architecture.ts';
import { type ModelShape, normWidths, partWidths } from '../../../model/shape.ts';
import { ladderCount } from '../../../tile/ladder.ts';
import type { MemoryEstimate } from '../../backend.ts';
import type { CellFormat } from '../../cell-format.ts';
import type { IntegerResponse } from '../../integer-response.ts';
import { COUNTS_BYTES, TILE_BYTES, TOKEN_BYTES } from '../kernels/adc.ts';
import { CACHE_BYTES, type CacheKind, planAttention } from '../kernels/attention.ts';
import { cellsBytes, PASS_BYTES } from '../kernels/cells.ts';
import { BYTE_LEVELS, ENCODED_BYTES } from '../kernels/encode.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from '../kernels/gemm.ts';
import { PACKED_BYTES } from '../kernels/pack-blocks.ts';
import { JOB_BYTES, layOutScratch } from '../kernels/panel-job.ts';
import { RANGE_WORDS } from '../kernels/record.ts';
import { type DigitalLayout, layOutDigital } from './digital-tables.ts';
import {
  countQuads,
  memorySizes,
  type Operation,
  padded,
  type ResidentPart,
  rowTableBytes,
  weightsOf,
} from './operations.ts';

export interface LayoutChoice {
  readonly shape: ModelShape;
  readonly operations: readonly Operation[];
  /** By number of taps; empty without analog tiles. */
  readonly integerResponses: ReadonlyMap<number, IntegerResponse>;
  /** By number of taps; of chips whose cells differ. */
  readonly cellFormats: ReadonlyMap<number, CellFormat>;
  /** Columns that a ladder feeds. */
  readonly ladderColumns: number;
  readonly contextTokens: number;
  /** Texts with a cache each. */
  readonly texts: number;
  readonly tokens: number;
  /** Positions whose logits are computed together. */
  readonly headTokens: number;
  readonly threads: number;
  /** Of the stream, with an image that rotates it. */
  readonly residual: RotationSpec | undefined;
  readonly cache: CacheKind;
  /** Every operation of a group encodes its own inputs: row noise differs from tensor to tensor. */
  readonly ownInputs: boolean;
  /** Test vectors of a chip whose columns are trimmed; 0: they are not. */
  readonly trimVectors: number;
}

export const PLACE_WORDS = 2;

/** Parts that have rows of their own or beside each other. */
export type PartRows = 'q' | 'k' | 'v' | 'gate' | 'up';
const ROWS_OF_PART = { query: 'q', key: 'k', value: 'v', gate: 'gate', up: 'up' } as const;

/** Addresses in the state memory. */
export interface Layout {
  /** [position][2][headDim] f32, see kernels/between.ts: of blocks that see all tokens, and of those with a window. */
  readonly ropes: Readonly<Record<'full' | 'local', number>>;
  /** By block: gains in f32; and the head's. */
  readonly norms: readonly { readonly [place in keyof BlockNorms]?: number }[];
  /** By operation; undefined: it has none. */
  readonly biases: readonly (number | undefined)[];
  readonly outputNorm: number;
  /** [tokens][padded] f32 each. */
  readonly x: number;
  readonly normed: number;
  readonly delta: number;
  readonly q: number;
  readonly k: number;
  readonly v: number;
  readonly attended: number;
  readonly gate: number;
  readonly up: number;
  /** Elements from one token's row to the next: parts of one matrix lie in one row. */
  readonly widths: Readonly<Record<PartRows, number>>;
  readonly logits: number;
  /** Encoded inputs of up to three operations of a group, phase by phase. */
  readonly inputs: readonly number[];
  readonly magnitudes: readonly number[];
  /** Results of encoding per phase, tile and token, see ENCODED. */
  readonly encoded: readonly number[];
  readonly tokenTables: readonly number[];
  /** Per worker: a row's positive and its negative elements, where phases have one sign each. */
  readonly signs: readonly number[];
  /** [tokens][PLACE_WORDS] i32: position and text of each, where a batch is of several texts. */
  readonly places: number;
  /** Key/value cache by [text][layer][kvHead], and the scales of a cache of bytes, [context] f32 each. */
  readonly keys: number;
  readonly values: number;
  readonly keyScales: number;
  readonly valueScales: number;
  /** Positions the cache holds, a multiple of 16; bytes of one layer and head. */
  readonly contextPadded: number;
  readonly headBytes: number;
  /** Per operation. */
  readonly tileTables: readonly number[];
  readonly counts: readonly number[];
  readonly lookups: readonly number[];
  /** Per operation whose cells differ, bank by bank: CELLS, and the tables of its rows, [ladders][rows of all tiles, padded][8] i16. */
  readonly cellNumbers: readonly number[];
  readonly rowTables: readonly number[];
  /** Per number of taps: the encoding table. */
  readonly encodings: Readonly<Record<number, number>>;
  /** Per number of taps: the same in bytes for `encode_bytes`. */
  readonly byteEncodings: Readonly<Record<number, number>>;
  /** Per worker; job records for the three members of a group. */
  readonly jobs: readonly number[];
  readonly scratches: readonly number[];
  /** See planAttention. */
  readonly scores: readonly number[];
  readonly loads: readonly number[];
  /** Per worker: the rows of a panel as a file has them, of layers whose codes are its own. */
  readonly fileRows: readonly number[];
  /** Per worker: the columns of a panel [16][padded K] f32, of layers that are coded. */
  readonly columns: readonly number[];
  /** Per worker, range calibration only: [all virtual tiles][RANGE_WORDS]. */
  readonly bins: readonly number[];
  /** Outputs of the second pass by place in a group, and per worker a row of what it codes; none without refinement. */
  readonly refined: readonly number[];
  /** Of chips whose columns are trimmed; see load/trim.ts. */
  readonly trim: TrimLayout | undefined;
  readonly rests: readonly number[];
  readonly digital: DigitalLayout;
  readonly bytes: number;
}

/** Bytes for loading a tile of a panel: up to 1024 rows, rank 8. */
const LOAD_SIZES = {
  weights: 1024 * 16 * 4,
  codes: 1024 * 16,
  baked: 8 * 1024 * 16,
  passes: PASS_BYTES,
  factors: 64,
  scales: 64,
  weightSums: 64,
} as const;
type LoadPart = keyof typeof LOAD_SIZES;
export const LOAD_PARTS = {} as Record<LoadPart, number>;
let loadBytes = 0;
for (const part of Object.keys(LOAD_SIZES) as LoadPart[]) {
  LOAD_PARTS[part] = loadBytes;
  loadBytes += Math.ceil(LOAD_SIZES[part] / 64) * 64;
}
const LOAD_BYTES = loadBytes;

/** Lays out the state memory; with an arena, allocates in it, else only adds up. */
function layOut(choice: LayoutChoice, arena?: Arena): Layout {
  const { shape, operations, contextTokens, texts, tokens, threads, cache } = choice;
  let used = arena?.used ?? CONSTANTS_END;
  const take = (bytes: number, what: string): number => {
    if (arena) {
      const at = allocate(arena, bytes, what);
      used = arena.used;
      return at;
    }
    const at = Math.ceil(used / 64) * 64;
    used = at + bytes;
    return at;
  };
  const rows = (width: number, what: string, count = tokens) => take(count * padded(width) * 4, what);
  const each = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
  const contextPadded = padded(contextTokens);
  const headBytes = contextPadded * padded(shape.headDim) * CACHE_BYTES[cache];
  const cacheBytes = texts * shape.layers * shape.kvHeads * headBytes;
  const scaleBytes = cache === 'i8' ? texts * shape.layers * shape.kvHeads * contextPadded * 4 : 0;
  const blockTokens = BLOCK_TOKENS * Math.ceil(tokens / BLOCK_TOKENS);
  const most = (of: (operation: Operation) => number) => Math.max(...operations.map(of));
  const inputBytes = most(
    (o) => o.phases * o.tiles * countQuads(o.rows) * 4 * o.rank * o.planes * (tokens === 1 ? 1 : blockTokens),
  );
  const magnitudeBytes = most(
    (o) => o.phases * o.tiles * countQuads(o.rows) * 4 * (tokens === 1 ? 1 : blockTokens),
  );
  const weightQuads = most((o) => o.rank * countQuads(o.rows));
  const scratch = layOutScratch(
    weightQuads,
    most((o) => countQuads(o.rows)),
    tokens,
    most((o) => o.tiles),
    mostPhases(operations),
  );
  const virtualTiles = operations.reduce((sum, o) => sum + o.cells * o.tiles, 0);
  const recording = operations.some((o) => o.epilogue === 'record' || o.epilogue === 'watch');
  const ropeBytes = contextTokens * 2 * shape.headDim * 4;
  const attention = planAttention(shape.heads / shape.kvHeads, shape.headDim, contextPadded);
  const fullRope = take(ropeBytes, 'rotations');
  const layout = {
    ropes: { full: fullRope, local: shape.window ? take(ropeBytes, 'rotations') : fullRope },
    // An image's addends are added with them.
    biases: operations.map(({ name, outputs, digital }) =>
      shape.biases.includes(name.tensor) || digital?.centre ? rows(outputs, 'bias', 1) : undefined,
    ),
    norms: each(shape.layers, () =>
      Object.fromEntries(
        Object.entries(normWidths(shape)).map(([place, width]) => [place, rows(width, 'norm', 1)]),
      ),
    ),
    outputNorm: rows(shape.dim, 'norm', 1),
    x: rows(shape.dim, 'activations'),
    normed: rows(shape.dim, 'activations'),
    delta: rows(shape.dim, 'activations'),
    ...layOutParts(shape, (width) => rows(width, 'activations')),
    attended: rows(shape.queryDim, 'activations'),
    logits: rows(shape.vocab, 'logits', choice.headTokens),
    inputs: each(choice.ownInputs ? 3 : 1, () => take(inputBytes, 'inputs')),
    magnitudes: each(choice.ownInputs ? 3 : 1, () => take(magnitudeBytes, 'inputs')),
    encoded: each(3, () => take(most((o) => o.phases * o.tiles) * tokens * ENCODED_BYTES, 'inputs')),
    tokenTables: each(3, () =>
      take(most((o) => o.conversions * o.cells * o.tiles) * tokens * TOKEN_BYTES, 'inputs'),
    ),
    places: take(tokens * PLACE_WORDS * 4, 'places'),
    keys: take(cacheBytes, 'key-value cache'),
    values: take(cacheBytes, 'key-value cache'),
    keyScales: take(scaleBytes, 'key-value cache'),
    valueScales: take(scaleBytes, 'key-value cache'),
    contextPadded,
    headBytes,
    tileTables: operations.map((o) => take(o.cells * o.tiles * TILE_BYTES, 'tiles')),
    counts: operations.map((o) => take(o.panels * COUNTS_BYTES, 'counts')),
    lookups: operations.map((o) => take(o.rank * 16, 'code tables')),
    cellNumbers: operations.map((o) =>
      take(hasOwnCells(choice, o) ? o.banks * cellsBytes(o.rank) : 0, 'cells'),
    ),
    rowTables: operations.map((o) =>
      take(
        hasOwnCells(choice, o)
          ? o.banks * ladderCount(o.outputs, o.cells, choice.ladderColumns) * rowTableBytes(o)
          : 0,
        'tables of rows',
      ),
    ),
    encodings: Object.fromEntries(
      [...choice.integerResponses].map(([taps, coding]) => [taps, take(coding.table.byteLength, 'encoding')]),
    ),
    byteEncodings: Object.fromEntries(
      [...choice.integerResponses].map(([taps, { rank }]) => [
        taps,
        take((rank + 1) * BYTE_LEVELS, 'encoding'),
      ]),
    ),
    jobs: each(threads, () => take(3 * JOB_BYTES, 'jobs')),
    scratches: each(threads, () => take(64 + scratch.bytes, 'scratch')),
    scores: each(threads, () => take(attention.bytes, 'scores')),
    loads: each(threads, () => take(LOAD_BYTES, 'loading')),
    fileRows: each(threads, () => take(most(fileRowsBytes), 'loading')),
    columns: each(threads, () => take(most(columnsBytes), 'loading')),
    signs: each(mostPhases(operations) === 2 ? threads : 0, () =>
      take(2 * 4 * most((o) => padded(o.inputs)), 'signs'),
    ),
    trim: layOutTrim(choice, take),
    ...layOutRefinement(choice, take),
    digital: layOutDigital(choice, take),
    bins: each(recording ? threads : 0, () => take(virtualTiles * RANGE_WORDS * 4, 'histograms')),
  };
  return { ...layout, bytes: used };
}

const columnsBytes = ({ epilogue, source, inputs }: Operation): number =>
  epilogue === 'blocks' && source === 'codes' ? 0 : 4 * PANEL_COLUMNS * padded(inputs);
const fileRowsBytes = ({ epilogue, source, tiles }: Operation): number =>
  epilogue === 'blocks' && source === 'codes' ? PANEL_COLUMNS * tiles * PACKED_BYTES : 0;

export interface TrimLayout {
  /** Vectors that are run at a time. */
  readonly tokens: number;
  /** Per worker: a vector's row [padded K] f32, and the outputs of a tile of a panel [tokens][16] f32. */
  readonly rows: readonly number[];
  readonly outputs: readonly number[];
  /** Of the operation at hand: signed levels [tokens][K] i16, and sums [panels][cells][tiles][16][TRIM_SUMS] f64. */
  readonly levels: number;
  readonly sums: number;
  /** Per operation, [panels][cells][tiles][16] f32. */
  readonly shifts: readonly number[];
}

/** Sums of a column over the vectors: of x, y, x x and x y. */
export const TRIM_SUMS = 4;
/** The window of the test vectors, which no text has. */
export const TRIM_WINDOW = -1;

function layOutTrim(
  { operations, trimVectors, tokens, threads }: LayoutChoice,
  take: (bytes: number, what: string) => number,
): TrimLayout | undefined {
  if (trimVectors === 0) return undefined;
  const analog = operations.filter(({ kind }) => kind === 'tile');
  const most = (of: (operation: Operation) => number) => Math.max(...analog.map(of));
  const columns = (o: Operation) => o.panels * o.cells * o.tiles * PANEL_COLUMNS;
  const count = Math.min(tokens, trimVectors);
  const perThread = (bytes: number) => Array.from({ length: threads }, () => take(bytes, 'trim'));
  return {
    tokens: count,
    rows: perThread(4 * most((o) => padded(o.inputs))),
    outputs: perThread(4 * PANEL_COLUMNS * BLOCK_TOKENS * Math.ceil(count / BLOCK_TOKENS)),
    levels: take(2 * count * most((o) => o.inputs), 'trim'),
    sums: take(8 * TRIM_SUMS * most(columns), 'trim'),
    shifts: operations.map((o) => take(o.kind === 'tile' ? 4 * columns(o) : 0, 'trim')),
  };
}

function layOutRefinement(
  { operations, shape, tokens, headTokens, threads }: LayoutChoice,
  take: (bytes: number, what: string) => number,
): Pick<Layout, 'refined' | 'rests'> {
  const refined = operations.filter((o) => o.refined);
  if (refined.length === 0) return { refined: [], rests: [] };
  const { architecture } = shape;
  // Parts of the gate may lie beside each other, which is as wide as an operation's outputs.
  const widest = Math.max(...refined.filter(({ name }) => name.layer >= 0).map((o) => padded(o.outputs)));
  const members = Math.max(...STAGES.map((stage) => matricesReading(architecture, stage).length));
  const row = Math.max(...refined.map((o) => padded(o.inputs)));
  return {
    refined: Array.from({ length: members }, (_, member) =>
      take(4 * Math.max(widest * tokens, member === 0 ? padded(shape.vocab) * headTokens : 0), 'refinement'),
    ),
    rests: Array.from({ length: threads }, () => take(4 * row, 'refinement')),
  };
}

/** Most phases of an operation. */
export const mostPhases = (operations: readonly Operation[]): 1 | 2 =>
  operations.some(({ phases }) => phases === 2) ? 2 : 1;

const hasOwnCells = ({ cellFormats }: LayoutChoice, { kind }: Operation): boolean =>
  kind === 'tile' && cellFormats.size > 0;

/** Lays out the rows of the parts that the matrices at the inputs of attention and feed-forward give. */
function layOutParts(
  shape: ModelShape,
  take: (width: number) => number,
): Record<PartRows, number> & Pick<Layout, 'widths'> {
  const at: Partial<Record<PartRows, number>> = {};
  const widths: Partial<Record<PartRows, number>> = {};
  for (const matrix of shape.architecture.matrices) {
    if (!isInput(matrix.reads)) continue;
    const parts = partWidths(shape, matrix);
    const width = parts.reduce((sum, part) => sum + part, 0);
    let start = take(width);
    matrix.gives.forEach((part, i) => {
      const name = ROWS_OF_PART[part as keyof typeof ROWS_OF_PART];
      at[name] = start;
      widths[name] = padded(width);
      start += parts[i] * 4;
    });
  }
  return { ...(at as Record<PartRows, number>), widths: widths as Record<PartRows, number> };
}

const isInput = (stage: Stage): boolean => stage === 'attention-input' || stage === 'feed-forward-input';

/** Returns the bytes that an engine would take; more than fits one memory is for the capabilities to refuse. */
export function estimateMemory(choice: LayoutChoice): MemoryEstimate {
  const { resident, parts, tables, baked } = memorySizes(choice.operations);
  const memories = [...resident, ...tables, ...baked.map(({ bytes }) => bytes)];
  const scales = parts.reduce((sum, part) => sum + part.scales, 0);
  const weightBytes = memories.reduce((sum, bytes) => sum + bytes, 4 * scales);
  const stateBytes = layOut(choice).bytes;
  return {
    // A worker's own heap, measured: some 50 MB each, and the main thread's beside the program.
    bytes: weightBytes + stateBytes + 50e6 * (choice.threads + 1),
    weightBytes,
    tokenBytes: choice.operations.reduce(
      (sum, o) => sum + o.panels * (weightsOf(o).panelBytes + o.panelTables),
      0,
    ),
    stateBytes,
    largestMatrixBytes: Math.max(
      ...choice.operations.map((o) => o.panels * Math.max(weightsOf(o).panelBytes, o.panelTables)),
    ),
  };
}

/** The memories of an engine, beside its resident weights. */
export function allocateMemories(
  choice: LayoutChoice,
  parts: readonly ResidentPart[],
): {
  layout: Layout;
  state: WebAssembly.Memory;
  weights: WebAssembly.Memory[];
  tables: WebAssembly.Memory[];
} {
  const { stateBytes } = estimateMemory(choice);
  const arena = newArena(stateBytes, CONSTANTS_END);
  const layout = layOut(choice, arena);
  const sizes = memorySizes(choice.operations);
  const memory = (bytes: number) => newArena(bytes).memory;
  const resident: WebAssembly.Memory[] = [];
  const tables: WebAssembly.Memory[] = [];
  sizes.parts.forEach(({ memories }, part) => {
    memories.forEach((number, i) => {
      resident[number] = parts[part].memories[i];
      tables[number] = parts[part].tables?.[i] ?? memory(sizes.tables[number]);
    });
  });
  return {
    layout,
    state: arena.memory,
    weights: [...resident, ...sizes.baked.map(({ bytes }) => memory(bytes))],
    tables: [...tables, ...sizes.baked.map(({ of }) => tables[of])],
  };
}
