/**
 * Data that do not show all that a calibration needs: one temperature, two drain voltages, coarse gate steps from 0 V, the
 * floor of a meter. With a simulated cell of the same size beside them the measured device is taken to be that cell with a few
 * of its coefficients moved (specific current, slope factor, threshold; barrier lowering with two drain voltages), and what was
 * not measured follows from it. Such points are no measurement: no residual counts them, and the calibration names them.
 */
import { levenbergMarquardt } from 'ml-levenberg-marquardt';
import type { Calibration, CornerCalibration } from '../../cell/calibration.ts';
import {
  atTemperature,
  COEFFICIENT_NAMES,
  EKV_PARAMETERS,
  ekvCurrentA,
  REFERENCE_TEMP_K,
} from '../../cell/ekv.ts';
import { OnefetError } from '../../error.ts';
import type { MeasuredPoint } from './csv.ts';

/** What a lab's data must show by themselves, as plane.ts asks for it. */
const LEAST_TEMPS = 3;
const LEAST_DRAINS = 3;
/** Three gate voltages within 40 mV give a slope. */
const LARGEST_STEP_V = 0.0201;
/** A point must lie so far above the largest reading of the wrong sign: a floor of three times that moves it by 1.5 %. */
const OVER_FLOOR = 200;
/** Fewer points than this above the floor say nothing about a slope and a threshold. */
const LEAST_POINTS = 5;
const FILL_STEP_V = 0.02;
/** A filled point keeps this distance from a measured one; set-points this close are one. */
const NEAR_V = 0.005;
const NEAR_DRAIN_V = 0.051;
const NEAR_TEMP_K = 5.01;

export interface Completed {
  /** Measured points above the floor. */
  readonly measured: readonly MeasuredPoint[];
  /** What was not measured, from the moved supplement. */
  readonly filled: readonly MeasuredPoint[];
  /** What was missing, for people. */
  readonly missing: readonly string[];
}

/** Says what a calibration needs and the points of a corner do not show; `floorA` of the meter; empty: nothing. */
export function missingOf(points: readonly MeasuredPoint[], floorA: number): string[] {
  const temps = distinct(points.map(({ tempK }) => tempK));
  const drains = distinct(points.map(({ vdsV }) => vdsV));
  const gates = distinct(points.map(({ vgsV }) => vgsV));
  const missing: string[] = [];
  const around = temps[0] <= REFERENCE_TEMP_K && temps[temps.length - 1] >= REFERENCE_TEMP_K;
  if (temps.length < LEAST_TEMPS || !around) missing.push('other temperatures');
  if (drains.length < LEAST_DRAINS) missing.push('other drain voltages');
  if (floorA > 0) missing.push('currents near the floor of the meter');
  if (gates[0] > -1e-9) missing.push('negative gate voltages');

  const step = (gates[gates.length - 1] - gates[0]) / Math.max(1, gates.length - 1);
  if (step > LARGEST_STEP_V) missing.push('gate voltages between the steps');
  return missing;
}

/** Fills what is missing of one corner. Errors: MEASURED_FLOOR, MEASURED_SUPPLEMENT. */
export function completePoints(
  points: readonly MeasuredPoint[],
  supplement: Calibration,
  missing: readonly string[],
  floorA: number,
  name: string,
): Completed {
  const { corner } = points[0];
  const own = supplement.corners[corner];
  if (own === undefined) {
    throw new OnefetError(
      'input',
      'MEASURED_SUPPLEMENT',
      `${name}: ${supplement.cell} has no corner ${corner}`,
      {
        hint: `calibrate that corner of ${supplement.cell}, or leave the rows of ${corner} out`,
      },
    );
  }
  const measured = points.filter(({ drainA }) => drainA > OVER_FLOOR * floorA);
  if (measured.length < LEAST_POINTS) {
    throw new OnefetError(
      'input',
      'MEASURED_FLOOR',
      `${name}: ${measured.length} points lie ${OVER_FLOOR} times above the floor of the meter; ${LEAST_POINTS} are needed`,
      { hint: 'measure a wider device, or over more gate voltages' },
    );
  }
  const moved = moveCoefficients(own.coefficients, measured);
  return { measured, filled: fill(measured, own, moved), missing };
}

const distinct = (values: readonly number[]) => [...new Set(values)].sort((a, b) => a - b);

/** Coefficients of the simulated cell, moved to the measured points by least squares in ln I. */
function moveCoefficients(own: readonly number[], points: readonly MeasuredPoint[]): number[] {
  const names = ['lnSpecificCurrentA.0', 'slopeFactor.0', 'thresholdV.0'];
  if (distinct(points.map(({ vdsV }) => vdsV)).length > 1) names.push('barrierLowering.0');
  if (distinct(points.map(({ tempK }) => tempK)).length > 1) names.push('thresholdV.1');
  const scales = EKV_PARAMETERS.flatMap(({ scale }) => [...scale] as number[]);
  const free = names.map((name) => COEFFICIENT_NAMES.indexOf(name));
  const move = (steps: readonly number[]) => {
    const moved = [...own];
    free.forEach((at, k) => {
      moved[at] += scales[at] * steps[k];
    });
    return moved;
  };
  const temps = distinct(points.map(({ tempK }) => tempK));
  const { parameterValues } = levenbergMarquardt(
    { x: points.map((_, i) => i), y: points.map(({ drainA }) => Math.log(drainA)) },
    (steps: number[]) => {
      const at = new Map(temps.map((tempK) => [tempK, atTemperature(move(steps), tempK)]));
      return (i: number) => {
        const { tempK, vgsV, vdsV } = points[i];
        return Math.log(ekvCurrentA(at.get(tempK)!, vgsV, vdsV));
      };
    },
    {
      initialValues: free.map(() => 0),
      damping: 1,
      gradientDifference: 1e-4,
      centralDifference: true,
      maxIterations: 100,
      errorTolerance: 1e-12,
    },
  );
  return move(parameterValues);
}

/** Points over the supplement's own temperatures, drain and gate voltages, where nothing was measured. */
function fill(
  measured: readonly MeasuredPoint[],
  own: CornerCalibration,
  moved: readonly number[],
): MeasuredPoint[] {
  const { corner } = measured[0];
  const temps = union(distinct(measured.map(({ tempK }) => tempK)), own.gate.tempK, NEAR_TEMP_K);
  const drains = union(distinct(measured.map(({ vdsV }) => vdsV)), own.off.vdsV, NEAR_DRAIN_V);
  const filled: MeasuredPoint[] = [];
  for (const tempK of temps) {
    const [now, before] = [atTemperature(moved, tempK), atTemperature(own.coefficients, tempK)];
    const lowV = interpolate(own.gate.tempK, own.gate.lowV, tempK);
    const highV = interpolate(own.gate.tempK, own.gate.highV, tempK) + now.thresholdV - before.thresholdV;
    for (const vdsV of drains) {
      const there = measured.filter((point) => point.tempK === tempK && point.vdsV === vdsV);
      const top = Math.max(highV, ...there.map(({ vgsV }) => vgsV));
      for (let step = Math.ceil(own.off.vgsV[0] / FILL_STEP_V); step * FILL_STEP_V <= top; step++) {
        const vgsV = Number((step * FILL_STEP_V).toFixed(4));
        if (there.some((point) => Math.abs(point.vgsV - vgsV) < NEAR_V)) continue;
        const fitted = ekvCurrentA(now, vgsV, vdsV);
        const off = offCurrent(own, tempK, vdsV, vgsV);
        // Below the range of the equation the simulated currents themselves, moved as the equation moves there.
        const drainA =
          vgsV < lowV && off !== undefined ? (off * fitted) / ekvCurrentA(before, vgsV, vdsV) : fitted;
        filled.push({ vgsV, vdsV, tempK, drainA, gateA: undefined, corner, device: '' });
      }
    }
  }
  return filled;
}

/** All of `first`, and those of `more` that are near none of them. */
const union = (first: readonly number[], more: readonly number[], near: number): number[] =>
  distinct([...first, ...more.filter((value) => first.every((one) => Math.abs(one - value) >= near))]);

/** The simulated off current, A; undefined above its table. */
function offCurrent(
  { off }: CornerCalibration,
  tempK: number,
  vdsV: number,
  vgsV: number,
): number | undefined {
  if (vgsV > off.vgsV[off.vgsV.length - 1] + 1e-9) return undefined;
  const byTemp = off.tempK.map((_, t) => {
    const byDrain = off.vdsV.map((_, d) => {
      const first = (t * off.vdsV.length + d) * off.vgsV.length;
      return interpolate(off.vgsV, off.lnCurrent.slice(first, first + off.vgsV.length), vgsV);
    });
    return interpolate(off.vdsV, byDrain, vdsV);
  });
  return Math.exp(interpolate(off.tempK, byTemp, tempK));
}

/** Linear between ascending places, held beyond the last ones. */
function interpolate(places: readonly number[], values: readonly number[], place: number): number {
  const last = places.length - 1;
  let above = 1;
  while (above < last && places[above] < place) above++;
  if (last === 0) return values[0];
  const fraction = (place - places[above - 1]) / (places[above] - places[above - 1]);
  const inside = Math.min(1, Math.max(0, fraction));
  return values[above - 1] + inside * (values[above] - values[above - 1]);
}
