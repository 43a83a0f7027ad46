/** Codes of a panel as a chip has them: counted by magnitude, and read with the chip's own misreads. */

import { newCodeReader } from '../../../tile/code-reads.ts';
import { cellCode, MAGNITUDE_COUNTS, weightFormat } from '../../../tile/weight-code.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { countQuads, type Operation } from '../plan/operations.ts';
import { tileRows } from '../plan/tile-place.ts';
import { packCodes, unpackCodes } from './codes-cache.ts';

/** The resident codes of a tile of a panel: of each cell [rows][16]. */
function tileCodes({ data }: WorkerContext, operation: Operation, panel: number, tile: number): Int8Array[] {
  const { cells, tiles, rows: fullRows, lastRows, resident } = operation;
  const bytesOf = (rows: number) => countQuads(rows) * QUAD_BYTES.codes;
  const cellBytes = (tiles - 1) * bytesOf(fullRows) + bytesOf(lastRows);
  const rows = tileRows(operation, tile);
  return Array.from({ length: cells }, (_, cell) => {
    const at = resident.at + panel * resident.panelBytes + cell * cellBytes + tile * bytesOf(fullRows);
    const nibbles = new Uint8Array(data.weights[resident.memory].buffer, at, bytesOf(rows));
    const codes = new Int8Array(rows * PANEL_COLUMNS);
    unpackCodes(nibbles, codes, 0, PANEL_COLUMNS, rows);
    return codes;
  });
}

/** Visits every weight of a tile: its code, and its place in [rows][16]. */
function eachWeight(
  { outputs, bits }: Operation,
  panel: number,
  codes: readonly Int8Array[],
  visit: (code: number, place: number, j: number, output: number) => void,
): void {
  const { cellWeights } = weightFormat(bits);
  const first = panel * PANEL_COLUMNS;
  const count = Math.min(PANEL_COLUMNS, outputs - first);
  const rows = codes[0].length / PANEL_COLUMNS;
  for (let j = 0; j < rows; j++) {
    for (let n = 0; n < count; n++) {
      const place = j * PANEL_COLUMNS + n;
      let code = 0;
      for (let cell = 0; cell < codes.length; cell++) code += cellWeights[cell] * codes[cell][place];
      visit(code, place, j, first + n);
    }
  }
}

/** Adds a panel's weights by magnitude to those of its operation; threads add in any order to the same sums. */
export function addMagnitudes(
  context: WorkerContext,
  operation: Operation,
  index: number,
  panel: number,
): void {
  const counts = new Int32Array(MAGNITUDE_COUNTS);
  for (let tile = 0; tile < operation.tiles; tile++) {
    eachWeight(operation, panel, tileCodes(context, operation, panel, tile), (code) => {
      counts[Math.abs(code)]++;
    });
  }
  counts.forEach((count, m) => {
    Atomics.add(context.data.magnitudes!, index * MAGNITUDE_COUNTS + m, count);
  });
}

/** Writes a panel as the chip reads it (src/tile/code-reads.ts) to its place among the engine's own weights. */
export function readPanelCodes(context: WorkerContext, operation: Operation, panel: number): void {
  const { data } = context;
  const { name, bits, outputs, tiles, rows: fullRows } = operation;
  const baked = operation.baked!;
  const format = weightFormat(bits);
  const place = { layer: name.layer, tensor: name.ordinal };
  const reader = newCodeReader(data.misreads!, bits, data.chip.seed, place);
  const own: Uint8Array[][] = format.cellWeights.map(() => []);
  for (let tile = 0; tile < tiles; tile++) {
    const codes = tileCodes(context, operation, panel, tile);
    eachWeight(operation, panel, codes, (code, at, j, output) => {
      const read = reader.read(code, (tile * fullRows + j) * outputs + output);
      for (let cell = 0; cell < codes.length; cell++) codes[cell][at] = cellCode(read, cell, format);
    });
    codes.forEach((ofCell, cell) => {
      own[cell].push(packCodes(ofCell, 0, PANEL_COLUMNS, tileRows(operation, tile)));
    });
  }
  let at = baked.at + panel * baked.panelBytes;
  for (const nibbles of own.flat()) {
    new Uint8Array(data.weights[baked.memory].buffer, at, nibbles.length).set(nibbles);
    at += nibbles.length;
  }
}
