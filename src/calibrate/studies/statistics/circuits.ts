/**
 * Statistics of what transistors share: the ladder of a row, a replica of several cells, a whole die.
 */
import { biasPoint, gmOverIPerV } from '../../../cell/operating-point.ts';
import { OnefetError } from '../../../error.ts';
import { deviation, mean } from '../../../numbers.ts';
import { gaussian } from '../../../random.ts';
import { type CalibratedTestbench, CODES, TAPS } from '../../testbench.ts';
import { nominalPoint } from '../study.ts';
import type { StatisticsStudy } from './schema.ts';
import {
  drawCells,
  drawKey,
  globalParameters,
  simulateCells,
  simulateGlobal,
  simulateLadders,
  simulateReplicas,
} from './statistics.ts';

/** Defaults of the tile's design: resistor sigma and buffer offset; here large enough to be seen, the law is linear. */
const RESISTOR_SIGMA = 0.03;
const OFFSET_SIGMA_V = 0.5e-3;
const LADDERS = 100;

export async function measureLadders(
  testbench: CalibratedTestbench,
  seed: number,
): Promise<StatisticsStudy['ladder']> {
  const { cal } = testbench;
  const op = nominalPoint(testbench);
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  const topKey = drawKey(seed, 'ladder top');
  const segmentKey = drawKey(seed, 'ladder segments');
  const taps = TAPS;
  const ln = await simulateLadders(testbench, {
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

export async function measureReplicas(
  testbench: CalibratedTestbench,
  seed: number,
): Promise<StatisticsStudy['replica']> {
  const { cal } = testbench;
  const op = nominalPoint(testbench);
  const { fullScaleVgsV } = biasPoint(cal, op);
  const { sigmaVtV, sigmaBeta, thresholdGain } = cal.mismatch;
  const gm = gmOverIPerV(cal, op, fullScaleVgsV);
  const one = (cells: number, replicas: number, scale: number) =>
    simulateReplicas(testbench, {
      tempK: op.tempK,
      vdsV: op.vdsV,
      fullScaleA: op.fullScaleA,
      cells,
      replicas,
      draws: drawCells(
        drawKey(seed, 'replica', cells),
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
export async function measureGlobal(
  testbench: CalibratedTestbench,
  samples: number,
  seed: number,
): Promise<{ global?: StatisticsStudy['global']; refused?: string }> {
  try {
    globalParameters(testbench);
  } catch (error) {
    if (!(error instanceof OnefetError && error.code === 'GLOBAL_PARAMETERS')) throw error;
    return { refused: error.hint ?? error.message };
  }
  return { global: await drawGlobal(testbench, samples, seed) };
}

async function drawGlobal(
  testbench: CalibratedTestbench,
  samples: number,
  seed: number,
): Promise<NonNullable<StatisticsStudy['global']>> {
  const { cal } = testbench;
  const op = nominalPoint(testbench);
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  // A grid around full scale, one point of which is full scale itself, wide enough for 4 sigma of the threshold.
  const stepV = 5e-3;
  const below = Math.ceil((0.12 + ladderSlopeV * Math.log(CODES)) / stepV);
  const above = Math.ceil(0.15 / stepV);
  const vgs = { start: fullScaleVgsV - below * stepV, step: stepV, count: below + above + 1 };
  const at = { tempK: op.tempK, vdsV: op.vdsV, vgs };
  const none = drawCells(drawKey(seed, 'none'), 1, 0, 0);
  const [{ nominal, samples: curves }, [fast], [slow]] = await Promise.all([
    simulateGlobal(testbench, { ...at, samples, seed }),
    simulateCells(testbench, { ...at, corner: 'FF', draws: none }),
    simulateCells(testbench, { ...at, corner: 'SS', draws: none }),
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
    parameters: { ...globalParameters(testbench).parameters },
    lnSigma,
    fastSigmas: (fast[below] - nominal[below]) / lnSigma,
    slowSigmas: (slow[below] - nominal[below]) / lnSigma,
    fullScaleVgsSigmaV: deviation(gates),
    ratioLnSigma: deviation(
      curves.map((curve, i) => value(curve, gates[i] - ladderSlopeV * Math.log(CODES)) - target),
    ),
  };
}
