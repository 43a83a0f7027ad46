/**
 * Job of a panel kernel: its record in the state memory, the scratch of a worker, and the names by which a
 * kernel is found. kernels/panel.ts says what is done with it.
 */
import type { I32, Local } from '../../../emit/wat.ts';
import { type ConvertName, convertName, type NoiseKind } from './adc.ts';
import { PASS_BYTES } from './cells.ts';
import { DRAW_BYTES } from './draw.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from './gemm.ts';
import { QUAD_BYTES, type Source } from './prepare.ts';

const FIELDS = [
  'weights', // of this panel, in the weights memory
  'tables', // of this panel's columns, in the tables memory
  'weightBytes', // of the panel, to be touched before they are used; 0: none
  'cellNumbers', // cells: see CELLS
  'rowTables', // cells: of the first tile's rows on the ladder that feeds the panel
  'rowTablesStride', // to those of the next cell's ladder
  'tileCells', // cells: of all columns of a tile
  'column', // number of its first column
  'out', // of its first token
  'counts', // of the panel, COUNTS_BYTES
  'cells',
  'columnsPerCell', // from a cell's column to the next cell's
  'tiles', // of a cell
  'quads', // of a tile and rank
  'lastQuads',
  'rank',
  'planes',
  'small', // 1: weights are at most SMALL_WEIGHT
  'phases', // 2: inputs by their sign, of magnitudes: a product for each
  'banks', // 2: cells of their own for each phase
  'conversions', // 2: each phase is converted by itself, else the second is taken from the first
  'phaseX', // from a phase's inputs to the next one's
  'phaseMagnitude',
  'phaseTokens', // from a conversion's parameters to the next one's
  'phaseSums', // in the scratch, from a phase's sums to the next one's
  'bankCells', // cells: from a bank's numbers to the next one's
  'bankRows', // cells: from a bank's tables of rows to the next one's
  'firstCell', // cells: number of the first tile's first cell, less that of its column
  'shifts', // of the panel, [cells][tiles][16] f32: what trim takes from each column; 0: nothing
  'x', // [tiles][blocks][planes][rank quads][6][4], or one token [tiles][planes][rank quads][4]
  'xStride', // of a tile
  'magnitude', // [tiles][blocks][quads][6][4], or one token [tiles][quads][4]
  'magnitudeStride',
  'tokens', // [cells tiles][count] of TOKEN_BYTES; of blocks out_t alone, f32
  'tokensStride', // of a tile
  'tileTable', // [cells tiles] of TILE_BYTES
  'lookup', // [rank][16] bytes of code values
  'count', // tokens
  'outStride', // bytes of a row of out
  'bins', // record: histograms [cells tiles] of RANGE_WORDS
  'columns', // record: columns of the panel that exist
  'scratch', // where the offsets of the scratch parts lie
] as const;
export type JobField = (typeof FIELDS)[number];
export const JOB = Object.fromEntries(FIELDS.map((field, i) => [field, 4 * i])) as Record<JobField, number>;
export const JOB_BYTES = 4 * FIELDS.length;

/** The offsets of the scratch parts stand at the job's `scratch`, relative to it. */
export const SCRATCH_FIELDS = [
  'weights',
  'magnitude',
  'raw',
  'currents',
  'y',
  'normals',
  'slow',
  'cells',
  'zeros',
  'weightSums',
] as const;
/** Scratch of one worker, in bytes: the tile's weights and magnitudes, sums, y, draws, what cells pass through, and zeros and sums of |w| of all tiles. */
export type Scratch = Readonly<Record<(typeof SCRATCH_FIELDS)[number] | 'bytes', number>>;
/** Of a phase: sums of all tokens for one tile, or of one token for all tiles. */
export const sumsBytes = (tokens: number, tiles: number): number =>
  Math.max(Math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS, tiles) * PANEL_COLUMNS * 4;

/** `weightQuads`: rank times the quads of a tile; `tokens`: largest batch; `tiles`: most tiles of a cell. */
export function layOutScratch(
  weightQuads: number,
  quads: number,
  tokens: number,
  tiles: number,
  phases: 1 | 2,
): Scratch {
  const y = Math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS * PANEL_COLUMNS * 4;
  const sums = phases * sumsBytes(tokens, tiles);
  const starts: number[] = [];
  // 192 bytes apart from multiples of the cache's way size, so that the parts do not evict each other.
  let at = 0;
  const sizes: Record<(typeof SCRATCH_FIELDS)[number], number> = {
    weights: weightQuads * QUAD_BYTES.bytes,
    magnitude: quads * QUAD_BYTES.bytes,
    raw: sums,
    currents: sums,
    y,
    normals: DRAW_BYTES,
    slow: DRAW_BYTES,
    cells: PASS_BYTES,
    zeros: tiles * PANEL_COLUMNS * 4,
    weightSums: tiles * PANEL_COLUMNS * 4,
  };
  for (const name of SCRATCH_FIELDS) {
    starts.push(at);
    at += Math.ceil(sizes[name] / 64) * 64 + 192;
  }
  const parts = SCRATCH_FIELDS.map((name, i) => [name, starts[i]]);
  return { ...Object.fromEntries(parts), bytes: at };
}

/** `blocks` is `accumulate` of digital weights in blocks (blocks.ts, byte-blocks.ts), `watch` is `record` that also keeps the largest current of a column and phase. */
export type Epilogue =
  | 'accumulate'
  | 'blocks'
  | 'record'
  | 'watch'
  | { readonly noise: NoiseKind; readonly float: boolean };
type EpilogueName = 'accumulate' | 'blocks' | 'record' | 'watch' | ConvertName;
const epilogueName = (epilogue: Epilogue): EpilogueName =>
  typeof epilogue === 'string' ? epilogue : convertName(epilogue.noise, epilogue.float);
export type PanelName = `panel_${Source}_${EpilogueName}_${'batch' | 'single'}`;
export const panelName = (source: Source, epilogue: Epilogue, batch: boolean): PanelName =>
  `panel_${source}_${epilogueName(epilogue)}_${batch ? 'batch' : 'single'}`;
export const drawsCurrent = (epilogue: Epilogue) =>
  typeof epilogue === 'string' ? epilogue === 'watch' : epilogue.noise === 'product';
/** Takes the noise from the sums of |w| of its columns. */
export const sumsWeights = (epilogue: Epilogue) =>
  typeof epilogue !== 'string' && epilogue.noise === 'column';
export type TableKind = 'accumulate' | 'halves' | 'scales' | 'convert' | 'summed' | 'cells';
export function tableKind(source: Source, epilogue: Epilogue): TableKind {
  if (epilogue === 'blocks') return source === 'codes' ? 'halves' : 'scales';
  if (epilogue === 'accumulate') return epilogue;
  // What the offset of the inputs adds to cells is found with them, and so are the sums of their |w|.
  if (source === 'cells') return 'cells';
  return sumsWeights(epilogue) ? 'summed' : 'convert';
}
/** Bytes of the column table of a tile and panel. */
export const tableBytes = (kind: TableKind): number =>
  ({ accumulate: 8, halves: 2, scales: 4, convert: 16, summed: 20, cells: 12 })[kind] * PANEL_COLUMNS;

/** Row of the scales in a converter's table: of cells the zeros that come first elsewhere are left out. */
export const SCALES_ROW = { cells: 2, stored: 3 } as const;
/** Row of the sums of |w| in a table `summed`. */
export const WEIGHT_SUMS_ROW = 4;

/** Of the scales of a block of bytes. */
export const SCALES_BYTES = tableBytes('scales');

export type Parts = Readonly<Record<(typeof SCRATCH_FIELDS)[number], I32>>;

/** What differs between the conversions of a tile. */
export type Conversion = Readonly<Record<'raw' | 'currents' | 'tokens' | 'slowKeys', Local<'i32'>>>;

/** Locals of both forms of the panel. */
export interface Frame {
  readonly field: (name: JobField) => I32;
  readonly part: Parts;
  /** Weights of the current tile, and the table of its columns. */
  readonly at: Local<'i32'>;
  readonly table: Local<'i32'>;
  /** What the offset of the inputs adds to its sums. */
  readonly zero: Local<'i32'>;
  /** The sums of |w| of the current tile's columns. */
  readonly weightSums: Local<'i32'>;
  /** Cells: the table of the tile's rows, and the number of its first cell. */
  readonly rowTable: Local<'i32'>;
  readonly cellIndex: Local<'i32'>;
  readonly tokens: Local<'i32'>;
  /** Of what is being converted: sums of columns, parameters of tokens, keys of the slow draws. */
  readonly sums: Conversion;
  readonly tileTable: Local<'i32'>;
  readonly bins: Local<'i32'>;
  readonly column: Local<'i32'>;
  readonly x: Local<'i32'>;
  readonly magnitude: Local<'i32'>;
  readonly tile: Local<'i32'>;
  readonly tileQuads: Local<'i32'>;
  readonly rank: Local<'i32'>;
  readonly planes: Local<'i32'>;
  readonly count: Local<'i32'>;
}
