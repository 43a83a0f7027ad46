/** The cells of a chip: the numbers that a kernel makes their weights of, and those weights where they are kept. */

import { invoke } from '../../../emit/wat.ts';
import { cellKey } from '../../../tile/draws.ts';
import { ladderCount, ladderIndex } from '../../../tile/ladder.ts';
import { rowTable, TABLE_TAPS } from '../../cell-format.ts';
import { cellsBytes, PREPARE_CELLS_OPERANDS, writeCells } from '../kernels/cells.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { sumsWeights, tableBytes, tableKind, WEIGHT_SUMS_ROW } from '../kernels/panel-job.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { countQuads, type Operation, ROW_BYTES, rowTableBytes } from '../plan/operations.ts';
import { tilePlace, tileRowErrors, tileRows } from '../plan/tile-place.ts';

/** Writes the numbers of an operation's cells. */
export function fillCells({ data }: WorkerContext, operation: Operation, index: number): void {
  const { outputs, cells, planes, taps, banks, rank } = operation;
  const format = data.cellFormats.get(taps)!;
  for (let bank = 0; bank < banks; bank++) {
    writeCells(
      new DataView(data.state.buffer),
      data.layout.cellNumbers[index] + bank * cellsBytes(rank),
      format,
      {
        key: cellKey(data.chip, tilePlace(operation, 0, data.shape.layers), bank),
        columns: outputs * cells,
        planes,
      },
    );
  }
}

/** Ladders of an operation's rows, bank by bank. */
export const operationLadders = (context: WorkerContext, operation: Operation): number =>
  operation.banks * bankLadders(context, operation);

/** Ladders of the rows of one bank. */
export const bankLadders = (
  { data: { physics } }: Pick<WorkerContext, 'data'>,
  { outputs, cells }: Operation,
): number => ladderCount(outputs, cells, physics!.design.ladder.columns);

/** Writes the tables of the rows of all tiles as one ladder drives them. */
export function fillRowTable(
  { data, physics }: WorkerContext,
  operation: Operation,
  index: number,
  ladder: number,
): void {
  const format = data.cellFormats.get(operation.taps)!;
  let at = data.layout.rowTables[index] + ladder * rowTableBytes(operation);
  for (let tile = 0; tile < operation.tiles; tile++) {
    const errors = tileRowErrors(operation, tile, ladder, data.shape.layers, physics!, data.chip);
    const rows = 4 * countQuads(tileRows(operation, tile));
    rowTable(format, errors, new Int16Array(data.state.buffer, at, rows * TABLE_TAPS));
    at += rows * ROW_BYTES;
  }
}

/** Sums of |w| in a tile's table of columns. */
export const weightSums = (tables: WebAssembly.Memory, table: number): Int32Array =>
  new Int32Array(tables.buffer, table + WEIGHT_SUMS_ROW * PANEL_COLUMNS * 4, PANEL_COLUMNS);

/** Bakes the weights of one panel of the chip, and writes what the inputs' offset adds into the tables of its columns. */
export function bakePanel(context: WorkerContext, operation: Operation, index: number, panel: number): void {
  const { data, bytes, kernels, physics } = context;
  const { outputs, cells, tiles, rows, rank, banks, resident, baked, source, epilogue } = operation;
  const { layout } = data;
  const table = tableKind(source, epilogue);
  const summed = sumsWeights(epilogue);
  const base = layout.loads[context.index];
  const made = base + LOAD_PARTS.baked;
  const to = new Uint8Array(data.weights[baked!.memory].buffer);
  const columns = outputs * cells;
  const bankRows = bankLadders(context, operation) * rowTableBytes(operation);
  let from = resident.at + panel * resident.panelBytes;
  let at = baked!.at + panel * baked!.panelBytes;
  let zero = operation.tablesAt + panel * operation.panelTables;
  for (let cell = 0; cell < cells; cell++) {
    const column = cell * outputs + panel * PANEL_COLUMNS;
    const ladder = ladderIndex(column, outputs, physics!.design.ladder.columns);
    let rowsAt = layout.rowTables[index] + ladder * rowTableBytes(operation);
    for (let tile = 0; tile < tiles; tile++) {
      const quads = countQuads(tileRows(operation, tile));
      const size = rank * quads * QUAD_BYTES.bytes;
      const zeros = new Int32Array(data.tables[resident.memory].buffer, zero, PANEL_COLUMNS);
      const own = new Int32Array(data.state.buffer, base + LOAD_PARTS.scales, PANEL_COLUMNS);
      const sums = new Int32Array(data.state.buffer, base + LOAD_PARTS.weightSums, PANEL_COLUMNS).fill(0);
      let first: Int32Array | undefined;
      for (let bank = 0; bank < banks; bank++) {
        invoke(kernels[resident.memory].prepare_cells, PREPARE_CELLS_OPERANDS, {
          src: from,
          w: made,
          cells: layout.cellNumbers[index] + bank * cellsBytes(rank),
          rows: rowsAt + bank * bankRows,
          index: tile * rows * columns + column,
          quads,
          zero: base + LOAD_PARTS.scales,
          buffers: base + LOAD_PARTS.passes,
        });
        if (summed) kernels[resident.memory].sum_weights(made, base + LOAD_PARTS.weightSums, quads);
        zeros.set(own);
        to.set(bytes.subarray(made, made + size), at);
        at += size;
        // The sums of a second bank are taken from the first's.
        if (first) for (let n = 0; n < PANEL_COLUMNS; n++) zeros[n] = first[n] - zeros[n];
        first = zeros.slice();
      }
      if (summed) weightSums(data.tables[resident.memory], zero).set(sums);
      from += quads * QUAD_BYTES.codes;
      rowsAt += 4 * quads * ROW_BYTES;
      zero += tableBytes(table);
    }
  }
}
