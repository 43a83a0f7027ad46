import { describe, expect, test } from 'vitest';
import { atTemperature, COEFFICIENT_COUNT, COEFFICIENT_NAMES, ekvCurrentA } from '../../cell/ekv.ts';
import { gaussian, streamKey } from '../../random.ts';
import { type CellPoint, fitCell } from './fit.ts';

/** A device whose channel, junction and drain-edge currents all show within the sweep. */
const TRUTH: Readonly<Record<string, number>> = {
  'lnSpecificCurrentA.0': -14.2,
  'lnSpecificCurrentA.1': 0.6,
  'lnSpecificCurrentA.2': -0.03,
  'slopeFactor.0': 1.42,
  'slopeFactor.1': 0.003,
  'slopeFactor.2': 0.002,
  'thresholdV.0': 0.47,
  'thresholdV.1': -0.03,
  'thresholdV.2': 0.006,
  'barrierLowering.0': 0.005,
  'barrierLowering.1': 0.001,
  'lengthModulationPerV.0': 0.1,
  'lengthModulationPerV.1': -0.02,
  'lnFloorA.0': -38,
  'lnFloorA.1': 15,
  'lnEdgeA.0': -28,
  'lnEdgeA.1': 0.02,
  'edgeSlopePerV.0': 8,
  'edgeSlopePerV.1': 0.1,
  'edgeCurvePerV2.0': -4,
  'edgeCubicPerV3.0': 3,
  'saturation.0': 0.99,
  'saturation.1': 0.2,
};
const truth = COEFFICIENT_NAMES.map((name) => TRUTH[name]);

/** Currents of the true device with relative noise of the given sigma. */
function synthetic(sigma: number, seed: number): CellPoint[] {
  const key = streamKey(seed);
  const points: CellPoint[] = [];
  for (const tempK of [233.15, 273.15, 300.15, 343.15, 378.15, 398.15]) {
    const at = atTemperature(truth, tempK);
    // The same currents at each temperature: the threshold falls by about 1 mV/K.
    const shift = -1.07e-3 * (tempK - 300.15);
    for (const vdsV of [0.1, 0.2, 0.4, 0.6]) {
      for (let vgsV = -0.06 + shift; vgsV < 0.35 + shift; vgsV += 0.015) {
        const currentA = ekvCurrentA(at, vgsV, vdsV) * Math.exp(sigma * gaussian(key, points.length));
        points.push({ vgsV, vdsV, tempK, currentA });
      }
    }
  }
  return points;
}

describe('fit of the cell equation', () => {
  test('exact data: the currents come back within 0.01 %', () => {
    const { residual } = fitCell(synthetic(0, 0));
    expect(residual.max).toBeLessThan(1e-4);
  });

  test('noisy data: deviations from the truth are what the covariance says', () => {
    const sigma = 0.003;
    const scores: number[] = [];
    for (let seed = 1; seed <= 6; seed++) {
      const fit = fitCell(synthetic(sigma, seed), truth);
      expect(fit.residual.rms).toBeGreaterThan(0.9 * sigma);
      expect(fit.residual.rms).toBeLessThan(1.1 * sigma);
      fit.coefficients.forEach((value, i) => {
        scores.push((value - truth[i]) / Math.sqrt(fit.covariance[i][i]));
      });
    }
    const meanSquare = scores.reduce((sum, z) => sum + z * z, 0) / scores.length;
    // 138 strongly correlated scores: a mean square of 1 within a factor of two, none beyond five sigma.
    expect(meanSquare).toBeGreaterThan(0.5);
    expect(meanSquare).toBeLessThan(2);
    expect(Math.max(...scores.map(Math.abs))).toBeLessThan(5);
  });

  test('refuses too few points and currents that are not positive', () => {
    const points = synthetic(0, 0);
    expect(() => fitCell(points.slice(0, COEFFICIENT_COUNT))).toThrow(
      expect.objectContaining({ code: 'FIT_POINTS' }),
    );
    expect(() => fitCell([...points, { ...points[0], currentA: 0 }])).toThrow(
      expect.objectContaining({ code: 'FIT_CURRENT' }),
    );
  });
});
