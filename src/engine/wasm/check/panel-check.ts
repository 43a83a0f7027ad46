/** Runs a panel kernel on a given case and compares it with the reference: the body of tests and of the self-test. */

import { type Arena, allocate } from '../../../emit/arena.ts';
import { CONSTANTS_END } from '../../../emit/constants.ts';
import { halfBits } from '../../../model/codecs/half.ts';
import { bits32, streamKey, uniform } from '../../../random.ts';
import { BYTE_TOP, SMALL_WEIGHT } from '../../integers.ts';
import { COUNTS, COUNTS_BYTES, TILE, TILE_BYTES, TOKEN, TOKEN_BYTES } from '../kernels/adc.ts';
import { CODE_ZERO } from '../kernels/blocks.ts';
import { BLOCK_TOKENS } from '../kernels/gemm.ts';
import { epiloguesOf, type Kernels } from '../kernels/module.ts';
import {
  type Epilogue,
  JOB,
  JOB_BYTES,
  type JobField,
  layOutScratch,
  panelName,
  SCRATCH_FIELDS,
  type TableKind,
  tableBytes,
  tableKind,
  WEIGHT_SUMS_ROW,
} from '../kernels/panel-job.ts';
import { INPUT_ZERO, QUAD_BYTES, type Source } from '../kernels/prepare.ts';
import { RANGE_WORDS } from '../kernels/record.ts';
import { countQuads } from '../plan/operations.ts';
import { type CellsCase, drawCellsCase, tileWeights, writeCellsCase } from './cells-case.ts';
import {
  type PanelCase,
  type PanelSums,
  referencePanel,
  referenceSums,
  splitPlanes,
  sumColumns,
} from './panel-reference.ts';

/** What the kernels of a check run on. */
export interface Memories {
  readonly state: Arena;
  readonly weights: Arena;
  readonly tables: Arena;
}

export interface CaseShape {
  readonly rows: readonly number[];
  readonly cells: number;
  readonly rank: number;
  readonly planes: 1 | 2;
  readonly count: number;
  /** Weights for `gemm_small`. */
  readonly small: boolean;
  /**
   * Digital weights in blocks, of rank 1 and with two planes: bytes (kernels/byte-blocks.ts), or small codes in one cell and in tiles of 32
   * rows (kernels/blocks.ts).
   */
  readonly blocks?: boolean;
}

/**
 * A drawn case. With `codes`, weights are table values of 4-bit codes, the same codes for every rank; with `cells`, those of
 * a drawn chip.
 */
function drawCase(
  shape: CaseShape,
  source: Source,
  seed: number,
): PanelCase & CaseShape & { codes: Int8Array[][]; lookup: Int8Array[]; own: CellsCase | undefined } {
  const key = streamKey(seed, 0x70616e65);
  let next = 0;
  const integer = (low: number, high: number) => low + (bits32(key, next++) % (high - low + 1));
  const real = (low: number, high: number) => Math.fround(low + (high - low) * uniform(key, next++));
  const { rows, cells, rank, planes, count } = shape;
  const most = planes === 1 ? 63 : 8191;
  const top = shape.small ? SMALL_WEIGHT : BYTE_TOP;
  const each = <T>(n: number, make: (i: number) => T) => Array.from({ length: n }, (_, i) => make(i));
  // Code 0 is no cell: rows beyond a tile's last have it.
  const lookup = each(rank, () =>
    Int8Array.from({ length: 16 }, (_, code) => {
      if (shape.blocks) return code - CODE_ZERO;
      return code === 0 ? 0 : integer(-top, top);
    }),
  );
  const least = source === 'cells' ? -7 : -8;
  const codes = each(cells, () =>
    rows.map((r) => Int8Array.from({ length: r * 16 }, () => integer(least, 7))),
  );
  const own = source === 'cells' ? drawCellsCase(integer, rows, cells, rank, top) : undefined;
  const column = 16 * integer(0, 1000);
  const columnsPerCell = 16384;
  return {
    ...shape,
    tiles: rows.length,
    column,
    columnsPerCell,
    codes,
    own,
    lookup,
    weights: each(cells, (cell) =>
      rows.map((r, tile) =>
        each(rank, (part) => {
          if (own) {
            const index = column + cell * columnsPerCell + tile * rows[0] * own.columns;
            return tileWeights(own, { cell, tile, index, rank: part }, codes[cell][tile]);
          }
          return Int8Array.from({ length: r * 16 }, (_, i) =>
            source === 'bytes' ? integer(-top, top) : lookup[part][codes[cell][tile][i] & 15],
          );
        }),
      ),
    ),
    inputs: rows.map((r) =>
      each(count, () => each(rank, () => Int32Array.from({ length: r }, () => integer(-most, most)))),
    ),
    magnitudes: rows.map((r) => each(count, () => Int32Array.from({ length: r }, () => integer(0, 127)))),
    columns: each(cells, () =>
      rows.map(() =>
        Float32Array.from({ length: 48 }, (_, i) => {
          // What a half holds, subnormal ones too.
          if (shape.blocks) return integer(-2047, 2047) * 2 ** -integer(10, 24);
          return i < 16 ? real(1e-4, 2e-4) : real(-1, 1);
        }),
      ),
    ),
    tokens: each(cells, () =>
      rows.map(() =>
        each(count, () => ({
          keyA: bits32(key, next++) | 0,
          keyB: bits32(key, next++) | 0,
          gain: real(0.9, 1.1),
          out: real(0, 2),
          floor: real(0, 1),
          slow: real(0, 0.5),
          sigma: real(0, 1),
          current: real(0, 127),
        })),
      ),
    ),
    tileTable: each(cells, () =>
      rows.map(() => ({
        slowKeyA: bits32(key, next++) | 0,
        slowKeyB: bits32(key, next++) | 0,
        perCurrent: real(0, 1e-5),
        top: 127,
      })),
    ),
  };
}

/**
 * Undefined when y and clip count of the kernels of all epilogues equal the reference's on one drawn case, else which differs
 * and how. Uses both memories from their start (above the constants).
 */
export function checkPanels(
  kernels: Kernels,
  memories: Memories,
  shape: CaseShape,
  source: Source,
  seed: number,
): string | undefined {
  const c = drawCase(shape, source, seed);
  const sums = referenceSums(c);
  const epilogues: readonly Epilogue[] = shape.blocks ? ['blocks'] : epiloguesOf(source);
  for (const epilogue of epilogues) {
    const difference = checkPanel(kernels, memories, c, sums, source, epilogue);
    if (difference) return `${source} ${JSON.stringify(epilogue)}: ${difference}`;
  }
  return undefined;
}

function checkPanel(
  kernels: Kernels,
  memories: Memories,
  c: DrawnCase,
  sums: PanelSums,
  source: Source,
  epilogue: Epilogue,
): string | undefined {
  const expected = referencePanel(c, epilogue, sums);
  const { y, clipped } = runCase(kernels, memories, c, source, epilogue, c.count > 1);
  for (let i = 0; i < y.length; i++) {
    if (!Object.is(y[i] + 0, expected.y[i] + 0)) {
      return `token ${i >> 4} column ${i & 15} is ${y[i]}, not ${expected.y[i]}`;
    }
  }
  return clipped === expected.clipped ? undefined : `${clipped} conversions clipped, not ${expected.clipped}`;
}

type DrawnCase = ReturnType<typeof drawCase>;

function runCase(
  kernels: Kernels,
  { state, weights, tables }: Memories,
  c: DrawnCase,
  source: Source,
  epilogue: Epilogue,
  batch: boolean,
): { y: Float32Array; clipped: number } {
  state.used = CONSTANTS_END;
  weights.used = 0;
  const view = new DataView(state.memory.buffer);
  const inputs = writeInputs(state, c, batch ? BLOCK_TOKENS : 1);
  const parameters = writeParameters(state, c, epilogue);
  weights.used = writeWeights(new Uint8Array(weights.memory.buffer), c, source);
  writeTables(new DataView(tables.memory.buffer), c, tableKind(source, epilogue));
  const quads = countQuads(Math.max(...c.rows));
  const results = clearResults(state, c, quads);
  const fields: Record<JobField, number> = {
    weights: 0,
    tables: 0,
    weightBytes: weights.used,
    column: c.column,
    cells: c.cells,
    columnsPerCell: c.columnsPerCell,
    tiles: c.tiles,
    quads,
    lastQuads: countQuads(c.rows[c.tiles - 1]),
    rank: c.rank,
    planes: c.planes,
    small: c.small ? 1 : 0,
    // One product of signed inputs; others are held against the scalar engine (sign.test.ts).
    phases: 1,
    banks: 1,
    conversions: 1,
    phaseX: 0,
    phaseMagnitude: 0,
    phaseTokens: 0,
    phaseSums: 0,
    bankCells: 0,
    bankRows: 0,
    firstCell: 0,
    shifts: 0,
    ...inputs,
    ...parameters,
    ...(c.own
      ? writeCellsCase(state, c.own, c.rows, c.planes)
      : { cellNumbers: 0, rowTables: 0, rowTablesStride: 0, tileCells: 0 }),
    count: c.count,
    columns: 16,
    ...results,
  };
  const job = allocate(state, JOB_BYTES, 'job');
  for (const [name, value] of Object.entries(fields)) view.setInt32(job + JOB[name as JobField], value, true);
  kernels[panelName(source, epilogue, batch)](job);
  return readResults(view, c.count, results);
}

/** Inputs of every tile and token by planes, and their magnitudes; rows beyond a tile's last are zero. */
function writeInputs(
  state: Arena,
  c: DrawnCase,
  perBlock: number,
): Record<'x' | 'xStride' | 'magnitude' | 'magnitudeStride', number> {
  const bytes = new Uint8Array(state.memory.buffer);
  const blocks = Math.ceil(c.count / perBlock);
  const quads = countQuads(Math.max(...c.rows));
  const xStride = blocks * c.planes * c.rank * quads * perBlock * 4;
  const magnitudeStride = blocks * quads * perBlock * 4;
  const x = allocate(state, c.tiles * xStride, 'x');
  bytes.fill(INPUT_ZERO, x, x + c.tiles * xStride);
  const magnitude = allocate(state, c.tiles * magnitudeStride, 'magnitude');
  c.rows.forEach((rows, tile) => {
    const partBytes = countQuads(rows) * perBlock * 4;
    for (let token = 0; token < c.count; token++) {
      const block = Math.floor(token / perBlock);
      const inBlock = token % perBlock;
      for (let j = 0; j < countQuads(rows) * 4; j++) {
        const rowAt = ((j >> 2) * perBlock + inBlock) * 4 + (j & 3);
        for (let r = 0; r < c.rank; r++) {
          const value = j < rows ? c.inputs[tile][token][r][j] : 0;
          splitPlanes(value, c.planes).forEach((byte, plane) => {
            const part = (block * c.planes + plane) * c.rank + r;
            bytes[x + tile * xStride + part * partBytes + rowAt] = byte;
          });
        }
        bytes[magnitude + tile * magnitudeStride + block * partBytes + rowAt] =
          j < rows ? c.magnitudes[tile][token][j] : 0;
      }
    }
  });
  return { x, xStride, magnitude, magnitudeStride };
}

/** Parameters of every token and tile, and the values of codes. */
function writeParameters(
  state: Arena,
  c: DrawnCase,
  epilogue: Epilogue,
): Record<'tokens' | 'tokensStride' | 'tileTable' | 'lookup', number> {
  const bytes = new Uint8Array(state.memory.buffer);
  const view = new DataView(state.memory.buffer);
  const groups = c.count === 1 ? 1 : BLOCK_TOKENS * Math.ceil(c.count / BLOCK_TOKENS);
  const tokensStride = epilogue === 'blocks' ? 4 * groups : c.count * TOKEN_BYTES;
  const tokens = allocate(state, c.cells * c.tiles * tokensStride, 'tokens');
  const tileTable = allocate(state, c.cells * c.tiles * TILE_BYTES, 'tiles');
  for (let v = 0; v < c.cells * c.tiles; v++) {
    const [cell, tile] = [Math.floor(v / c.tiles), v % c.tiles];
    c.tokens[cell][tile].forEach((token, t) => {
      if (epilogue === 'blocks') {
        view.setFloat32(tokens + v * tokensStride + 4 * t, token.out, true);
        return;
      }
      const at = tokens + v * tokensStride + t * TOKEN_BYTES;
      for (const name of ['keyA', 'keyB'] as const) view.setInt32(at + TOKEN[name], token[name], true);
      for (const name of ['gain', 'out', 'floor', 'slow', 'sigma', 'current'] as const)
        view.setFloat32(at + TOKEN[name], token[name], true);
    });
    const entry = c.tileTable[cell][tile];
    const at = tileTable + v * TILE_BYTES;
    for (const name of ['slowKeyA', 'slowKeyB'] as const) view.setInt32(at + TILE[name], entry[name], true);
    for (const name of ['perCurrent', 'top'] as const) view.setFloat32(at + TILE[name], entry[name], true);
  }
  const lookup = allocate(state, 16 * c.rank, 'lookup');
  c.lookup.forEach((values, r) => {
    bytes.set(new Uint8Array(values.buffer), lookup + 16 * r);
  });
  return { tokens, tokensStride, tileTable, lookup };
}

/** Wider than a panel, to see that the kernel keeps to its columns. */
const OUT_STRIDE = 128;
const UNTOUCHED = 0xee;

/** Places of what the kernel writes: its scratch, counts, ranges and outputs. */
function clearResults(
  state: Arena,
  c: DrawnCase,
  quads: number,
): Record<'counts' | 'scratch' | 'out' | 'outStride' | 'bins', number> {
  const bytes = new Uint8Array(state.memory.buffer);
  const view = new DataView(state.memory.buffer);
  const counts = allocate(state, COUNTS_BYTES, 'counts');
  bytes.fill(0, counts, counts + COUNTS_BYTES);
  const parts = layOutScratch(c.rank * quads, quads, c.count, c.tiles, 1);
  const scratch = allocate(state, 64, 'header');
  const scratchAt = allocate(state, parts.bytes, 'scratch');
  SCRATCH_FIELDS.forEach((name, i) => {
    view.setInt32(scratch + 4 * i, scratchAt - scratch + parts[name], true);
  });
  const out = allocate(state, c.count * OUT_STRIDE, 'out');
  bytes.fill(UNTOUCHED, out, out + c.count * OUT_STRIDE);
  const bins = allocate(state, c.cells * c.tiles * RANGE_WORDS * 4, 'bins');
  return { counts, scratch, out, outStride: OUT_STRIDE, bins };
}

function readResults(
  view: DataView,
  count: number,
  { out, counts }: ReturnType<typeof clearResults>,
): { y: Float32Array; clipped: number } {
  const y = new Float32Array(count * 16);
  for (let t = 0; t < count; t++) {
    for (let n = 0; n < 16; n++) y[t * 16 + n] = view.getFloat32(out + t * OUT_STRIDE + 4 * n, true);
    if (view.getUint8(out + t * OUT_STRIDE + 64) !== UNTOUCHED)
      throw new RangeError('the kernel wrote beyond its columns');
  }
  let clipped = 0;
  for (let n = 0; n < 4; n++) clipped += view.getInt32(counts + COUNTS.clipped + 4 * n, true);
  return { y, clipped };
}

/** A panel in the order of kernels/panel.ts; returns its bytes. */
function writeWeights(to: Uint8Array, c: DrawnCase, source: Source): number {
  let at = 0;
  for (let cell = 0; cell < c.cells; cell++) {
    for (let tile = 0; tile < c.tiles; tile++) {
      const quads = countQuads(c.rows[tile]);
      const values = c.weights[cell][tile];
      for (const part of source === 'bytes' ? values : [c.codes[cell][tile]]) {
        packRows(to, at, part, c.rows[tile], quads, source);
        at += quads * QUAD_BYTES[source];
      }
    }
  }
  return at;
}

/** The tables of the panel's columns, by cell and tile. */
function writeTables(to: DataView, c: DrawnCase, kind: TableKind): void {
  let at = 0;
  for (let cell = 0; cell < c.cells; cell++) {
    for (let tile = 0; tile < c.tiles; tile++, at += tableBytes(kind)) {
      if (kind === 'halves' || kind === 'scales') {
        for (let n = 0; n < 16; n++) {
          const scale = c.columns[cell][tile][n];
          if (kind === 'halves') to.setUint16(at + 2 * n, halfBits(scale), true);
          else to.setFloat32(at + 4 * n, scale, true);
        }
        continue;
      }
      if (kind === 'cells') {
        c.columns[cell][tile].forEach((value, i) => {
          to.setFloat32(at + 4 * i, value, true);
        });
        continue;
      }
      for (let n = 0; n < 16; n++) {
        let sum = 0;
        for (const w of c.weights[cell][tile]) for (let j = 0; j < c.rows[tile]; j++) sum += w[j * 16 + n];
        to.setInt32(at + 4 * n, sum * INPUT_ZERO * (c.planes === 2 ? 128 : 1), true);
      }
      // Epilogues without gains only have the scales.
      const rows = kind === 'accumulate' ? c.columns[cell][tile].subarray(0, 16) : c.columns[cell][tile];
      rows.forEach((value, i) => {
        to.setFloat32(at + 64 + 4 * i, value, true);
      });
      if (kind !== 'summed') continue;
      sumColumns(c.weights[cell][tile][0]).forEach((sum, n) => {
        to.setInt32(at + 64 * WEIGHT_SUMS_ROW + 4 * n, sum, true);
      });
    }
  }
}

/** values[rows][16] to quads of a panel; rows beyond are zero. */
function packRows(
  to: Uint8Array,
  at: number,
  values: Int8Array,
  rows: number,
  quads: number,
  source: Source,
): void {
  for (let j = 0; j < 4 * quads; j++) {
    const base = at + (j >> 2) * QUAD_BYTES[source];
    for (let n = 0; n < 16; n++) {
      const value = j < rows ? values[j * 16 + n] : 0;
      if (source === 'bytes') {
        to[base + n * 4 + (j & 3)] = value;
      } else {
        // Columns 0..3 and 8..11 in the low nibbles of their 16 bytes, 4..7 and 12..15 in the high ones.
        const byte = base + (n >> 3) * 16 + (n & 3) * 4 + (j & 3);
        to[byte] = n & 4 ? (to[byte] & 0x0f) | ((value & 15) << 4) : (to[byte] & 0xf0) | (value & 15);
      }
    }
  }
}
