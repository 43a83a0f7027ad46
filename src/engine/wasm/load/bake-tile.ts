/** One tile and panel of a chip: codes to the effective weights of its cells, in the weights memory. */

import { invoke } from '../../../emit/wat.ts';
import { gaussian, type StreamKey } from '../../../random.ts';
import { cellKey, DRAW } from '../../../tile/draws.ts';
import type { RowErrors } from '../../../tile/ladder.ts';
import { BYTE_TOP, SMALL_WEIGHT } from '../../integers.ts';
import { BAKE_OPERANDS } from '../kernels/bake.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { countQuads, type Operation } from '../plan/operations.ts';
import { tilePlace } from '../plan/tile-place.ts';

export interface TileStrip {
  /** [rows][16] */
  readonly codes: Int8Array;
  readonly rows: number;
  readonly tile: number;
  /** First physical column. */
  readonly column: number;
  /** Address in the weights memory. */
  readonly at: number;
}

/**
 * Bakes a strip: with the kernel `bake` where columns pair up as in Box-Muller's pairs of draws, else the same in scalar
 * code. `errors` are those of the ladder that feeds the panel.
 */
export function bakeTile(
  context: WorkerContext,
  operation: Operation,
  strip: TileStrip,
  errors: RowErrors,
): void {
  const { data, bytes, kernels, index } = context;
  const { rank } = operation;
  const base = data.layout.loads[index];
  const part = (name: keyof typeof LOAD_PARTS) => base + LOAD_PARTS[name];
  const paddedRows = 4 * countQuads(strip.rows);
  bytes.fill(0, part('codes'), part('codes') + paddedRows * PANEL_COLUMNS);
  new Int8Array(bytes.buffer, part('codes')).set(strip.codes);
  const cells: StripCells = {
    codes: part('codes'),
    baked: part('baked'),
    keys: part('keys'),
    table: part('table'),
    tapTable: part('taps'),
    paddedRows,
    ...cellLaws(context, operation),
    ...drawnCells(context, operation, strip),
  };
  writeTables(context, operation, strip, errors, cells);
  if (cells.columns % 2 === 0) bakeInKernel(context, operation, cells);
  else bakeInScalars(context, rank, cells);
  const quads = paddedRows / 4;
  for (let r = 0; r < rank; r++) {
    kernels[operation.baked!.memory].transpose(
      cells.baked + r * paddedRows * PANEL_COLUMNS,
      strip.at + r * quads * QUAD_BYTES.bytes,
      quads,
    );
  }
}

/** Laws of a cell by tap, in terms of the gate error g of the kernel `bake`. */
interface CellLaws {
  readonly sigmaVtV: number;
  readonly slopes: Float64Array;
  readonly curves: Float64Array;
  readonly bends: Float64Array;
  readonly betas: Float64Array;
  /** Added to g. */
  readonly shifts: Float64Array;
  readonly share: Float64Array;
  /** Stored weights [rank][taps + 1]. */
  readonly weights: readonly Float64Array[];
}

/** Keys and numbers of the cells that a strip draws. */
interface DrawnCells {
  readonly vt: StreamKey;
  readonly beta: StreamKey;
  /** Physical columns of the matrix, and the number of the strip's first cell. */
  readonly columns: number;
  readonly first: number;
}

/** A strip of cells in the worker's buffers: addresses in bytes. */
interface StripCells extends CellLaws, DrawnCells {
  readonly codes: number;
  readonly baked: number;
  readonly keys: number;
  readonly table: number;
  readonly tapTable: number;
  readonly paddedRows: number;
}

/**
 * src/tile/cell-sums.ts has ln I = ((b e + c) e + a) e + share dBeta + logMean, e = rowShare error - share dVt; here in
 * g = e / share + logMean / (a share). The last is exact as a tap of several transistors has neither c nor b.
 */
function cellLaws({ data, physics, integerResponses }: WorkerContext, { taps }: Operation): CellLaws {
  const response = physics!.responses.get(taps)!;
  const { share, logMean } = physics!.spreads.get(taps)!;
  const varied = data.chip.errors;
  const slopes = response.gmOverIByTap.map((slope, m) => slope * share[m]);
  return {
    sigmaVtV: varied ? physics!.sigmaVtV : 0,
    slopes,
    curves: response.curvatureByTap.map((curve, m) => curve * share[m] ** 2),
    bends: response.bendByTap.map((bend, m) => bend * share[m] ** 3),
    betas: share.map((s) => (varied ? s * physics!.sigmaBeta : 0)),
    shifts: logMean.map((log, m) => (varied && m > 0 ? log / slopes[m] : 0)),
    share,
    weights: integerResponses.get(taps)!.weights,
  };
}

function drawnCells({ data }: WorkerContext, operation: Operation, strip: TileStrip): DrawnCells {
  const place = tilePlace(operation, strip.tile, data.shape.layers);
  const columns = operation.outputs * operation.cells;
  return {
    vt: cellKey(DRAW.vt, data.chip, place, 0),
    beta: cellKey(DRAW.beta, data.chip, place, 0),
    columns,
    first: strip.tile * operation.rows * columns + strip.column,
  };
}

/** Laws and responses by tap, and the errors of every row and tap, as `bake` reads them. */
function writeTables(
  { f32, physics }: WorkerContext,
  { rank, taps }: Operation,
  { rows }: TileStrip,
  errors: RowErrors,
  { table, tapTable, paddedRows, ...laws }: StripCells,
): void {
  f32.fill(0, table / 4, table / 4 + 8 * (4 + rank));
  [laws.slopes, laws.curves, laws.betas, laws.bends, ...laws.weights].forEach((values, i) => {
    f32.set(values, table / 4 + 8 * i);
  });
  f32.fill(0, tapTable / 4, tapTable / 4 + paddedRows * 8);
  const { rowShareByTap } = physics!.responses.get(taps)!;
  for (let j = 0; j < rows; j++) {
    for (let m = 1; m <= taps; m++) {
      const errorV = rowShareByTap[m] * (errors.tapErrorV[m][j] + errors.rowOffsetV[j]);
      f32[tapTable / 4 + j * 8 + m] = errorV / laws.share[m] + laws.shifts[m];
    }
  }
}

function bakeInKernel({ i32, f32, kernels }: WorkerContext, operation: Operation, cells: StripCells): void {
  const { keys, vt, beta, sigmaVtV, paddedRows } = cells;
  i32.set([vt.a | 0, vt.b | 0, beta.a | 0, beta.b | 0], keys / 4);
  f32.set([sigmaVtV, operation.small ? SMALL_WEIGHT : BYTE_TOP], keys / 4 + 4);
  invoke(kernels[operation.baked!.memory].bake, BAKE_OPERANDS, {
    codes: cells.codes,
    stride: PANEL_COLUMNS,
    out: cells.baked,
    rankBytes: paddedRows * PANEL_COLUMNS,
    rank: operation.rank,
    rows: paddedRows,
    index: cells.first,
    columns: cells.columns,
    keys,
    sigmas: keys + 16,
    table: cells.table,
    taps: cells.tapTable,
  });
}

function bakeInScalars({ bytes, f32 }: WorkerContext, rank: number, cells: StripCells): void {
  const { codes, baked, tapTable, paddedRows, vt, beta, first, columns } = cells;
  const { slopes, curves, bends, betas, weights, sigmaVtV } = cells;
  const out = new Int8Array(bytes.buffer);
  for (let j = 0; j < paddedRows; j++) {
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      const code = (bytes[codes + j * PANEL_COLUMNS + n] << 24) >> 24;
      const tap = Math.abs(code);
      const cell = first + j * columns + n;
      const gateV = f32[tapTable / 4 + j * 8 + tap] - sigmaVtV * gaussian(vt, cell);
      const slope = slopes[tap] + (curves[tap] + bends[tap] * gateV) * gateV;
      const gain = Math.exp(slope * gateV + betas[tap] * gaussian(beta, cell));
      for (let r = 0; r < rank; r++) {
        const value = Math.round(Math.sign(code) * weights[r][tap] * gain);
        out[baked + r * paddedRows * PANEL_COLUMNS + j * PANEL_COLUMNS + n] = Math.max(
          -128,
          Math.min(127, value),
        );
      }
    }
  }
}
