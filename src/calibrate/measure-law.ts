/** Measures src/cell/cell-law.ts: one deck per temperature for the source, one for the threshold. */
import type { CellLaw } from '../cell/cell-law.ts';
import { thermalVoltageV } from '../cell/ekv.ts';
import { gateVoltage, gmOverIPerV, operatingPoint, outputConductancePerV } from '../cell/operating-point.ts';
import { type Corner, temperaturesInside } from '../cell/technology.ts';
import { spiceNumber } from '../spice/deck.ts';
import { type CalibratedTestbench, CODES, celsius, runDeck, TAPS } from './testbench.ts';

/** Temperatures of the constants; linear between them. */
const LAW_TEMPS_C = [-40, 0, 27, 60, 85, 125];
const LAW_PRODUCTS = [1 / (CODES * TAPS), 0.01, 0.03, 0.1, 0.3, 1];

/** The temperatures inside a range. */
export const lawTempsK = (rangeK: readonly [number, number]): number[] =>
  temperaturesInside(rangeK, LAW_TEMPS_C);

/** Decks that a measurement runs. */
export const lawRuns = (range: readonly [number, number]): number => 2 * lawTempsK(range).length;

/** The constants from single cells: no column is used. `testbench.sources` gets the deck. */
export async function measureCellLaw(testbench: CalibratedTestbench): Promise<CellLaw> {
  const { cal } = testbench;
  const tempK = lawTempsK(cal.validRange.tempK);
  const byTemp = await Promise.all(
    tempK.map(async (t) => {
      const op = operatingPoint(cal, 'TT', t);
      const vgsV = LAW_PRODUCTS.map(gateVoltage(cal, op));
      const at = { corner: 'TT' as const, tempK: t, vdsV: op.vdsV, vgsV };
      const [slope, threshold] = await Promise.all([
        sourceSlopeFactors(testbench, { ...at, thermalVoltageV: thermalVoltageV(t) }),
        thresholdResponse(testbench, { ...at, stepV: 5e-3 }),
      ]);
      return {
        slope,
        gain: threshold.slopePerV.map((s, i) => s / gmOverIPerV(cal, op, vgsV[i])),
        curvature: [...threshold.curvaturePerV2],
        lambda: vgsV.map((v) => outputConductancePerV(cal, op, v)),
      };
    }),
  );
  return {
    tempK,
    product: [...LAW_PRODUCTS],
    sourceSlopeFactor: byTemp.map(({ slope }) => slope),
    thresholdGain: byTemp.map(({ gain }) => gain),
    thresholdCurvaturePerV2: byTemp.map(({ curvature }) => curvature),
    outputConductancePerV: byTemp.map(({ lambda }) => lambda),
  };
}

/**
 * 1 / (-d ln I / dVs) over Ut by gate voltage: how many thermal voltages of source rise an e-fold costs with the gate,
 * the drain and the bulk held.
 */
async function sourceSlopeFactors(
  testbench: CalibratedTestbench,
  at: { corner: Corner; tempK: number; vdsV: number; vgsV: readonly number[]; thermalVoltageV: number },
): Promise<number[]> {
  const stepV = 1e-3;
  const currents = at.vgsV.map((_, i) => `i(vd${i})`);
  const [plot] = await runDeck(testbench, {
    folder: 'column',
    file: 'source.cir',
    corner: at.corner,
    slots: {
      temp_c: celsius(at.tempK),
      instances: at.vgsV
        .map(
          (v, i) =>
            `vd${i} d${i} 0 ${spiceNumber(at.vdsV)}\nvg${i} g${i} 0 ${spiceNumber(v)}\nxcell${i} d${i} g${i} s b cell`,
        )
        .join('\n'),
      currents: currents.join(' '),
      stop_v: spiceNumber(2.5 * stepV),
      step_v: spiceNumber(stepV),
    },
    outputs: [{ file: 'source.raw', plot: 'DC transfer characteristic', variables: currents, points: 3 }],
  });
  return currents.map((name) => {
    const [low, , high] = plot.real.get(name)!;
    return (2 * stepV) / (Math.log(low / high) * at.thermalVoltageV);
  });
}

export interface ThresholdResponse {
  /** [vgsV] -d ln I / d dVt, 1/V. */
  readonly slopePerV: readonly number[];
  /** [vgsV] -(d^2 ln I / d dVt^2) / 2, 1/V^2: ln I = ln I0 - slope x - curvature x^2. */
  readonly curvaturePerV2: readonly number[];
}

/** Measures what a threshold shift does to ln I, by gate voltage: central differences over +- stepV. */
export async function thresholdResponse(
  testbench: CalibratedTestbench,
  at: { corner: Corner; tempK: number; vdsV: number; vgsV: readonly number[]; stepV: number },
): Promise<ThresholdResponse> {
  const shifts = [-at.stepV, 0, at.stepV];
  const names = at.vgsV.flatMap((_, i) => shifts.map((_s, j) => `${3 * i + j}`));
  const currents = names.map((name) => `i(vd${name})`);
  const [plot] = await runDeck(testbench, {
    folder: 'column',
    file: 'source.cir',
    corner: at.corner,
    slots: {
      temp_c: celsius(at.tempK),
      instances: names
        .map((name, i) => {
          const vgsV = at.vgsV[Math.floor(i / 3)];
          return `vd${name} d${name} 0 ${spiceNumber(at.vdsV)}\nvg${name} g${name} 0 ${spiceNumber(vgsV)}\nxcell${name} d${name} g${name} s b cell dvt=${spiceNumber(shifts[i % 3])}`;
        })
        .join('\n'),
      currents: currents.join(' '),
      stop_v: '0.5m',
      step_v: '1m',
    },
    outputs: [{ file: 'source.raw', plot: 'DC transfer characteristic', variables: currents, points: 1 }],
  });
  const ln = currents.map((name) => Math.log(-plot.real.get(name)![0]));
  const each = (f: (low: number, middle: number, high: number) => number) =>
    at.vgsV.map((_, i) => f(ln[3 * i], ln[3 * i + 1], ln[3 * i + 2]));
  return {
    slopePerV: each((low, _m, high) => (low - high) / (2 * at.stepV)),
    curvaturePerV2: each((low, middle, high) => -(low - 2 * middle + high) / (2 * at.stepV ** 2)),
  };
}
