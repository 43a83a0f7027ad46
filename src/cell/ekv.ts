/**
 * The fitted cell: drain current of one transistor in weak and moderate inversion, with its leakage.
 *
 *   I(Vgs, Vds, T) = Is [F(vp/Ut) - F((vp - s Vds)/Ut)] (1 + lambda Vds)                channel
 *                  + exp(floor) (1 - exp(-Vds/Ut))                                       drain junction
 *                  + (x + 0.5 V)/0.5 V exp(e0 + e1 x + e2 x^2 + e3 x^3)                  drain edge
 *   x = Vds - Vgs - 0.5 V,  F(u) = ln^2(1 + e^(u/2)),  vp = (Vgs - VT + sigma Vds)/n,  Ut = kT/q
 *
 * F is the interpolation of Enz, Krummenacher and Vittoz (1995) with source and bulk grounded. sigma (drain-induced
 * barrier lowering), lambda (channel length modulation), the junction's reverse current and the leakage at the drain
 * edge under the gate (tunnelling through the oxide and gate-induced drain leakage, both set by the drain-gate
 * voltage) are added. Each parameter is a polynomial in tau = (T - T0)/100 K, the floor in the Arrhenius variable
 * 1000 K (1/T0 - 1/T).
 */
import { OnefetError } from '../error.ts';
import { BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C } from '../physical-constants.ts';

/** Boltzmann constant over elementary charge, V/K (SI 2019, exact). */
export const BOLTZMANN_OVER_CHARGE = BOLTZMANN_J_PER_K / ELEMENTARY_CHARGE_C;
export const REFERENCE_TEMP_K = 300.15;

/**
 * Parameters in order. `degree` of the polynomial in temperature; `start` and `scale` of its coefficients: the fit
 * works on (value - start) / scale, so that all unknowns are of order one.
 */
export const EKV_PARAMETERS = [
  { name: 'lnSpecificCurrentA', degree: 2, start: [Math.log(1e-6), 0, 0], scale: [0.5, 0.2, 0.1] },
  { name: 'slopeFactor', degree: 2, start: [1.4, 0, 0], scale: [0.05, 0.02, 0.01] },
  { name: 'thresholdV', degree: 2, start: [0.45, -0.05, 0], scale: [0.03, 0.02, 0.01] },
  { name: 'barrierLowering', degree: 1, start: [0.01, 0], scale: [0.01, 0.005] },
  { name: 'lengthModulationPerV', degree: 1, start: [0.05, 0], scale: [0.05, 0.02] },
  { name: 'lnFloorA', degree: 1, start: [Math.log(1e-17), 14], scale: [1, 0.5] },
  { name: 'lnEdgeA', degree: 1, start: [Math.log(1e-12), 0], scale: [1, 0.1] },
  { name: 'edgeSlopePerV', degree: 1, start: [7, 0], scale: [1, 0.2] },
  { name: 'edgeCurvePerV2', degree: 0, start: [-3], scale: [1] },
  { name: 'edgeCubicPerV3', degree: 0, start: [0], scale: [1] },
  { name: 'saturation', degree: 1, start: [1, 0], scale: [0.05, 0.02] },
] as const;

export const COEFFICIENT_COUNT = EKV_PARAMETERS.reduce((sum, { degree }) => sum + degree + 1, 0);

/** "slopeFactor.1" and so on, in the order of the coefficient vector. */
export const COEFFICIENT_NAMES: readonly string[] = EKV_PARAMETERS.flatMap(({ name, degree }) =>
  Array.from({ length: degree + 1 }, (_, i) => `${name}.${i}`),
);

/** The parameters at one temperature, and Ut. */
export type EkvAtTemperature = { readonly [name in (typeof EKV_PARAMETERS)[number]['name']]: number } & {
  /** kT/q, V. */
  readonly ut: number;
};

/** Evaluates the polynomials of the coefficient vector [COEFFICIENT_COUNT] at a temperature. */
export function atTemperature(coefficients: ArrayLike<number>, tempK: number): EkvAtTemperature {
  const tau = (tempK - REFERENCE_TEMP_K) / 100;
  const arrhenius = 1000 * (1 / REFERENCE_TEMP_K - 1 / tempK);
  const values = new Float64Array(EKV_PARAMETERS.length);
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    const { name, degree } = EKV_PARAMETERS[i];
    const x = name === 'lnFloorA' ? arrhenius : tau;
    let sum = 0;
    for (let d = degree; d >= 0; d--) sum = sum * x + coefficients[at + d];
    values[i] = sum;
    at += degree + 1;
  }
  // One literal, so that all have one hidden class: the fit evaluates the current some million times.
  return {
    ut: thermalVoltageV(tempK),
    lnSpecificCurrentA: values[0],
    slopeFactor: values[1],
    thresholdV: values[2],
    barrierLowering: values[3],
    lengthModulationPerV: values[4],
    lnFloorA: values[5],
    lnEdgeA: values[6],
    edgeSlopePerV: values[7],
    edgeCurvePerV2: values[8],
    edgeCubicPerV3: values[9],
    saturation: values[10],
  };
}

/** F(u) = ln^2(1 + e^(u/2)). */
function inversion(u: number): number {
  const l = softPlus(u / 2);
  return l * l;
}

/** ln(1 + e^x) without overflow. */
function softPlus(x: number): number {
  return x > 30 ? x : Math.log1p(Math.exp(x));
}

/** d F/du = ln(1 + e^(u/2)) / (1 + e^(-u/2)). */
function inversionSlope(u: number): number {
  return softPlus(u / 2) / (1 + Math.exp(-u / 2));
}

/** vp, V. */
function pinchOffV(at: EkvAtTemperature, vgsV: number, vdsV: number): number {
  return (vgsV - at.thresholdV + at.barrierLowering * vdsV) / at.slopeFactor;
}

/** Drain current, A. */
export function ekvCurrentA(at: EkvAtTemperature, vgsV: number, vdsV: number): number {
  const { ut } = at;
  const vp = pinchOffV(at, vgsV, vdsV);
  const channel =
    Math.exp(at.lnSpecificCurrentA) *
    (inversion(vp / ut) - inversion((vp - at.saturation * vdsV) / ut)) *
    (1 + at.lengthModulationPerV * vdsV);
  return channel + Math.exp(at.lnFloorA) * -Math.expm1(-vdsV / ut) + edgeA(at, vdsV - vgsV - 0.5);
}

/** Tunnelling and band-to-band generation vanish without a drain-gate voltage, hence the factor x + 0.5 V. */
function edgeA(at: EkvAtTemperature, x: number): number {
  return (2 * x + 1) * edgeScaleA(at, x);
}

function edgeScaleA(at: EkvAtTemperature, x: number): number {
  return Math.exp(at.lnEdgeA + x * (at.edgeSlopePerV + x * (at.edgeCurvePerV2 + x * at.edgeCubicPerV3)));
}

/** Current and its derivatives with respect to the gate and drain voltage, A/V. */
export function ekvDerivatives(
  at: EkvAtTemperature,
  vgsV: number,
  vdsV: number,
): { currentA: number; perGateV: number; perDrainV: number } {
  const { ut, slopeFactor, saturation, lengthModulationPerV } = at;
  const vp = pinchOffV(at, vgsV, vdsV);
  const uf = vp / ut;
  const ur = (vp - saturation * vdsV) / ut;
  const scale = Math.exp(at.lnSpecificCurrentA) * (1 + lengthModulationPerV * vdsV);
  const channel = scale * (inversion(uf) - inversion(ur));
  const perPinchOff = (scale * (inversionSlope(uf) - inversionSlope(ur))) / ut;
  const floor = Math.exp(at.lnFloorA);
  const x = vdsV - vgsV - 0.5;
  const edge = edgeA(at, x);
  const edgePerX =
    2 * edgeScaleA(at, x) +
    edge * (at.edgeSlopePerV + x * (2 * at.edgeCurvePerV2 + x * 3 * at.edgeCubicPerV3));
  return {
    currentA: channel + floor * -Math.expm1(-vdsV / ut) + edge,
    perGateV: perPinchOff / slopeFactor - edgePerX,
    perDrainV:
      (perPinchOff * at.barrierLowering) / slopeFactor +
      (scale * saturation * inversionSlope(ur)) / ut +
      (channel * lengthModulationPerV) / (1 + lengthModulationPerV * vdsV) +
      (floor / ut) * Math.exp(-vdsV / ut) +
      edgePerX,
  };
}

/** Gate voltage at which the cell carries `currentA`; bisection between the bounds. */
export function ekvGateVoltageV(
  at: EkvAtTemperature,
  currentA: number,
  vdsV: number,
  lowV: number,
  highV: number,
): number {
  let low = lowV;
  let high = highV;
  if (!(ekvCurrentA(at, low, vdsV) <= currentA && ekvCurrentA(at, high, vdsV) >= currentA)) {
    throw new OnefetError(
      'input',
      'BIAS_OUT_OF_RANGE',
      `a full-scale current of ${currentA.toExponential(2)} A lies outside the calibrated gate range ${low.toFixed(3)} to ${high.toFixed(3)} V (${ekvCurrentA(at, low, vdsV).toExponential(2)} to ${ekvCurrentA(at, high, vdsV).toExponential(2)} A)`,
    );
  }
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (ekvCurrentA(at, middle, vdsV) < currentA) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

export const thermalVoltageV = (tempK: number): number => BOLTZMANN_OVER_CHARGE * tempK;
