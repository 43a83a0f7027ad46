/**
 * Fills the weights memories, panel by panel: rows of the model, recoded and baked as the mode wants them, in the order
 * of kernels/panel.ts. The work of every panel is independent, so any thread may take it.
 */

import { tensorKey } from '../../../fabric/placement.ts';
import type { ImageReader } from '../../../mapping/image.ts';
import { openGguf, readRow } from '../../../model/gguf.ts';
import { requireTensor } from '../../../model/read-shape.ts';
import { sourceTensor } from '../../../model/shape.ts';
import { bits32, streamKey } from '../../../random.ts';
import { ladderIndex, type RowErrors } from '../../../tile/ladder.ts';
import { drawTileGain } from '../../../tile/static-errors.ts';
import { weightFormat } from '../../../tile/weight-code.ts';
import { stage } from '../control.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { tableBytes } from '../kernels/panel-job.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import { TAP_COUNTS, type WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { countQuads, type Operation } from '../plan/operations.ts';
import { converterErrors, converterStep, tilePlace, tileRowErrors, tileRows } from '../plan/tile-place.ts';
import { bakeTile } from './bake-tile.ts';
import {
  type CodedTile,
  layRows,
  openPanelCodes,
  type RowReader,
  readImagePanel,
  readPanel,
  recodePanel,
} from './panel-codes.ts';

export async function loadWeights(context: WorkerContext): Promise<void> {
  const { data, crew } = context;
  const { operations, modelPath } = data;
  const file = modelPath === undefined ? undefined : openGguf(modelPath);
  const read: RowReader | undefined = file
    ? ({ name }, n, out) => {
        readRow(file, requireTensor(file, sourceTensor(name, data.shape.tied)), n, out);
      }
    : undefined;
  const image = data.imagePath === undefined ? undefined : await openChecked(data.imagePath);
  const codes = openPanelCodes(data.codesFile, operations);
  try {
    const starts = loadStarts(operations);
    let at = 0;
    let shared: PanelErrors | undefined;
    let errorsOf = -1;
    let scales: Float32Array | undefined;
    let scalesOf = -1;
    stage(crew, starts[operations.length], (item) => {
      while (item >= starts[at + 1]) at++;
      const operation = operations[at];
      if (read && operation.kind === 'tile' && errorsOf !== at) {
        shared = panelErrors(context, operation);
        errorsOf = at;
      }
      const imaged = operation.digital !== undefined && image !== undefined;
      if (imaged && scalesOf !== at) {
        scales = image.readScales(tensorKey(operation.name));
        scalesOf = at;
      }
      const first = (item - starts[at]) * LOAD_PANELS;
      const end = Math.min(first + LOAD_PANELS, operation.panels);
      for (let panel = first; panel < end; panel++) {
        if (!read) loadSynthetic(context, operation, at, panel);
        else if (operation.kind === 'int8') loadInt8(context, operation, panel, read);
        else {
          const recode = imaged
            ? () => readImagePanel(image, operation, panel, scales!)
            : () => recodePanel(context, operation, readPanel(operation, panel, read));
          loadCodes(context, operation, at, panel, shared!, codes.of(at, panel, recode));
        }
      }
    });
  } finally {
    codes.close();
    image?.close();
    file?.close();
  }
}

/**
 * Opens an image whose sections' digests the main thread has checked. What reads it brings the schemas of files along, half
 * of the time in which a thread starts: loaded only here.
 */
async function openChecked(path: string): Promise<ImageReader> {
  const { openImage } = await import('../../../mapping/image.ts');
  return openImage(path, { verify: false });
}

/** Panels that a thread takes at once: those of a ladder of 256 columns, so that no two threads draw the same ladder. */
const LOAD_PANELS = 16;

/** One queue over all operations: the first item of each, and the number of items. */
export function loadStarts(operations: readonly Operation[]): number[] {
  const starts = [0];
  for (const o of operations) starts.push(starts[starts.length - 1] + Math.ceil(o.panels / LOAD_PANELS));
  return starts;
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

/**
 * Weights for benchmarks, without recoding: bytes from a hash, the same in every panel but for their start, column tables
 * of the right size, and tap counts of evenly spread codes. Nothing that is computed from them means anything.
 */
function loadSynthetic(context: WorkerContext, operation: Operation, index: number, panel: number): void {
  const { data, virtualStarts } = context;
  const { epilogue, cells, tiles } = operation;
  const memory = data.weights[operation.memory].buffer;
  const at = operation.at + panel * operation.panelBytes;
  const words = new Int32Array(memory, at, operation.panelBytes / 4);
  const key = streamKey(0x73796e, index);
  const pattern = Int32Array.from({ length: 1024 }, (_, i) => bits32(key, i + 17 * panel) & 0x3f3f3f3f);
  for (let i = 0; i < words.length; i += pattern.length) {
    words.set(pattern.subarray(0, Math.min(pattern.length, words.length - i)), i);
  }
  const tables = data.tables[operation.memory].buffer;
  let table = operation.tablesAt + panel * operation.panelTables;
  for (let virtual = 0; virtual < cells * tiles; virtual++) {
    const rows = tileRows(operation, virtual % tiles);
    const size = TABLE[epilogue === 'accumulate' ? 'accumulate' : 'convert'];
    new Float32Array(tables, table, size / 4).fill(0.02 / Math.sqrt(operation.inputs));
    new Int32Array(tables, table, PANEL_COLUMNS).fill(0);
    table += size;
    for (let tap = 0; tap < TAP_COUNTS; tap++) {
      Atomics.add(data.tapCounts, (virtualStarts[index] + virtual) * TAP_COUNTS + tap, 2 * rows);
    }
  }
}

/** Digital weights: blocks of 32 rows by kernels/quantise.ts; a second term codes what the first left. */
function loadInt8(context: WorkerContext, operation: Operation, panel: number, read: RowReader): void {
  const { data, f32, bytes, kernels, index } = context;
  const { memory, cells, tiles } = operation;
  const columns = readPanel(operation, panel, read);
  const tables = data.tables[memory].buffer;
  const base = data.layout.loads[index];
  const [codes, scales] = [base + LOAD_PARTS.codes, base + LOAD_PARTS.scales];
  const start = operation.at + panel * operation.panelBytes;
  const tablesAt = operation.tablesAt + panel * operation.panelTables;
  const whole = countQuads(operation.rows) * QUAD_BYTES.bytes;
  const last = countQuads(operation.lastRows) * QUAD_BYTES.bytes;
  for (let tile = 0; tile < tiles; tile++) {
    const rows = tileRows(operation, tile);
    const quads = countQuads(rows);
    const w = layRows(context, columns, tile * operation.rows, rows);
    for (let term = 0; term < cells; term++) {
      const at = start + term * ((tiles - 1) * whole + last) + tile * whole;
      const table = tablesAt + (term * tiles + tile) * TABLE.accumulate;
      bytes.fill(0, codes + rows * PANEL_COLUMNS, codes + 4 * quads * PANEL_COLUMNS);
      kernels[memory].quantise(w, rows, operation.top, codes, scales);
      kernels[memory].transpose(codes, at, quads);
      new Float32Array(tables, table + PANEL_COLUMNS * 4, PANEL_COLUMNS).set(
        f32.subarray(scales / 4, scales / 4 + PANEL_COLUMNS),
      );
      fillZero(context, operation, at, table, 0, quads);
    }
  }
}

/** Hardware weights: as 4-bit codes, or baked to effective weights of one chip. */
function loadCodes(
  context: WorkerContext,
  operation: Operation,
  index: number,
  panel: number,
  shared: PanelErrors,
  strip: readonly CodedTile[],
): void {
  const { data, physics } = context;
  const { outputs, bits, cells, tiles, source, rank, taps } = operation;
  const format = weightFormat(bits);
  const weights = data.weights[operation.memory].buffer;
  const tables = data.tables[operation.memory].buffer;
  const tableSize = TABLE[operation.epilogue === 'accumulate' ? 'accumulate' : 'convert'];
  let at = operation.at + panel * operation.panelBytes;
  let table = operation.tablesAt + panel * operation.panelTables;
  const first = panel * PANEL_COLUMNS;
  for (let cell = 0; cell < cells; cell++) {
    for (let tile = 0; tile < tiles; tile++) {
      const { rows, scales } = strip[tile];
      const quads = countQuads(rows);
      const part = quads * QUAD_BYTES[source];
      const column = cell * outputs + first;
      if (source === 'codes') {
        new Uint8Array(weights, at, part).set(strip[tile].nibbles(cell));
      } else {
        const codes = strip[tile].codes();
        const errors = shared.rows(ladderIndex(column, outputs, physics!.design.ladder.columns))[tile];
        bakeTile(context, operation, { codes, rows, cell, tile, column, at }, errors);
      }
      fillZero(context, operation, at, table, index, quads);
      const columns = new Float32Array(tables, table + PANEL_COLUMNS * 4, tableSize / 4 - PANEL_COLUMNS);
      if (operation.epilogue === 'accumulate') {
        for (let n = 0; n < PANEL_COLUMNS; n++) columns[n] = scales[n] * format.cellWeights[cell];
      } else {
        const coding = context.integerResponses.get(taps)!;
        const place = tilePlace(operation, tile, data.shape.layers);
        const lsb = converterStep(context, operation, tile, cell);
        const meanGain = data.chip.errors ? physics!.meanGain : 1;
        for (let n = 0; n < PANEL_COLUMNS; n++) {
          const { gain, offsetLsb } = converterErrors(place, column + n, physics!, data.chip);
          columns[n] = (coding.differenceUnit * shared.gains[tile] * gain) / lsb;
          columns[PANEL_COLUMNS + n] = offsetLsb;
          columns[2 * PANEL_COLUMNS + n] = (lsb * taps * format.cellWeights[cell] * scales[n]) / meanGain;
        }
        countTaps(
          context,
          index,
          tile + cell * tiles,
          strip[tile].codes(),
          cell * PANEL_COLUMNS,
          PANEL_COLUMNS * cells,
          rows,
        );
      }
      at += part * (source === 'bytes' ? rank : 1);
      table += tableSize;
    }
  }
}

const TABLE = { accumulate: tableBytes('accumulate'), convert: tableBytes('convert') } as const;

/** The first row of a tile's column table: what the inputs' offset adds to its sums. */
function fillZero(
  { data, kernels }: WorkerContext,
  operation: Operation,
  at: number,
  table: number,
  index: number,
  quads: number,
): void {
  const { source, rank, planes, memory } = operation;
  const zero = new Int32Array(data.tables[memory].buffer, table, PANEL_COLUMNS);
  zero.fill(0);
  for (let r = 0; r < rank; r++) {
    const src = at + (source === 'bytes' ? r * quads * QUAD_BYTES.bytes : 0);
    kernels[memory][`zero_${source}`](src, data.layout.lookups[index] + 16 * r, table, quads);
  }
  // The offset stands in the upper of two planes.
  if (planes === 2) for (let n = 0; n < PANEL_COLUMNS; n++) zero[n] <<= 7;
}

function countTaps(
  { data, virtualStarts }: WorkerContext,
  index: number,
  tile: number,
  codes: Int8Array,
  first: number,
  stride: number,
  rows: number,
): void {
  const counts = new Int32Array(TAP_COUNTS);
  for (let j = 0; j < rows; j++) {
    for (let n = 0; n < PANEL_COLUMNS; n++) counts[Math.abs(codes[j * stride + first + n])]++;
  }
  const at = (virtualStarts[index] + tile) * TAP_COUNTS;
  // Whole numbers: the order in which threads add does not matter.
  counts.forEach((count, tap) => {
    Atomics.add(data.tapCounts, at + tap, count);
  });
}
