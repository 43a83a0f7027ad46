/**
 * Statistics of a cell from SPICE beside the behavioural model: calibration/<process>/<cell>.statistics.json.
 */
import { OnefetError } from '../../error.ts';
import { gaussian } from '../../random.ts';
import { engineId } from '../../spice/job.ts';
import { cornerOf } from '../calibration.ts';
import {
  calibrationFingerprint,
  gateVoltage,
  loadStudy,
  operatingPoint,
  rms,
  roundedNumbers,
  type StudyBench,
  type StudyOptions,
  studySources,
  withBench,
} from '../column/bench.ts';
import { CODES, TAPS, thresholdResponse } from '../column/column.ts';
import { REFERENCE_TEMP_K } from '../ekv.ts';
import { biasPoint, gateRange, gmOverIPerV } from '../response.ts';
import {
  correlation,
  deviation,
  kolmogorovSmirnov,
  mean,
  median,
  normalCdf,
  quantile,
  secondOrderCdf,
} from './math.ts';
import { type StatisticsStudy, statisticsSchema } from './schema.ts';
import {
  drawCells,
  drawKeyOf,
  extractMismatch,
  globalParameters,
  simulateCells,
  simulateGlobal,
  simulateLadders,
  simulateReplicas,
} from './statistics.ts';

export interface StatisticsOptions extends StudyOptions {
  /** Devices of the lognormal check. Default 4000. */
  readonly devices?: number;
  /** Per area of the Pelgrom fit. Default 1000. */
  readonly devicesPerArea?: number;
  /** Default 300. */
  readonly globalSamples?: number;
  readonly seed?: number;
}

/** Monte Carlo of the cell. Errors: SPICE_*, CALIBRATION_*, OUT_OF_RANGE. */
export function characteriseStatistics(options: StatisticsOptions): Promise<StatisticsStudy> {
  return withBench(options, async (bench) => {
    const seed = options.seed ?? 1;
    const lognormal = await measureLognormal(bench, options.devices ?? 4000, seed);
    const outsideWeakInversion = await measureSlopes(bench);
    const pelgrom = await measurePelgrom(bench, options.devicesPerArea ?? 1000, seed);
    const correlated = await measureCorrelation(bench, options.devicesPerArea ?? 1000, seed);
    const ladder = await measureLadders(bench, seed);
    const replica = await measureReplicas(bench, seed);
    const { global, refused } = await measureGlobal(bench, options.globalSamples ?? 300, seed);
    return statisticsSchema.parse(
      roundedNumbers({
        schema: 'onefet.statistics/1',
        process: bench.cal.process,
        cell: bench.cal.cell,
        engine: engineId(),
        sources: studySources(bench),
        calibrationSha256: calibrationFingerprint(bench.cal),
        seed,
        tempK: REFERENCE_TEMP_K,
        lognormal,
        outsideWeakInversion,
        pelgrom,
        correlation: correlated,
        ladder,
        replica,
        ...(global === undefined ? { globalRefused: refused } : { global }),
      }),
    );
  });
}

/** Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE. */
export function loadStatisticsStudy(process: string, cell: string): StatisticsStudy {
  return loadStudy(statisticsSchema, process, cell, 'statistics');
}

const nominalPoint = (bench: StudyBench) => operatingPoint(bench.cal, 'TT', REFERENCE_TEMP_K);
/** Top of the calibrated gate range at 27 C. */
const highestGateV = (bench: StudyBench): number =>
  gateRange(cornerOf(bench.cal, 'TT'), REFERENCE_TEMP_K).highV;
const STEP_DVT_V = 5e-3;
const SCORES = Array.from({ length: 25 }, (_, i) => -3 + i / 4);

async function measureLognormal(
  bench: StudyBench,
  devices: number,
  seed: number,
): Promise<StatisticsStudy['lognormal']> {
  const { cal } = bench;
  const op = nominalPoint(bench);
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  const { sigmaVtV, sigmaBeta } = cal.mismatch;
  // 1/441, 1/58, 1/7.6, 1, and 7.6 where that is calibrated.
  const step = (ladderSlopeV * Math.log(CODES * TAPS)) / 3;
  const count = fullScaleVgsV + step <= highestGateV(bench) ? 5 : 4;
  const vgs = { start: fullScaleVgsV - 3 * step, step, count };
  const vgsV = Array.from({ length: count }, (_, k) => vgs.start + k * step);
  const draws = drawCells(drawKeyOf(seed, 'lognormal'), devices, sigmaVtV, sigmaBeta);
  const none = drawCells(drawKeyOf(seed, 'none'), 1, 0, 0);
  const at = { corner: 'TT' as const, tempK: op.tempK, vdsV: op.vdsV };
  const [curves, [nominal], response] = await Promise.all([
    simulateCells(bench, { ...at, vgs, draws }),
    simulateCells(bench, { ...at, vgs, draws: none }),
    thresholdResponse(bench, { ...at, vgsV, stepV: STEP_DVT_V }),
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

async function measureSlopes(bench: StudyBench): Promise<StatisticsStudy['outsideWeakInversion']> {
  const op = nominalPoint(bench);
  const gate = gateVoltage(bench.cal, op);
  const product = [1 / 441, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 4, 7.5].filter(
    (p) => gate(p) <= highestGateV(bench),
  );
  const vgsV = product.map(gate);
  const { slopePerV } = await thresholdResponse(bench, {
    corner: 'TT',
    tempK: op.tempK,
    vdsV: op.vdsV,
    vgsV,
    stepV: STEP_DVT_V,
  });
  const gm = vgsV.map((v) => gmOverIPerV(bench.cal, op, v));
  const most = Math.max(...gm);
  return { product, gmOverIPerV: gm, relative: gm.map((g) => g / most), thresholdSlopePerV: [...slopePerV] };
}

/** Gate voltages of an extraction: from full scale to the supply, weak to strong inversion. */
function extractionGrid(bench: StudyBench) {
  const { fullScaleVgsV } = biasPoint(bench.cal, nominalPoint(bench));
  const stop = bench.process.technology.supplyV.value;
  const count = 24;
  return { start: fullScaleVgsV, step: (stop - fullScaleVgsV) / (count - 1), count };
}

async function measurePelgrom(
  bench: StudyBench,
  devices: number,
  seed: number,
): Promise<StatisticsStudy['pelgrom']> {
  const { avtVm, abetaM } = bench.process.technology.mismatch;
  const op = nominalPoint(bench);
  const vgs = extractionGrid(bench);
  const at = { corner: 'TT' as const, tempK: op.tempK, vdsV: op.vdsV, vgs };
  const scales = [1, 1.5, 2, 3, 4, 6];
  const areas = await Promise.all(
    scales.map(async (scale, i) => {
      const cell = { ...bench.cell, widthM: bench.cell.widthM * scale, lengthM: bench.cell.lengthM * scale };
      const areaM2 = cell.widthM * cell.lengthM;
      const root = Math.sqrt(areaM2);
      const draws = drawCells(
        drawKeyOf(seed, 'pelgrom', i),
        devices,
        avtVm.value / root,
        abetaM.value / root,
      );
      const [curves, [nominal]] = await Promise.all([
        simulateCells(bench, { ...at, cell, draws }),
        simulateCells(bench, { ...at, cell, draws: drawCells(drawKeyOf(seed, 'none'), 1, 0, 0) }),
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

async function measureCorrelation(
  bench: StudyBench,
  devices: number,
  seed: number,
): Promise<StatisticsStudy['correlation']> {
  const { cal } = bench;
  const op = nominalPoint(bench);
  const vgs = extractionGrid(bench);
  const { sigmaVtV } = cal.mismatch;
  // As large as the threshold's own effect at strong inversion, so that the correlation matters.
  const sigmaBeta = 0.1;
  const at = { corner: 'TT' as const, tempK: op.tempK, vdsV: op.vdsV, vgs };
  const [nominal] = await simulateCells(bench, {
    ...at,
    draws: drawCells(drawKeyOf(seed, 'none'), 1, 0, 0),
  });
  const a = cal.mismatch.thresholdGain * gmOverIPerV(cal, op, biasPoint(cal, op).fullScaleVgsV);
  return Promise.all(
    [-0.5, 0, 0.5].map(async (rho, i) => {
      const draws = drawCells(drawKeyOf(seed, 'correlation', i), devices, sigmaVtV, sigmaBeta, rho);
      const curves = await simulateCells(bench, { ...at, draws });
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

/** Defaults of the tile's design: resistor sigma and buffer offset; here large enough to be seen, the law is linear. */
const RESISTOR_SIGMA = 0.03;
const OFFSET_SIGMA_V = 0.5e-3;
const LADDERS = 100;

async function measureLadders(bench: StudyBench, seed: number): Promise<StatisticsStudy['ladder']> {
  const { cal } = bench;
  const op = nominalPoint(bench);
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  const topKey = drawKeyOf(seed, 'ladder top');
  const segmentKey = drawKeyOf(seed, 'ladder segments');
  const taps = TAPS;
  const ln = await simulateLadders(bench, {
    tempK: op.tempK,
    vdsV: op.vdsV,
    topVgsV: fullScaleVgsV,
    ladderSlopeV,
    taps,
    currentA: 1e-6,
    topOffsetV: Float64Array.from({ length: LADDERS }, (_, r) => OFFSET_SIGMA_V * gaussian(topKey, r)),
    segmentErrors: Array.from({ length: LADDERS }, (_, r) =>
      Float64Array.from({ length: taps - 1 }, (_v, m) => RESISTOR_SIGMA * gaussian(segmentKey, r * taps + m)),
    ),
  });
  const law = Array.from({ length: taps }, (_, i) => {
    const m = i + 1;
    let squares = 0;
    for (let s = m; s < taps; s++) squares += Math.log((s + 1) / s) ** 2;
    const gm = gmOverIPerV(cal, op, fullScaleVgsV + ladderSlopeV * Math.log(m / taps));
    return gm * Math.hypot(OFFSET_SIGMA_V, ladderSlopeV * RESISTOR_SIGMA * Math.sqrt(squares));
  });
  return {
    ladders: LADDERS,
    resistorSigma: RESISTOR_SIGMA,
    offsetSigmaV: OFFSET_SIGMA_V,
    spice: Array.from({ length: taps }, (_, i) => deviation(ln.map((row) => row[i]))),
    law,
  };
}

async function measureReplicas(bench: StudyBench, seed: number): Promise<StatisticsStudy['replica']> {
  const { cal } = bench;
  const op = nominalPoint(bench);
  const { fullScaleVgsV } = biasPoint(cal, op);
  const { sigmaVtV, sigmaBeta, thresholdGain } = cal.mismatch;
  const gm = gmOverIPerV(cal, op, fullScaleVgsV);
  const one = (cells: number, replicas: number, scale: number) =>
    simulateReplicas(bench, {
      tempK: op.tempK,
      vdsV: op.vdsV,
      fullScaleA: op.fullScaleA,
      cells,
      replicas,
      draws: drawCells(
        drawKeyOf(seed, 'replica', cells),
        cells * replicas,
        scale * sigmaVtV,
        scale * sigmaBeta,
      ),
    });
  const [nominalV] = await one(1, 1, 0);
  return Promise.all(
    [
      [1, 400],
      [4, 200],
      [16, 100],
      [64, 40],
    ].map(async ([cells, replicas]) => {
      const gate = await one(cells, replicas, 1);
      const variance = (gm * thresholdGain * sigmaVtV) ** 2 + sigmaBeta ** 2;
      // Mean of M lognormals is nearly lognormal (Fenton-Wilkinson): ln variance ln(1 + (e^v - 1)/M), ln mean v/2.
      const spread = Math.log(1 + Math.expm1(variance) / cells);
      return {
        cells,
        replicas,
        meanV: mean(gate) - nominalV,
        sigmaV: deviation(gate),
        firstOrderSigmaV: (sigmaVtV * thresholdGain) / Math.sqrt(cells),
        lawMeanV: -(variance / 2 - spread / 2) / gm,
        lawSigmaV: Math.sqrt(spread) / gm,
      };
    }),
  );
}

/** Global draws, or why there are none. */
async function measureGlobal(
  bench: StudyBench,
  samples: number,
  seed: number,
): Promise<{ global?: StatisticsStudy['global']; refused?: string }> {
  try {
    globalParameters(bench);
  } catch (error) {
    if (!(error instanceof OnefetError && error.code === 'GLOBAL_PARAMETERS')) throw error;
    return { refused: error.hint ?? error.message };
  }
  return { global: await drawGlobal(bench, samples, seed) };
}

async function drawGlobal(
  bench: StudyBench,
  samples: number,
  seed: number,
): Promise<NonNullable<StatisticsStudy['global']>> {
  const { cal } = bench;
  const op = nominalPoint(bench);
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  // A grid around full scale, one point of which is full scale itself, wide enough for 4 sigma of the threshold.
  const stepV = 5e-3;
  const below = Math.ceil((0.12 + ladderSlopeV * Math.log(63)) / stepV);
  const above = Math.ceil(0.15 / stepV);
  const vgs = { start: fullScaleVgsV - below * stepV, step: stepV, count: below + above + 1 };
  const at = { tempK: op.tempK, vdsV: op.vdsV, vgs };
  const none = drawCells(drawKeyOf(seed, 'none'), 1, 0, 0);
  const [{ nominal, samples: curves }, [fast], [slow]] = await Promise.all([
    simulateGlobal(bench, { ...at, samples, seed }),
    simulateCells(bench, { ...at, corner: 'FF', draws: none }),
    simulateCells(bench, { ...at, corner: 'SS', draws: none }),
  ]);
  const lnSigma = deviation(curves.map((curve) => curve[below]));
  const inverse = (curve: Float64Array, ln: number) => {
    let k = 0;
    while (k < curve.length - 2 && curve[k + 1] < ln) k++;
    return vgs.start + stepV * (k + (ln - curve[k]) / (curve[k + 1] - curve[k]));
  };
  const value = (curve: Float64Array, v: number) => {
    const p = Math.min(curve.length - 2, Math.max(0, Math.floor((v - vgs.start) / stepV)));
    return curve[p] + ((v - vgs.start) / stepV - p) * (curve[p + 1] - curve[p]);
  };
  const target = Math.log(op.fullScaleA);
  const gates = curves.map((curve) => inverse(curve, target));
  return {
    samples,
    parameters: { ...globalParameters(bench).parameters },
    lnSigma,
    fastSigmas: (fast[below] - nominal[below]) / lnSigma,
    slowSigmas: (slow[below] - nominal[below]) / lnSigma,
    fullScaleVgsSigmaV: deviation(gates),
    ratioLnSigma: deviation(
      curves.map((curve, i) => value(curve, gates[i] - ladderSlopeV * Math.log(CODES)) - target),
    ),
  };
}
