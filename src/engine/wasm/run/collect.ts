/** Counts of the workers, in the form that the rest of the project uses. */

import type { LayerActivity, TileActivity } from '../../../fabric/activity.ts';
import { type ColumnCounts, countColumn, newColumnCounts } from '../../../fabric/column-currents.ts';
import type { Fabric } from '../../../fabric/fabric.ts';
import { tensorKey } from '../../../fabric/placement.ts';
import { type RangeTable, requireClamps } from '../../../fabric/ranges.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import { MAGNITUDE_COUNTS } from '../../../tile/weight-code.ts';
import type { IntegerResponse } from '../../integer-response.ts';
import { byColumn, COUNTS, COUNTS_BYTES } from '../kernels/adc.ts';
import { RANGE_BINS, RANGE_WORDS, rangeEdge } from '../kernels/record.ts';
import { type EngineData, FIGURE, FIGURES } from '../plan/context.ts';
import { tileStarts, virtualStarts } from '../plan/operations.ts';

/**
 * Activity of the analog layers over `tokens` tokens. The array's current is what the noise is taken from, counted: sums of
 * magnitude times weight, or of a column's weights at the mean magnitude. Where there is none, the sum of magnitudes times
 * the mean weight of the tile. Tile gains as their mean over the layer.
 */
export function collectActivity(
  data: EngineData,
  physics: TilePhysics,
  integerResponses: ReadonlyMap<number, IntegerResponse>,
  tokens: number,
): TileActivity[] {
  const { operations, figures, rowSums, threads, layout } = data;
  const { design } = physics;
  const virtual = virtualStarts(operations);
  const tiles = tileStarts(operations);
  const i32 = new Int32Array(data.state.buffer);
  const f32 = new Float32Array(data.state.buffer);
  const activities: TileActivity[] = [];
  operations.forEach((o, index) => {
    if (o.kind !== 'tile') return;
    const coding = integerResponses.get(o.taps)!;
    let connected = 0;
    let meanGain = 0;
    let estimatedCurrent = 0;
    let activeRows = 0;
    for (let tile = 0; tile < o.tiles; tile++) {
      let sum = 0;
      for (let thread = 0; thread < threads; thread++) {
        const row = (thread * tiles[operations.length] + tiles[index] + tile) * 2;
        sum += rowSums[row];
        activeRows += rowSums[row + 1];
      }
      for (let cell = 0; cell < o.cells; cell++) {
        const row = (virtual[index] + cell * o.tiles + tile) * FIGURES;
        const gain = figures[row + FIGURE.gain];
        connected += figures[row + FIGURE.connected];
        meanGain += gain / (o.tiles * o.cells);
        estimatedCurrent += sum * figures[row + FIGURE.meanWeight] * o.outputs * gain;
      }
    }
    let clipped = 0;
    let counted = 0;
    for (let panel = 0; panel < o.panels; panel++) {
      const at = (layout.counts[index] + panel * COUNTS_BYTES) / 4;
      for (let lane = 0; lane < 4; lane++) {
        clipped += i32[at + COUNTS.clipped / 4 + lane];
        counted += f32[at + COUNTS.current / 4 + lane];
      }
    }
    const isCounted = typeof o.epilogue !== 'string' && byColumn(o.epilogue.noise);
    const driven = (isCounted ? counted * meanGain : estimatedCurrent) * coding.currentUnit;
    const leaked = 2 * physics.offCurrent * connected * meanGain * tokens;
    const columns = o.outputs * o.cells;
    const banks = design.tile.sign === 'paired-rows' ? 2 : 1;
    activities.push({
      layer: o.name.layer,
      tensor: o.name.tensor,
      outputs: o.outputs,
      inputs: o.inputs,
      weightBits: o.bits,
      tiles: o.tiles,
      tileRows: design.tile.rows,
      columns,
      cells: o.inputs * columns * banks,
      connectedCells: connected * banks,
      phases: banks === 2 ? 1 : 2,
      tokens,
      sumCurrentA: (driven + leaked) * design.fullScaleA,
      sumActiveRows: activeRows,
      dacConversions: o.inputs * tokens,
      adcConversions: columns * o.tiles * o.conversions * tokens,
      adcClipped: clipped,
    });
  });
  return activities;
}

/** Forgets what was counted of rows and columns. */
export function clearCounts({ rowSums, state, operations, layout }: EngineData): void {
  rowSums.fill(0);
  const bytes = new Uint8Array(state.buffer);
  operations.forEach(({ panels }, i) => {
    bytes.fill(0, layout.counts[i], layout.counts[i] + panels * COUNTS_BYTES);
  });
}

/** Activity of a fabric whose counts follow from matrices and tokens. */
export function toldActivity(
  { operations, magnitudes }: EngineData,
  fabric: Fabric,
  tokens: number,
): LayerActivity[] {
  return operations.flatMap(({ kind, name, outputs, inputs, bits }, i) => {
    if (kind !== 'codes') return [];
    const counts = magnitudes?.subarray(i * MAGNITUDE_COUNTS, (i + 1) * MAGNITUDE_COUNTS);
    return fabric.activityOf(name, { outputs, inputs, weightBits: bits }, tokens, counts) ?? [];
  });
}

/** Full scales: the upper edge of the bin that holds the design's quantile of |D|, times the mean gain of a chip. */
export function collectRanges(data: EngineData, physics: TilePhysics): RangeTable {
  const { meanGain, design, offCurrent } = physics;
  const starts = virtualStarts(data.operations);
  const banks = design.tile.sign === 'paired-rows' ? 2 : 1;
  const table: RangeTable = {};
  visitBins(data, (o, index, tile, cell, bins, peak) => {
    const key = tensorKey(o.name);
    if (o.epilogue === 'watch') {
      const connected = data.figures[(starts[index] + cell * o.tiles + tile) * FIGURES + FIGURE.connected];
      const { currentUnit } = data.integerResponses.get(o.taps)!;
      requireClamps(physics, key, tile, peak * currentUnit + (banks * offCurrent * connected) / o.outputs);
    }
    table[key] ??= Array.from({ length: o.tiles }, () => []);
    table[key][tile][cell] = meanGain * quantile(bins, design.adc.rangeQuantile);
  });
  return table;
}

/** How far columns were driven, against the quantile that makes their full scale. */
export function collectColumns(data: EngineData, { design }: TilePhysics): ColumnCounts {
  const counts = newColumnCounts();
  visitBins(data, (_o, _index, _tile, _cell, bins) => {
    const full = quantile(bins, design.adc.rangeQuantile);
    bins.forEach((count, bin) => {
      if (count > 0)
        countColumn(counts, bin === 0 ? 0 : (rangeEdge(bin - 1) + rangeEdge(bin)) / 2, full, count);
    });
  });
  return counts;
}

/** Visits what was recorded of each tile and cell per weight, summed over threads, and the largest sum of currents. */
function visitBins(
  { operations, layout, threads, state }: EngineData,
  visit: (
    o: EngineData['operations'][number],
    index: number,
    tile: number,
    cell: number,
    bins: Float64Array,
    peak: number,
  ) => void,
): void {
  const starts = virtualStarts(operations);
  const i32 = new Int32Array(state.buffer);
  operations.forEach((o, index) => {
    if (o.epilogue !== 'record' && o.epilogue !== 'watch') return;
    for (let tile = 0; tile < o.tiles; tile++) {
      for (let cell = 0; cell < o.cells; cell++) {
        const bins = new Float64Array(RANGE_BINS);
        let peak = 0;
        for (let thread = 0; thread < threads; thread++) {
          const at = layout.bins[thread] / 4 + (starts[index] + cell * o.tiles + tile) * RANGE_WORDS;
          for (let bin = 0; bin < RANGE_BINS; bin++) bins[bin] += i32[at + bin];
          peak = Math.max(peak, i32[at + RANGE_BINS]);
        }
        visit(o, index, tile, cell, bins, peak);
      }
    }
  });
}

/** 1 where nothing was recorded, as src/tile/adc.ts has it. */
function quantile(bins: Float64Array, share: number): number {
  const total = bins.reduce((sum, count) => sum + count, 0);
  if (total === 0) return 1;
  let below = 0;
  for (let bin = 0; bin < bins.length; bin++) {
    below += bins[bin];
    if (below >= share * total) return rangeEdge(bin);
  }
  return rangeEdge(bins.length - 1);
}
