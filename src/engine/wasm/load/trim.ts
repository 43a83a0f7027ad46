/**
 * Gain and offset of every column as a tester would find them, the definition of src/tile/tile.ts: test vectors through the chip,
 * tile by tile, regressed on what the nominal cells give. The gains go into the columns' scales, the offsets into what the
 * panels take from their outputs.
 */
import { uniform } from '../../../random.ts';
import { DRAW, drawKey } from '../../../tile/draws.ts';
import { type Batch, stage } from '../control.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { SCALES_ROW } from '../kernels/panel-job.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { WorkerContext } from '../plan/context.ts';
import { TRIM_SUMS, TRIM_WINDOW, type TrimLayout } from '../plan/layout.ts';
import { countQuads, type Operation, padded } from '../plan/operations.ts';
import { tilePlace, tileRows } from '../plan/tile-place.ts';
import { encodeVector, panelRunner } from '../run/linear.ts';
import { unpackCodes } from './codes-cache.ts';
import { panelScales } from './load.ts';

/** Trims all columns of a chip that is loaded otherwise. */
export function trimChip(context: WorkerContext): void {
  const { data, crew, physics } = context;
  const trim = data.layout.trim!;
  const vectors = physics!.design.adc.trimVectors;
  data.operations.forEach((operation, index) => {
    if (operation.kind !== 'tile') return;
    for (let first = 0; first < vectors; first += trim.tokens) {
      const count = Math.min(trim.tokens, vectors - first);
      const batch = { count, position: first, window: TRIM_WINDOW, text: 0 };
      stage(crew, count, (vector) => {
        drawVector(context, trim, operation, first, vector);
        encodeVector(context, index, batch, vector, trim.rows[context.index]);
      });
      stage(crew, operation.panels, (panel) => sumPanel(context, trim, index, panel, batch));
    }
    stage(crew, operation.panels, (panel) => finishPanel(context, trim, index, panel, vectors));
  });
}

/** Draws the levels and signs of a vector, tile by tile, and the row of the worker that they are encoded from. */
function drawVector(
  { data, physics, f32, index }: WorkerContext,
  trim: TrimLayout,
  operation: Operation,
  first: number,
  vector: number,
): void {
  const { inputs, tiles, rows } = operation;
  const { magnitudes } = physics!.input;
  const row = f32.subarray(trim.rows[index] / 4, trim.rows[index] / 4 + padded(inputs));
  const levels = new Int16Array(data.state.buffer, trim.levels + 2 * vector * inputs, inputs);
  row.fill(0);
  for (let tile = 0; tile < tiles; tile++) {
    const { layer, tensor } = tilePlace(operation, tile, data.shape.layers);
    const key = drawKey(DRAW.trimVector, data.chip.seed, layer, tensor, tile);
    const count = tileRows(operation, tile);
    for (let j = 0; j < count; j++) {
      const draw = 2 * ((first + vector) * count + j);
      const level = Math.floor(magnitudes.length * uniform(key, draw) ** 3);
      const sign = uniform(key, draw + 1) < 0.5 ? -1 : 1;
      levels[tile * rows + j] = sign * level;
      row[tile * rows + j] = sign * magnitudes[level];
    }
  }
}

const sumsOf = (
  { data }: WorkerContext,
  trim: TrimLayout,
  { cells, tiles }: Operation,
  panel: number,
  virtual: number,
) =>
  new Float64Array(
    data.state.buffer,
    trim.sums + (panel * cells * tiles + virtual) * PANEL_COLUMNS * TRIM_SUMS * 8,
    PANEL_COLUMNS * TRIM_SUMS,
  );

/** Adds what a panel's columns give for a batch of vectors, and what nominal cells would. */
function sumPanel(
  context: WorkerContext,
  trim: TrimLayout,
  index: number,
  panel: number,
  batch: Batch,
): void {
  const { data, f32 } = context;
  const operation = data.operations[index];
  const { cells, tiles, rows, inputs, taps, resident } = operation;
  const out = trim.outputs[context.index];
  const scales = panelScales(context, operation, panel);
  const currents = nominalCurrents(context, taps);
  const levels = new Int16Array(data.state.buffer, trim.levels, batch.count * inputs);
  const top = currents.length / 16 - 1;
  let from = resident.at + panel * resident.panelBytes;
  for (let virtual = 0; virtual < cells * tiles; virtual++) {
    const [cell, tile] = [Math.floor(virtual / tiles), virtual % tiles];
    const count = tileRows(operation, tile);
    const nibbles = new Uint8Array(
      data.weights[resident.memory].buffer,
      from,
      countQuads(count) * QUAD_BYTES.codes,
    );
    from += nibbles.length;
    const codes = new Int8Array(count * PANEL_COLUMNS);
    unpackCodes(nibbles, codes, 0, PANEL_COLUMNS, count);
    const call = { operation: index, member: 0, at: out, width: PANEL_COLUMNS };
    panelRunner(context, call, batch, { cell, tile })(panel);
    const sums = sumsOf(context, trim, operation, panel, virtual);
    if (batch.position === 0) sums.fill(0);
    const nominal = new Float64Array(PANEL_COLUMNS);
    for (let vector = 0; vector < batch.count; vector++) {
      nominal.fill(0);
      for (let j = 0; j < count; j++) {
        const level = levels[vector * inputs + tile * rows + j];
        if (level === 0) continue;
        const sign = level < 0 ? -1 : 1;
        const own = Math.min(top, sign * level) * 16;
        for (let n = 0; n < PANEL_COLUMNS; n++)
          nominal[n] += sign * currents[own + (codes[j * PANEL_COLUMNS + n] & 15)];
      }
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        const scale = taps * scales[virtual * PANEL_COLUMNS + n];
        if (scale === 0) continue;
        const x = nominal[n];
        const y = f32[out / 4 + vector * PANEL_COLUMNS + n] / scale;
        const at = n * TRIM_SUMS;
        sums[at] += x;
        sums[at + 1] += y;
        sums[at + 2] += x * x;
        sums[at + 3] += x * y;
      }
    }
  }
}

/** [levels][16] current of a nominal cell by its code, with its sign. */
function nominalCurrents({ physics }: WorkerContext, taps: number): Float64Array {
  const { table } = physics!.responses.get(taps)!;
  return Float64Array.from({ length: table.length * 16 }, (_, i) => {
    const code = ((i & 15) << 28) >> 28;
    return Math.abs(code) > taps ? 0 : Math.sign(code) * table[i >> 4][Math.abs(code)];
  });
}

/** Turns the sums into the scales of the columns and their shifts. */
function finishPanel(
  context: WorkerContext,
  trim: TrimLayout,
  index: number,
  panel: number,
  vectors: number,
): void {
  const { data, f32 } = context;
  const operation = data.operations[index];
  const { cells, tiles, taps, source, resident, tablesAt, panelTables } = operation;
  const scales = panelScales(context, operation, panel);
  const scalesRow = SCALES_ROW[source === 'cells' ? 'cells' : 'stored'];
  for (let virtual = 0; virtual < cells * tiles; virtual++) {
    const sums = sumsOf(context, trim, operation, panel, virtual);
    const table = tablesAt + panel * panelTables + (virtual * panelTables) / (cells * tiles);
    const columns = new Float32Array(
      data.tables[resident.memory].buffer,
      table + scalesRow * PANEL_COLUMNS * 4,
      PANEL_COLUMNS,
    );
    const shifts = trim.shifts[index] / 4 + (panel * cells * tiles + virtual) * PANEL_COLUMNS;
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      const [x, y, xx, xy] = sums.subarray(n * TRIM_SUMS, (n + 1) * TRIM_SUMS);
      const spread = vectors * xx - x ** 2;
      const fitted = spread > 0 ? (vectors * xy - x * y) / spread : 1;
      // A column without connected cells has no gain to trim.
      const gain = fitted > 0 ? fitted : 1;
      columns[n] /= gain;
      f32[shifts + n] = (((y - gain * x) / vectors) * taps * scales[virtual * PANEL_COLUMNS + n]) / gain;
    }
  }
}
