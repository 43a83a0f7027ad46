/** The area of a cell: what the cost prices, what the comparison of cells states and what its topology gives are one. */

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { cellArea, loadLayoutRules } from '../cell/footprint.ts';
import { cellOf, loadProcess } from '../cell/technology.ts';
import { loadMultiplier } from '../cell/topology.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { EXAMPLE_DESIGN, exampleActivity, priceRun } from '../testing/activity.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { loadCostConstants } from './constants.ts';
import { lineValue } from './lines.ts';
import { type LogDomainCostDesign, logDomainCostDesign } from './log-domain-design.ts';

const CELLS = 6_979_321_856;

function priced(process: string, cell: string): LogDomainCostDesign {
  const calibration = loadCalibration(process, cell);
  const { design } = loadLogDomainDesign('log-domain', [`process=${process}`, `cell=${cell}`]);
  const { tempK } = calibration.nominal;
  const { device, footprint } = logDomainCostDesign({ ...design, tempK }, calibration, {});
  return { ...EXAMPLE_DESIGN, device, footprint };
}

const shipped = readdirSync(new URL('../../spice', import.meta.url)).flatMap((process) =>
  Object.keys(loadProcess(process).technology.cells).map((cell) => ({ process, cell })),
);

describe('area of a cell', () => {
  it('every process and cell that ships is looked at', () => {
    expect(shipped.length).toBe(15);
  });

  it.each(shipped)('$process/$cell: cost = comparison = footprint', ({ process, cell }) => {
    const comparison: { cells: { cell: string; areaM2: number }[] } = JSON.parse(
      readFileSync(new URL(`../../calibration/${process}/comparison.json`, import.meta.url), 'utf8'),
    );
    const stated = comparison.cells.find((one) => one.cell === cell)!.areaM2 * 1e12;
    const described = cellOf(loadProcess(process), cell);
    const { area } = loadMultiplier(described.topology).topology;
    const { um2 } = cellArea(area, described, loadLayoutRules(process)!, 7);
    const report = priceRun(
      exampleActivity(LLAMA_3_1_8B),
      LLAMA_3_1_8B,
      priced(process, cell),
      loadCostConstants(process),
      { contextTokens: 1024 },
    );
    // The comparison is stored in six digits.
    expect(um2 / stated).toBeCloseTo(1, 5);
    expect(report.weights[0].cellUm2 / um2).toBeCloseTo(1, 12);
    expect(lineValue(report.areaLinesMm2, 'cells') / (CELLS * um2 * 1e-6)).toBeCloseTo(1, 12);
  });

  it('in numbers: wells, resistors and fingers are in it', () => {
    const rules = loadLayoutRules('planar32lp')!;
    const um2 = (cell: string, taps: number) => {
      const described = cellOf(loadProcess('planar32lp'), cell);
      return cellArea(loadMultiplier(described.topology).topology.area, described, rules, taps).um2;
    };
    // (0.2 + 0.1) x (0.1 + 0.26) um.
    expect(um2('t1', 7)).toBeCloseTo(0.108, 12);
    // A well of 20 pitches of 40 nm each way.
    expect(um2('t2b', 7)).toBeCloseTo(0.108 + 0.8 ** 2, 12);
    // Two resistors of four squares.
    expect(um2('t3', 7)).toBeCloseTo(0.108 + 2 * 4 * 0.04 ** 2, 12);
    // Seven fingers of 0.1 um, three with three taps.
    expect(um2('t4', 7)).toBeCloseTo(7 * 0.2 * 0.36, 12);
    expect(um2('t4', 3)).toBeCloseTo(3 * 0.2 * 0.36, 12);
  });
});
