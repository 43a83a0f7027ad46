/**
 * The behavioural column, in closed form, as the tile model uses it: what is held against columns solved in SPICE.
 *
 *   cell     I(Vgs) exp(-(a x + b x^2) + dBeta),  x = thresholdGain dVt,  a = gm/I,  b = -(d(gm/I)/dVgs)/2
 *   source   ln s = ln s0 - D s,        D = R_eff / (m Ut),        R_eff = R_s + r_s (N + 1)(2 N + 1) / (6 N)
 *   clamp    ln I = ln I0 - lambda dV,  dV = R_eff I (resistance)  or  slope ln(I / I_mid) (cascode)
 *
 * The wire's effective resistance is exact for cells of equal current: the mean over cells i of r sum_j min(i, j) / N.
 */
import { OnefetError } from '../../error.ts';
import type { Calibration } from '../calibration.ts';
import { cellCurrentA, gmOverIPerV, type OperatingPoint, offCurrentA } from '../response.ts';
import { gateVoltage } from './bench.ts';
import { type Clamp, CODES, type Column, phaseCode, TAPS, type Wiring } from './column.ts';
import type { ColumnStudy } from './schema.ts';

/** How a threshold shift acts on a cell. */
export type MismatchLaw =
  /** exp(-a x) with gm/I of the cell's own code and tap: the tile's scalar reference. */
  | 'first-order'
  /** exp(-a x), gm/I averaged over codes with weight current^2: the tile's baked and fast kernels. */
  | 'first-order-by-tap'
  /** exp(-(a x + b x^2)) by code and tap. */
  | 'second-order'
  /** The same, a and b averaged over codes: what a baked kernel can do at no cost per token. */
  | 'second-order-by-tap';

/** [CODES + 1][TAPS + 1] tables of a cell at an operating point; row and column 0 are 0. */
export interface CellTables {
  readonly currentA: readonly Float64Array[];
  readonly gmOverI: readonly Float64Array[];
  /** b: -(d(gm/I)/dVgs)/2 of a threshold shift as a gate step, 1/V^2. */
  readonly curvature: readonly Float64Array[];
  readonly gmOverIByTap: Float64Array;
  readonly curvatureByTap: Float64Array;
  readonly offA: number;
  /** d ln I / dVgs and its half slope at the off level. */
  readonly offGmOverI: number;
  readonly offCurvature: number;
}

export function cellTables(cal: Calibration, op: OperatingPoint, offVgsV: number): CellTables {
  const gate = gateVoltage(cal, op);
  const stepV = 2e-3;
  const empty = () => Array.from({ length: CODES + 1 }, () => new Float64Array(TAPS + 1));
  const currentA = empty();
  const gmOverI = empty();
  const curvature = empty();
  const gmOverIByTap = new Float64Array(TAPS + 1);
  const curvatureByTap = new Float64Array(TAPS + 1);
  for (let m = 1; m <= TAPS; m++) {
    let weight = 0;
    for (let k = 1; k <= CODES; k++) {
      const v = gate((k * m) / (CODES * TAPS));
      currentA[k][m] = cellCurrentA(cal, op, v);
      gmOverI[k][m] = gmOverIPerV(cal, op, v);
      // A shift of x moves the gate by -x: ln I(v - x) = ln I - a x + (a'/2) x^2, hence b = -a'/2.
      curvature[k][m] = -(gmOverIPerV(cal, op, v + stepV) - gmOverIPerV(cal, op, v - stepV)) / (4 * stepV);
      const square = currentA[k][m] ** 2;
      weight += square;
      gmOverIByTap[m] += square * gmOverI[k][m];
      curvatureByTap[m] += square * curvature[k][m];
    }
    gmOverIByTap[m] /= weight;
    curvatureByTap[m] /= weight;
  }
  const offStepV = 10e-3;
  const [below, at, above] = [-1, 0, 1].map((side) =>
    Math.log(offCurrentA(cal, op, offVgsV + side * offStepV)),
  );
  return {
    currentA,
    gmOverI,
    curvature,
    gmOverIByTap,
    curvatureByTap,
    offA: Math.exp(at),
    offGmOverI: (above - below) / (2 * offStepV),
    offCurvature: -(above - 2 * at + below) / (2 * offStepV ** 2),
  };
}

export interface Sums {
  readonly plusA: number;
  readonly minusA: number;
}

/** Sums of the cells of one column in one phase, before clamp and source line. */
export function sumCells(
  tables: CellTables,
  column: Column,
  inputs: ArrayLike<number>,
  phase: number,
  law: MismatchLaw,
  thresholdGain: number,
): Sums {
  let plusA = 0;
  let minusA = 0;
  const byTap = law === 'first-order-by-tap' || law === 'second-order-by-tap';
  const second = law === 'second-order' || law === 'second-order-by-tap';
  for (let i = 0; i < column.weights.length; i++) {
    const weight = column.weights[i];
    if (weight === 0) continue;
    const m = Math.abs(weight);
    const k = phaseCode(inputs[i], phase);
    const x = thresholdGain * column.thresholdShiftV[i];
    let a: number;
    let b: number;
    if (k === 0) {
      a = tables.offGmOverI;
      b = tables.offCurvature;
    } else {
      a = byTap ? tables.gmOverIByTap[m] : tables.gmOverI[k][m];
      b = byTap ? tables.curvatureByTap[m] : tables.curvature[k][m];
    }
    const current =
      (k === 0 ? tables.offA : tables.currentA[k][m]) *
      Math.exp(-a * x - (second ? b * x * x : 0) + column.lnGain[i]);
    if (weight > 0) plusA += current;
    else minusA += current;
  }
  return { plusA, minusA };
}

/** Product whose constants stand for a column: most of its current is carried near there. */
const TYPICAL_PRODUCT = 0.3;

export interface LawConstants {
  /** -(d ln I / d dVt) over gm/I. */
  readonly thresholdGain: number;
  /** m: -1 / (d ln I / dVs) over Ut. */
  readonly sourceSlopeFactor: number;
  /** lambda, d ln I / dVds. */
  readonly outputConductancePerV: number;
}

/** Constants of a column study at a temperature, linear between those measured. Error: OUT_OF_RANGE. */
export function lawConstants(law: ColumnStudy['law'], tempK: number): LawConstants {
  const last = law.tempK.length - 1;
  if (!(tempK >= law.tempK[0] - 1e-6 && tempK <= law.tempK[last] + 1e-6)) {
    throw new OnefetError(
      'input',
      'OUT_OF_RANGE',
      `temperature of ${tempK} K is outside the column study's ${law.tempK[0]} to ${law.tempK[last]} K`,
    );
  }
  let product = 0;
  law.product.forEach((p, i) => {
    const off = Math.abs(Math.log(p / TYPICAL_PRODUCT));
    if (off < Math.abs(Math.log(law.product[product] / TYPICAL_PRODUCT))) product = i;
  });
  let i = 0;
  while (i < last - 1 && tempK > law.tempK[i + 1]) i++;
  const f = (tempK - law.tempK[i]) / (law.tempK[i + 1] - law.tempK[i]);
  const at = (table: readonly (readonly number[])[]) =>
    table[i][product] + f * (table[i + 1][product] - table[i][product]);
  return {
    thresholdGain: at(law.thresholdGain),
    sourceSlopeFactor: at(law.sourceSlopeFactor),
    outputConductancePerV: at(law.outputConductancePerV),
  };
}

/** What the droop laws need to know. */
export interface Droop {
  readonly sourceOhm: number;
  /** m Ut, V. */
  readonly sourceSlopeV: number;
  /** lambda, 1/V. */
  readonly lambdaPerV: number;
  readonly lineOhm: number;
  /** Of a cascode: the line falls by slopeV ln(I / middleA). */
  readonly cascode?: { readonly slopeV: number; readonly middleA: number };
}

/** r (N + 1)(2 N + 1) / (6 N): resistance that gives the mean drop of N equal cells on a wire of segments r. */
export function effectiveWireOhm(segmentOhm: number, rows: number): number {
  return (segmentOhm * (rows + 1) * (2 * rows + 1)) / (6 * rows);
}

/** Effective resistances of a wiring. `cascodeSlopeV` is n Ut of the clamp's transistor. */
export function droopOf(
  wiring: Wiring,
  rows: number,
  lambdaPerV: number,
  sourceSlopeV: number,
  clampAt?: { slopeV: number; middleA: number },
): Droop {
  const { clamp } = wiring;
  const bitWire = effectiveWireOhm(wiring.bitWireOhm, rows);
  return {
    sourceOhm: wiring.sourceOhm + effectiveWireOhm(wiring.sourceWireOhm, rows),
    sourceSlopeV,
    lambdaPerV,
    lineOhm: bitWire + (clamp.kind === 'resistor' ? clamp.ohm : 0),
    ...(clamp.kind === 'resistor' || clampAt === undefined
      ? {}
      : {
          cascode: {
            // A gain A in front of the gate divides the movement by 1 + A.
            slopeV: clampAt.slopeV / (1 + clampGain(clamp)),
            middleA: clampAt.middleA,
          },
        }),
  };
}

const clampGain = (clamp: Clamp): number => (clamp.kind === 'opamp' ? clamp.gain : 0);

/** Clamp and source line applied to the sums; `otherA` is the current of other columns on the same source line. */
export function applyDroop({ plusA, minusA }: Sums, droop: Droop, otherA = 0): Sums {
  const d = droop.sourceOhm / droop.sourceSlopeV;
  const total = plusA + minusA;
  // s = s0 exp(-D (s + other)): Newton on ln s; the exponent is small, three steps reach rounding.
  let common = total;
  for (let i = 0; i < 3; i++) {
    const f = common - total * Math.exp(-d * (common + otherA));
    common -= f / (1 + d * (common - f));
  }
  const sourceGain = total > 0 ? common / total : 1;
  return { plusA: clamped(plusA * sourceGain, droop), minusA: clamped(minusA * sourceGain, droop) };
}

function clamped(currentA: number, { lambdaPerV, lineOhm, cascode }: Droop): number {
  if (currentA <= 0) return currentA;
  let i = currentA / (1 + lambdaPerV * lineOhm * currentA);
  // ln I = ln I0 - lambda slope ln(I / mid)  =>  I = mid (I0 / mid)^(1 / (1 + lambda slope)).
  if (cascode) i = cascode.middleA * (i / cascode.middleA) ** (1 / (1 + lambdaPerV * cascode.slopeV));
  return i;
}
