/**
 * Fills what is one engine's own: the tables of its columns, and the weights of its chip where they are baked or misread. What depends
 * on the model alone is resident (load.ts).
 */

import { ladderIndex, type RowErrors } from '../../../tile/ladder.ts';
import { drawTileGain } from '../../../tile/static-errors.ts';
import { stage } from '../control.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { tableBytes } from '../kernels/panel-job.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { countQuads, type Operation, weightsOf } from '../plan/operations.ts';
import { converterErrors, converterStep, tilePlace, tileRowErrors, tileRows } from '../plan/tile-place.ts';
import { bakeTile } from './bake-tile.ts';
import { addMagnitudes, readPanelCodes } from './chip-codes.ts';
import { unpackCodes } from './codes-cache.ts';
import { LOAD_PANELS, loadStarts, panelScales } from './load.ts';

export function loadChip(context: WorkerContext): void {
  const { data, crew } = context;
  const { operations } = data;
  const starts = loadStarts(operations);
  let at = 0;
  let shared: PanelErrors | undefined;
  let errorsOf = -1;
  stage(crew, starts[operations.length], (item) => {
    while (item >= starts[at + 1]) at++;
    const operation = operations[at];
    if (operation.kind === 'int8') return;
    if (operation.kind === 'tile' && errorsOf !== at) {
      shared = panelErrors(context, operation);
      errorsOf = at;
    }
    const first = (item - starts[at]) * LOAD_PANELS;
    const end = Math.min(first + LOAD_PANELS, operation.panels);
    for (let panel = first; panel < end; panel++) {
      if (operation.misread) readPanelCodes(context, operation, panel);
      else if (operation.baked) bakePanel(context, operation, panel, shared!);
      if (data.magnitudes && operation.kind === 'codes') addMagnitudes(context, operation, at, panel);
      fillTables(context, operation, at, panel, shared);
    }
  });
}

/** Static errors that a panel shares with its neighbours of an operation: of its tiles and of their rows. */
interface PanelErrors {
  /** [tiles] */
  readonly gains: readonly number[];
  /** [tiles] of a ladder; those of the last panel's are kept. */
  readonly rows: (ladder: number) => readonly RowErrors[];
}

function panelErrors({ data, physics }: WorkerContext, operation: Operation): PanelErrors {
  const { chip, shape } = data;
  const each = <T>(f: (tile: number) => T) => Array.from({ length: operation.tiles }, (_, tile) => f(tile));
  const kept = new Map<number, RowErrors[]>();
  return {
    gains: each((tile) => drawTileGain(physics!, chip, tilePlace(operation, tile, shape.layers))),
    rows: (ladder) => {
      const found = kept.get(ladder);
      if (found) return found;
      // One ladder for each cell of a weight.
      if (kept.size === operation.cells) kept.clear();
      const drawn = each((tile) => tileRowErrors(operation, tile, ladder, shape.layers, physics!, chip));
      kept.set(ladder, drawn);
      return drawn;
    },
  };
}

/** The weights of one panel of the chip, from its codes. */
function bakePanel(context: WorkerContext, operation: Operation, panel: number, shared: PanelErrors): void {
  const { data, physics } = context;
  const { outputs, cells, tiles, rank, resident } = operation;
  const baked = operation.baked!;
  let from = resident.at + panel * resident.panelBytes;
  let at = baked.at + panel * baked.panelBytes;
  for (let cell = 0; cell < cells; cell++) {
    const column = cell * outputs + panel * PANEL_COLUMNS;
    const ladder = ladderIndex(column, outputs, physics!.design.ladder.columns);
    for (let tile = 0; tile < tiles; tile++) {
      const rows = tileRows(operation, tile);
      const quads = countQuads(rows);
      const nibbles = new Uint8Array(data.weights[resident.memory].buffer, from, quads * QUAD_BYTES.codes);
      const codes = new Int8Array(rows * PANEL_COLUMNS);
      unpackCodes(nibbles, codes, 0, PANEL_COLUMNS, rows);
      bakeTile(context, operation, { codes, rows, tile, column, at }, shared.rows(ladder)[tile]);
      from += nibbles.length;
      at += rank * quads * QUAD_BYTES.bytes;
    }
  }
}

const TABLE = { accumulate: tableBytes('accumulate'), convert: tableBytes('convert') } as const;

/** The tables of a panel's columns; `shared` for analog tiles. */
function fillTables(
  context: WorkerContext,
  operation: Operation,
  index: number,
  panel: number,
  shared: PanelErrors | undefined,
): void {
  const { data } = context;
  const { cells, tiles, outputs, kind, source, rank } = operation;
  const { memory, at, panelBytes } = weightsOf(operation);
  const tables = data.tables[memory].buffer;
  const scales = panelScales(context, operation, panel);
  const size = TABLE[kind === 'tile' ? 'convert' : 'accumulate'];
  let from = at + panel * panelBytes;
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
      const columns = new Float32Array(tables, table + PANEL_COLUMNS * 4, size / 4 - PANEL_COLUMNS);
      if (kind === 'tile') {
        fillColumns(context, operation, { tile, cell, column, tileGain: shared!.gains[tile] }, own, columns);
      } else columns.set(own);
      from += quads * QUAD_BYTES[source] * (source === 'bytes' ? rank : 1);
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
  const { source, rank, planes } = operation;
  const { memory } = weightsOf(operation);
  const zero = new Int32Array(data.tables[memory].buffer, table, PANEL_COLUMNS);
  zero.fill(0);
  for (let r = 0; r < rank; r++) {
    const src = from + (source === 'bytes' ? r * quads * QUAD_BYTES.bytes : 0);
    kernels[memory][`zero_${source}`](src, data.layout.lookups[index] + 16 * r, table, quads);
  }
  // The offset stands in the upper of two planes.
  if (planes === 2) for (let n = 0; n < PANEL_COLUMNS; n++) zero[n] <<= 7;
}

interface TileColumns {
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
  { tile, cell, column, tileGain }: TileColumns,
  scales: Float32Array,
  columns: Float32Array,
): void {
  const { data, physics } = context;
  const { taps } = operation;
  const coding = context.integerResponses.get(taps)!;
  const place = tilePlace(operation, tile, data.shape.layers);
  const lsb = converterStep(context, operation, tile, cell);
  const meanGain = data.chip.errors ? physics!.meanGain : 1;
  for (let n = 0; n < PANEL_COLUMNS; n++) {
    const { gain, offsetLsb } = converterErrors(place, column + n, physics!, data.chip);
    columns[n] = (coding.differenceUnit * tileGain * gain) / lsb;
    columns[PANEL_COLUMNS + n] = offsetLsb;
    columns[2 * PANEL_COLUMNS + n] = (lsb * taps * scales[n]) / meanGain;
  }
}
