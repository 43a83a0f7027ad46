/**
 * Our fabrics beside published systems of their kind, Llama 3.1 8B at 1,024 tokens. Nothing here is fitted: the ratios say
 * how far the model is from them, and experiments/README.md says why. The bounds are wide around what is seen, so that a
 * constant may be corrected and a mistake of kind is found.
 */
import { describe, expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { activityOf8b } from '../testing/activity.ts';
import { priceModel } from './chip.ts';
import { loadComparators } from './comparators.ts';
import { loadCostConstants } from './constants.ts';
import { priceFabric } from './fabrics.ts';
import { lineValue } from './lines.ts';

const constants = loadCostConstants('planar32lp');
/** Shares of the magnitudes of 4-bit weights, near those of Gaussian weights under this coding. */
const SHARES = [0.13, 0.23, 0.2, 0.16, 0.11, 0.08, 0.05, 0.04];
const BLOCK_WEIGHTS = 32 * 218_103_808;

function priced(design: string, ...settings: string[]) {
  const fabric = loadFabric(loadDesign(design, settings).design);
  const layers = activityOf8b(fabric, SHARES);
  return priceModel(priceFabric(fabric, { layers }, {}), LLAMA_3_1_8B, constants, {
    contextTokens: 1024,
    draws: 1,
  });
}

const published = (name: string) => {
  const found = loadComparators().systems.find((system) => system.name === name)!;
  return { tokensPerSecond: found.tokensPerSecond!, jPerToken: found.jPerToken! };
};

function expectRatio(ours: number, theirs: number, low: number, high: number): void {
  expect(ours / theirs).toBeGreaterThan(low);
  expect(ours / theirs).toBeLessThan(high);
}

describe('HC1: 815 mm2, 16,960 tokens/s for one user, 12 to 15 mJ', () => {
  const { tokensPerSecond, jPerToken } = published('Taalas HC1');
  test.each([
    { design: 'routed', areaLow: 0.6, areaHigh: 1.2 },
    { design: 'digital', areaLow: 0.9, areaHigh: 1.8 },
  ])('$design', ({ design, areaLow, areaHigh }) => {
    const cost = priced(design);
    expectRatio(cost.areaMm2, 815, areaLow, areaHigh);
    expectRatio(cost.tokensPerSecondPerUser, tokensPerSecond, 0.5, 1.3);
    // Open: its energy is far above the sum of the parts.
    expectRatio(cost.perTokenJ, jPerToken[0], 0.05, 0.4);
  });
});

test('ROMA: more than 20,000 tokens/s at about 1 mJ (7 nm, weights of 2 bits; ours of 3)', () => {
  const { tokensPerSecond, jPerToken } = published('ROMA');
  const cost = priced('mask-rom', 'rom.levels=connection', 'weights.bits=3');
  expectRatio(cost.tokensPerSecondPerUser, tokensPerSecond, 0.4, 1.2);
  expectRatio(cost.perTokenJ, jPerToken[0], 0.8, 3);
});

test('HNLPU: 13,232 mm2 for 117 G weights at 5 nm, adders and all', () => {
  const theirs = 13_232e6 / 117e9;
  /** Logic of TSMC N5 is 1.8 times as dense as N7's (TSMC, IEDM 2019). */
  const um2 = (cost: ReturnType<typeof priced>) =>
    (lineValue(cost.areaLinesMm2, 'wired-adders') * 1e6) / BLOCK_WEIGHTS / 1.8;
  // A scale for every 256 inputs, as in our other fabrics, costs a multiplication by each magnitude there.
  expectRatio(um2(priced('hardwired')), theirs, 1.2, 3);
  // With one scale a column, as weights of FP4 allow for longer groups, the counters are left.
  expectRatio(um2(priced('hardwired', 'tile.rows=4096')), theirs, 0.7, 2);
  // 27.8 mJ with links between 16 chips, for 5.1 G active weights; ours is the energy of one die's arithmetic.
  const { jPerToken } = published('HNLPU');
  const cost = priced('hardwired');
  expectRatio(cost.perTokenAggregateJ / 8.03e9, jPerToken[0] / 5.1e9, 0.005, 0.2);
});
