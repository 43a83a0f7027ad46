/** Rows of the model for a panel, and their hardware codes: recoded, or from the file of an earlier engine. */

import { closeSync, openSync } from 'node:fs';
import { invoke } from '../../../emit/wat.ts';
import { tensorKey } from '../../../fabric/placement.ts';
import type { ImageReader } from '../../../mapping/image.ts';
import { CLIP_FACTORS, cellCode, weightFormat } from '../../../tile/weight-code.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { RECODE_OPERANDS } from '../kernels/recode.ts';
import type { CodesFile, WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { type Operation, padded } from '../plan/operations.ts';
import { tileRows } from '../plan/tile-place.ts';
import { packCodes, readCodes, spoil, type TileCodes, writeCodes } from './codes-cache.ts';

/** Fills out[K] with row n of an operation's matrix. */
export type RowReader = (operation: Operation, n: number, out: Float32Array) => void;

/** Reads the panel's columns to the loading buffer, [16][padded K]; columns beyond the matrix are zero. */
export function readPanel(
  { data, f32, index }: WorkerContext,
  operation: Operation,
  panel: number,
  read: RowReader,
): void {
  const { inputs, outputs } = operation;
  const at = data.layout.columns[index] / 4;
  const width = padded(inputs);
  for (let n = 0; n < PANEL_COLUMNS; n++) {
    const column = f32.subarray(at + n * width, at + n * width + inputs);
    const row = panel * PANEL_COLUMNS + n;
    if (row < outputs) read(operation, row, column);
    else column.fill(0);
  }
}

/** Rows start .. start + rows - 1 of the columns that were read to [rows][16] in the loading buffer. */
export function layRows(
  { data, kernels, index }: WorkerContext,
  { inputs }: Operation,
  start: number,
  rows: number,
): number {
  const to = data.layout.loads[index] + LOAD_PARTS.weights;
  kernels[0].lay_rows(data.layout.columns[index] + 4 * start, 4 * padded(inputs), to, rows);
  return to;
}

export interface RecodedTile {
  readonly rows: number;
  /** [16] */
  readonly scales: Float32Array;
  /** [rows][16 cells] */
  readonly codes: Int8Array;
}

/** The columns that were read recoded tile by tile with kernels/recode.ts: cells' codes [rows][16 cells] and scales. */
export function recodePanel(context: WorkerContext, operation: Operation): RecodedTile[] {
  const { data, f32, i32, kernels, index } = context;
  const { bits, cells, tiles } = operation;
  const { magnitudeMax } = weightFormat(bits);
  const base = data.layout.loads[index];
  const [codesAt, factors, scalesAt] = (['codes', 'factors', 'scales'] as const).map(
    (part) => base + LOAD_PARTS[part],
  );
  f32.set(CLIP_FACTORS, factors / 4);
  const bytes = new Int8Array(i32.buffer);
  return Array.from({ length: tiles }, (_, tile) => {
    const rows = tileRows(operation, tile);
    const w = layRows(context, operation, tile * operation.rows, rows);
    invoke(kernels[0].recode, RECODE_OPERANDS, {
      w,
      rows,
      top: magnitudeMax,
      factors,
      factorCount: CLIP_FACTORS.length,
      codes: codesAt,
      scales: scalesAt,
    });
    const scales = f32.slice(scalesAt / 4, scalesAt / 4 + PANEL_COLUMNS);
    const whole = bytes.slice(codesAt, codesAt + rows * PANEL_COLUMNS);
    if (cells === 1) return { codes: whole, rows, scales };
    // Two cells: magnitude = 8 hi + lo.
    const codes = new Int8Array(rows * PANEL_COLUMNS * 2);
    for (let j = 0; j < rows; j++) {
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        const code = whole[j * PANEL_COLUMNS + n];
        const magnitude = Math.abs(code);
        codes[j * 32 + n] = Math.sign(code) * (magnitude & 7);
        codes[j * 32 + 16 + n] = Math.sign(code) * (magnitude >> 3);
      }
    }
    return { codes, rows, scales };
  });
}

/** The same from a chip image; `scales` [N][tiles] are the matrix's. */
export function readImagePanel(
  image: ImageReader,
  operation: Operation,
  panel: number,
  scales: Float32Array,
): RecodedTile[] {
  const { name, outputs, inputs, tiles, bits } = operation;
  const format = weightFormat(bits);
  const cells = format.cellWeights.length;
  const first = panel * PANEL_COLUMNS;
  const count = Math.min(PANEL_COLUMNS, outputs - first);
  const whole = image.readCodes(tensorKey(name), first, count);
  return Array.from({ length: tiles }, (_, tile) => {
    const rows = tileRows(operation, tile);
    const start = tile * operation.rows;
    const codes = new Int8Array(rows * PANEL_COLUMNS * cells);
    for (let n = 0; n < count; n++) {
      for (let j = 0; j < rows; j++) {
        const code = whole[n * inputs + start + j];
        const at = j * PANEL_COLUMNS * cells + n;
        for (let cell = 0; cell < cells; cell++)
          codes[at + cell * PANEL_COLUMNS] = cellCode(code, cell, format);
      }
    }
    const own = new Float32Array(PANEL_COLUMNS);
    for (let n = 0; n < count; n++) own[n] = scales[(first + n) * tiles + tile];
    return { codes, rows, scales: own };
  });
}

export interface PanelCodes {
  /** Codes of a panel: from the file, or made by `recode` and, where a file is being written, kept there. */
  of(index: number, panel: number, recode: () => RecodedTile[]): TileCodes[];
  close(): void;
}

/** undefined where the file has gone or cannot be opened: everything is recoded then. */
function openCodes(file: CodesFile): number | undefined {
  try {
    return openSync(file.path, file.mode === 'read' ? 'r' : 'r+');
  } catch {
    spoil(file);
    return undefined;
  }
}

export function openPanelCodes(file: CodesFile | undefined, operations: readonly Operation[]): PanelCodes {
  const handle = file && openCodes(file);
  return {
    of(index, panel, recode) {
      const operation = operations[index];
      const stride = PANEL_COLUMNS * operation.cells;
      if (file && handle !== undefined && file.mode === 'read') {
        const known = readCodes(handle, file, operation, index, panel);
        if (known) return known;
      }
      const tiles = recode().map(({ rows, scales, codes }) => ({
        rows,
        scales,
        nibbles: Array.from({ length: operation.cells }, (_, cell) =>
          packCodes(codes, cell * PANEL_COLUMNS, stride, rows),
        ),
      }));
      if (file?.mode === 'write' && handle !== undefined) writeCodes(handle, file, index, panel, tiles);
      return tiles;
    },
    close() {
      if (handle !== undefined) closeSync(handle);
    },
  };
}
