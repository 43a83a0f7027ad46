/**
 * The behavioural column, in closed form, to be compared with columns solved in SPICE, with the cell's mismatch at the
 * orders and averages that a kernel may choose from. Runs use src/tile, which is compared with SPICE in
 * src/tile/spice-column.test.ts; wires, clamp and source line are the same functions (src/cell/droop.ts).
 *
 *   cell     I(Vgs) exp(-(a x + b x^2) + dBeta),  x = thresholdGain dVt,  a = gm/I,  b = -(d(gm/I)/dVgs)/2
 */
import type { Calibration } from '../../../cell/calibration.ts';
import { type CellSlopes, columnDroop, type Droop, type Sums } from '../../../cell/droop.ts';
import {
  cellCurrentA,
  gateVoltage,
  gmOverIPerV,
  type OperatingPoint,
  offCurrentA,
} from '../../../cell/operating-point.ts';
import { CODES, TAPS } from '../../testbench.ts';
import { type Clamp, type Column, phaseCode, type Wiring } from './column.ts';

/** Action of a threshold shift on a cell. */
export type MismatchModel =
  /** exp(-a x) with gm/I of the cell's own code and tap. */
  | 'first-order'
  /** exp(-a x), gm/I averaged over codes with weight current^2: no cost per token. */
  | 'first-order-by-tap'
  /** exp(-(a x + b x^2)) by code and tap. */
  | 'second-order'
  /** The same, a and b averaged over codes; src/tile adds the third order. */
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

/** Sums of the cells of one column in one phase, before clamp and source line. */
export function sumCells(
  tables: CellTables,
  column: Column,
  inputs: ArrayLike<number>,
  phase: number,
  mismatch: MismatchModel,
  thresholdGain: number,
): Sums {
  let plusA = 0;
  let minusA = 0;
  const byTap = mismatch === 'first-order-by-tap' || mismatch === 'second-order-by-tap';
  const second = mismatch === 'second-order' || mismatch === 'second-order-by-tap';
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

/** The droop of a wiring. `clampAt.slopeV` is m Ut of the clamp's transistor. */
export function wiringDroop(
  wiring: Wiring,
  rows: number,
  slopes: CellSlopes,
  clampAt?: { slopeV: number; middleA: number },
): Droop {
  const { clamp } = wiring;
  return columnDroop(
    {
      rows,
      bitWireOhm: wiring.bitWireOhm,
      sourceWireOhm: wiring.sourceWireOhm,
      sourceOhm: wiring.sourceOhm,
      clampOhm: clamp.kind === 'resistor' ? clamp.ohm : 0,
      ...(clamp.kind === 'resistor' || clampAt === undefined
        ? {}
        : {
            // A gain A in front of the gate divides the movement by 1 + A.
            cascode: { slopeV: clampAt.slopeV / (1 + clampGain(clamp)), middleA: clampAt.middleA },
          }),
    },
    slopes,
  );
}

const clampGain = (clamp: Clamp): number => (clamp.kind === 'opamp' ? clamp.gain : 0);
