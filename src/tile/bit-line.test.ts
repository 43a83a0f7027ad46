/** Noise of a bit line's circuit against an independent stochastic simulation of it, and its other figures by hand. */
import { describe, expect, it } from 'vitest';
import { ELEMENTARY_CHARGE_C } from '../physical-constants.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { bitLine, lineTauS } from './bit-line.ts';

const UT_V = 0.025865;
const OPERATION = {
  // 256 drains of 0.26 fF and as many wires of 0.1 fF: the line of the stochastic simulation.
  lineF: 92e-15,
  sourceSlopeV: 1.14 * UT_V,
  gateSlopeV: 1.446 * UT_V,
  tempK: 300.15,
  device: { widthM: 0.8e-6, lengthM: 0.4e-6 },
};
const circuit = (...settings: string[]) =>
  bitLine(loadLogDomainDesign('log-domain', settings).design, OPERATION);
const electrons = (varianceC2: number) => Math.sqrt(varianceC2) / ELEMENTARY_CHARGE_C;

describe('electrons per conversion of four line-phases of 100 ns', () => {
  it('cascode: 244 of the lines; with the 170 of the cells 306 were simulated', () => {
    const own = circuit('column.clamp=cascode').chargeVarianceC2;
    expect(electrons(own)).toBeCloseTo(244, -1);
    // Cells, line and the integrator of 10.4 fF, 41 electrons.
    expect(Math.abs(Math.hypot(electrons(own), 170, 41) / 306 - 1)).toBeLessThan(0.03);
  });

  it('a sink of 1 uA: 1,595 simulated in weak inversion, 709 in strong', () => {
    const weak = circuit('column.clamp=class-a', 'column.sinkOverdriveV=0.05');
    expect(Math.abs(Math.hypot(electrons(weak.chargeVarianceC2), 170) / 1595 - 1)).toBeLessThan(0.03);
    const strong = circuit('column.clamp=class-a', 'column.sinkOverdriveV=0.41');
    expect(Math.abs(Math.hypot(electrons(strong.chargeVarianceC2), 170) / 709 - 1)).toBeLessThan(0.03);
  });

  it('a gain divides what the line keeps, and its amplifier adds noise in proportion to the current', () => {
    const plain = circuit('column.clamp=cascode');
    const regulated = circuit('column.cascodeGain=10', 'column.amplifierA=3e-6');
    expect(plain.chargeVarianceC2 / regulated.chargeVarianceC2).toBeCloseTo(11, 9);
    // 4 x (37.4 mV)^2 x 1.5 x 11 x 92 fF / (29.5 mV x 100 ns x 3 uA).
    expect(regulated.amplifierShare).toBeCloseTo(
      (4 * 0.0374 ** 2 * 1.5 * 11 * 92e-15) / (0.02949 * 1e-7 * 3e-6),
      2,
    );
    expect(plain.amplifierShare).toBe(0);
  });
});

it('one phase and two phases with a conversion each have half of the lines', () => {
  const of = (sign: string) => circuit('column.clamp=cascode', `tile.sign=${sign}`).chargeVarianceC2;
  expect(of('integrate') / of('paired-rows')).toBeCloseTo(2, 9);
  expect(of('two-conversion')).toBe(of('paired-rows'));
});

it('movement, bias and time: 29.5 mV per e-fold and 181 ns at 15 nA, an eleventh with a gain of 10, 2.7 ns with a sink of 1 uA', () => {
  const [cascode, regulated, sink, ideal] = ['cascode', 'regulated', 'class-a', 'resistance'].map((clamp) =>
    circuit(`column.clamp=${clamp}`),
  );
  expect(cascode.slopeV).toBeCloseTo(0.0295, 4);
  expect(lineTauS(cascode, 15e-9) * 1e9).toBeCloseTo(180.9, 0);
  expect(lineTauS(regulated, 15e-9) * 11).toBeCloseTo(lineTauS(cascode, 15e-9), 15);
  expect(lineTauS(sink, 15e-9) * 1e9).toBeCloseTo(2.67, 2);
  expect([cascode, regulated, sink, ideal].map(({ biasA }) => biasA)).toEqual([0, 3e-6, 1e-6, 0]);
  expect(cascode.devices).toEqual([{ count: 1, widthM: 4e-6, lengthM: 0.4e-6 }]);
  expect(regulated.devices.map(({ count }) => count)).toEqual([1, 5]);
  expect(ideal).toMatchObject({ chargeVarianceC2: 0, amplifierShare: 0, slopeV: 0, devices: [] });
});
