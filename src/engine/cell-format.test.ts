import fc from 'fast-check';
import { expect, test } from 'vitest';
import { loadFabric } from '../fabric/registry.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { cellBits, gainDraw, thresholdDraw } from '../tile/cell-draws.ts';
import { cellFormat, cellWeight, rowTable, TABLE_TAPS } from './cell-format.ts';
import { integerResponse } from './integer-response.ts';

/**
 * Independent: the law of src/tile/cell-sums.ts in f64 for the same draws. Largest distance from it, in units of the stored
 * weight, beside half a unit of rounding: seen up to 0.02, 0.07 where errors of rows are four times those of cells.
 */
test.each([
  { set: [], squarings: 2, excess: 0.03 },
  { set: ['cell=t1'], squarings: 2, excess: 0.05 },
  { set: ['cell=t1', 'mismatch.scale=2'], squarings: 4, excess: 0.05 },
  { set: ['cell=t1', 'mismatch.scale=3'], squarings: 4, excess: 0.08 },
  { set: ['mismatch.scale=0'], squarings: 2, excess: 0.03 },
  { set: ['mismatch.scale=0.02'], squarings: 2, excess: 0.05 },
  { set: ['driver.offsetSigmaV=0.02'], squarings: 2, excess: 0.15 },
])('weights of $set are those of the law, to their rounding', ({ set, squarings, excess }) => {
  const physics = loadFabric(loadLogDomainDesign('log-domain', set).design).physics!;
  const { rowOffsetSigmaV } = physics;
  for (const taps of [3, 7]) {
    const response = physics.responses.get(taps)!;
    for (const planes of [1, 2] as const) {
      const coding = integerResponse(physics, taps, planes, true);
      const format = cellFormat(physics, taps, coding, planes);
      expect(format.squarings).toBe(squarings);
      const rows = 64;
      // Errors of rows up to two sigma.
      const rowOffsetV = Float64Array.from(
        { length: rows },
        (_, j) => 2 * rowOffsetSigmaV * Math.sin(1.7 * j),
      );
      const tapErrorV = Array.from({ length: taps + 1 }, (_, m) =>
        Float64Array.from({ length: rows }, (_r, j) => 2e-4 * Math.cos(j * m)),
      );
      const table = new Int16Array(rows * TABLE_TAPS);
      rowTable(format, { rowOffsetV, tapErrorV }, table);
      let squares = 0;
      let largest = 0;
      const count = 20_000;
      for (let i = 0; i < count; i++) {
        const bits = cellBits({ a: 1, b: 3 }, i);
        const tap = 1 + (i % taps);
        const row = (i >> 3) % rows;
        const code = i & 1 ? tap : -tap;
        const gateV = tapErrorV[tap][row] + rowOffsetV[row] - physics.sigmaVtV * thresholdDraw(bits);
        const curvature = response.curvatureByTap[tap] + response.bendByTap[tap] * gateV;
        const slope = response.gmOverIByTap[tap] + curvature * gateV;
        const gain = Math.exp(slope * gateV + physics.sigmaBeta * gainDraw(bits));
        const exact = Math.sign(code) * Math.min(format.limit, coding.weights[0][tap] * gain);
        const distance = cellWeight(format, 0, code, bits, table[row * TABLE_TAPS + tap]) - exact;
        squares += distance ** 2;
        largest = Math.max(largest, Math.abs(distance));
      }
      expect(largest).toBeLessThan(0.5 + excess);
      // Rounding alone: 0.289.
      expect(Math.sqrt(squares / count)).toBeLessThan(0.31);
    }
  }
});

test('whatever the draw and the row, a weight has the sign of its code and stays within its bytes', () => {
  const physics = loadFabric(loadLogDomainDesign('log-domain', ['cell=t1']).design).physics!;
  for (const planes of [1, 2] as const) {
    const format = cellFormat(physics, 7, integerResponse(physics, 7, planes, true), planes);
    fc.assert(
      fc.property(
        fc.integer({ min: -7, max: 7 }),
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }),
        (code, bits, row) => {
          const w = cellWeight(format, 0, code, bits, row);
          expect(w * code).toBeGreaterThanOrEqual(0);
          expect(Math.abs(w)).toBeLessThanOrEqual(planes === 1 ? 63 : 127);
        },
      ),
    );
  }
});

test('a spread that 16 bits do not hold is refused', () => {
  const physics = loadFabric(loadLogDomainDesign('log-domain', ['cell=t1']).design).physics!;
  const wide = { ...physics, sigmaVtV: 10 * physics.sigmaVtV };
  expect(() => cellFormat(wide, 7, integerResponse(wide, 7, 2, true), 2)).toThrow(/spreads by exp\(\+-/);
});
