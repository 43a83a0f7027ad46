import { expect, test } from 'vitest';
import { gaussian, streamKey } from '../random.ts';
import { bootstrap, bootstrapMean } from './bootstrap.ts';

test('weights windows by their predictions', () => {
  expect(bootstrapMean([[2, 30]], [1, 10]).mean).toBeCloseTo(32 / 11, 12);
  expect(bootstrapMean([[2], [4]], [2])).toEqual({ mean: 1.5, ci95: null });
});

test('windows that are all alike have no width, and one odd window has', () => {
  expect(bootstrapMean([[3, 3, 3]], [1, 1, 1]).ci95).toEqual([3, 3]);
  const { ci95 } = bootstrapMean([[3, 3, 3, 9]], [1, 1, 1, 1]);
  expect(ci95![0]).toBe(3);
  expect(ci95![1]).toBeGreaterThan(6);
});

test('covers the mean as often as it says, over windows of normal values (and is the same every time)', () => {
  let covered = 0;
  const trials = 200;
  for (let trial = 0; trial < trials; trial++) {
    const key = streamKey(17, trial);
    const sums = [Array.from({ length: 30 }, (_, w) => 1 + gaussian(key, w))];
    const { ci95 } = bootstrapMean(sums, Array<number>(30).fill(1), 400);
    if (ci95![0] <= 1 && 1 <= ci95![1]) covered++;
  }
  // 95 % less what percentiles of 30 values lose, within three sigmas of a count.
  expect(covered / trials).toBeGreaterThan(0.88);
  expect(covered / trials).toBeLessThan(0.985);
  expect(bootstrapMean([[1, 2, 5]], [1, 1, 1])).toEqual(bootstrapMean([[1, 2, 5]], [1, 1, 1]));
});

test('p is below 5 % where the interval leaves zero out, and that as rarely as it says', () => {
  let rare = 0;
  const trials = 200;
  for (let trial = 0; trial < trials; trial++) {
    const key = streamKey(19, trial);
    const sums = [Array.from({ length: 6 }, (_, w) => gaussian(key, w))];
    const { p, ci95 } = bootstrap(sums, Array<number>(6).fill(1), { chips: false, windows: true }, 4000);
    const outside = ci95[0] > 0 || ci95[1] < 0;
    // A resample's width apart at the threshold itself.
    if (Math.abs(p - 0.05) > 0.01) expect(p < 0.05).toBe(outside);
    if (p < 0.05) rare++;
  }
  expect(rare / trials).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / trials));
});
