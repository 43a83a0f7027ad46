/**
 * Energy, area and time of each fabric against an independent recomputation in another language
 * (experiments/cost-by-hand.py), to four digits. The constants are a copy, so that one that is corrected in cost.yaml moves
 * nothing here: a change of a formula must be made in both.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA } from '../model/architecture.ts';
import { modelMatrices } from '../model/shape.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { exampleActivity, priceRun } from '../testing/activity.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { priceModel } from './chip.ts';
import type { CostConstants } from './constants.ts';
import { priceFabric } from './fabrics.ts';
import { logDomainCostDesign } from './log-domain-design.ts';

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

/** Shares of the magnitudes 0 to 7 in every matrix. */
const SHARES = [0.15, 0.22, 0.19, 0.15, 0.11, 0.08, 0.06, 0.04];

test('log-domain: its row and line, and what they cost at a stated activity', () => {
  const { design } = loadLogDomainDesign('log-domain');
  const ranges = Object.fromEntries(LLAMA.matrices.map(({ tensor }) => [`blk.0.${tensor}`, [[13]]]));
  const calibration = loadCalibration(design.process, design.cell);
  const costDesign = logDomainCostDesign(design, calibration, ranges);
  expect(costDesign.settleTimeS / 2.0581e-7).toBeCloseTo(1, 3);
  expect(costDesign.bitLine.lineF / 1.0039e-13).toBeCloseTo(1, 4);
  const cost = priceRun(exampleActivity(LLAMA_3_1_8B), LLAMA_3_1_8B, costDesign, constants, {
    contextTokens: 1024,
  });
  expect((cost.perTokenJ * 1e3) / 1.27214).toBeCloseTo(1, 4);
  expect(cost.areaMm2 / 12280.1).toBeCloseTo(1, 4);
  expect((cost.tokenTimeS * 1e6) / 125.585).toBeCloseTo(1, 4);
});

test.each([
  { design: 'digital', settings: [], energyMj: 1.98459, areaMm2: 1061.31, timeUs: 79.4486 },
  { design: 'routed', settings: [], energyMj: 1.57139, areaMm2: 706.367, timeUs: 79.4012 },
  { design: 'mask-rom', settings: [], energyMj: 3.15317, areaMm2: 5191.73, timeUs: 111.175 },
  {
    design: 'mask-rom',
    settings: ['rom.levels=connection'],
    energyMj: 1.95651,
    areaMm2: 861.671,
    timeUs: 79.4339,
  },
  { design: 'hardwired', settings: [], energyMj: 0.862457, areaMm2: 3289.44, timeUs: 27.5056 },
  {
    design: 'hardwired',
    settings: ['wires.arithmetic=csd'],
    energyMj: 0.855336,
    areaMm2: 3171,
    timeUs: 27.5008,
  },
  { design: 'gpu', settings: [], energyMj: 1413.13, areaMm2: 814, timeUs: 6192.41 },
])('$design $settings', ({ design, settings, energyMj, areaMm2, timeUs }) => {
  const fabric = loadFabric(loadDesign(design, settings).design);
  const layers = modelMatrices(LLAMA_3_1_8B).flatMap(({ name, outputs, inputs }) =>
    fabric.carries(name)
      ? [
          fabric.activityOf(
            name,
            outputs,
            inputs,
            1,
            SHARES.map((share) => share * outputs * inputs),
          )!,
        ]
      : [],
  );
  const cost = priceModel(priceFabric(fabric, { layers }, {}), LLAMA_3_1_8B, constants, {
    contextTokens: 1024,
    draws: 1,
  });
  expect((cost.perTokenJ * 1e3) / energyMj).toBeCloseTo(1, 4);
  expect(cost.areaMm2 / areaMm2).toBeCloseTo(1, 4);
  expect((cost.tokenTimeS * 1e6) / timeUs).toBeCloseTo(1, 4);
});
