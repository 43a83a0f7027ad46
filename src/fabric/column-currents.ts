/** How far the columns of the nominal chip are driven: |D| over the full scale of its converter, counted while ranges are measured. */
import { type RangeHistogram, rangeBins } from '../tile/adc.ts';
import type { RangeRecord, RangeTable } from './ranges.ts';

/** Bins of log10(|D| / full scale), 20 a decade from 0.001 to 10; those outside are in the first and the last. */
export const COLUMN_BINS_PER_DECADE = 20;
const DECADES = 4;
const LOWEST_DECADE = -3;
export const COLUMN_BINS = COLUMN_BINS_PER_DECADE * DECADES;

/** Upper edge of a bin, as a share of the full scale. */
export const columnEdge = (bin: number): number => 10 ** (LOWEST_DECADE + (bin + 1) / COLUMN_BINS_PER_DECADE);

/** Counts by bin, of all tiles and cells per weight. */
export type ColumnCounts = number[];

export const newColumnCounts = (): ColumnCounts => new Array<number>(COLUMN_BINS).fill(0);

/** Adds `count` values of |D| = `value`; `fullScale` in the same unit. */
export function countColumn(counts: ColumnCounts, value: number, fullScale: number, count: number): void {
  const bin = Math.floor((Math.log10(value / fullScale) - LOWEST_DECADE) * COLUMN_BINS_PER_DECADE);
  counts[Math.max(0, Math.min(COLUMN_BINS - 1, bin))] += count;
}

/** Of what range calibration recorded; `table` is what came of it, `meanGain` times the quantiles. */
export function columnCountsOf(record: RangeRecord, table: RangeTable, meanGain: number): ColumnCounts {
  const counts = newColumnCounts();
  for (const [key, tiles] of record) {
    tiles.forEach((cells, tile) => {
      cells.forEach((histogram: RangeHistogram, cell) => {
        for (const { value, count } of rangeBins(histogram)) {
          countColumn(counts, value, table[key][tile][cell] / meanGain, count);
        }
      });
    });
  }
  return counts;
}
