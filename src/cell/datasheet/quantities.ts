/**
 * The quantities that a datasheet can specify of a calibrated cell: each quantity with its SI unit, the conditions that it takes, and
 * how it is read off the calibration. A new quantity is one more entry.
 */

import { OnefetError } from '../../error.ts';
import { type Calibration, cornerOf } from '../calibration.ts';
import { REFERENCE_TEMP_K } from '../ekv.ts';
import {
  biasPoint,
  cellCurrentA,
  gmOverIPerV,
  type OperatingPoint,
  offCurrentA,
  outputConductancePerV,
} from '../operating-point.ts';
import type { Residual } from '../residual.ts';
import type { Corner } from '../technology.ts';

export interface Condition {
  readonly corner: Corner;
  readonly tempC: number;
  readonly vdsV: number;
  /** Product of code and tap over full scale, at which a slope is taken. */
  readonly product: number;
  readonly offVgsV: number;
  /** Deviation from the exponential, e.g. 0.01. */
  readonly tolerance: number;
}
export type ConditionName = keyof Condition;

export interface Quantity {
  readonly title: string;
  /** SI. A relative quantity has unit 1. */
  readonly unit: 'V' | 'A' | 'F' | '1' | '1/V' | '1/K' | '1/Hz' | 'decades';
  readonly takes: readonly ConditionName[];
  readonly value: (cal: Calibration, at: Condition) => number;
}

const operating = (cal: Calibration, at: Condition): OperatingPoint => ({
  corner: at.corner,
  tempK: at.tempC + 273.15,
  vdsV: at.vdsV,
  fullScaleA: cal.nominal.fullScaleA,
});

/** Gate voltage of a product under replica bias. */
function solveGate(cal: Calibration, at: Condition): { op: OperatingPoint; vgsV: number } {
  const op = operating(cal, at);
  const bias = biasPoint(cal, op);
  return { op, vgsV: bias.fullScaleVgsV + bias.ladderSlopeV * Math.log(at.product) };
}

/** The multiply table of a temperature; only those that were simulated can be asked for. */
function tableAt(cal: Calibration, tempC: number): number {
  const index = cal.multiply.tempK.findIndex((t) => Math.abs(t - 273.15 - tempC) < 0.5);
  if (index >= 0) return index;
  const known = cal.multiply.tempK.map((t) => `${Number((t - 273.15).toFixed(2))}`).join(', ');
  throw new OnefetError(
    'input',
    'OUT_OF_RANGE',
    `products at ${tempC} C were not simulated; there is ${known} C`,
  );
}

function rangeAt(cal: Calibration, tolerance: number) {
  const found = cal.exponentialRange.find((range) => Math.abs(range.tolerance - tolerance) < 1e-9);
  if (found !== undefined) return found;
  const known = cal.exponentialRange.map((range) => range.tolerance).join(', ');
  throw new OnefetError(
    'input',
    'OUT_OF_RANGE',
    `no exponential range within ${tolerance}; there is ${known}`,
  );
}

const ofResidual = (
  title: string,
  takes: readonly ConditionName[],
  pick: (cal: Calibration, at: Condition) => Residual,
): Record<'rms' | 'max', Quantity> => {
  // Nothing held out is nothing shown: not a residual of zero.
  const shown = (cal: Calibration, at: Condition) => {
    const residual = pick(cal, at);
    if (residual.points > 0) return residual;
    throw new OnefetError('input', 'OUT_OF_RANGE', `${title}: no point was held out`);
  };
  return {
    rms: { title: `${title}, RMS`, unit: '1', takes, value: (cal, at) => shown(cal, at).rms },
    max: { title: `${title}, largest`, unit: '1', takes, value: (cal, at) => shown(cal, at).max },
  };
};

const product = ofResidual(
  'Error of the product, one gain removed',
  ['tempC'],
  (cal, at) => cal.multiply.product[tableAt(cal, at.tempC)],
);
const heldProduct = ofResidual(
  'Fit against products that it never saw',
  ['tempC'],
  (cal, at) => cal.multiply.heldOut[tableAt(cal, at.tempC)],
);
const fit = ofResidual('Fit residual of ln I', ['corner'], (cal, at) => cornerOf(cal, at.corner).fit);
const heldVds = ofResidual(
  'Residual at drain voltages held out',
  ['corner'],
  (cal, at) => cornerOf(cal, at.corner).heldOutVds,
);
const heldTemp = ofResidual(
  'Residual at temperatures held out',
  ['corner'],
  (cal, at) => cornerOf(cal, at.corner).heldOutTemp,
);

const last = (values: readonly number[]) => values[values.length - 1];

export const QUANTITIES: Readonly<Record<string, Quantity>> = {
  'full-scale-gate-voltage': {
    title: 'Gate voltage at full scale',
    unit: 'V',
    takes: ['corner', 'tempC', 'vdsV'],
    value: (cal, at) => biasPoint(cal, operating(cal, at)).fullScaleVgsV,
  },
  'ladder-slope-factor': {
    title: 'Slope factor n of the ladder',
    unit: '1',
    takes: [],
    value: (cal) => cal.nominal.ladderSlopeFactorN,
  },
  'product-error-max': product.max,
  'product-error-rms': product.rms,
  'exponential-range': {
    title: 'Exponential range',
    unit: 'decades',
    takes: ['tolerance'],
    value: (cal, at) => rangeAt(cal, at.tolerance).decades,
  },
  'off-current': {
    title: 'Off current of a connected cell',
    unit: 'A',
    takes: ['corner', 'tempC', 'vdsV', 'offVgsV'],
    value: (cal, at) => offCurrentA(cal, operating(cal, at), at.offVgsV),
  },
  'off-over-lsb': {
    title: 'Off current over the smallest product',
    unit: '1',
    takes: ['corner', 'tempC', 'vdsV', 'offVgsV'],
    value: (cal, at) =>
      (offCurrentA(cal, operating(cal, at), at.offVgsV) / cal.nominal.fullScaleA) *
      cal.multiply.codes *
      cal.multiply.levels,
  },
  'gm-over-i': {
    title: 'gm/I',
    unit: '1/V',
    takes: ['corner', 'tempC', 'vdsV', 'product'],
    value: (cal, at) => {
      const { op, vgsV } = solveGate(cal, at);
      return gmOverIPerV(cal, op, vgsV);
    },
  },
  'output-conductance': {
    title: 'd ln I / d Vds',
    unit: '1/V',
    takes: ['corner', 'tempC', 'vdsV', 'product'],
    value: (cal, at) => {
      const { op, vgsV } = solveGate(cal, at);
      return outputConductancePerV(cal, op, vgsV);
    },
  },
  'fixed-bias-drift': {
    title: 'd ln I / dT at a fixed gate voltage',
    unit: '1/K',
    takes: ['corner', 'tempC', 'vdsV', 'product'],
    value: (cal, at) => {
      const { op, vgsV } = solveGate(cal, at);
      const at1K = (sign: number) => Math.log(cellCurrentA(cal, { ...op, tempK: op.tempK + sign }, vgsV));
      return (at1K(1) - at1K(-1)) / 2;
    },
  },
  'sigma-threshold': {
    title: 'sigma(Vt) of one cell',
    unit: 'V',
    takes: [],
    value: (cal) => cal.mismatch.sigmaVtV,
  },
  'sigma-current': {
    title: 'sigma(ln I) at full scale, drawn',
    unit: '1',
    takes: [],
    value: (cal) => last(cal.mismatch.monteCarlo.lnSigmaSpice),
  },
  'sigma-over-theory': {
    title: 'Drawn sigma(ln I) over sqrt((gm/I sigmaVt)^2 + sigmaBeta^2)',
    unit: '1',
    takes: [],
    value: (cal) => last(cal.mismatch.monteCarlo.lnSigmaSpice) / last(cal.mismatch.monteCarlo.lnSigmaTheory),
  },
  'white-noise-ratio': {
    title: 'White noise over 2qI at full scale',
    unit: '1',
    takes: [],
    value: (cal) => cal.noise.whiteRatioSpice,
  },
  'flicker-noise': {
    title: 'Flicker S/I^2 at 1 Hz, full scale',
    unit: '1/Hz',
    takes: [],
    value: (cal) => cal.noise.flickerRelativePsdAt1Hz,
  },
  'gate-capacitance': {
    title: 'Gate capacitance at full scale',
    unit: 'F',
    takes: [],
    value: (cal) => cal.capacitance.gateF,
  },
  'drain-capacitance': {
    title: 'Drain capacitance at full scale',
    unit: 'F',
    takes: [],
    value: (cal) => cal.capacitance.drainF,
  },
  'gate-leakage': {
    title: 'Gate current at full scale, magnitude',
    unit: 'A',
    takes: [],
    value: (cal) => {
      const { vgsV, currentA } = cal.gateLeakageA;
      if (vgsV.length === 0)
        throw new OnefetError('input', 'OUT_OF_RANGE', 'no gate current in this calibration');
      const target = cal.nominal.fullScaleVgsV;
      const nearest = vgsV.reduce(
        (b, v, i) => (Math.abs(v - target) < Math.abs(vgsV[b] - target) ? i : b),
        0,
      );
      return Math.abs(currentA[nearest]);
    },
  },
  'fit-rms': fit.rms,
  'fit-max': fit.max,
  'held-out-vds-rms': heldVds.rms,
  'held-out-vds-max': heldVds.max,
  'held-out-temperature-rms': heldTemp.rms,
  'held-out-temperature-max': heldTemp.max,
  'held-out-product-rms': heldProduct.rms,
  'held-out-product-max': heldProduct.max,
};

/** Value of a condition that the specification does not state. */
export function nominalCondition(cal: Calibration): Condition {
  return {
    corner: 'TT',
    tempC: REFERENCE_TEMP_K - 273.15,
    vdsV: cal.nominal.vdsV,
    product: 1,
    offVgsV: 0,
    tolerance: 0.01,
  };
}

/** Printed unit -> factor to SI and the SI unit that it belongs to. */
export const UNITS: Readonly<Record<string, readonly [number, Quantity['unit']]>> = {
  V: [1, 'V'],
  mV: [1e-3, 'V'],
  A: [1, 'A'],
  nA: [1e-9, 'A'],
  pA: [1e-12, 'A'],
  fA: [1e-15, 'A'],
  fF: [1e-15, 'F'],
  aF: [1e-18, 'F'],
  '1': [1, '1'],
  '%': [1e-2, '1'],
  '1/V': [1, '1/V'],
  '%/V': [1e-2, '1/V'],
  '1/K': [1, '1/K'],
  '%/K': [1e-2, '1/K'],
  '1/Hz': [1, '1/Hz'],
  decades: [1, 'decades'],
};
