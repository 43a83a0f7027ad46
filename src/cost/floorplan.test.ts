/** The plan of the ground: areas are kept, nothing overlaps, and ways are those of the arithmetic by hand. */
import { expect, test } from 'vitest';
import { layOut, planFloor } from './floorplan.ts';
import type { CostLine } from './report.ts';

const line = (name: string, value: number): CostLine => ({
  name,
  value,
  formula: '',
  source: '',
  tag: 'chosen',
});

// 16 layers of 32 mm2 with ends of 16 mm2 and a tenth of overhead: 580.8 mm2.
const LINES = [
  line('cells', 400),
  line('accumulators', 112),
  line('embedding-rom', 8),
  line('head-rom', 8),
  line('overhead', 52.8),
];

test.each([1, 2, 3])('on %i dies', (dies) => {
  const plan = planFloor(LINES, 16, dies, 0.787879);
  expect(plan.layerMm2).toBeCloseTo(32 * 1.1, 9);
  expect(plan.dieWidthMm * plan.dieHeightMm * dies).toBeCloseTo(580.8, 9);
  expect(plan.dieWidthMm / plan.dieHeightMm).toBeCloseTo(0.787879, 9);
  expect(plan.columnMm * plan.layerMm).toBeCloseTo(plan.layerMm2, 9);
  expect(plan.snakeMm).toBeCloseTo(dies * plan.columns * plan.dieHeightMm, 9);

  const rectangles = layOut(plan, 16);
  const areaOf = (name: string) =>
    rectangles.reduce((sum, one) => sum + (one.name === name ? one.width * one.height : 0), 0);
  expect(areaOf('cells')).toBeCloseTo(400 * 1.1, 6);
  expect(areaOf('head-rom')).toBeCloseTo(8 * 1.1, 6);
  expect(new Set(rectangles.map(({ die }) => die)).size).toBe(dies);
  for (const { x, y, width, height } of rectangles) {
    expect(x + width).toBeLessThanOrEqual(plan.dieWidthMm * (1 + 1e-9));
    expect(y).toBeGreaterThanOrEqual(-1e-9);
    expect(y + height).toBeLessThanOrEqual(plan.dieHeightMm * (1 + 1e-9));
  }
  for (const [i, one] of rectangles.entries()) {
    for (const other of rectangles.slice(i + 1)) {
      const across = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
      const down = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
      expect(one.die === other.die && across > 1e-6 && down > 1e-6).toBe(false);
    }
  }
});
