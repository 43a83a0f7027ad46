/**
 * A calibrated cell at an operating point: bias, current, slopes, off current, as the behavioural tile asks for them. Every function refuses what lies outside the calibrated range
 * instead of extrapolating.
 */
import { OnefetError } from '../error.ts';
import { type Calibration, type CornerCalibration, cornerOf } from './calibration.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  type EkvAtTemperature,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
} from './ekv.ts';
import { type Corner, SMALLEST_OFF_A } from './technology.ts';

export interface OperatingPoint {
  corner: Corner;
  tempK: number;
  vdsV: number;
  /** Current at the largest code and the top tap. */
  fullScaleA: number;
}

export interface BiasPoint {
  /** Gate voltage of the full-scale current. */
  fullScaleVgsV: number;
  /** n Ut: gate volts per e-fold of the product, proportional to absolute temperature. */
  ladderSlopeV: number;
}

/** Replica bias: where the fitted cell carries fullScaleA; the ladder is n (nominal) times Ut(T). */
export function biasPoint(cal: Calibration, op: OperatingPoint): BiasPoint {
  const { corner, at } = evaluate(cal, op);
  const { lowV, highV } = gateRange(corner, op.tempK);
  return {
    fullScaleVgsV: ekvGateVoltageV(at, op.fullScaleA, op.vdsV, lowV, highV),
    ladderSlopeV: cal.nominal.ladderSlopeFactorN * BOLTZMANN_OVER_CHARGE * op.tempK,
  };
}

/** Drain current, A. */
export function cellCurrentA(cal: Calibration, op: OperatingPoint, vgsV: number): number {
  return ekvCurrentA(checked(cal, op, vgsV), vgsV, op.vdsV);
}

/** d ln I / dVgs, 1/V. */
export function gmOverIPerV(cal: Calibration, op: OperatingPoint, vgsV: number): number {
  const { currentA, perGateV } = ekvDerivatives(checked(cal, op, vgsV), vgsV, op.vdsV);
  return perGateV / currentA;
}

/** d ln I / dVds, 1/V. */
export function outputConductancePerV(cal: Calibration, op: OperatingPoint, vgsV: number): number {
  const { currentA, perDrainV } = ekvDerivatives(checked(cal, op, vgsV), vgsV, op.vdsV);
  return perDrainV / currentA;
}

/**
 * Current of a connected cell whose row is off, A. The off range reaches beyond what the equation is fitted to, so the
 * ratio of the simulated current to the equation is interpolated (trilinear in its logarithm, between grid lines of
 * 20 mV at the gate, 0.1 V at the drain and 10 to 27 K) and multiplied onto the equation: exact on the grid, within
 * 3 % between its lines.
 */
export function offCurrentA(cal: Calibration, op: OperatingPoint, offVgsV: number): number {
  const { corner, at } = evaluate(cal, op);
  const { off, coefficients } = corner;
  const t = locate(off.tempK, op.tempK, 'temperature', 'K');
  const d = locate(off.vdsV, op.vdsV, 'Vds', 'V');
  const g = locate(off.vgsV, offVgsV, 'off Vgs', 'V');
  let sum = 0;
  for (let corners = 0; corners < 8; corners++) {
    const i = t.index + (corners & 1);
    const j = d.index + ((corners >> 1) & 1);
    const k = g.index + ((corners >> 2) & 1);
    const weight =
      (corners & 1 ? t.fraction : 1 - t.fraction) *
      (corners & 2 ? d.fraction : 1 - d.fraction) *
      (corners & 4 ? g.fraction : 1 - g.fraction);
    // A weight of zero may belong to a value beyond the last grid line.
    if (weight === 0) continue;
    const simulated = off.lnCurrent[(i * off.vdsV.length + j) * off.vgsV.length + k];
    const equation = atTemperature(coefficients, off.tempK[i]);
    sum += weight * (simulated - lnPositive(ekvCurrentA(equation, off.vgsV[k], off.vdsV[j])));
  }
  return Math.exp(sum + lnPositive(ekvCurrentA(at, offVgsV, op.vdsV)));
}

/** The table is clamped at the same 1e-21 A, far below any leakage that is simulated with gmin 1e-18. */
function lnPositive(currentA: number): number {
  return Math.log(Math.max(currentA, SMALLEST_OFF_A));
}

/** Calibrated gate voltages at a corner and temperature. */
export function gateRange(corner: CornerCalibration, tempK: number): { lowV: number; highV: number } {
  const { gate } = corner;
  const { index, fraction } = locate(gate.tempK, tempK, 'temperature', 'K');
  const between = (values: readonly number[]) =>
    fraction === 0 ? values[index] : values[index] + fraction * (values[index + 1] - values[index]);
  return { lowV: between(gate.lowV), highV: between(gate.highV) };
}

function evaluate(cal: Calibration, op: OperatingPoint): { corner: CornerCalibration; at: EkvAtTemperature } {
  const corner = cornerOf(cal, op.corner);
  refuse(op.tempK, cal.validRange.tempK, 'temperature', 'K', cal);
  refuse(op.vdsV, cal.validRange.vdsV, 'Vds', 'V', cal);
  return { corner, at: lastAt(corner, op.tempK) };
}

/** Responses are made of thousands of currents at one temperature. */
function lastAt(corner: CornerCalibration, tempK: number): EkvAtTemperature {
  const last = evaluated.get(corner);
  if (last?.tempK === tempK) return last.at;
  const at = atTemperature(corner.coefficients, tempK);
  evaluated.set(corner, { tempK, at });
  return at;
}
const evaluated = new WeakMap<CornerCalibration, { readonly tempK: number; readonly at: EkvAtTemperature }>();

function checked(cal: Calibration, op: OperatingPoint, vgsV: number): EkvAtTemperature {
  const { corner, at } = evaluate(cal, op);
  const { lowV, highV } = gateRange(corner, op.tempK);
  refuse(vgsV, [lowV, highV], () => `Vgs at ${op.tempK.toFixed(1)} K and ${op.corner}`, 'V', cal);
  return at;
}

/** Rounding of a grid end or of a bisection must not refuse the end itself. */
const SLACK = 1e-9;

function refuse(
  value: number,
  [low, high]: readonly [number, number],
  what: string | (() => string),
  unit: string,
  cal: Calibration,
): void {
  if (value >= low - SLACK && value <= high + SLACK) return;
  throw new OnefetError(
    'input',
    'OUT_OF_RANGE',
    `${cal.process}/${cal.cell}: ${typeof what === 'string' ? what : what()} of ${value} ${unit} is outside the calibrated range ${low.toPrecision(4)} to ${high.toPrecision(4)} ${unit}`,
    { hint: 'choose an operating point inside the range, or calibrate a cell for this one' },
  );
}

function locate(
  grid: readonly number[],
  value: number,
  what: string,
  unit: string,
): { index: number; fraction: number } {
  const last = grid.length - 1;
  if (!(value >= grid[0] - SLACK && value <= grid[last] + SLACK)) {
    throw new OnefetError(
      'input',
      'OUT_OF_RANGE',
      `${what} of ${value} ${unit} is outside the calibrated range ${grid[0]} to ${grid[last]} ${unit}`,
    );
  }
  let index = 0;
  while (index < last - 1 && value >= grid[index + 1]) index++;
  const fraction = last === 0 ? 0 : (value - grid[index]) / (grid[index + 1] - grid[index]);
  return { index, fraction: Math.min(1, Math.max(0, fraction)) };
}

/** The operating point of the calibration at a corner and temperature. */
export function operatingPoint(cal: Calibration, corner: Corner, tempK: number): OperatingPoint {
  return { corner, tempK, vdsV: cal.nominal.vdsV, fullScaleA: cal.nominal.fullScaleA };
}

/** Gate voltage of an ideal product under replica bias and a PTAT ladder. */
export function gateVoltage(cal: Calibration, op: OperatingPoint): (product: number) => number {
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  return (product) => fullScaleVgsV + ladderSlopeV * Math.log(product);
}
