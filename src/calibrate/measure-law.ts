/** Measures src/cell/cell-law.ts: one deck per temperature for the source, one for the threshold. */
import type { CellLaw } from '../cell/cell-law.ts';
import { thermalVoltageV } from '../cell/ekv.ts';
import { gateVoltage, gmOverIPerV, operatingPoint, outputConductancePerV } from '../cell/operating-point.ts';
import { sourceSlopeFactors, thresholdResponse } from './studies/column/column.ts';
import { type CalibratedTestbench, CODES, TAPS } from './testbench.ts';

/** Temperatures of the constants; linear between them. */
const LAW_TEMPS_C = [-40, 0, 27, 60, 85, 125];
const LAW_PRODUCTS = [1 / (CODES * TAPS), 0.01, 0.03, 0.1, 0.3, 1];

/** The temperatures inside a range. */
export const lawTempsK = ([lowK, highK]: readonly [number, number]): number[] =>
  LAW_TEMPS_C.map((c) => c + 273.15).filter((t) => t >= lowK - 1e-6 && t <= highK + 1e-6);

/** Decks that a measurement runs. */
export const lawRuns = (range: readonly [number, number]): number => 2 * lawTempsK(range).length;

/** The constants from single cells: no column is used. `bench.sources` gets the deck. */
export async function measureCellLaw(bench: CalibratedTestbench): Promise<CellLaw> {
  const { cal } = bench;
  const tempK = lawTempsK(cal.validRange.tempK);
  const byTemp = await Promise.all(
    tempK.map(async (t) => {
      const op = operatingPoint(cal, 'TT', t);
      const vgsV = LAW_PRODUCTS.map(gateVoltage(cal, op));
      const at = { corner: 'TT' as const, tempK: t, vdsV: op.vdsV, vgsV };
      const [slope, threshold] = await Promise.all([
        sourceSlopeFactors(bench, { ...at, thermalVoltageV: thermalVoltageV(t) }),
        thresholdResponse(bench, { ...at, stepV: 5e-3 }),
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
