import { describe, expect, test } from 'vitest';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  COEFFICIENT_NAMES,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
} from './ekv.ts';

/** A textbook device: n 1.3, VT 0.4 V, Is 1 uA, no second-order effects, no leakage. */
function coefficients(overrides: Readonly<Record<string, number>> = {}): number[] {
  const base: Record<string, number> = {
    'lnSpecificCurrentA.0': Math.log(1e-6),
    'slopeFactor.0': 1.3,
    'thresholdV.0': 0.4,
    'lnFloorA.0': -80,
    'lnEdgeA.0': -80,
    'saturation.0': 1,
    ...overrides,
  };
  return COEFFICIENT_NAMES.map((name) => base[name] ?? 0);
}
const leaky = coefficients({
  'barrierLowering.0': 0.02,
  'lengthModulationPerV.0': 0.15,
  'lnFloorA.0': Math.log(2e-12),
  'lnEdgeA.0': Math.log(1e-12),
  'edgeSlopePerV.0': 8,
  'edgeCurvePerV2.0': -4,
  'edgeCubicPerV3.0': 3,
  'saturation.0': 0.95,
});

describe('limits of the EKV equation (Enz, Krummenacher, Vittoz 1995)', () => {
  const tempK = 300.15;
  const ut = BOLTZMANN_OVER_CHARGE * tempK;
  const at = atTemperature(coefficients(), tempK);

  test('weak inversion: Is exp((Vgs - VT)/(n Ut)) (1 - exp(-Vds/Ut))', () => {
    for (const vds of [0.02, 0.1, 0.4]) {
      const expected = 1e-6 * Math.exp((0.0 - 0.4) / (1.3 * ut)) * (1 - Math.exp(-vds / ut));
      // ln^2(1 + x) = x^2 (1 - x + ...), x = exp(vp/(2 Ut)) = 2.6e-3 here: half a percent.
      expect(ekvCurrentA(at, 0, vds) / expected).toBeCloseTo(1, 2);
    }
  });

  test('strong inversion, saturated: Is (vp / (2 Ut))^2', () => {
    const vp = (1.4 - 0.4) / 1.3;
    expect(ekvCurrentA(at, 1.4, 1.5) / (1e-6 * (vp / (2 * ut)) ** 2)).toBeCloseTo(1, 2);
  });

  test('strong inversion, small Vds: n-channel resistor of Is vp / (2 Ut^2)', () => {
    const vp = (1.4 - 0.4) / 1.3;
    expect(ekvCurrentA(at, 1.4, 1e-3) / (((1e-6 * vp) / (2 * ut * ut)) * 1e-3)).toBeCloseTo(1, 2);
  });

  test('the slope in weak inversion is 1/(n Ut): 59.6 mV/decade times n at 27 C', () => {
    const { currentA, perGateV } = ekvDerivatives(at, 0, 0.4);
    // The first-order correction of ln^2(1 + x) is x/2 relative: 1.3e-3.
    expect((perGateV / currentA) * 1.3 * ut).toBeCloseTo(1, 2);
    expect((Math.LN10 * 1.3 * ut * 1e3) / 1.3).toBeCloseTo(59.56, 1);
  });
});

test('analytic derivatives equal central differences, leakage included', () => {
  for (const tempK of [240, 300.15, 390]) {
    const at = atTemperature(leaky, tempK);
    for (const vgs of [-0.2, 0, 0.15, 0.3, 0.5]) {
      for (const vds of [0.05, 0.2, 0.6]) {
        const h = 1e-5;
        const gate = (ekvCurrentA(at, vgs + h, vds) - ekvCurrentA(at, vgs - h, vds)) / (2 * h);
        const drain = (ekvCurrentA(at, vgs, vds + h) - ekvCurrentA(at, vgs, vds - h)) / (2 * h);
        const d = ekvDerivatives(at, vgs, vds);
        expect(d.currentA / ekvCurrentA(at, vgs, vds)).toBeCloseTo(1, 12);
        expect(d.perGateV / gate).toBeCloseTo(1, 5);
        expect(d.perDrainV / drain).toBeCloseTo(1, 5);
      }
    }
  }
});

test('the gate voltage of a current inverts the equation, and refuses what it cannot reach', () => {
  const at = atTemperature(leaky, 300.15);
  for (const currentA of [2e-11, 3e-9, 1e-7]) {
    expect(ekvCurrentA(at, ekvGateVoltageV(at, currentA, 0.4, 0, 0.6), 0.4) / currentA).toBeCloseTo(1, 9);
  }
  expect(() => ekvGateVoltageV(at, 1, 0.4, 0, 0.6)).toThrow(
    expect.objectContaining({ code: 'BIAS_OUT_OF_RANGE' }),
  );
});
