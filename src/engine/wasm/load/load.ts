/**
 * Fills the resident weights memories, panel by panel, in the order of kernels/panel.ts: rows of the model, recoded where
 * hardware carries them. Nothing here depends on the chip or on what its cells, columns and converters are like. The work
 * of every panel is independent, so any thread may take it.
 */

import { invoke } from '../../../emit/wat.ts';
import { tensorKey } from '../../../fabric/placement.ts';
import type { ImageReader } from '../../../mapping/image.ts';
import { halfBits } from '../../../model/codecs/half.ts';
import { openGguf, readRow } from '../../../model/gguf.ts';
import type { GgufFile } from '../../../model/gguf-file.ts';
import { requireTensor } from '../../../model/model-tensors.ts';
import { sourceTensor } from '../../../model/shape.ts';
import { bits32, streamKey } from '../../../random.ts';
import { weightFormat } from '../../../tile/weight-code.ts';
import { BYTE_TOP } from '../../integers.ts';
import { stage } from '../control.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { PACK_OPERANDS, PACKED_BYTES } from '../kernels/pack-blocks.ts';
import { SCALES_BYTES } from '../kernels/panel-job.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import { TAP_COUNTS, type WorkerContext } from '../plan/context.ts';
import { LOAD_PARTS } from '../plan/layout.ts';
import { countQuads, type Operation } from '../plan/operations.ts';
import { tileRows } from '../plan/tile-place.ts';
import type { TileCodes } from './codes-cache.ts';
import {
  layRows,
  openPanelCodes,
  type RowReader,
  readImagePanel,
  readPanel,
  recodePanel,
} from './panel-codes.ts';

export async function loadWeights(context: WorkerContext): Promise<void> {
  const { data, crew } = context;
  const { modelPath, missing } = data;
  const operations = data.operations.filter(({ part }) => missing.includes(part));
  const file = modelPath === undefined ? undefined : openGguf(modelPath);
  const read: RowReader | undefined = file
    ? ({ name }, n, out) => {
        readRow(file, requireTensor(file, sourceTensor(name, data.shape)), n, out);
      }
    : undefined;
  const image = data.imagePath === undefined ? undefined : await openChecked(data.imagePath);
  const codes = openPanelCodes(data.codesFile, data.operations);
  try {
    const starts = loadStarts(operations);
    let at = 0;
    let scales: Float32Array | undefined;
    let scalesOf = -1;
    stage(crew, starts[operations.length], (item) => {
      while (item >= starts[at + 1]) at++;
      const operation = operations[at];
      const imaged = operation.digital !== undefined && image !== undefined;
      if (imaged && scalesOf !== at) {
        scales = image.readScales(tensorKey(operation.name));
        scalesOf = at;
      }
      const index = data.operations.indexOf(operation);
      const first = (item - starts[at]) * LOAD_PANELS;
      const end = Math.min(first + LOAD_PANELS, operation.panels);
      for (let panel = first; panel < end; panel++) {
        if (!read) loadSynthetic(context, operation, index, panel);
        else if (operation.kind === 'int8' && operation.source === 'codes') {
          loadFileCodes(context, operation, panel, file!);
        } else if (operation.kind === 'int8') loadInt8(context, operation, panel, read);
        else {
          const recode = imaged
            ? () => readImagePanel(image, operation, panel, scales!)
            : () => {
                readPanel(context, operation, panel, read);
                return recodePanel(context, operation);
              };
          loadCodes(context, operation, panel, codes.of(index, panel, recode));
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
export const LOAD_PANELS = 16;

/** One queue over all operations: the first item of each, and the number of items. */
export function loadStarts(operations: readonly Operation[]): number[] {
  const starts = [0];
  for (const o of operations) starts.push(starts[starts.length - 1] + Math.ceil(o.panels / LOAD_PANELS));
  return starts;
}

/**
 * Weights for benchmarks, without recoding: bytes from a hash, the same in every panel but for their start, scales of the
 * right size, and tap counts of evenly spread codes. Nothing that is computed from them means anything.
 */
function loadSynthetic(context: WorkerContext, operation: Operation, index: number, panel: number): void {
  const { data } = context;
  const { cells, tiles, resident, part, countsAt } = operation;
  const memory = data.weights[resident.memory].buffer;
  const words = new Int32Array(memory, resident.at + panel * resident.panelBytes, resident.panelBytes / 4);
  const key = streamKey(0x73796e, index);
  // Neither nibble is 8: there is no such code.
  const pattern = Int32Array.from({ length: 1024 }, (_, i) => bits32(key, i + 17 * panel) & 0x37373737);
  for (let i = 0; i < words.length; i += pattern.length) {
    words.set(pattern.subarray(0, Math.min(pattern.length, words.length - i)), i);
  }
  const scale = 0.02 / Math.sqrt(operation.inputs);
  if (operation.epilogue === 'blocks') {
    const { tablesAt, panelTables } = operation;
    const tables = data.tables[resident.memory].buffer;
    const at = tablesAt + panel * panelTables;
    if (operation.source === 'codes') new Uint16Array(tables, at, panelTables / 2).fill(halfBits(scale));
    else new Float32Array(tables, at, panelTables / 4).fill(scale);
    return;
  }
  panelScales(context, operation, panel).fill(scale);
  for (let virtual = 0; virtual < cells * tiles; virtual++) {
    const rows = tileRows(operation, virtual % tiles);
    for (let tap = 0; tap < TAP_COUNTS; tap++) {
      Atomics.add(data.parts[part].tapCounts, (countsAt + virtual) * TAP_COUNTS + tap, 2 * rows);
    }
  }
}

/**
 * Digital weights as the file has them: codes of 4 bits in blocks of 32 rows. Errors: those of readRow, for a scale that is no
 * number.
 */
function loadFileCodes(context: WorkerContext, operation: Operation, panel: number, file: GgufFile): void {
  const { data, bytes, i32, kernels, index } = context;
  const { resident, tiles, name, outputs, inputs, tablesAt, panelTables } = operation;
  const tensor = requireTensor(file, sourceTensor(name, data.shape));
  const first = panel * PANEL_COLUMNS;
  const count = Math.min(PANEL_COLUMNS, outputs - first);
  const rowBytes = tiles * PACKED_BYTES;
  const rows = data.layout.fileRows[index];
  const wrong = data.layout.loads[index];
  file.read(tensor.offset + first * rowBytes, bytes.subarray(rows, rows + count * rowBytes));
  // Columns that the matrix does not have get scales of zero.
  bytes.fill(0, rows + count * rowBytes, rows + PANEL_COLUMNS * rowBytes);
  invoke(kernels[resident.memory].pack_blocks, PACK_OPERANDS, {
    rows,
    rowBytes,
    codes: resident.at + panel * resident.panelBytes,
    halves: tablesAt + panel * panelTables,
    tiles,
    wrong,
  });
  if (i32[wrong / 4] === 0) return;
  for (let n = 0; n < count; n++) readRow(file, tensor, first + n, new Float32Array(inputs));
}

/** Digital weights: blocks of 32 rows by kernels/quantise.ts; a second term codes what the first left. */
function loadInt8(context: WorkerContext, operation: Operation, panel: number, read: RowReader): void {
  const { data, f32, bytes, kernels } = context;
  const { resident, cells, tiles, tablesAt, panelTables } = operation;
  readPanel(context, operation, panel, read);
  const base = data.layout.loads[context.index];
  const [codes, scales] = (['codes', 'scales'] as const).map((part) => base + LOAD_PARTS[part]);
  const start = resident.at + panel * resident.panelBytes;
  const whole = countQuads(operation.rows) * QUAD_BYTES.bytes;
  const last = countQuads(operation.lastRows) * QUAD_BYTES.bytes;
  for (let tile = 0; tile < tiles; tile++) {
    const rows = tileRows(operation, tile);
    const quads = countQuads(rows);
    const w = layRows(context, operation, tile * operation.rows, rows);
    for (let term = 0; term < cells; term++) {
      const at = start + term * ((tiles - 1) * whole + last) + tile * whole;
      bytes.fill(0, codes + rows * PANEL_COLUMNS, codes + 4 * quads * PANEL_COLUMNS);
      kernels[resident.memory].quantise(w, rows, BYTE_TOP, codes, scales);
      kernels[resident.memory].transpose(codes, at, quads);
      const table = tablesAt + panel * panelTables + (term * tiles + tile) * SCALES_BYTES;
      const own = f32.subarray(scales / 4, scales / 4 + PANEL_COLUMNS);
      new Float32Array(data.tables[resident.memory].buffer, table, PANEL_COLUMNS).set(own);
    }
  }
}

/** Hardware weights: 4-bit codes, their digital scales, and how often each occurs. */
function loadCodes(
  context: WorkerContext,
  operation: Operation,
  panel: number,
  strip: readonly TileCodes[],
): void {
  const { bits, cells, tiles, resident } = operation;
  const { cellWeights } = weightFormat(bits);
  const memory = context.data.weights[resident.memory].buffer;
  const to = panelScales(context, operation, panel);
  let at = resident.at + panel * resident.panelBytes;
  for (let cell = 0; cell < cells; cell++) {
    for (let tile = 0; tile < tiles; tile++) {
      const nibbles = strip[tile].nibbles[cell];
      new Uint8Array(memory, at, nibbles.length).set(nibbles);
      const virtual = cell * tiles + tile;
      to.set(
        strip[tile].scales.map((scale) => scale * cellWeights[cell]),
        virtual * PANEL_COLUMNS,
      );
      countTaps(context, operation, virtual, nibbles);
      at += nibbles.length;
    }
  }
}

/** [cells][tiles][16] */
export function panelScales({ data }: WorkerContext, operation: Operation, panel: number): Float32Array {
  const count = operation.cells * operation.tiles * PANEL_COLUMNS;
  const from = operation.scalesAt + panel * count;
  return data.parts[operation.part].scales.subarray(from, from + count);
}

/** Adds up the cells of a tile and panel by |code|; padding counts as unconnected. */
function countTaps(
  { data }: WorkerContext,
  { part, countsAt }: Operation,
  tile: number,
  nibbles: Uint8Array,
): void {
  const pairs = new Int32Array(256);
  for (const pair of nibbles) pairs[pair]++;
  const counts = new Int32Array(TAP_COUNTS);
  pairs.forEach((count, pair) => {
    counts[Math.abs((pair << 28) >> 28)] += count;
    counts[Math.abs((pair << 24) >> 28)] += count;
  });
  const at = (countsAt + tile) * TAP_COUNTS;
  // Whole numbers: the order in which threads add does not matter.
  counts.forEach((count, tap) => {
    Atomics.add(data.parts[part].tapCounts, at + tap, count);
  });
}
