/** A GPU's cost by hand, and against machines that were measured. */
import { describe, expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { priceModel } from './chip.ts';
import { loadCostConstants } from './constants.ts';
import { checkPriceable, priceFabric } from './fabrics.ts';
import { lineValue, sumLines } from './lines.ts';

const constants = loadCostConstants('planar32lp');
const priced = (settings: readonly string[] = [], of = constants) => {
  const fabric = loadFabric(loadDesign('gpu', settings).design);
  return priceModel(priceFabric(fabric, { layers: [] }, {}), LLAMA_3_1_8B, of, {
    contextTokens: 1024,
    draws: 20,
  });
};
/** Weights that a token multiplies, and bytes of one user's cache: 32 layers x 2 x 8 heads x 128 x 1,024 tokens x 2 bytes. */
const WEIGHTS = 7_504_658_432;
const KV_BYTES = 134_217_728;
const FP8 = ['gpu.weightBits=8', 'gpu.operationsPerS=1978.9e12'];
const H200 = ['gpu.bandwidthBytesPerS=4.8e12', 'gpu.memoryBytes=141e9'];

test('one user: tokens/s is bandwidth over bytes, energy is bits, operations and waiting', () => {
  const cost = priced();
  const bytes = 2 * WEIGHTS + KV_BYTES;
  const seconds = bytes / (0.73 * 3.35e12);
  expect(cost.tokenTimeS).toBeCloseTo(seconds, 12);
  expect(cost.tokensPerSecondPerUser).toBeCloseTo(1 / seconds, 6);
  const operations = 2 * (WEIGHTS + 2 * 32 * 32 * 128 * 1024);
  expect(cost.perTokenJ).toBeCloseTo(8 * bytes * 7e-12 + operations * 0.5e-12 + 90 * seconds, 12);
  expect(sumLines(cost.energyJ)).toBeCloseTo(cost.perTokenJ, 14);
  expect([cost.areaMm2, cost.dies]).toEqual([814, 1]);
});

test('a batch shares the weights; the memory bounds how many users there are', () => {
  const cost = priced(['gpu.batch=64']);
  const seconds = (2 * WEIGHTS + 64 * KV_BYTES) / (0.73 * 3.35e12);
  expect(cost.tokenTimeS).toBeCloseTo(seconds, 12);
  expect(lineValue(cost.energyJ, 'weights-read')).toBeCloseTo((16 * WEIGHTS * 7e-12) / 64, 12);
  expect(lineValue(cost.energyJ, 'static')).toBeCloseTo((90 * seconds) / 64, 12);
  expect(cost.usersHeld).toBe(Math.floor((80e9 - 2 * WEIGHTS) / KV_BYTES));
  expect(cost.warnings).toEqual([]);
  expect(priced(['gpu.batch=4096']).warnings.join()).toMatch(/not of 4096/);
  // Many users on little memory traffic wait for the multipliers.
  const busy = priced(['gpu.batch=400', 'gpu.operationsPerS=1e13']);
  expect(busy.tokenTimeS).toBeCloseTo((400 * 2 * (WEIGHTS + 268_435_456)) / (0.6 * 1e13), 9);
});

test('adapters are read with the weights and multiplied', () => {
  const lora = { ...constants.lora, rank: { ...constants.lora.rank, value: 16 } };
  const cost = priced([], { ...constants, lora });
  // Rank 16 on 7 matrices a block: 16 x 32 x (N + K of all).
  const adapters = 16 * 32 * (2 * (4096 + 4096) + 2 * (1024 + 4096) + 3 * (14_336 + 4096));
  expect(lineValue(cost.energyJ, 'adapters-read')).toBeCloseTo(8 * adapters * 7e-12, 14);
  expect(cost.tokenTimeS).toBeGreaterThan(priced().tokenTimeS);
});

test('a process without constants of a gpu is refused before any work', () => {
  const fabric = loadFabric(loadDesign('gpu', ['process=planar130']).design);
  expect(() => checkPriceable(fabric, loadCostConstants('planar130'))).toThrow(
    expect.objectContaining({ code: 'COST_CONSTANTS', message: expect.stringContaining('gpu') }),
  );
});

/**
 * Published figures over ours. The share of the bandwidth is that of another card (A100). A rate of all users together has
 * prompts to read as well, which are left out here.
 */
describe('machines that were measured, Llama 3.1 8B', () => {
  test('H200, one user: 230 tokens/s', () => {
    expect(priced(H200).tokensPerSecondPerUser / 230).toBeCloseTo(1.006, 3);
  });

  test('H100, full, FP8: 15,220 tokens/s at 0.046 J or less', () => {
    const cost = priced(FP8);
    expect(cost.tokensPerSecondAggregate / 15_220).toBeCloseTo(1.085, 3);
    expect(cost.perTokenAggregateJ).toBeLessThan(0.046);
  });

  test('H200, full, FP8: 17,744 tokens/s', () => {
    expect(priced([...FP8, ...H200]).tokensPerSecondAggregate / 17_744).toBeCloseTo(1.393, 3);
  });

  test('H100, 64 users: 0.12 to 0.20 J/token were measured with prompts and waiting, this is decoding alone', () => {
    const cost = priced(['gpu.batch=64']);
    expect(0.12 / cost.perTokenJ).toBeCloseTo(2.858, 3);
  });
});
