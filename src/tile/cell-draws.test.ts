import { expect, test } from 'vitest';
import { type StreamKey, streamKey } from '../random.ts';
import {
  BYTES_SIGMA,
  cellBits,
  differenceOfBytes,
  gainDraw,
  LARGEST_DIFFERENCE,
  LARGEST_NORMAL,
  NORMAL_UNIT,
  normalOfSum,
  sumOfBytes,
  thresholdDraw,
} from './cell-draws.ts';

/** Shares of the sums -510 .. 510 of four uniform bytes less their mean. */
function shares(): Float64Array {
  let sums = new Float64Array([1]);
  for (let i = 0; i < 4; i++) {
    const next = new Float64Array(sums.length + 255);
    sums.forEach((share, j) => {
      for (let k = 0; k < 256; k++) next[j + k] += share / 256;
    });
    sums = next;
  }
  return sums;
}

/** Mean of f over all draws of the threshold. */
const mean = (f: (z: number) => number): number =>
  shares().reduce((sum, share, i) => sum + share * f(normalOfSum(i - 510) / NORMAL_UNIT), 0);

test('over all bits the threshold has the moments, the tails and the lognormal mean that are documented', () => {
  expect(Math.abs(mean((z) => z))).toBeLessThan(1e-6);
  const variance = mean((z) => z * z);
  expect(Math.abs(variance - 1)).toBeLessThan(2e-5);
  expect(Math.abs(mean((z) => z ** 4) / variance ** 2 - 3)).toBeLessThan(1e-4);
  expect(mean((z) => z ** 6)).toBeCloseTo(14.46, 2);
  expect(LARGEST_NORMAL).toBeCloseTo(4.04, 2);
  // Of the normal distribution: 0.0026998, 4.65e-4.
  expect(mean((z) => (Math.abs(z) > 3 ? 1 : 0))).toBeCloseTo(0.0024, 4);
  expect(mean((z) => (Math.abs(z) > 3.5 ? 1 : 0))).toBeCloseTo(1.59e-4, 5);
  const sigma = 0.49;
  expect(Math.abs(mean((z) => Math.exp(sigma * z)) / Math.exp(sigma ** 2 / 2) - 1)).toBeLessThan(2e-5);
  expect(Math.abs(mean((z) => Math.exp(2 * sigma * z)) / Math.exp(2 * sigma ** 2) - 1)).toBeLessThan(1e-3);
});

test('the two draws of a cell are the sums of its four bytes', () => {
  const bits = 0x12 | (0xff << 8) | (0x80 << 16) | (0x7f << 24) | 0;
  expect(sumOfBytes(bits)).toBe(0x12 - 1 - 128 + 127 + 2);
  expect(differenceOfBytes(bits)).toBe(0x12 - 1 + 128 - 127);
  expect(thresholdDraw(0x7f7f7f7f)).toBe(LARGEST_NORMAL);
  expect(thresholdDraw(0x80808080 | 0)).toBe(-LARGEST_NORMAL);
  expect(gainDraw(0x80807f7f | 0)).toBeCloseTo(LARGEST_DIFFERENCE, 10);
  expect(BYTES_SIGMA).toBeCloseTo(147.8, 1);
});

const COUNT = 2 ** 17;
const keys: StreamKey[] = [streamKey(1, 2, 3), streamKey(1, 2, 4), streamKey(2, 2, 3), { a: 0, b: 1 }];

test.each(keys)('draws of one key fill the distribution: chi-square and tails', (key) => {
  // Sums fall into classes that are equally likely as nearly as their steps allow.
  const share = shares();
  const classes = 64;
  const classOf = new Uint8Array(share.length);
  const expected = new Float64Array(classes);
  let below = 0;
  share.forEach((p, i) => {
    classOf[i] = Math.min(classes - 1, Math.floor((below + p / 2) * classes));
    expected[classOf[i]] += p * COUNT;
    below += p;
  });
  for (const of of [sumOfBytes, differenceOfBytes]) {
    const found = new Float64Array(classes);
    let beyond = 0;
    for (let i = 0; i < COUNT; i++) {
      const sum = of(cellBits(key, i));
      found[classOf[sum + 510]]++;
      if (Math.abs(sum) > 3 * BYTES_SIGMA) beyond++;
    }
    const chiSquare = found.reduce((sum, n, c) => sum + (n - expected[c]) ** 2 / expected[c], 0);
    // 63 degrees of freedom: mean 63, sigma 11.2.
    expect(chiSquare).toBeLessThan(63 + 4 * 11.2);
    expect(chiSquare).toBeGreaterThan(63 - 4 * 11.2);
    const tail = share.reduce((sum, p, i) => sum + (Math.abs(i - 510) > 3 * BYTES_SIGMA ? p : 0), 0);
    expect(Math.abs(beyond - tail * COUNT)).toBeLessThan(4 * Math.sqrt(tail * COUNT));
  }
});

test('neighbours in a row and a column, chips, and the two draws of a cell are uncorrelated', () => {
  const [key, otherTensor, otherChip] = keys;
  const columns = 4096;
  const correlation = (x: (i: number) => number, y: (i: number) => number) => {
    let sum = 0;
    for (let i = 0; i < COUNT; i++) sum += x(i) * y(i);
    return sum / COUNT;
  };
  const z =
    (of: StreamKey, shift = 0) =>
    (i: number) =>
      thresholdDraw(cellBits(of, i + shift));
  const gain = (of: StreamKey) => (i: number) => gainDraw(cellBits(of, i));
  const square = (f: (i: number) => number) => (i: number) => f(i) ** 2 - 1;
  const limit = 4 / Math.sqrt(COUNT);
  for (const other of [z(key, 1), z(key, 2), z(key, columns), z(otherTensor), z(otherChip), gain(key)]) {
    expect(Math.abs(correlation(z(key), other))).toBeLessThan(limit);
  }
  // Squares have variance 2; the two draws of one cell share their bytes and are not asked.
  for (const other of [z(key, 1), z(key, columns), z(otherTensor), z(otherChip)]) {
    expect(Math.abs(correlation(square(z(key)), square(other)))).toBeLessThan(2 * limit);
  }
});
