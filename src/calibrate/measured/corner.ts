/**
 * One corner of measured data: what is fitted, what is held out, and whether the equation holds.
 */
import type { Calibration } from '../../cell/calibration.ts';
import { REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import type { Residual } from '../../cell/residual.ts';
import type { CellDescription, Corner } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { type CellFit, type CellPoint, fitCell, fitResidual } from '../fit/fit.ts';
import type { MeasuredPoint } from './csv.ts';
import {
  estimateNoise,
  findGateRange,
  gatherPlane,
  type MeasuredPlane,
  type MeasuredRow,
  nearest,
  pointsInside,
  tabulateOff,
} from './plane.ts';

/** More points than this per corner are thinned evenly: 21 coefficients learn nothing more from them. */
const MAX_FIT_POINTS = 6000;
const MAX_RMS = 0.01;
const MAX_DEVIATION = 0.03;
/** A point of Gaussian noise lies beyond this many sigma once in 2 million. */
const NOISE_SIGMAS = 5;
/** The nearest measured drain voltage must be this close to the nominal one. */
const NOMINAL_VDS_V = 0.051;

export interface MeasuredCorner {
  readonly corner: Corner;
  readonly plane: MeasuredPlane;
  readonly fit: CellFit;
  readonly entry: Calibration['corners'][Corner] & object;
  readonly smallestProduct: number;
  readonly largestProduct: number;
  readonly noiseRms: number | undefined;
  readonly stride: number;
}

/** Fits one corner; `filled` points take part in the fit and in no residual. */
export function fitMeasured(
  name: string,
  corner: Corner,
  points: readonly MeasuredPoint[],
  cell: CellDescription,
  start: readonly number[] | undefined,
  filled: readonly MeasuredPoint[] = [],
): MeasuredCorner {
  const plane = gatherPlane([...points, ...filled], name);
  const isMeasured = measuredIn(points);
  const vdsV = nominalVds(plane, cell, name);
  const { gate, smallestProduct, largestProduct } = findGateRange(plane, cell.fullScaleA, vdsV, name);
  const off = tabulateOff(plane, name);
  const temps = heldOutTemps(plane);
  const drains = heldOutVds(plane, vdsV);
  const inTemps = (row: MeasuredRow) => temps.includes(row.tempK);
  const inDrains = (row: MeasuredRow) => drains.includes(row.vdsV);
  const all = pointsInside(plane, gate, (row) => !inTemps(row) && !inDrains(row));
  const stride = Math.max(1, Math.ceil(all.length / MAX_FIT_POINTS));
  const fit = fitCell(
    all.filter((_, i) => i % stride === 0),
    start,
  );
  const residual = (kept: CellPoint[]): Residual =>
    fitResidual(
      kept.filter((point) => isMeasured(point)),
      fit.coefficients,
    );
  const entry = {
    coefficients: fit.coefficients,
    covariance: fit.covariance.flatMap((row, i) => row.slice(i)),
    fit: filled.length === 0 ? fit.residual : residual(all),
    heldOutVds: residual(pointsInside(plane, gate, (row) => !inTemps(row) && inDrains(row))),
    heldOutTemp: residual(pointsInside(plane, gate, inTemps)),
    gate,
    off,
  };
  const noiseRms = estimateNoise(plane, gate);
  for (const [what, value] of Object.entries({
    fit: entry.fit,
    'held-out Vds': entry.heldOutVds,
    'held-out temperature': entry.heldOutTemp,
  })) {
    checkMeasured(`${name} ${what}`, value, noiseRms ?? 0);
  }
  return { corner, plane, fit, entry, smallestProduct, largestProduct, noiseRms, stride };
}

/** Tells the points that were measured from those that were filled in, by their place on the grid. */
function measuredIn(points: readonly MeasuredPoint[]): (point: CellPoint | MeasuredPoint) => boolean {
  const key = ({ tempK, vdsV, vgsV }: CellPoint | MeasuredPoint) =>
    `${tempK.toFixed(2)}|${vdsV.toFixed(5)}|${vgsV.toFixed(5)}`;
  const places = new Set(points.map(key));
  return (point) => places.has(key(point));
}

/** The limits of a simulated fit, with room for the noise that the data themselves show. */
function checkMeasured(name: string, { rms, max }: Residual, noise: number): void {
  const [mostRms, most] = [Math.hypot(MAX_RMS, noise), MAX_DEVIATION + NOISE_SIGMAS * noise];
  if (rms <= mostRms && max <= most) return;
  throw new OnefetError(
    'simulation',
    'FIT_RESIDUAL',
    `${name}: the cell equation deviates by ${(100 * rms).toFixed(2)} % RMS, ${(100 * max).toFixed(2)} % at most (limits ${(100 * mostRms).toFixed(2)} and ${(100 * most).toFixed(2)} %, with a noise of ${(100 * noise).toFixed(2)} % in the data)`,
    {
      hint: 'lower fullScaleA so that the cell stays in weak inversion; look for a range change of the meter',
    },
  );
}

export function nominalVds(plane: MeasuredPlane, cell: CellDescription, name: string): number {
  const vdsV = nearest(plane.vdsV, cell.vdsV);
  if (Math.abs(vdsV - cell.vdsV) <= NOMINAL_VDS_V && plane.vdsV[0] <= cell.vdsV + 1e-9) return vdsV;
  throw new OnefetError(
    'input',
    'MEASURED_GRID',
    `${name}: no drain voltage near the nominal ${cell.vdsV} V; there are ${plane.vdsV.join(', ')} V`,
    { hint: 'measure at vdsV of the cell, or change vdsV in technology.yaml' },
  );
}

/** Every second inner temperature but the one nearest to 27 C, if three are left for a parabola. */
export function heldOutTemps(plane: MeasuredPlane): number[] {
  const reference = nearest(plane.tempK, REFERENCE_TEMP_K);
  const last = plane.tempK.length - 1;
  const held = plane.tempK.filter((t, i) => i > 0 && i < last && i % 2 === 1 && t !== reference);
  return plane.tempK.length - held.length >= 3 ? held : held.slice(0, Math.max(0, plane.tempK.length - 3));
}

/** Every second inner drain voltage but the nominal one, if three are left. */
export function heldOutVds(plane: MeasuredPlane, nominalV: number): number[] {
  const last = plane.vdsV.length - 1;
  const held = plane.vdsV.filter((v, j) => j > 0 && j < last && j % 2 === 1 && v !== nominalV);
  return held.slice(0, Math.max(0, plane.vdsV.length - 3));
}
