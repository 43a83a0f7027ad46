/** A drawn linear layer of one chip, as the GPU takes it and, panel by panel, as the scalar reference does. */

import { joinArrays } from '../../numbers.ts';
import { bits32, type StreamKey, streamKey, uniform } from '../../random.ts';
import { cellBits } from '../../tile/cell-draws.ts';
import { type CellNumbers, cellWeight, TABLE_TAPS } from '../cell-format.ts';
import { INPUT_LIMIT } from '../integers.ts';
import type { PanelCase, TileCase, TokenCase } from '../wasm/check/panel-reference.ts';
import { TILE, TILE_BYTES, TOKEN, TOKEN_BYTES } from '../wasm/kernels/adc.ts';
import { PANEL_COLUMNS } from '../wasm/kernels/gemm.ts';
import { QUAD_BYTES } from '../wasm/kernels/prepare.ts';
import { countQuads } from '../wasm/plan/operations.ts';
import { type PanelInputs, type PanelMatrix, storedTokens } from './panel.ts';

export interface LayerShape {
  /** Whole panels. */
  readonly outputs: number;
  /** Rows of each tile of a cell; all but the last alike, multiples of 8. */
  readonly rows: readonly number[];
  readonly cells: number;
  readonly rank: number;
  readonly planes: 1 | 2;
  readonly count: number;
  readonly ladderColumns: number;
}

export interface LayerCase {
  readonly matrix: PanelMatrix;
  readonly inputs: PanelInputs;
  /** One panel of it, with the chip's weights made by the definition. */
  panel(index: number): PanelCase;
}

/** The scalars of a layer's conversions: what a drawn case and a kernel without rounding, noise or gains differ in. */
export interface Scalars {
  readonly gain: () => number;
  readonly offset: () => number;
  readonly scale: () => number;
  readonly out: () => number;
}

/** Draws a layer; `scalars` replaces gains, offsets and scales, e.g. by ones and zeros to see the bare sums. */
export function drawLayer(
  shape: LayerShape,
  format: CellNumbers,
  seed: number,
  scalars?: Scalars,
): LayerCase {
  const { outputs, rows, cells, rank, planes, count, ladderColumns } = shape;
  const key = streamKey(seed, 0x67707500);
  let next = 0;
  const integer = (low: number, high: number) => low + (bits32(key, next++) % (high - low + 1));
  const real = (low: number, high: number) => Math.fround(low + (high - low) * uniform(key, next++));
  const each = <T>(n: number, make: (i: number) => T) => Array.from({ length: n }, (_, i) => make(i));
  const most = INPUT_LIMIT[planes];
  const laddersPerCell = Math.ceil(outputs / ladderColumns);
  const chip = { a: bits32(key, next++) | 0, b: bits32(key, next++) | 0 };
  const of = scalars ?? {
    gain: () => real(1e-4, 2e-4),
    offset: () => real(-1, 1),
    scale: () => real(-1, 1),
    out: () => real(0, 2),
  };
  // [cell][tile][row][outputs]
  const codes = each(cells, () =>
    rows.map((r) => {
      const of = new Int8Array(r * outputs);
      // Four codes of -7 .. 7 a draw: matrices of tens of millions of weights are drawn.
      for (let i = 0, bits = 0; i < of.length; i++) {
        bits = i % 4 === 0 ? bits32(key, next++) : bits >>> 8;
        of[i] = ((bits & 255) % 15) - 7;
      }
      return of;
    }),
  );
  // [ladder][tile] [padded rows][8]
  const rowTables = each(cells * laddersPerCell, () =>
    rows.map((r) => Int16Array.from({ length: 4 * countQuads(r) * TABLE_TAPS }, () => integer(-9000, 9000))),
  );
  const values = rows.map((r) =>
    each(count, () => each(rank, () => Int32Array.from({ length: r }, () => integer(-most, most)))),
  );
  const magnitudes = rows.map((r) =>
    each(count, () => Int32Array.from({ length: r }, () => integer(0, 127))),
  );
  // [cell][tile][3][outputs]
  const columns = each(cells, () =>
    rows.map(() =>
      Float32Array.from({ length: 3 * outputs }, (_, i) =>
        [of.gain, of.offset, of.scale][Math.floor(i / outputs)](),
      ),
    ),
  );
  const tokens = each(cells, () =>
    rows.map(() =>
      each(
        count,
        (): TokenCase => ({
          keyA: bits32(key, next++) | 0,
          keyB: bits32(key, next++) | 0,
          gain: scalars ? 1 : real(0.9, 1.1),
          out: of.out(),
          floor: real(0, 1),
          slow: real(0, 0.5),
          sigma: real(0, 1),
          current: real(0, 127),
        }),
      ),
    ),
  );
  const tileTable = each(cells, () =>
    rows.map(
      (): TileCase => ({
        slowKeyA: bits32(key, next++) | 0,
        slowKeyB: bits32(key, next++) | 0,
        perCurrent: real(0, 1e-5),
        top: 127,
      }),
    ),
  );
  return packLayer({ shape, format, chip, codes, rowTables, values, magnitudes, columns, tokens, tileTable });
}

/** What is drawn of a layer, in plain arrays. */
interface DrawnLayer extends Pick<PanelCase, 'magnitudes' | 'tokens' | 'tileTable'> {
  readonly shape: LayerShape;
  readonly format: CellNumbers;
  readonly chip: StreamKey;
  /** [cell][tile][row][outputs] */
  readonly codes: readonly (readonly Int8Array[])[];
  /** [ladder][tile] [padded rows][8] */
  readonly rowTables: readonly (readonly Int16Array[])[];
  readonly values: PanelCase['inputs'];
  /** [cell][tile][3][outputs] */
  readonly columns: readonly (readonly Float32Array[])[];
}

function packLayer(drawn: DrawnLayer): LayerCase {
  const { shape, format, chip, codes, rowTables, values, magnitudes, columns, tokens, tileTable } = drawn;
  const { outputs, rows, cells, rank, planes, count, ladderColumns } = shape;
  const matrix: PanelMatrix = {
    outputs,
    cells,
    tiles: rows.length,
    tileRows: rows[0],
    quads: countQuads(rows[0]),
    lastQuads: countQuads(rows[rows.length - 1]),
    ladderColumns,
    key: chip,
    format,
    codes: packCodes(codes, rows, outputs),
    rows: joinArrays(rowTables.flat(), (n) => new Int16Array(n)),
    columns: packColumns(columns, outputs, rows.length),
    tileTable: packRecords(tileTable.flat(), TILE_BYTES, TILE),
  };
  return {
    matrix,
    inputs: {
      count,
      x: packInputs(values, magnitudes, rows, { rank, planes, count }),
      tokens: packRecords(tokens.flat(2), TOKEN_BYTES, TOKEN),
    },
    panel: (index) => panelOf(drawn, index),
  };
}

/** A panel as the reference takes it: its columns alone, and the chip's weights made by the definition. */
function panelOf(drawn: DrawnLayer, index: number): PanelCase {
  const { shape, format, chip, codes, rowTables, values, magnitudes, columns, tokens, tileTable } = drawn;
  const { outputs, rows, cells, rank, planes, count, ladderColumns } = shape;
  const laddersPerCell = Math.ceil(outputs / ladderColumns);
  const columnCells = outputs * cells;
  const first = index * PANEL_COLUMNS;
  const own = <T extends Int8Array | Float32Array>(from: T, r: number, make: (n: number) => T): T => {
    const to = make(r * PANEL_COLUMNS);
    for (let j = 0; j < r; j++)
      to.set(from.subarray(j * outputs + first, j * outputs + first + PANEL_COLUMNS), j * PANEL_COLUMNS);
    return to;
  };
  const weights = codes.map((tiles, cell) =>
    tiles.map((of, tile) => {
      const panelCodes = own(of, rows[tile], (n) => new Int8Array(n));
      const table = rowTables[cell * laddersPerCell + Math.floor(first / ladderColumns)][tile];
      const start = tile * rows[0] * columnCells + cell * outputs + first;
      return Array.from({ length: rank }, (_, r) =>
        panelCodes.map((code, i) => {
          const [row, column] = [Math.floor(i / PANEL_COLUMNS), i % PANEL_COLUMNS];
          const bits = cellBits(chip, (start + row * columnCells + column) | 0);
          return cellWeight(format, r, code, bits, table[row * TABLE_TAPS + Math.abs(code)]);
        }),
      );
    }),
  );
  return {
    ...{ cells, tiles: rows.length, rows, rank, planes, count },
    ...{ column: first, columnsPerCell: outputs },
    weights,
    inputs: values,
    magnitudes,
    columns: columns.map((tiles) => tiles.map((of) => own(of, 3, (n) => new Float32Array(n)))),
    tokens,
    tileTable,
  };
}

/** Nibbles as wasm/kernels/prepare.ts reads them, [panel][cell][tile][quad]. */
function packCodes(
  codes: readonly (readonly Int8Array[])[],
  rows: readonly number[],
  outputs: number,
): Uint8Array {
  const panelQuads = codes.length * rows.reduce((sum, r) => sum + countQuads(r), 0);
  const panels = outputs / PANEL_COLUMNS;
  const to = new Uint8Array(panels * panelQuads * QUAD_BYTES.codes);
  let at = 0;
  for (let panel = 0; panel < panels; panel++) {
    for (const tiles of codes) {
      rows.forEach((r, tile) => {
        for (let j = 0; j < r; j++) {
          const base = at + (j >> 2) * QUAD_BYTES.codes + (j & 3);
          for (let n = 0; n < PANEL_COLUMNS; n++) {
            const nibble = tiles[tile][j * outputs + panel * PANEL_COLUMNS + n] & 15;
            to[base + (n >> 3) * 16 + (n & 3) * 4] |= n & 4 ? nibble << 4 : nibble;
          }
        }
        at += countQuads(r) * QUAD_BYTES.codes;
      });
    }
  }
  return to;
}

/** [panel][cell][tile][zero, gain, offset, scale][16]; zero is not read. */
function packColumns(
  columns: readonly (readonly Float32Array[])[],
  outputs: number,
  tiles: number,
): Float32Array {
  const to = new Float32Array((outputs / PANEL_COLUMNS) * columns.length * tiles * 4 * PANEL_COLUMNS);
  let at = 0;
  for (let first = 0; first < outputs; first += PANEL_COLUMNS) {
    for (const of of columns.flat()) {
      for (let row = 0; row < 3; row++) {
        const from = row * outputs + first;
        to.set(of.subarray(from, from + PANEL_COLUMNS), at + (row + 1) * PANEL_COLUMNS);
      }
      at += 4 * PANEL_COLUMNS;
    }
  }
  return to;
}

const INTEGERS = new Set(['keyA', 'keyB', 'slowKeyA', 'slowKeyB']);

/** Records of `bytes` with their fields at `offsets`. */
function packRecords<T extends object>(
  records: readonly T[],
  bytes: number,
  offsets: Readonly<Record<keyof T & string, number>>,
): Uint32Array {
  const to = new Uint32Array((records.length * bytes) / 4);
  const view = new DataView(to.buffer);
  records.forEach((record, i) => {
    for (const [name, value] of Object.entries(record)) {
      const at = i * bytes + offsets[name as keyof T & string];
      if (INTEGERS.has(name)) view.setInt32(at, value, true);
      else view.setFloat32(at, value, true);
    }
  });
  return to;
}

/** Signed bytes of four rows a word, token by token; see panel-wgsl.ts. */
function packInputs(
  values: readonly (readonly (readonly Int32Array[])[])[],
  magnitudes: readonly (readonly Int32Array[])[],
  rows: readonly number[],
  { rank, planes, count }: Pick<LayerShape, 'rank' | 'planes' | 'count'>,
): Uint32Array {
  const stride = storedTokens(count);
  const quads = rows.reduce((sum, r) => sum + countQuads(r), 0);
  const to = new Uint32Array((planes * rank + 1) * quads * stride);
  const bytes = new Int8Array(to.buffer);
  let at = 0;
  rows.forEach((r, tile) => {
    for (let plane = 0; plane < planes; plane++) {
      for (let part = 0; part < rank; part++) {
        for (let token = 0; token < count; token++) {
          const x = values[tile][token][part];
          for (let j = 0; j < r; j++) {
            const byte = planes === 1 ? x[j] : plane === 0 ? x[j] >> 7 : x[j] & 127;
            bytes[4 * (at + (j >> 2) * stride + token) + (j & 3)] = byte;
          }
        }
        at += countQuads(r) * stride;
      }
    }
  });
  rows.forEach((r, tile) => {
    for (let token = 0; token < count; token++) {
      for (let j = 0; j < r; j++)
        bytes[4 * (at + (j >> 2) * stride + token) + (j & 3)] = magnitudes[tile][token][j];
    }
    at += countQuads(r) * stride;
  });
  return to;
}
