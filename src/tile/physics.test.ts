/** What a design's column becomes: wires, clamp and source line, and the constants that follow the temperature. */

import { expect, test } from 'vitest';
import { loadColumnStudy } from '../calibrate/studies/column/study.ts';
import { type Calibration, loadCalibration } from '../cell/calibration.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { tilePhysics } from './physics.ts';

const physicsOf = (settings: string[], change: (cal: Calibration) => Calibration = (cal) => cal) => {
  const { design } = loadLogDomainDesign('log-domain', ['cell=t1', 'column.clamp=resistance', ...settings]);
  return tilePhysics(change(loadCalibration(design.process, design.cell)), design);
};

test('wires: the effective resistance is the mean of r min(i, j) over the rows', () => {
  const rows = 16;
  let sum = 0;
  for (let i = 1; i <= rows; i++) for (let j = 1; j <= rows; j++) sum += Math.min(i, j);
  const of = (ohm: number) =>
    physicsOf([
      `tile.rows=${rows}`,
      `column.bitWireOhm=${ohm}`,
      `column.sourceWireOhm=${ohm}`,
      'column.clampOhm=0',
      'column.sourceOhm=0',
    ]);
  expect(of(0).droop).toEqual({ source: 0, clamp: 0 });
  const { droop, design } = of(20);
  const dropOhm = (20 * sum) / rows ** 2;
  const lumped = physicsOf([
    `tile.rows=${rows}`,
    'column.bitWireOhm=0',
    'column.sourceWireOhm=0',
    `column.clampOhm=${dropOhm}`,
    `column.sourceOhm=${dropOhm}`,
  ]).droop;
  expect(droop.source).toBeCloseTo(lumped.source, 12);
  expect(droop.clamp).toBeCloseTo(lumped.clamp, 12);
  expect(() => physicsOf(['column.bitWireOhm=1001'])).toThrow(/bitWireOhm/);
  expect(design.column.bitWireOhm).toBe(20);
});

test('source slope: measured by temperature, or a number of the design', () => {
  // The shipped column study measured it on its own decks; -40 and 125 C are nodes.
  const { law } = loadColumnStudy('planar32lp', 't1');
  const typical = law.product.indexOf(0.3);
  const lines = ['column.sourceOhm=1000', 'column.sourceWireOhm=0'];
  for (const tempK of [233.15, 300.15, 398.15]) {
    const { droop, thermalVoltageV, design } = physicsOf([`tempK=${tempK}`, ...lines]);
    const m = (1000 * design.fullScaleA) / (droop.source * thermalVoltageV);
    expect(m).toBeCloseTo(law.sourceSlopeFactor[law.tempK.indexOf(tempK)][typical], 9);
  }
  const { droop, thermalVoltageV, design } = physicsOf(['bias.sourceSlopeFactor=1.3', ...lines]);
  expect((1000 * design.fullScaleA) / (droop.source * thermalVoltageV)).toBeCloseTo(1.3, 9);
  expect(() => physicsOf(['bias.sourceSlopeFactor=3'])).toThrow(/sourceSlopeFactor/);
});

test('a calibration without the law is refused, unless the design says the slope', () => {
  const without = ({ law: _, ...cal }: Calibration): Calibration => cal;
  expect(() => physicsOf([], without)).toThrow(expect.objectContaining({ code: 'NO_CELL_LAW' }));
  expect(physicsOf(['bias.sourceSlopeFactor=1.15'], without).droop.source).toBeGreaterThan(0);
});

test('threshold gain: Monte Carlo at 27 C, 1.037 and 1.057 at the ends of the range', () => {
  const at = (tempK: number) => physicsOf([`tempK=${tempK}`]).thresholdGain;
  expect(at(300.15)).toBe(loadCalibration('planar32lp', 't1').mismatch.thresholdGain);
  expect(at(233.15)).toBeCloseTo(1.037, 3);
  expect(at(398.15)).toBeCloseTo(1.057, 3);
});

test('a cascode moves the line by m Ut per e-fold, a gain divides that, and it stays in the calibrated range', () => {
  const cascode = (...settings: string[]) => physicsOf(['column.clamp=cascode', ...settings]);
  const plain = cascode();
  // SPICE: 29.2 mV per e-fold at 27 C for a clamp of 20 widths (clampTransistor of the column study).
  const { slopeV } = loadColumnStudy('planar32lp', 't1').sizes.find(
    ({ rows }) => rows === 256,
  )!.clampTransistor;
  const lambda = (1 / plain.droop.cascode!.exponent - 1) / slopeV;
  expect(lambda).toBeGreaterThan(0.1);
  expect(lambda).toBeLessThan(0.13);
  expect(plain.droop.cascode!.middleA * plain.design.fullScaleA).toBeCloseTo(29.8e-9, 15);
  const moved = (p: typeof plain) => 1 / p.droop.cascode!.exponent - 1;
  expect(moved(plain)).toBeCloseTo(lambda * slopeV, 12);
  // 30 nA to 1 mA are 10 e-folds of 29 mV.
  expect(() => cascode('column.clampMaxA=1e-3')).toThrow(expect.objectContaining({ code: 'CLAMP_RANGE' }));
  expect(() => physicsOf(['column.clamp=regulated', 'column.clampMaxA=1e-3'])).not.toThrow();
  // With a gain of 99 the line falls by a hundredth of 4.1 e-folds at the most that 256 small cells give, 1.125 x 1.536 uA.
  const regulated = physicsOf(['column.clamp=regulated', 'column.cascodeGain=99', 'column.bitWireOhm=0']);
  const mostA = regulated.meanGain * 256 * 6e-9;
  expect(regulated.clampMaxA).toBe(mostA);
  expect(regulated.meanGain).toBeCloseTo(1.125, 2);
  const fallV = (slopeV / 100) * Math.log(mostA / 29.8e-9);
  expect(regulated.droop.clamp / (lambda * (fallV / mostA) * 6e-9)).toBeCloseTo(1, 2);
});

test('a stated settling time takes its loss out of the products, tap by tap; a derived one loses next to nothing', () => {
  const table = (...settings: string[]) => physicsOf(['cell=t1-large', ...settings]).responses.get(7)!.table;
  const derived = table();
  const early = table('timing.settleTimeS=6e-8');
  const whole = table('timing.settleTimeS=1e-4');
  const lost = (of: typeof derived, tap: number) => 1 - of[63][tap] / whole[63][tap];
  expect(lost(derived, 1)).toBeGreaterThanOrEqual(0);
  expect(lost(derived, 1)).toBeLessThan(4e-3);
  // The lowest tap is the slowest, the top one hangs on the follower.
  expect(lost(early, 1)).toBeGreaterThan(0.05);
  expect(lost(early, 1)).toBeLessThan(0.15);
  for (let tap = 1; tap < 7; tap++) expect(lost(early, tap)).toBeGreaterThan(lost(early, tap + 1));
  expect(() => table('timing.settleTimeS=1e-9')).toThrow(
    expect.objectContaining({ kind: 'usage', code: 'SETTLE_TIME' }),
  );
  expect(() => table('timing.settleTimeS=1e-9')).toThrow(
    /is 1e-9 s, the rows of this design need 5\.\d+e-8 s/,
  );
});

test('a longer window loses less, a wider row needs longer, a stronger follower shorter', () => {
  const settle = (...settings: string[]) => physicsOf(settings).settleTimeS;
  expect(settle('ladder.columns=512')).toBeGreaterThan(1.3 * settle());
  expect(settle('driver.biasA=8e-6', 'ladder.currentA=8e-6')).toBeLessThan(settle());
  expect(settle('cell=t1-large')).toBeGreaterThan(2 * settle());
});
