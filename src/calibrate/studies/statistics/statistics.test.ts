/**
 * Monte Carlo in SPICE against laws: tabulated values of the normal and Kolmogorov distributions, the input coefficients that
 * a laboratory extraction has to return, Fenton-Wilkinson for a mean of lognormals, and the prototype's spread of ln I.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deviation } from '../../../numbers.ts';
import { gaussian, streamKey } from '../../../random.ts';
import { createSpicePool } from '../../../spice/pool.ts';
import { countingPool } from '../../../testing/spice.ts';
import { withTestbench } from '../study.ts';
import { kolmogorovSmirnov, normalCdf, quantile, secondOrderCdf } from './math.ts';
import type { StatisticsStudy } from './schema.ts';
import { drawCells, drawKey, simulateCells } from './statistics.ts';
import { characteriseStatistics } from './study.ts';

describe('distributions', () => {
  test('normal distribution function: tabulated values', () => {
    expect(normalCdf(0)).toBe(0.5);
    expect(normalCdf(1.959963984540054)).toBeCloseTo(0.975, 12);
    expect(normalCdf(-3)).toBeCloseTo(0.0013498980316301, 14);
    expect(normalCdf(-6) / 9.865876450376981e-10).toBeCloseTo(1, 9);
    expect(quantile(normalCdf, 0.9, -9, 9)).toBeCloseTo(1.2815515655446, 10);
  });

  test('Kolmogorov-Smirnov: distance by hand, critical value of the table, power against a wrong sigma', () => {
    const uniform = (x: number) => Math.min(1, Math.max(0, x));
    // 0.1 0.2 0.3: the step to 1 at 0.3 is 0.7 above the distribution.
    expect(kolmogorovSmirnov([0.3, 0.1, 0.2], uniform).distance).toBeCloseTo(0.7, 12);
    // Table (Massey 1951): n = 20, 5 % point 0.294; Stephens' approximation is good to a few percent of p.
    const at = Array.from({ length: 20 }, (_, i) => (i + 1) / 20 - 0.294).map((x) => Math.max(0, x));
    expect(kolmogorovSmirnov(at, uniform).pValue).toBeGreaterThan(0.045);
    expect(kolmogorovSmirnov(at, uniform).pValue).toBeLessThan(0.055);
    const key = streamKey(3);
    const sample = Array.from({ length: 4000 }, (_, i) => gaussian(key, i));
    expect(kolmogorovSmirnov(sample, normalCdf).pValue).toBeGreaterThan(0.01);
    expect(kolmogorovSmirnov(sample, (x) => normalCdf(x / 1.1)).pValue).toBeLessThan(0.01);
  });

  test('second-order distribution against draws', () => {
    const [a, b, sx, se] = [27, 200, 0.018, 0.07];
    const key = streamKey(4);
    const sample = Array.from({ length: 4000 }, (_, i) => {
      const x = sx * gaussian(key, 2 * i);
      return -a * x - b * x * x + se * gaussian(key, 2 * i + 1);
    });
    expect(kolmogorovSmirnov(sample, secondOrderCdf(0, a, b, sx, se)).pValue).toBeGreaterThan(0.01);
    expect(kolmogorovSmirnov(sample, secondOrderCdf(0, a, 0, sx, se)).pValue).toBeLessThan(1e-4);
    // The same integral with b near 0 is the lognormal law.
    expect(secondOrderCdf(0, a, 1e-12, sx, se)(0.3)).toBeCloseTo(secondOrderCdf(0, a, 0, sx, se)(0.3), 10);
  });
});

describe('planar32lp/t1 in SPICE', () => {
  const pool = createSpicePool({ threads: 2 });
  afterAll(() => pool.close());
  let study: StatisticsStudy;
  beforeAll(async () => {
    study = await characteriseStatistics({
      process: 'planar32lp',
      cell: 't1',
      pool,
      devices: 1500,
      devicesPerArea: 400,
      globalSamples: 100,
      seed: 7,
    });
  });

  test('ln I is normal with the law sigma; the second order holds device by device', () => {
    for (const at of study.lognormal.byProduct) {
      expect(at.ksFirstOrder.pValue).toBeGreaterThan(0.005);
      expect(at.ksSecondOrder.pValue).toBeGreaterThan(0.005);
      // Standard error of a sigma of 1,500 devices is 1.8 %.
      expect(Math.abs(at.lnSigmaSpice / at.lnSigmaLaw - 1)).toBeLessThan(0.06);
      // Third order in x: at the lowest product the drain-edge leakage bends ln I most.
      expect(at.pairedSecondOrder).toBeLessThan(0.003);
      expect(at.pairedSecondOrder).toBeLessThan(at.pairedFirstOrder);
    }
    // Prototype at sigma(Vt) 17.7 mV without beta: 0.48-0.50.
    expect(study.lognormal.byProduct[3].lnSigmaSpice).toBeGreaterThan(0.45);
    expect(study.lognormal.byProduct[3].lnSigmaSpice).toBeLessThan(0.55);
  });

  test('gm/I falls with the code outside weak inversion', () => {
    const { product, relative } = study.outsideWeakInversion;
    const at = (p: number) => relative[product.indexOf(p)];
    expect(at(0.1)).toBeGreaterThan(at(1));
    expect(at(1)).toBeGreaterThan(at(7.5));
    expect(at(7.5)).toBeLessThan(0.95);
  });

  test('Pelgrom: extraction from transfer curves at six areas returns the input coefficients', () => {
    const { avtVm, avtInputVm, avtInterceptV, sigmaVtV, abetaM, abetaInputM, areaM2 } = study.pelgrom;
    expect(areaM2.length).toBe(6);
    // 2,400 devices: standard error 1.4 %.
    expect(Math.abs(avtVm / avtInputVm - 1)).toBeLessThan(0.05);
    expect(Math.abs(avtInterceptV)).toBeLessThan(0.1 * sigmaVtV[0]);
    // The threshold moves the mobility as well, which an extraction counts as beta.
    expect(abetaM / abetaInputM).toBeGreaterThan(0.95);
    expect(abetaM / abetaInputM).toBeLessThan(1.15);
  });

  test('correlated draws: sigma of ln I follows, the extraction is biased by the mobility but ordered', () => {
    const [negative, none, positive] = study.correlation;
    for (const { lnSigmaSpice, lnSigmaLaw } of study.correlation) {
      expect(Math.abs(lnSigmaSpice / lnSigmaLaw - 1)).toBeLessThan(0.12);
    }
    expect(negative.extracted).toBeLessThan(none.extracted - 0.2);
    expect(none.extracted).toBeLessThan(positive.extracted - 0.2);
    // Uncorrelated draws come back with about -0.2: measured coefficients must be deconvolved before use.
    expect(none.extracted).toBeGreaterThan(-0.35);
    expect(none.extracted).toBeLessThan(0.1);
  });

  test('ladder resistors and buffer offsets: sigma by tap', () => {
    const { spice, law } = study.ladder;
    // 100 ladders: 7 % standard error.
    spice.forEach((sigma, i) => {
      expect(Math.abs(sigma / law[i] - 1)).toBeLessThan(0.25);
    });
    expect(spice[0]).toBeGreaterThan(1.5 * spice[spice.length - 1]);
  });

  test('a replica senses the mean current: Fenton-Wilkinson', () => {
    for (const { sigmaV, lawSigmaV, meanV, lawMeanV, replicas } of study.replica) {
      const error = 1 / Math.sqrt(2 * replicas);
      expect(Math.abs(sigmaV / lawSigmaV - 1)).toBeLessThan(4 * error);
      expect(Math.abs(meanV - lawMeanV)).toBeLessThan((4 * sigmaV) / Math.sqrt(replicas));
    }
    expect(study.replica[3].meanV).toBeLessThan(-0.003);
  });

  test('global draws: corners with every parameter at three sigma lie beyond three sigma of ln I', () => {
    const { fastSigmas, slowSigmas, ratioLnSigma, lnSigma } = study.global!;
    expect(fastSigmas).toBeGreaterThan(3);
    expect(fastSigmas).toBeLessThan(6);
    expect(slowSigmas).toBeLessThan(-3);
    // A replica takes out nearly all of it.
    expect(ratioLnSigma).toBeLessThan(0.1 * lnSigma);
  });

  test('flattened netlists: hundreds of samples in a simulation', async () => {
    const counting = countingPool(pool);
    await withTestbench({ process: 'planar32lp', cell: 't1', pool: counting.pool }, (testbench) =>
      simulateCells(testbench, {
        corner: 'TT',
        tempK: 300.15,
        vdsV: testbench.cell.vdsV,
        vgs: { start: 0.25, step: 1e-3, count: 1 },
        draws: drawCells(drawKey(1, 'rate', 0), 2500, 1e-3, 0),
      }),
    );
    // A separate netlist for each sample would be twenty times slower.
    expect(counting.jobs.length).toBe(10);
  });

  test('the same seed gives the same study', async () => {
    const again = await characteriseStatistics({
      process: 'planar32lp',
      cell: 't1',
      pool,
      devices: 100,
      devicesPerArea: 50,
      globalSamples: 10,
      seed: 7,
    });
    expect(again.ladder).toEqual(study.ladder);
    expect(again.replica).toEqual(study.replica);
    expect(deviation(again.pelgrom.sigmaVtV)).not.toBe(deviation(study.pelgrom.sigmaVtV));
  });
});
