import { describe, expect, test } from 'vitest';
import { type Calibration, loadCalibration } from './calibration.ts';
import { BOLTZMANN_OVER_CHARGE } from './ekv.ts';
import {
  biasPoint,
  cellCurrentA,
  gmOverIPerV,
  type OperatingPoint,
  offCurrentA,
  outputConductancePerV,
} from './operating-point.ts';
import { CORNERS } from './technology.ts';

const calibrations: readonly (readonly [string, string])[] = [
  ['planar32lp', 't1'],
  ['planar32lp', 't1-large'],
  ['planar130', 't1'],
  ['planar130', 't1-large'],
];
const at = (cal: Calibration, more: Partial<OperatingPoint> = {}): OperatingPoint => ({
  corner: 'TT',
  tempK: cal.nominal.tempK,
  vdsV: cal.nominal.vdsV,
  fullScaleA: cal.nominal.fullScaleA,
  ...more,
});

describe.each(calibrations)('%s/%s as shipped', (process, cell) => {
  const cal = loadCalibration(process, cell);

  test('codes 1/63 x tap 1/7 up to 1.5 times full scale lie inside the range at every corner and temperature', () => {
    for (const corner of CORNERS) {
      for (let tempC = -40; tempC <= 125; tempC += 15) {
        const op = at(cal, { corner, tempK: tempC + 273.15 });
        const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
        expect(cellCurrentA(cal, op, fullScaleVgsV) / op.fullScaleA).toBeCloseTo(1, 9);
        for (const product of [1 / 441, 0.1, 1, 1.5]) {
          const current = cellCurrentA(cal, op, fullScaleVgsV + ladderSlopeV * Math.log(product));
          expect(current).toBeGreaterThan(0);
        }
      }
    }
  });

  test('the ladder is PTAT and n is that of a planar device', () => {
    const cold = biasPoint(cal, at(cal, { tempK: 240 })).ladderSlopeV;
    const hot = biasPoint(cal, at(cal, { tempK: 360 })).ladderSlopeV;
    expect(hot / cold).toBeCloseTo(1.5, 9);
    const n = cold / (BOLTZMANN_OVER_CHARGE * 240);
    expect(n).toBeGreaterThan(1.2);
    expect(n).toBeLessThan(1.6);
  });

  test('gm/I and output conductance are the slopes of ln I', () => {
    const op = at(cal);
    const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
    for (const product of [0.005, 0.1, 1]) {
      const v = fullScaleVgsV + ladderSlopeV * Math.log(product);
      const h = 1e-5;
      const ln = (vgs: number, vds: number) => Math.log(cellCurrentA(cal, { ...op, vdsV: vds }, vgs));
      expect(gmOverIPerV(cal, op, v)).toBeCloseTo((ln(v + h, op.vdsV) - ln(v - h, op.vdsV)) / (2 * h), 4);
      expect(outputConductancePerV(cal, op, v)).toBeCloseTo(
        (ln(v, op.vdsV + h) - ln(v, op.vdsV - h)) / (2 * h),
        4,
      );
      // Weak inversion: gm/I below the thermal limit of 1/Ut, above half of it.
      expect(gmOverIPerV(cal, op, v) * BOLTZMANN_OVER_CHARGE * op.tempK).toBeGreaterThan(0.5);
      expect(gmOverIPerV(cal, op, v) * BOLTZMANN_OVER_CHARGE * op.tempK).toBeLessThan(1);
    }
  });

  test('fast corners carry the current at a lower gate voltage', () => {
    const v = (corner: (typeof CORNERS)[number]) => biasPoint(cal, at(cal, { corner })).fullScaleVgsV;
    expect(v('FF')).toBeLessThan(v('FS'));
    expect(v('FS')).toBeLessThan(v('TT'));
    expect(v('TT')).toBeLessThan(v('SF'));
    expect(v('SF')).toBeLessThan(v('SS'));
  });

  test('leakage rises with temperature and is continuous across grid lines', () => {
    const op = at(cal);
    expect(offCurrentA(cal, at(cal, { tempK: 398.15 }), 0)).toBeGreaterThan(20 * offCurrentA(cal, op, 0));
    const { tempK, vdsV, vgsV } = cal.corners.TT!.off;
    const near = (t: number, d: number, g: number) => offCurrentA(cal, at(cal, { tempK: t, vdsV: d }), g);
    const here = near(tempK[3], vdsV[2], vgsV[5]);
    for (const sign of [-1, 1]) {
      const shift = sign * 1e-9;
      expect(near(tempK[3] + shift, vdsV[2] + shift, vgsV[5] + shift) / here).toBeCloseTo(1, 6);
    }
  });

  test('refuses what was not calibrated, naming value and range', () => {
    const op = at(cal);
    const { fullScaleVgsV } = biasPoint(cal, op);
    const outOfRange = expect.objectContaining({ kind: 'input', code: 'OUT_OF_RANGE' });
    expect(() => cellCurrentA(cal, op, fullScaleVgsV + 0.2)).toThrow(outOfRange);
    expect(() => cellCurrentA(cal, op, fullScaleVgsV - 0.5)).toThrow(outOfRange);
    expect(() => cellCurrentA(cal, op, Number.NaN)).toThrow(outOfRange);
    expect(() => cellCurrentA(cal, { ...op, tempK: 420 }, fullScaleVgsV)).toThrow(outOfRange);
    expect(() => gmOverIPerV(cal, { ...op, vdsV: 0.05 }, fullScaleVgsV)).toThrow(outOfRange);
    expect(() => outputConductancePerV(cal, { ...op, vdsV: 2 }, fullScaleVgsV)).toThrow(outOfRange);
    expect(() => offCurrentA(cal, op, -0.5)).toThrow(outOfRange);
    expect(() => offCurrentA(cal, op, 0.2)).toThrow(outOfRange);
    expect(() => biasPoint(cal, { ...op, fullScaleA: 1e-6 })).toThrow(
      expect.objectContaining({ code: 'BIAS_OUT_OF_RANGE' }),
    );
    expect(() => cellCurrentA(cal, op, fullScaleVgsV + 0.2)).toThrow(
      /outside the calibrated range -?0\.\d+ to 0\.\d+ V/,
    );
  });
});
