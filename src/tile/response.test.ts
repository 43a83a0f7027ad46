import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { cellCurrentA } from '../cell/operating-point.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { tilePhysics } from './physics.ts';

test('a gate error moves the current by slope and curvature: ten times closer than by the slope alone', () => {
  const { design } = loadLogDomainDesign('log-domain', ['cell=t1']);
  const cal = loadCalibration(design.process, design.cell);
  const physics = tilePhysics(cal, design);
  const response = physics.responses.get(7)!;
  const { corner, tempK, vdsV, fullScaleA } = design;
  const level = 63;
  for (const tap of [3, 7]) {
    const vgsV = physics.fullScaleVgsV + physics.ladderSlopeV * Math.log(tap / 7);
    const at = (errorV: number) =>
      Math.log(cellCurrentA(cal, { corner, tempK, vdsV, fullScaleA }, vgsV + errorV));
    // Two sigma of the small cell's threshold.
    for (const errorV of [-35e-3, 35e-3]) {
      const moved = at(errorV) - at(0);
      const first = response.gmOverI[level][tap] * errorV;
      const second = first + response.curvature[level][tap] * errorV ** 2;
      expect(Math.abs(moved - second)).toBeLessThan(Math.abs(moved - first) / 5);
      expect(Math.abs(moved - second)).toBeLessThan(0.003);
    }
  }
});

test('cells that are calibrated as a table refuse what their table does not hold', () => {
  const { design } = loadLogDomainDesign('log-domain', ['cell=t1-driver', 'vdsV=0.25', 'fullScaleA=3e-9']);
  const cal = loadCalibration(design.process, design.cell);
  const { responses } = tilePhysics(cal, design);
  // Behind the transistor-level driver the top product is the reference: one full-scale current.
  expect(responses.get(7)!.table[63][7]).toBeCloseTo(1, 1);
  expect(responses.get(7)!.table[63][1] * 7).toBeCloseTo(1, 1);
  expect(() => tilePhysics(cal, { ...design, bias: { ...design.bias, mode: 'fixed' } })).toThrow(
    /replica bias/,
  );
  expect(() => tilePhysics(cal, { ...design, vdsV: 0.4 })).toThrow(
    expect.objectContaining({ code: 'OUT_OF_RANGE' }),
  );
});
