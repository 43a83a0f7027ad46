/**
 * One corner of a cell: which simulated points are fitted, which are held out, over which gate voltages, and what
 * deviation is accepted.
 */
import type { CornerCalibration } from '../../cell/calibration.ts';
import type { Residual } from '../../cell/residual.ts';
import { SMALLEST_OFF_A } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { type Grid, gridValue, gridValues, type TransferSweep } from '../sweeps.ts';
import { type CellFit, type CellPoint, fitCell, fitResidual } from './fit.ts';

/** Temperatures that the fit never sees: the residual there is the error of the temperature law. */
const HELD_OUT_TEMPS_C = [-20, 50, 95, 115];
/** Ideal products that the gate range covers: a 10-bit code times the lowest of seven taps, to eight times full scale. */
export const SMALLEST_PRODUCT = 1 / (1023 * 7 * 1.05);
export const LARGEST_PRODUCT = 8;
export const OFF_RANGE_V = [-0.3, 0.1] as const;
/** Of full scale; a current so small may be the rounding of larger ones that cancel, in steps of 2e-19 A, or zero. */
const LEAST_PRODUCT = 1e-7;
/** Accepted deviation of ln I inside the valid range. */
const MAX_RMS = 0.01;
const MAX_DEVIATION = 0.03;

/** Grid line nearest to a value. */
export function nearestIndex(axis: Grid, value: number): number {
  return Math.min(axis.count - 1, Math.max(0, Math.round((value - axis.start) / axis.step)));
}

/** Drain voltages that the fit never sees: every second of the grid, neither its ends nor the nominal one. */
export function isHeldOutVds(vds: Grid, j: number, nominalVdsV: number): boolean {
  return j > 0 && j < vds.count - 1 && j % 2 === 0 && j !== nearestIndex(vds, nominalVdsV);
}

export function isHeldOutTemp(tempK: number): boolean {
  return HELD_OUT_TEMPS_C.some((c) => Math.abs(c + 273.15 - tempK) < 1e-6);
}

/** Fits the points that are not held out; `start` continues from another corner. */
export function fitCorner(
  sweep: TransferSweep,
  fullScaleA: number,
  nominalVdsV: number,
  start: readonly number[] | undefined,
): { fit: CellFit; entry: CornerCalibration } {
  const { tempK, vgs, vds } = sweep;
  const gate = gateBounds(sweep, fullScaleA, nominalVdsV);
  const fitPoints: CellPoint[] = [];
  const vdsPoints: CellPoint[] = [];
  const tempPoints: CellPoint[] = [];
  tempK.forEach((t, k) => {
    const heldOutTemp = isHeldOutTemp(t);
    for (let j = 0; j < vds.count; j++) {
      const points = heldOutTemp ? tempPoints : isHeldOutVds(vds, j, nominalVdsV) ? vdsPoints : fitPoints;
      // Every second gate voltage: neighbours of 5 mV carry the same information.
      for (let i = 0; i < vgs.count; i += 2) {
        const vgsV = gridValue(vgs, i);
        if (vgsV < gate.lowV[k] || vgsV > gate.highV[k]) continue;
        points.push({
          vgsV,
          vdsV: gridValue(vds, j),
          tempK: t,
          currentA: sweep.drainA[k][j * vgs.count + i],
        });
      }
    }
  });
  const fit = fitCell(fitPoints, start);
  const offIndex = gridValues(vgs)
    .map((v, i) => ({ v, i }))
    .filter(({ v, i }) => i % 4 === 0 && v >= OFF_RANGE_V[0] - 1e-9 && v <= OFF_RANGE_V[1] + 1e-9);
  return {
    fit,
    entry: {
      coefficients: fit.coefficients,
      covariance: fit.covariance.flatMap((row, i) => row.slice(i)),
      fit: fit.residual,
      heldOutVds: fitResidual(vdsPoints, fit.coefficients),
      heldOutTemp: fitResidual(tempPoints, fit.coefficients),
      gate,
      off: {
        tempK: [...tempK],
        vdsV: gridValues(vds),
        vgsV: offIndex.map(({ v }) => v),
        lnCurrent: tempK.flatMap((_, k) =>
          gridValues(vds).flatMap((_v, j) =>
            offIndex.map(({ i }) => Math.log(Math.max(sweep.drainA[k][j * vgs.count + i], SMALLEST_OFF_A))),
          ),
        ),
      },
    },
  };
}

/**
 * Gate voltages of the calibrated range at each temperature: from full scale down and up by n Ut ln(product), n from
 * the steepest part of the curve, inside what was swept.
 */
function gateBounds(
  sweep: TransferSweep,
  fullScaleA: number,
  nominalVdsV: number,
): CornerCalibration['gate'] {
  const { vgs, vds, tempK } = sweep;
  const offset = nearestIndex(vds, nominalVdsV) * vgs.count;
  const lowV: number[] = [];
  const highV: number[] = [];
  tempK.forEach((t, k) => {
    const ln = (i: number) => Math.log(sweep.drainA[k][offset + i]);
    let above = vgs.count - 1;
    while (above > 0 && sweep.drainA[k][offset + above - 1] > fullScaleA) above--;
    if (above === 0 || sweep.drainA[k][offset + above] < fullScaleA) {
      throw new OnefetError(
        'simulation',
        'FULL_SCALE_UNREACHED',
        `the cell does not carry ${fullScaleA} A between Vgs ${vgs.start} and ${gridValue(vgs, vgs.count - 1)} V at ${t} K`,
        {
          hint: 'change fullScaleA, widthM or lengthM of the cell in technology.yaml',
        },
      );
    }
    const fraction = (Math.log(fullScaleA) - ln(above - 1)) / (ln(above) - ln(above - 1));
    const fullScaleVgsV = gridValue(vgs, above - 1) + fraction * vgs.step;
    let steepest = 0;
    for (let i = 1; i <= above; i++) {
      if (sweep.drainA[k][offset + i - 1] < LEAST_PRODUCT * fullScaleA) continue;
      steepest = Math.max(steepest, (ln(i) - ln(i - 1)) / vgs.step);
    }
    lowV.push(Math.max(vgs.start, fullScaleVgsV + Math.log(SMALLEST_PRODUCT) / steepest));
    highV.push(Math.min(gridValue(vgs, vgs.count - 1), fullScaleVgsV + Math.log(LARGEST_PRODUCT) / steepest));
  });
  return { tempK: [...tempK], lowV, highV };
}

/** Refuses a corner whose fit or held-out points deviate too much. */
export function checkResidual(name: string, entry: CornerCalibration): void {
  checkLimits(`${name} fit`, entry.fit);
  checkLimits(`${name} held-out Vds`, entry.heldOutVds);
  checkLimits(`${name} held-out temperature`, entry.heldOutTemp);
}

export function checkLimits(name: string, { rms, max }: Residual): void {
  if (rms <= MAX_RMS && max <= MAX_DEVIATION) return;
  throw new OnefetError(
    'simulation',
    'FIT_RESIDUAL',
    `${name}: the cell equation deviates by ${(100 * rms).toFixed(2)} % RMS, ${(100 * max).toFixed(2)} % at most (limits ${100 * MAX_RMS} and ${100 * MAX_DEVIATION} %)`,
    { hint: 'lower fullScaleA so that the cell stays in weak inversion, or reduce its leakage' },
  );
}
