/** Cells of a drawn chip for checks of the kernels: numbers of 16 bits that use the whole range, and the weights they make. */

import { type Arena, allocate } from '../../../emit/arena.ts';
import { cellBits } from '../../../tile/cell-draws.ts';
import { type CellNumbers, cellWeight, TABLE_TAPS } from '../../cell-format.ts';
import { cellsBytes, writeCells } from '../kernels/cells.ts';
import type { JobField } from '../kernels/panel-job.ts';
import { countQuads } from '../plan/operations.ts';

export interface CellsCase {
  readonly format: CellNumbers;
  readonly key: { readonly a: number; readonly b: number };
  /** Columns of the matrix. */
  readonly columns: number;
  /** [cell][tile] [padded rows][8] */
  readonly rowTables: readonly (readonly Int16Array[])[];
}

/** exp over the range of a small cell with two squarings, of one with three times its spread with four. */
const EXPONENTIALS = {
  2: { top: 17741, polynomial: [18227, 19640, 10587, 3886, 1040] },
  4: { top: 14125, polynomial: [21776, 20490, 9643, 3058, 701] },
} as const;

/** `integer` draws one between two bounds. */
export function drawCellsCase(
  integer: (low: number, high: number) => number,
  rows: readonly number[],
  cells: number,
  rank: number,
  limit: number,
): CellsCase {
  const table = (low: number, high: number) =>
    Int16Array.from({ length: TABLE_TAPS }, (_, m) => (m === 0 ? 0 : integer(low, high)));
  const squarings = integer(0, 1) === 0 ? 2 : 4;
  const { top, polynomial } = EXPONENTIALS[squarings];
  return {
    format: {
      linear: 13466 - integer(0, 1) * 9000,
      cubic: 3174 - integer(0, 1) * 2000,
      slope: table(15000, 31000),
      curve: table(-1500, 1500),
      bend: table(-300, 300),
      beta: table(0, 1500),
      top,
      polynomial: Int16Array.from(polynomial),
      squarings,
      baseBits: integer(0, 1) === 0 ? 7 : 5,
      base: Array.from({ length: rank }, (_, r) => table(r === 0 ? 0 : -32000, 32000)),
      limit,
    },
    key: { a: integer(0, 2 ** 30), b: integer(-(2 ** 30), 2 ** 30) },
    columns: integer(16, 60_000),
    rowTables: Array.from({ length: cells }, () =>
      rows.map((count) =>
        Int16Array.from({ length: 4 * countQuads(count) * TABLE_TAPS }, () => integer(-9000, 9000)),
      ),
    ),
  };
}

/** w_r [rows][16] of a tile whose first cell has number `index`. */
export function tileWeights(
  { format, key, columns, rowTables }: CellsCase,
  place: { readonly cell: number; readonly tile: number; readonly index: number; readonly rank: number },
  codes: Int8Array,
): Int8Array {
  const { cell, tile, index, rank } = place;
  return codes.map((code, i) => {
    const [row, column] = [Math.floor(i / 16), i % 16];
    const error = rowTables[cell][tile][row * TABLE_TAPS + Math.abs(code)];
    return cellWeight(format, rank, code, cellBits(key, (index + row * columns + column) | 0), error);
  });
}

/** Writes the numbers and the tables of rows; returns the fields of a panel's job. */
export function writeCellsCase(
  state: Arena,
  { format, key, columns, rowTables }: CellsCase,
  rows: readonly number[],
  planes: 1 | 2,
): Pick<Record<JobField, number>, 'cellNumbers' | 'rowTables' | 'rowTablesStride' | 'tileCells'> {
  const cellNumbers = allocate(state, cellsBytes(format.base.length), 'cells');
  writeCells(new DataView(state.memory.buffer), cellNumbers, format, { key, columns, planes });
  const starts = rowTables.map((tiles) => {
    const bytes = tiles.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const at = allocate(state, Math.ceil(bytes / 64) * 64, 'rows');
    let to = at;
    for (const tile of tiles) {
      new Int16Array(state.memory.buffer, to, tile.length).set(tile);
      to += tile.byteLength;
    }
    return at;
  });
  return {
    cellNumbers,
    rowTables: starts[0],
    rowTablesStride: (starts[1] ?? starts[0]) - starts[0],
    tileCells: rows[0] * columns,
  };
}
