/**
 * Statistics of single transistors: the law of ln I, gm/I, Pelgrom's coefficients, correlated draws.
 */
import { cornerOf } from '../../../cell/calibration.ts';
import { REFERENCE_TEMP_K } from '../../../cell/ekv.ts';
import { biasPoint, gateRange, gateVoltage, gmOverIPerV } from '../../../cell/operating-point.ts';
import { deviation, mean, median, rms } from '../../../numbers.ts';
import { thresholdResponse } from '../../measure-law.ts';
import { type CalibratedTestbench, CODES, TAPS } from '../../testbench.ts';
import { nominalPoint } from '../study.ts';
import { correlation, kolmogorovSmirnov, normalCdf, quantile, secondOrderCdf } from './math.ts';
import type { StatisticsStudy } from './schema.ts';
import { drawCells, drawKey, extractMismatch, simulateCells } from './statistics.ts';

/** Top of the calibrated gate range at 27 C. */
const highestGateV = (testbench: CalibratedTestbench): number =>
  gateRange(cornerOf(testbench.cal, 'TT'), REFERENCE_TEMP_K).highV;
const STEP_DVT_V = 5e-3;
const SCORES = Array.from({ length: 25 }, (_, i) => -3 + i / 4);

export async function measureLognormal(
  testbench: CalibratedTestbench,
  devices: number,
  seed: number,
): Promise<StatisticsStudy['lognormal']> {
  const { cal } = testbench;
  const op = nominalPoint(testbench);
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  const { sigmaVtV, sigmaBeta } = cal.mismatch;
  // 1/441, 1/58, 1/7.6, 1, and 7.6 where that is calibrated.
  const step = (ladderSlopeV * Math.log(CODES * TAPS)) / 3;
  const count = fullScaleVgsV + step <= highestGateV(testbench) ? 5 : 4;
  const vgs = { start: fullScaleVgsV - 3 * step, step, count };
  const vgsV = Array.from({ length: count }, (_, k) => vgs.start + k * step);
  const draws = drawCells(drawKey(seed, 'lognormal'), devices, sigmaVtV, sigmaBeta);
  const none = drawCells(drawKey(seed, 'none'), 1, 0, 0);
  const at = { corner: 'TT' as const, tempK: op.tempK, vdsV: op.vdsV };
  const [curves, [nominal], response] = await Promise.all([
    simulateCells(testbench, { ...at, vgs, draws }),
    simulateCells(testbench, { ...at, vgs, draws: none }),
    thresholdResponse(testbench, { ...at, vgsV, stepV: STEP_DVT_V }),
  ]);
  const byProduct = vgsV.map((v, k) => {
    const y = curves.map((curve) => curve[k]);
    const [a, b] = [response.slopePerV[k], response.curvaturePerV2[k]];
    const first = secondOrderCdf(nominal[k], a, 0, sigmaVtV, sigmaBeta);
    const second = secondOrderCdf(nominal[k], a, b, sigmaVtV, sigmaBeta);
    const lnSigmaLaw = Math.hypot(a * sigmaVtV, sigmaBeta);
    const lnSigma = deviation(y);
    const centre = mean(y);
    const middle = median(y);
    const paired = (curvature: number) =>
      rms(
        y.map((value, i) => {
          const x = draws.thresholdShiftV[i];
          return value - (nominal[k] - a * x - curvature * x * x + draws.lnGain[i]);
        }),
      );
    const sorted = [...y].sort((p, q) => p - q);
    const at = (cdf: (x: number) => number, score: number) =>
      quantile(cdf, normalCdf(score), nominal[k] - 9 * lnSigmaLaw, nominal[k] + 9 * lnSigmaLaw);
    const [firstMedian, secondMedian] = [first, second].map((cdf) => at(cdf, 0));
    return {
      product: Math.exp((v - fullScaleVgsV) / ladderSlopeV),
      gmOverIPerV: gmOverIPerV(cal, op, v),
      thresholdSlopePerV: a,
      thresholdCurvaturePerV2: b,
      lnSigmaSpice: lnSigma,
      lnSigmaLaw,
      skewness: mean(y.map((value) => ((value - centre) / lnSigma) ** 3)),
      meanOverMedian: mean(y.map((value) => Math.exp(value - middle))),
      meanOverMedianLaw: Math.exp(lnSigmaLaw ** 2 / 2),
      ksFirstOrder: kolmogorovSmirnov(y, first),
      ksSecondOrder: kolmogorovSmirnov(y, second),
      pairedFirstOrder: paired(0),
      pairedSecondOrder: paired(b),
      qq: {
        score: SCORES,
        spice: SCORES.map(
          (score) => sorted[Math.min(devices - 1, Math.floor(normalCdf(score) * devices))] - middle,
        ),
        firstOrder: SCORES.map((score) => at(first, score) - firstMedian),
        secondOrder: SCORES.map((score) => at(second, score) - secondMedian),
      },
    };
  });
  return { devices, sigmaVtV, sigmaBeta, byProduct };
}

export async function measureSlopes(
  testbench: CalibratedTestbench,
): Promise<StatisticsStudy['outsideWeakInversion']> {
  const op = nominalPoint(testbench);
  const gate = gateVoltage(testbench.cal, op);
  const product = [1 / 441, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 4, 7.5].filter(
    (p) => gate(p) <= highestGateV(testbench),
  );
  const vgsV = product.map(gate);
  const { slopePerV } = await thresholdResponse(testbench, {
    corner: 'TT',
    tempK: op.tempK,
    vdsV: op.vdsV,
    vgsV,
    stepV: STEP_DVT_V,
  });
  const gm = vgsV.map((v) => gmOverIPerV(testbench.cal, op, v));
  const most = Math.max(...gm);
  return { product, gmOverIPerV: gm, relative: gm.map((g) => g / most), thresholdSlopePerV: [...slopePerV] };
}

/** Gate voltages of an extraction: from full scale to the supply, weak to strong inversion. */
function extractionGrid(testbench: CalibratedTestbench) {
  const { fullScaleVgsV } = biasPoint(testbench.cal, nominalPoint(testbench));
  const stop = testbench.process.technology.supplyV.value;
  const count = 24;
  return { start: fullScaleVgsV, step: (stop - fullScaleVgsV) / (count - 1), count };
}

export async function measurePelgrom(
  testbench: CalibratedTestbench,
  devices: number,
  seed: number,
): Promise<StatisticsStudy['pelgrom']> {
  const { avtVm, abetaM } = testbench.process.technology.mismatch;
  const op = nominalPoint(testbench);
  const vgs = extractionGrid(testbench);
  const at = { corner: 'TT' as const, tempK: op.tempK, vdsV: op.vdsV, vgs };
  const scales = [1, 1.5, 2, 3, 4, 6];
  const areas = await Promise.all(
    scales.map(async (scale, i) => {
      const cell = {
        ...testbench.cell,
        widthM: testbench.cell.widthM * scale,
        lengthM: testbench.cell.lengthM * scale,
      };
      const areaM2 = cell.widthM * cell.lengthM;
      const root = Math.sqrt(areaM2);
      const draws = drawCells(drawKey(seed, 'pelgrom', i), devices, avtVm.value / root, abetaM.value / root);
      const [curves, [nominal]] = await Promise.all([
        simulateCells(testbench, { ...at, cell, draws }),
        simulateCells(testbench, { ...at, cell, draws: drawCells(drawKey(seed, 'none'), 1, 0, 0) }),
      ]);
      const { thresholdShiftV, lnGain } = extractMismatch(curves, nominal, vgs);
      return {
        areaM2,
        sigmaVtV: deviation(thresholdShiftV),
        sigmaBeta: deviation(lnGain),
        correlation: correlation(thresholdShiftV, lnGain),
      };
    }),
  );
  const x = areas.map(({ areaM2 }) => 1 / Math.sqrt(areaM2));
  // A sigma of n devices has a relative standard error of 1/sqrt(2 n): weights 1/sigma^2, so the slope through the origin
  // is the mean of sigma sqrt(area).
  const through = (sigma: readonly number[]) => mean(sigma.map((s, i) => s / x[i]));
  const sigmaVtV = areas.map((a) => a.sigmaVtV);
  const sigmaBeta = areas.map((a) => a.sigmaBeta);
  return {
    devicesPerArea: devices,
    areaM2: areas.map((a) => a.areaM2),
    sigmaVtV,
    sigmaBeta,
    correlation: areas.map((a) => a.correlation),
    avtVm: through(sigmaVtV),
    avtStandardErrorVm: through(sigmaVtV) / Math.sqrt(2 * devices * areas.length),
    avtInterceptV: intercept(x, sigmaVtV),
    avtInputVm: avtVm.value,
    abetaM: through(sigmaBeta),
    abetaInputM: abetaM.value,
  };
}

/** Intercept of the line through (x, y), weights 1/y^2. */
function intercept(x: readonly number[], y: readonly number[]): number {
  const w = y.map((value) => 1 / value ** 2);
  const sum = (f: (i: number) => number) => w.reduce((total, wi, i) => total + wi * f(i), 0);
  const [s, sx, sy] = [sum(() => 1), sum((i) => x[i]), sum((i) => y[i])];
  const [sxx, sxy] = [sum((i) => x[i] ** 2), sum((i) => x[i] * y[i])];
  return (sxx * sy - sx * sxy) / (s * sxx - sx * sx);
}

export async function measureCorrelation(
  testbench: CalibratedTestbench,
  devices: number,
  seed: number,
): Promise<StatisticsStudy['correlation']> {
  const { cal } = testbench;
  const op = nominalPoint(testbench);
  const vgs = extractionGrid(testbench);
  const { sigmaVtV } = cal.mismatch;
  // As large as the threshold's own effect at strong inversion, so that the correlation matters.
  const sigmaBeta = 0.1;
  const at = { corner: 'TT' as const, tempK: op.tempK, vdsV: op.vdsV, vgs };
  const [nominal] = await simulateCells(testbench, {
    ...at,
    draws: drawCells(drawKey(seed, 'none'), 1, 0, 0),
  });
  const a = cal.mismatch.thresholdGain * gmOverIPerV(cal, op, biasPoint(cal, op).fullScaleVgsV);
  return Promise.all(
    [-0.5, 0, 0.5].map(async (rho, i) => {
      const draws = drawCells(drawKey(seed, 'correlation', i), devices, sigmaVtV, sigmaBeta, rho);
      const curves = await simulateCells(testbench, { ...at, draws });
      const extracted = extractMismatch(curves, nominal, vgs);
      return {
        drawn: correlation(draws.thresholdShiftV, draws.lnGain),
        extracted: correlation(extracted.thresholdShiftV, extracted.lnGain),
        lnSigmaSpice: deviation(curves.map((curve) => curve[0])),
        lnSigmaLaw: Math.sqrt((a * sigmaVtV) ** 2 + sigmaBeta ** 2 - 2 * rho * a * sigmaVtV * sigmaBeta),
      };
    }),
  );
}
