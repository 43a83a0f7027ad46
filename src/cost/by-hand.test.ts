/**
 * Energy, area and time of each fabric, and the rate of its full pipeline, against an independent recomputation in another language
 * (experiments/cost-by-hand.py), to four digits. The constants are a copy, so that one that is corrected in cost.yaml moves
 * nothing here: a change of a formula must be made in both.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA } from '../model/architecture.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { activityOf8b, exampleActivity, priceRun } from '../testing/activity.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { priceModel } from './chip.ts';
import type { CostConstants } from './constants.ts';
import { priceFabric } from './fabrics.ts';
import { logDomainCostDesign } from './log-domain-design.ts';
import type { CostReport } from './report.ts';

/** Values alone: where they are from is said in cost.yaml. */
const values: Record<string, Record<string, { value: number }>> = JSON.parse(
  readFileSync(new URL('../testing/cost-constants-by-hand.json', import.meta.url), 'utf8'),
);
const constants = {
  ...Object.fromEntries(
    Object.entries(values).map(([group, members]) => [
      group,
      Object.fromEntries(
        Object.entries(members).map(([key, { value }]) => [key, { value, source: 'a copy', tag: 'chosen' }]),
      ),
    ]),
  ),
  nodesNm: { cell: 32, converters: 28, digital: 7 },
} as unknown as CostConstants;

/** One user, then a full pipeline. */
interface Figures {
  energyMj: number;
  areaMm2: number;
  timeUs: number;
  users: number;
  tokensPerS: number;
  fullMj: number;
}

function expectFigures(cost: CostReport, figures: Figures): void {
  expect((cost.perTokenJ * 1e3) / figures.energyMj).toBeCloseTo(1, 4);
  expect(cost.areaMm2 / figures.areaMm2).toBeCloseTo(1, 4);
  expect((cost.tokenTimeS * 1e6) / figures.timeUs).toBeCloseTo(1, 4);
  expect(cost.usersHeld).toBe(figures.users);
  expect(cost.tokensPerSecondAggregate / figures.tokensPerS).toBeCloseTo(1, 4);
  expect((cost.perTokenAggregateJ * 1e3) / figures.fullMj).toBeCloseTo(1, 4);
}

/** Shares of the magnitudes 0 to 7 in every matrix. */
const SHARES = [0.15, 0.22, 0.19, 0.15, 0.11, 0.08, 0.06, 0.04];

test('log-domain: its row and line, and what they cost at a stated activity', () => {
  const { design } = loadLogDomainDesign('log-domain');
  const ranges = Object.fromEntries(LLAMA.matrices.map(({ tensor }) => [`blk.0.${tensor}`, [[13]]]));
  const calibration = loadCalibration(design.process, design.cell);
  const costDesign = logDomainCostDesign(design, calibration, ranges);
  expect(costDesign.settleTimeS / 1.5581e-7).toBeCloseTo(1, 3);
  expect(costDesign.bitLine.lineF / 1.0039e-13).toBeCloseTo(1, 4);
  const cost = priceRun(
    exampleActivity(LLAMA_3_1_8B, { currentPerCellA: 0.4e-9 }),
    LLAMA_3_1_8B,
    costDesign,
    constants,
    {
      contextTokens: 1024,
    },
  );
  expectFigures(cost, {
    energyMj: 1.1415,
    areaMm2: 7783.55,
    timeUs: 174.09,
    users: 17,
    tokensPerS: 97650.4,
    fullMj: 0.86346,
  });
});

test.each<Figures & { design: string; settings: string[] }>([
  {
    design: 'digital',
    settings: [],
    energyMj: 1.98526,
    areaMm2: 1061.31,
    timeUs: 79.4571,
    users: 14,
    tokensPerS: 176196,
    fullMj: 1.85372,
  },
  {
    design: 'routed',
    settings: [],
    energyMj: 1.57182,
    areaMm2: 706.367,
    timeUs: 79.4038,
    users: 4,
    tokensPerS: 50375.4,
    fullMj: 1.49111,
  },
  {
    design: 'mask-rom',
    settings: [],
    energyMj: 3.1554,
    areaMm2: 5191.73,
    timeUs: 111.213,
    users: 17,
    tokensPerS: 152860,
    fullMj: 2.25355,
  },
  {
    design: 'mask-rom',
    settings: ['rom.levels=connection'],
    energyMj: 1.95702,
    areaMm2: 861.671,
    timeUs: 79.4388,
    users: 18,
    tokensPerS: 216378,
    fullMj: 1.84862,
  },
  {
    design: 'hardwired',
    settings: [],
    energyMj: 0.864294,
    areaMm2: 3289.44,
    timeUs: 27.5405,
    users: 3,
    tokensPerS: 108930,
    fullMj: 0.817374,
  },
  {
    design: 'hardwired',
    settings: ['wires.arithmetic=csd'],
    energyMj: 0.857128,
    areaMm2: 3171,
    timeUs: 27.5348,
    users: 6,
    tokensPerS: 217906,
    fullMj: 0.800125,
  },
  {
    design: 'gpu',
    settings: [],
    energyMj: 1413.13,
    areaMm2: 814,
    timeUs: 6192.41,
    users: 484,
    tokensPerS: 14800.7,
    fullMj: 23.1067,
  },
])('$design $settings', ({ design, settings, ...figures }) => {
  const fabric = loadFabric(loadDesign(design, settings).design);
  const layers = activityOf8b(fabric, SHARES);
  const cost = priceModel(priceFabric(fabric, { layers }, {}), LLAMA_3_1_8B, constants, {
    contextTokens: 1024,
    draws: 1,
  });
  expectFigures(cost, figures);
});
