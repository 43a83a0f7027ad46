/**
 * Fills what is one engine's own: the tables of its columns, the numbers of its cells and the tables of their rows, and the
 * weights of its chip where they are baked or misread. What depends on the model alone is resident (load.ts).
 */

import { drawTileGain } from '../../../tile/static-errors.ts';
import { stage } from '../control.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { sumsWeights } from '../kernels/panel-job.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { countQuads, type Operation, weightsOf } from '../plan/operations.ts';
import { converterErrors, converterStep, tilePlace, tileRows } from '../plan/tile-place.ts';
import { bakePanel, fillCells, fillRowTable, operationLadders, weightSums } from './cells.ts';
import { addMagnitudes, readPanelCodes } from './chip-codes.ts';
import { LOAD_PANELS, loadStarts, panelScales } from './load.ts';

export function loadChip(context: WorkerContext): void {
  const { data, crew } = context;
  const { operations } = data;
  const starts = loadStarts(operations);
  fillOwnCells(context);
  let at = 0;
  let gains: readonly number[] = [];
  let gainsOf = -1;
  stage(crew, starts[operations.length], (item) => {
    while (item >= starts[at + 1]) at++;
    const operation = operations[at];
    if (operation.kind === 'int8') return;
    if (operation.kind === 'tile' && gainsOf !== at) {
      gains = tileGains(context, operation);
      gainsOf = at;
    }
    const first = (item - starts[at]) * LOAD_PANELS;
    const end = Math.min(first + LOAD_PANELS, operation.panels);
    for (let panel = first; panel < end; panel++) {
      if (operation.misread) readPanelCodes(context, operation, panel);
      else if (operation.baked) bakePanel(context, operation, at, panel);
      if (data.magnitudes && operation.kind === 'codes') addMagnitudes(context, operation, at, panel);
      fillTables(context, operation, at, panel, gains);
    }
  });
}

/** The numbers of cells and the tables of their rows, where cells differ: a ladder of an operation at a time. */
function fillOwnCells(context: WorkerContext): void {
  const { data, crew } = context;
  if (data.cellFormats.size === 0) return;
  const items = data.operations.flatMap((operation, index) =>
    operation.kind === 'tile'
      ? Array.from({ length: operationLadders(context, operation) }, (_, ladder) => ({ index, ladder }))
      : [],
  );
  stage(crew, items.length, (item) => {
    const { index, ladder } = items[item];
    const operation = data.operations[index];
    if (ladder === 0) fillCells(context, operation, index);
    fillRowTable(context, operation, index, ladder);
  });
}

/** Common gain of each tile. */
const tileGains = ({ data, physics }: WorkerContext, operation: Operation): number[] =>
  Array.from({ length: operation.tiles }, (_, tile) =>
    drawTileGain(physics!, data.chip, tilePlace(operation, tile, data.shape.layers)),
  );

/** The tables of a panel's columns; `gains` of analog tiles. */
function fillTables(
  context: WorkerContext,
  operation: Operation,
  index: number,
  panel: number,
  gains: readonly number[],
): void {
  const { data } = context;
  const { cells, tiles, outputs, kind, resident } = operation;
  const { memory, at, panelBytes } = weightsOf(operation);
  const tables = data.tables[memory].buffer;
  const scales = panelScales(context, operation, panel);
  const size = operation.panelTables / (cells * tiles);
  // What cells add is found with them: their tables begin with the gains.
  const zeroBytes = operation.source === 'cells' ? 0 : PANEL_COLUMNS * 4;
  let from = at + panel * panelBytes;
  let codesAt = resident.at + panel * resident.panelBytes;
  let table = operation.tablesAt + panel * operation.panelTables;
  for (let cell = 0; cell < cells; cell++) {
    const column = cell * outputs + panel * PANEL_COLUMNS;
    for (let tile = 0; tile < tiles; tile++) {
      const quads = countQuads(tileRows(operation, tile));
      const own = scales.subarray(
        (cell * tiles + tile) * PANEL_COLUMNS,
        (cell * tiles + tile + 1) * PANEL_COLUMNS,
      );
      fillZero(context, operation, from, table, index, quads);
      if (sumsWeights(operation.epilogue) && operation.source === 'codes')
        fillWeightSums(context, operation, from, table, index, quads);
      const columns = new Float32Array(tables, table + zeroBytes, (size - zeroBytes) / 4);
      if (kind === 'tile') {
        const codes = new Uint8Array(data.weights[resident.memory].buffer, codesAt, quads * QUAD_BYTES.codes);
        fillColumns(context, operation, { codes, tile, cell, column, tileGain: gains[tile] }, own, columns);
      } else columns.set(own);
      from += quads * QUAD_BYTES.codes;
      codesAt += quads * QUAD_BYTES.codes;
      table += size;
    }
  }
}

/** The first row of a tile's table: what the inputs' offset adds to its sums. */
function fillZero(
  { data, kernels }: WorkerContext,
  operation: Operation,
  from: number,
  table: number,
  index: number,
  quads: number,
): void {
  const { source, rank, planes, phases, conversions } = operation;
  // What cells add is found with them: where a panel is computed, or when it was baked.
  if (source !== 'codes') return;
  const { memory } = weightsOf(operation);
  const zero = new Int32Array(data.tables[memory].buffer, table, PANEL_COLUMNS);
  zero.fill(0);
  // Of phases whose sums are taken from each other nothing is left of it.
  if (phases > conversions) return;
  for (let r = 0; r < rank; r++) {
    kernels[memory].zero_codes(from, data.layout.lookups[index] + 16 * r, table, quads);
  }
  // The offset stands in the upper of two planes.
  if (planes === 2) for (let n = 0; n < PANEL_COLUMNS; n++) zero[n] <<= 7;
}

/** The last row of a tile's table: sums of the |w| that its codes stand for. */
function fillWeightSums(
  { data, kernels, index: worker }: WorkerContext,
  operation: Operation,
  from: number,
  table: number,
  index: number,
  quads: number,
): void {
  const { memory } = weightsOf(operation);
  const base = data.layout.loads[worker];
  const [made, at] = [base + LOAD_PARTS.baked, base + LOAD_PARTS.weightSums];
  const sums = new Int32Array(data.state.buffer, at, PANEL_COLUMNS).fill(0);
  kernels[memory].prepare_codes(from, made, data.layout.lookups[index], quads);
  kernels[memory].sum_weights(made, at, quads);
  weightSums(data.tables[memory], table).set(sums);
}

interface TileColumns {
  /** Resident ones of its columns. */
  readonly codes: Uint8Array;
  readonly tile: number;
  readonly cell: number;
  /** First physical column. */
  readonly column: number;
  readonly tileGain: number;
}

/** Gain, offset and scale [3][16] of a tile's columns; `scales` are the digital ones of the cell's codes. */
function fillColumns(
  context: WorkerContext,
  operation: Operation,
  { codes, tile, cell, column, tileGain }: TileColumns,
  scales: Float32Array,
  columns: Float32Array,
): void {
  const { data, physics } = context;
  const { taps } = operation;
  const coding = context.integerResponses.get(taps)!;
  const place = tilePlace(operation, tile, data.shape.layers);
  const lsb = converterStep(context, operation, tile, cell);
  const meanGain = data.chip.errors ? physics!.meanGain : 1;
  const { gainError, offsetLsb } = converterErrors(place, column, PANEL_COLUMNS, physics!, data.chip);
  const leak = operation.conversions === 2 ? leakage(context, operation, codes) : undefined;
  for (let n = 0; n < PANEL_COLUMNS; n++) {
    columns[n] = (coding.differenceUnit * tileGain * (1 + gainError[n])) / lsb;
    columns[PANEL_COLUMNS + n] = offsetLsb[n];
    if (leak) columns[PANEL_COLUMNS + n] += (leak[n] * tileGain * (1 + gainError[n])) / lsb;
    columns[2 * PANEL_COLUMNS + n] = (lsb * taps * scales[n]) / meanGain;
  }
}

/**
 * Difference of what all cells of a column carry on its two lines while their rows are off, in I_fs, [16]: in a phase that is converted
 * by itself it does not cancel. Cells at their mean; their spread changes it by some thousandths of a cell's full scale.
 */
function leakage({ data, physics }: WorkerContext, { taps }: Operation, codes: Uint8Array): Float64Array {
  const { offCurrent, offGmOverIPerV, sigmaVtV, sigmaBeta, spreads } = physics!;
  const { share, logMean } = spreads.get(taps)!;
  const variance = data.chip.errors ? (offGmOverIPerV * sigmaVtV) ** 2 + sigmaBeta ** 2 : 0;
  const byTap = Float64Array.from({ length: taps + 1 }, (_, m) =>
    m === 0 ? 0 : offCurrent * Math.exp((share[m] ** 2 * variance) / 2 + (data.chip.errors ? logMean[m] : 0)),
  );
  const leak = new Float64Array(PANEL_COLUMNS);
  codes.forEach((pair, i) => {
    // kernels/prepare.ts: the order of the columns.
    const column = ((i >> 4) & 1) * 8 + ((i >> 2) & 3);
    const [low, high] = [(pair << 28) >> 28, (pair << 24) >> 28];
    leak[column] += Math.sign(low) * byTap[Math.abs(low)];
    leak[column + 4] += Math.sign(high) * byTap[Math.abs(high)];
  });
  return leak;
}
