/**
 * Measured points of one corner as rows of equal temperature and drain voltage, and what a calibration reads off them.
 * A lab's grid need not be uniform, complete or free of noise, unlike a simulated one.
 */
import type { CornerCalibration } from '../../cell/calibration.ts';
import { REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import { OnefetError } from '../../error.ts';
import { mean } from '../../numbers.ts';
import { LARGEST_PRODUCT, OFF_RANGE_V, SMALLEST_PRODUCT } from '../fit/corner-fit.ts';
import type { CellPoint } from '../fit/fit.ts';
import type { MeasuredPoint } from './csv.ts';

export interface MeasuredRow {
  readonly tempK: number;
  readonly vdsV: number;
  /** Ascending. */
  readonly vgsV: readonly number[];
  /** Mean of ln I over devices and repetitions: the median device of a lognormal spread. */
  readonly lnA: readonly number[];
  /** Mean gate current, where it was measured. */
  readonly gateA: readonly (number | undefined)[];
}

export interface MeasuredPlane {
  /** Ascending. */
  readonly tempK: readonly number[];
  /** Drain voltages that every temperature has, ascending. */
  readonly vdsV: readonly number[];
  readonly rows: readonly MeasuredRow[];
}

const MAX_TEMPS = 64;
const MAX_VDS = 128;
/** Set-points closer than this are one. */
const TEMP_STEP_K = 0.01;
const VOLT_STEP_V = 1e-5;
/** Gate span over which a slope is taken: short enough for the steepest part, long enough for noise of a percent. */
const SLOPE_SPAN_V = 0.04;
/** Grid of the table of off currents, as in a simulated calibration. */
const OFF_STEP_V = 0.02;

/** Errors: MEASURED_GRID when temperatures or drain voltages are too few, too many or do not form a grid. */
export function gatherPlane(points: readonly MeasuredPoint[], name: string): MeasuredPlane {
  const cells = new Map<
    string,
    { t: number; d: number; g: number; ln: number; gate: number; n: number; ng: number }
  >();
  for (const point of points) {
    const t = Math.round(point.tempK / TEMP_STEP_K);
    const d = Math.round(point.vdsV / VOLT_STEP_V);
    const g = Math.round(point.vgsV / VOLT_STEP_V);
    const key = `${t},${d},${g}`;
    let cell = cells.get(key);
    if (cell === undefined) {
      cell = { t, d, g, ln: 0, gate: 0, n: 0, ng: 0 };
      cells.set(key, cell);
    }
    cell.ln += Math.log(point.drainA);
    cell.n++;
    if (point.gateA !== undefined) {
      cell.gate += point.gateA;
      cell.ng++;
    }
  }
  const sorted = [...cells.values()].sort((a, b) => a.t - b.t || a.d - b.d || a.g - b.g);
  const temps = [...new Set(sorted.map(({ t }) => t))];
  const drains = [...new Set(sorted.map(({ d }) => d))].sort((a, b) => a - b);
  if (temps.length > MAX_TEMPS || drains.length > MAX_VDS) {
    throw gridError(
      name,
      `${temps.length} temperatures and ${drains.length} drain voltages (at most ${MAX_TEMPS} and ${MAX_VDS})`,
      'write the set-point of the chuck and of the supply, not its read-back',
    );
  }
  // Sorted by temperature, drain, gate: equal neighbours form a row.
  const rows: MeasuredRow[] = [];
  for (let first = 0; first < sorted.length; ) {
    const { t, d } = sorted[first];
    let last = first;
    while (last < sorted.length && sorted[last].t === t && sorted[last].d === d) last++;
    const row = sorted.slice(first, last);
    first = last;
    rows.push({
      tempK: Number((t * TEMP_STEP_K).toFixed(2)),
      vdsV: Number((d * VOLT_STEP_V).toFixed(5)),
      vgsV: row.map(({ g }) => Number((g * VOLT_STEP_V).toFixed(5))),
      lnA: row.map(({ ln, n }) => ln / n),
      gateA: row.map(({ gate, ng }) => (ng === 0 ? undefined : gate / ng)),
    });
  }
  const tempK = [...new Set(rows.map((row) => row.tempK))];
  const vdsV = [...new Set(rows.map((row) => row.vdsV))]
    .filter((v) => tempK.every((t) => rows.some((row) => row.tempK === t && row.vdsV === v)))
    .sort((a, b) => a - b);
  if (tempK.length < 3 || tempK[0] > REFERENCE_TEMP_K || tempK[tempK.length - 1] < REFERENCE_TEMP_K) {
    throw gridError(
      name,
      `temperatures ${tempK.map((t) => `${(t - 273.15).toFixed(1)} C`).join(', ')}; three are needed, on both sides of 27 C`,
      "five or more also allow some to be held out of the fit; with --supplement one is enough, the others being the simulated cell's",
    );
  }
  if (vdsV.length < 3) {
    throw gridError(
      name,
      `${vdsV.length} drain voltages that every temperature has; three are needed`,
      'sweep the same drain voltages at every temperature, or name a simulated cell of the same size by --supplement',
    );
  }
  return { tempK, vdsV, rows };
}

export function rowAt(plane: MeasuredPlane, tempK: number, vdsV: number): MeasuredRow {
  return plane.rows.find((row) => row.tempK === tempK && row.vdsV === vdsV)!;
}

export function nearest(values: readonly number[], value: number): number {
  return values.reduce((best, v) => (Math.abs(v - value) < Math.abs(best - value) ? v : best));
}

/** ln I at a gate voltage, linear between its neighbours; undefined outside the row. */
export function lnCurrentAt({ vgsV, lnA }: MeasuredRow, v: number): number | undefined {
  const last = vgsV.length - 1;
  if (v < vgsV[0] - 1e-9 || v > vgsV[last] + 1e-9) return undefined;
  let above = 1;
  while (above < last && vgsV[above] < v) above++;
  if (last === 0) return lnA[0];
  const fraction = (v - vgsV[above - 1]) / (vgsV[above] - vgsV[above - 1]);
  return lnA[above - 1] + fraction * (lnA[above] - lnA[above - 1]);
}

/** Gate voltage of a current at a row, by the first crossing from below. */
function gateVoltageAt(row: MeasuredRow, currentA: number): number | undefined {
  const target = Math.log(currentA);
  for (let i = 1; i < row.lnA.length; i++) {
    if (row.lnA[i - 1] <= target && row.lnA[i] > target) {
      const fraction = (target - row.lnA[i - 1]) / (row.lnA[i] - row.lnA[i - 1]);
      return row.vgsV[i - 1] + fraction * (row.vgsV[i] - row.vgsV[i - 1]);
    }
  }
  return undefined;
}

/**
 * Gate range of the fit at each temperature, as for a simulated cell (fit/corner-fit.ts): from full scale down and up by
 * n Ut ln(product), n from the steepest part, inside what was measured.
 */
export function findGateRange(
  plane: MeasuredPlane,
  fullScaleA: number,
  nominalVdsV: number,
  name: string,
): { gate: CornerCalibration['gate']; smallestProduct: number; largestProduct: number } {
  const lowV: number[] = [];
  const highV: number[] = [];
  let smallestProduct = 0;
  let largestProduct = Number.POSITIVE_INFINITY;
  for (const tempK of plane.tempK) {
    const row = rowAt(plane, tempK, nominalVdsV);
    const fullScaleVgsV = gateVoltageAt(row, fullScaleA);
    if (fullScaleVgsV === undefined) {
      throw new OnefetError(
        'input',
        'FULL_SCALE_UNREACHED',
        `${name}: the current does not cross ${fullScaleA} A between Vgs ${row.vgsV[0]} and ${row.vgsV[row.vgsV.length - 1]} V at ${(tempK - 273.15).toFixed(1)} C, Vds ${nominalVdsV} V`,
        { hint: 'change fullScaleA of the cell in technology.yaml, or measure over more gate voltages' },
      );
    }
    const slope = steepest(row, fullScaleVgsV);
    // Rows of other drain voltages may be shorter.
    const rows = plane.rows.filter((other) => other.tempK === tempK && plane.vdsV.includes(other.vdsV));
    const first = Math.max(...rows.map(({ vgsV }) => vgsV[0]));
    const last = Math.min(...rows.map(({ vgsV }) => vgsV[vgsV.length - 1]));
    const low = Math.max(first, fullScaleVgsV + Math.log(SMALLEST_PRODUCT) / slope);
    const high = Math.min(last, fullScaleVgsV + Math.log(LARGEST_PRODUCT) / slope);
    lowV.push(low);
    highV.push(high);
    smallestProduct = Math.max(smallestProduct, Math.exp((low - fullScaleVgsV) * slope));
    largestProduct = Math.min(largestProduct, Math.exp((high - fullScaleVgsV) * slope));
  }
  return { gate: { tempK: [...plane.tempK], lowV, highV }, smallestProduct, largestProduct };
}

/** Largest least-squares slope of ln I over SLOPE_SPAN_V below full scale, 1/V. */
function steepest({ vgsV, lnA }: MeasuredRow, belowV: number): number {
  let best = 0;
  for (let i = 0; i < vgsV.length; i++) {
    const window: number[] = [];
    for (let j = i; j < vgsV.length && vgsV[j] <= vgsV[i] + SLOPE_SPAN_V + 1e-9; j++) window.push(j);
    const last = window[window.length - 1];
    if (vgsV[last] > belowV) break;
    if (window.length < 3 || vgsV[last] - vgsV[i] < SLOPE_SPAN_V / 2) continue;
    const meanX = mean(window.map((j) => vgsV[j]));
    const meanY = mean(window.map((j) => lnA[j]));
    const xy = window.reduce((sum, j) => sum + (vgsV[j] - meanX) * (lnA[j] - meanY), 0);
    const xx = window.reduce((sum, j) => sum + (vgsV[j] - meanX) ** 2, 0);
    best = Math.max(best, xy / xx);
  }
  if (best > 0) return best;
  throw new OnefetError(
    'input',
    'MEASURED_GRID',
    `fewer than three gate voltages within ${SLOPE_SPAN_V} V below full scale`,
    {
      hint: 'measure in gate steps of 20 mV or less, or name a simulated cell of the same size by --supplement',
    },
  );
}

/** Points inside the gate range, in ln I averaged over devices. `keep` selects rows. */
export function pointsInside(
  plane: MeasuredPlane,
  gate: CornerCalibration['gate'],
  keep: (row: MeasuredRow) => boolean,
): CellPoint[] {
  const points: CellPoint[] = [];
  for (const row of plane.rows) {
    if (!keep(row) || !plane.vdsV.includes(row.vdsV)) continue;
    const k = plane.tempK.indexOf(row.tempK);
    row.vgsV.forEach((vgsV, i) => {
      if (vgsV < gate.lowV[k] || vgsV > gate.highV[k]) return;
      points.push({ vgsV, vdsV: row.vdsV, tempK: row.tempK, currentA: Math.exp(row.lnA[i]) });
    });
  }
  return points;
}

/** Table of off currents over the gate voltages that every row covers. Error MEASURED_OFF_RANGE when none is off. */
export function tabulateOff(plane: MeasuredPlane, name: string): CornerCalibration['off'] {
  const { tempK, vdsV } = plane;
  const rows = plane.rows.filter((row) => vdsV.includes(row.vdsV));
  const first = Math.max(...rows.map((row) => row.vgsV[0]));
  const last = Math.min(...rows.map((row) => row.vgsV[row.vgsV.length - 1]));
  const vgsV: number[] = [];
  for (let k = Math.round(OFF_RANGE_V[0] / OFF_STEP_V); k * OFF_STEP_V <= OFF_RANGE_V[1] + 1e-9; k++) {
    const v = Number((k * OFF_STEP_V).toFixed(4));
    if (v >= first - 1e-9 && v <= last + 1e-9) vgsV.push(v);
  }
  if (vgsV.length < 2 || vgsV[0] > 0) {
    throw new OnefetError(
      'input',
      'MEASURED_OFF_RANGE',
      `${name}: every row must reach Vgs 0 or lower and ${OFF_STEP_V} V; the shortest spans ${first} to ${last} V`,
      {
        hint: 'the current of rows that are off enters every sum: measure down to the off level, or name a simulated cell by --supplement',
      },
    );
  }
  return {
    tempK: [...tempK],
    vdsV: [...vdsV],
    vgsV,
    lnCurrent: tempK.flatMap((t) =>
      vdsV.flatMap((d) => vgsV.map((v) => lnCurrentAt(rowAt(plane, t, d), v)!)),
    ),
  };
}

/**
 * Relative noise of one averaged point inside the gate range: sqrt(mean of squared fourth differences / 70), blind to
 * anything as smooth as a cubic over five points. Undefined when there are fewer than 20 even runs of at most 10 mV.
 */
export function estimateNoise(plane: MeasuredPlane, gate: CornerCalibration['gate']): number | undefined {
  let sum = 0;
  let count = 0;
  for (const { tempK, vgsV, lnA } of plane.rows) {
    const k = plane.tempK.indexOf(tempK);
    for (let i = 2; i + 2 < vgsV.length; i++) {
      if (vgsV[i - 2] < gate.lowV[k] || vgsV[i + 2] > gate.highV[k]) continue;
      const step = vgsV[i + 1] - vgsV[i];
      const even = [-1, 0, 1, 2].every((j) => Math.abs(vgsV[i + j] - vgsV[i + j - 1] - step) < 1e-3 * step);
      if (!even || step > 0.0101) continue;
      const d = lnA[i - 2] - 4 * lnA[i - 1] + 6 * lnA[i] - 4 * lnA[i + 1] + lnA[i + 2];
      sum += d * d;
      count++;
    }
  }
  return count < 20 ? undefined : Math.sqrt(sum / count / 70);
}

function gridError(name: string, what: string, hint: string): OnefetError {
  return new OnefetError('input', 'MEASURED_GRID', `${name}: ${what}`, { hint });
}
