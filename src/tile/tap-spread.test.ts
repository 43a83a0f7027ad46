/** Taps of several transistors: against sums that are really drawn, and through a whole layer of topology t4. */

import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { logDomainLinear } from '../fabric/log-domain.ts';
import { gaussian, streamKey } from '../random.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { idealDesign } from './error-sources.ts';
import { tilePhysics } from './physics.ts';
import { tapSpread } from './tap-spread.ts';
import { recodeWeights } from './weight-code.ts';

const moments = (values: readonly number[]) => {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  return {
    mean,
    variance: values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1),
  };
};

test('m drawn transistors in parallel: mean, variance and the bulk of their sum', () => {
  const sigma = 0.69; // t4: gm/I 27.5 /V times 25 mV
  const { share, logMean } = tapSpread(7, true, sigma);
  const draws = 40_000;
  const key = streamKey(8);
  for (const m of [1, 2, 7]) {
    const sums = Array.from({ length: draws }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < m; k++) sum += Math.exp(sigma * gaussian(key, i * 7 + k)) / m;
      return sum;
    });
    const { mean, variance } = moments(sums);
    const lnSigma = share[m] * sigma;
    const modelMean = Math.exp(logMean[m] + lnSigma ** 2 / 2);
    // The same mean for every tap: that of one transistor.
    expect(modelMean).toBeCloseTo(Math.exp(sigma ** 2 / 2), 12);
    expect(Math.abs(mean / modelMean - 1)).toBeLessThan(5 * Math.sqrt(variance / draws));
    expect(variance / (modelMean ** 2 * Math.expm1(lnSigma ** 2))).toBeCloseTo(1, 1);
    // Fenton's approximation of the shape: the quartiles of the sum within 1.5 %.
    const sorted = [...sums].sort((a, b) => a - b);
    for (const [q, z] of [
      [0.25, -0.6745],
      [0.5, 0],
      [0.75, 0.6745],
    ]) {
      const model = Math.exp(logMean[m] + lnSigma * z);
      expect(Math.abs(sorted[Math.floor(q * draws)] / model - 1)).toBeLessThan(0.015);
    }
  }
});

test('one transistor per tap is left alone, and no mismatch means no shift', () => {
  expect([...tapSpread(3, false, 0.5).share]).toEqual([1, 1, 1, 1]);
  expect([...tapSpread(3, false, 0.5).logMean]).toEqual([0, 0, 0, 0]);
  const none = tapSpread(3, true, 0);
  expect([...none.logMean]).toEqual([0, 0, 0, 0]);
  expect(none.share[2]).toBeCloseTo(Math.SQRT1_2, 12);
  expect(tapSpread(3, true, 1e-4).share[2]).toBeCloseTo(Math.SQRT1_2, 6);
});

test.each(['reference', 'baked'] as const)(
  't4, %s: every tap has its nominal mean and its own spread',
  (cellSums) => {
    // Rows of taps 1 .. 7, one driven at a time: every column is one cell.
    const columns = 6000;
    const weights = recodeWeights(columns, 7, (_n, out) => out.set([1, 2, 3, 4, 5, 6, 7]), 4, 256);
    const { design } = loadLogDomainDesign('log-domain', ['cell=t4', 'fullScaleA=1e-8']);
    const calibration = loadCalibration(design.process, design.cell);
    const off = idealDesign(design);
    const physics = tilePhysics(calibration, {
      ...off,
      mismatch: design.mismatch,
      bias: { ...off.bias, replicaCells: 1e9 },
    });
    const sigma = Math.hypot(physics.gmOverIPerV * physics.sigmaVtV, physics.sigmaBeta);
    expect(sigma).toBeGreaterThan(0.6);
    const layer = logDomainLinear({ layer: 1, tensor: 'ffn_down', ordinal: 6, count: 7 }, weights, {
      physics,
      chip: { errors: true, seed: 4 },
      cellSums,
      blocks: 4,
      ranges: undefined,
    });
    const y = new Float32Array(columns);
    for (let row = 0; row < 7; row++) {
      const a = new Float32Array(7);
      a[row] = 1;
      layer.apply(y, a, { window: 0, position: 0 });
      const m = row + 1;
      const { mean, variance } = moments([...y].map((value) => value / m));
      // Relative variance of m transistors: that of one over m. One mean gain for all taps had left tap 1 22 % strong.
      const expected = Math.expm1(sigma ** 2) / m;
      expect(Math.abs(mean - 1), `tap ${m}`).toBeLessThan(5 * Math.sqrt(expected / columns));
      expect(Math.abs(variance / expected - 1), `tap ${m}`).toBeLessThan(0.25);
    }
  },
);
