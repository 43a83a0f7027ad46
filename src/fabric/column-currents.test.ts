/** Counts of columns against their full scale, from what range calibration records. */
import { expect, test } from 'vitest';
import { newRangeHistogram, rangeQuantile, recordRange } from '../tile/adc.ts';
import { COLUMN_BINS, columnCountsOf, columnEdge } from './column-currents.ts';

test('every value is counted in the bin of its share of the full scale', () => {
  const histogram = newRangeHistogram();
  const values = [0, 1e-9, 0.02, 0.5, 1, 3, 3, 9.99, 50];
  for (const value of values) recordRange(histogram, value);
  const [fullScale, meanGain] = [5, 1.25];
  const counts = columnCountsOf(new Map([['a', [[histogram]]]]), { a: [[meanGain * fullScale]] }, meanGain);
  expect(counts).toHaveLength(COLUMN_BINS);
  expect(counts.reduce((a, b) => a + b)).toBe(values.length);
  for (const value of values) {
    const share = Math.min(9.9, Math.max(1.01e-3, value / fullScale));
    const near = counts.some(
      (count, bin) => count > 0 && Math.abs(Math.log10(columnEdge(bin) / share)) < 0.08,
    );
    expect(near, String(value)).toBe(true);
  }
});

test('half of the values lie beyond a full scale that is their median', () => {
  const histogram = newRangeHistogram();
  for (let i = 1; i <= 1000; i++) recordRange(histogram, i / 100);
  const table = { a: [[rangeQuantile(histogram, 0.5)]] };
  const counts = columnCountsOf(new Map([['a', [[histogram]]]]), table, 1);
  const beyond = counts.reduce((sum, count, bin) => (columnEdge(bin - 1) > 0.999 ? sum + count : sum), 0);
  expect(Math.abs(beyond - 500)).toBeLessThan(10);
});
