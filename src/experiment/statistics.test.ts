import { expect, test } from 'vitest';
import { klDivergence, logSoftmax } from './metrics.ts';
import {
  meanDivergenceInterval,
  meanInterval,
  meanShareInterval,
  perplexityInterval,
  shareInterval,
} from './statistics.ts';

test('the interval is the textbook Student t interval (Gosset 1908, Cushny and Peebles sleep data)', () => {
  // Extra hours of sleep, ten patients: mean 1.58, s 1.2300, t(0.975, 9) = 2.2622 -> 1.58 +- 0.8799.
  const { mean, ci95 } = meanInterval([1.2, 2.4, 1.3, 1.3, 0, 1, 1.8, 0.8, 4.6, 1.4]);
  expect(mean).toBeCloseTo(1.58, 10);
  expect(ci95?.[0]).toBeCloseTo(0.7001, 3);
  expect(ci95?.[1]).toBeCloseTo(2.4599, 3);
});

test('the interval of a mean of shares stays within 0 to 1, and is the same elsewhere', () => {
  expect(meanShareInterval([0, 0.004]).ci95?.[0]).toBe(0);
  expect(meanShareInterval([0.99, 1]).ci95?.[1]).toBe(1);
  expect(meanShareInterval([0.4, 0.5, 0.6])).toEqual(meanInterval([0.4, 0.5, 0.6]));
  expect(meanShareInterval([0.5]).ci95).toBeNull();
  expect(meanDivergenceInterval([0.6, 0.8]).ci95?.[0]).toBe(0);
  expect(meanDivergenceInterval([1, 3]).ci95?.[1]).toBeCloseTo(2 + 12.7062, 3);
});

test('interval of a share (Clopper and Pearson 1934): 10 of 10 is 69.15 to 100 %, 2 of 10 is 2.52 to 55.61 %', () => {
  expect(shareInterval(10, 10)[0]).toBeCloseTo(0.6915, 4);
  expect(shareInterval(10, 10)[1]).toBe(1);
  expect(shareInterval(2, 10)[0]).toBeCloseTo(0.0252, 4);
  expect(shareInterval(2, 10)[1]).toBeCloseTo(0.5561, 4);
});

test('one chip has no interval', () => {
  expect(meanInterval([3])).toEqual({ mean: 3, ci95: null });
});

test('an interval of perplexity is that of the NLL, and never below zero', () => {
  // Two chips of NLL 4 and 6: mean 5, half width 12.706 x 1.
  const { mean, ci95 } = perplexityInterval(meanInterval([4, 6]));
  expect(mean).toBeCloseTo(Math.exp(5), 9);
  expect(Math.log(ci95![0])).toBeCloseTo(5 - 12.7062, 3);
  expect(Math.log(ci95![1])).toBeCloseTo(5 + 12.7062, 3);
  expect(perplexityInterval({ mean: 0, ci95: null })).toEqual({ mean: 1, ci95: null });
});

test('KL of two Bernoulli distributions', () => {
  const p = new Float32Array([Math.log(0.25), Math.log(0.75)]);
  const q = new Float32Array([Math.log(0.5), Math.log(0.5)]);
  expect(klDivergence(p, q)).toBeCloseTo(0.25 * Math.log(0.5) + 0.75 * Math.log(1.5), 6);
  expect(klDivergence(p, p)).toBe(0);
});

test('log-softmax does not overflow', () => {
  const out = new Float32Array(3);
  expect(logSoftmax(out, new Float32Array([1000, 1000, -1000]))).toBe(0);
  expect(out[0]).toBeCloseTo(-Math.LN2, 6);
  expect(out[2]).toBeCloseTo(-2000 - Math.LN2, 3);
});
