/** The cost of frozen activities, line by line: a change of the code that moves a figure must say so here. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadCalibration } from '../cell/calibration.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { exampleActivity, priceRun } from '../testing/activity.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { loadCostConstants } from './constants.ts';
import { logDomainCostDesign } from './log-domain-design.ts';

interface Golden {
  perTokenJ: number;
  areaMm2: number;
  tokenTimeS: number;
  tokensPerSecondAggregate: number;
  powerW: number;
  energyJ: Record<string, number>;
  areaLinesMm2: Record<string, number>;
  latencyS: Record<string, number>;
}

const golden: Record<string, Golden> = JSON.parse(
  readFileSync(new URL('../testing/cost-golden.json', import.meta.url), 'utf8'),
);
const TENSORS = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down', 'output'];
/** Full scales of 13 to 20 cell currents. */
const RANGES = Object.fromEntries(
  TENSORS.map((tensor, i) => [tensor === 'output' ? tensor : `blk.0.${tensor}`, [[13 + i]]]),
);

describe('cost of frozen activities of Llama 3.1 8B, to 12 digits', () => {
  it.each([
    { name: 'default', settings: [] },
    { name: 't1-driver', settings: ['cell=t1-driver', 'vdsV=0.25'] },
    {
      name: 'overrides',
      settings: ['cell=t1', 'weights.overrides.ffn_down=6', 'weights.overrides.attn_v=3', 'ladder.duty=1'],
    },
  ])('$name', ({ name, settings }) => {
    const { design } = loadLogDomainDesign('log-domain', settings);
    const costDesign = logDomainCostDesign(design, loadCalibration(design.process, design.cell), RANGES);
    const report = priceRun(
      exampleActivity(LLAMA_3_1_8B, { design: costDesign }),
      LLAMA_3_1_8B,
      costDesign,
      loadCostConstants(design.process),
      { contextTokens: 1024 },
    );
    const want = golden[name];
    for (const key of ['perTokenJ', 'areaMm2', 'tokenTimeS', 'tokensPerSecondAggregate', 'powerW'] as const) {
      expect(report[key] / want[key], key).toBeCloseTo(1, 12);
    }
    for (const key of ['energyJ', 'areaLinesMm2', 'latencyS'] as const) {
      expect(report[key].map((line) => line.name)).toEqual(Object.keys(want[key]));
      for (const { name: line, value } of report[key]) {
        if (want[key][line] === 0) expect(value, line).toBe(0);
        else expect(value / want[key][line], `${key} ${line}`).toBeCloseTo(1, 12);
      }
    }
  });
});
