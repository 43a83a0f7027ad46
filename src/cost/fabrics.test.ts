/** Every registered fabric has a price, and the price of the digital one is that of its formulas. */
import { describe, expect, test } from 'vitest';
import type { Activity, MacActivity } from '../fabric/activity.ts';
import { tensorBits } from '../fabric/common-design.ts';
import { loadDesign } from '../fabric/design.ts';
import type { DigitalDesign } from '../fabric/digital.ts';
import type { RangeRecord } from '../fabric/ranges.ts';
import { FABRIC_WORDS, loadFabric } from '../fabric/registry.ts';
import { blockMatrices, blockWeights, modelShape } from '../model/shape.ts';
import { LLAMA_3_1_8B, type NamedShape } from '../model/shapes.ts';
import { gaussian, streamKey } from '../random.ts';
import { priceModel } from './chip.ts';
import { macFigure } from './components/macs.ts';
import { loadCostConstants } from './constants.ts';
import { checkPriceable, priceFabric, projectFabric } from './fabrics.ts';
import { lineValue, sumLines } from './lines.ts';

const constants = loadCostConstants('planar32lp');
const SMALL = modelShape({
  name: 'small',
  dim: 64,
  ffnDim: 96,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  vocab: 128,
  contextTokens: 512,
  normEpsilon: 1e-5,
  ropeBase: 10_000,
  tied: false,
});

/** What a fabric counts on random activations, in a model of the small shape. */
function ranOn(word: string) {
  const fabric = loadFabric(loadDesign(word).design);
  const record: RangeRecord = new Map();
  const chips: Activity = { layers: [] };
  for (const pass of ['range', 'chip']) {
    const ranges = pass === 'chip' ? fabric.ranges(record) : undefined;
    for (let layer = 0; layer < SMALL.layers; layer++) {
      for (const { name, outputs, inputs } of blockMatrices(SMALL, layer)) {
        if (!fabric.carries(name)) continue;
        const draw = (key: number, i: number) => gaussian(streamKey(key, layer, name.ordinal), i);
        const weights = fabric.mapWeights(name, outputs, inputs, (n, out) => {
          for (let k = 0; k < inputs; k++) out[k] = draw(1, n * inputs + k);
        });
        const linear = fabric.build(name, weights, {
          chip: { errors: pass === 'chip', seed: 3 },
          cellSums: 'baked',
          blocks: SMALL.layers,
          ranges,
          ...(pass === 'range' ? { record } : {}),
        });
        const a = Float32Array.from({ length: inputs }, (_, k) => draw(2, k));
        linear.apply(new Float32Array(outputs), a, { window: 0, position: 0 });
        if (pass === 'chip') chips.layers.push(linear.activity);
      }
    }
  }
  return { fabric, activity: chips, ranges: fabric.ranges(record) };
}

/** Of the shipped designs, 4 bits a weight; the mask ROM's cells hold two bits. */
const CELLS_PER_WEIGHT: Readonly<Record<string, number>> = {
  'log-domain': 1,
  digital: 1,
  routed: 1,
  'mask-rom': 2,
  hardwired: 1,
  gpu: 0,
};

describe.each(FABRIC_WORDS)('%s', (word) => {
  const { fabric, activity, ranges } = ranOn(word);
  const report = (of: Activity, shape: NamedShape) =>
    priceModel(priceFabric(fabric, of, ranges), shape, constants, { contextTokens: 512 });

  test('its shipped design can be priced', () => {
    expect(() => checkPriceable(fabric, constants)).not.toThrow();
  });

  test('components add up to the totals, each with a value, a formula, a source and a tag', () => {
    const cost = report(activity, SMALL);
    expect(sumLines(cost.energyJ)).toBeCloseTo(cost.perTokenJ, 25);
    expect(sumLines(cost.areaLinesMm2)).toBeCloseTo(cost.areaMm2, 12);
    expect(sumLines(cost.latencyS)).toBeCloseTo(cost.tokenTimeS, 15);
    for (const line of [...cost.energyJ, ...cost.areaLinesMm2, ...cost.latencyS]) {
      expect(line.value, line.name).toBeGreaterThanOrEqual(0);
      expect(line.formula, line.name).not.toMatch(/NaN|undefined|Infinity/);
      expect(line.source, line.name).not.toBe('');
    }
    expect(cost.weights.reduce((sum, w) => sum + w.cells, 0)).toBe(
      CELLS_PER_WEIGHT[word] * blockWeights(SMALL),
    );
  });

  test('adapters are part of it: energy, and silicon where it has memory of its own', () => {
    const lora = { ...constants.lora, rank: { ...constants.lora.rank, value: 16 } };
    const design = priceFabric(fabric, activity, ranges);
    const price = (of: typeof constants) => priceModel(design, SMALL, of, { contextTokens: 512, draws: 1 });
    const [without, adapted] = [price(constants), price({ ...constants, lora })];
    expect(adapted.perTokenJ).toBeGreaterThan(without.perTokenJ);
    const line = word === 'gpu' ? 'adapters-read' : 'lora';
    expect(lineValue(adapted.energyJ, line)).toBeGreaterThan(0);
    if (word !== 'gpu') expect(lineValue(adapted.areaLinesMm2, 'lora-sram')).toBeGreaterThan(0);
  });

  test('its activity projects onto the 8B shape', () => {
    const cost = report(projectFabric(fabric, activity, SMALL, LLAMA_3_1_8B), LLAMA_3_1_8B);
    expect(cost.perTokenJ).toBeGreaterThan(1e-5);
    expect(cost.perTokenJ).toBeLessThan(word === 'gpu' ? 10 : 0.1);
    expect(cost.weights.reduce((sum, w) => sum + w.cells, 0)).toBeCloseTo(
      CELLS_PER_WEIGHT[word] * 32 * 218_103_808,
      -1,
    );
  });
});

test('a multiply-accumulate between 4 x 4 and 8 x 8 bits lies on the line through both', () => {
  expect(macFigure(4, 4, 22, 51)).toBe(22);
  expect(macFigure(8, 8, 22, 51)).toBe(51);
  expect(macFigure(4, 8, 22, 51)).toBeCloseTo(22 + 29 / 3, 12);
});

test('digital 8B: ROM, units, time and energy by hand', () => {
  const { fabric, activity } = ranOn('digital');
  const design = fabric.design as DigitalDesign;
  const projected = projectFabric(fabric, activity, SMALL, LLAMA_3_1_8B) as Activity<MacActivity>;
  const cost = priceModel(priceFabric(fabric, projected, {}), LLAMA_3_1_8B, constants, {
    contextTokens: 1024,
  });
  const weights = 32 * 218_103_808;
  expect(lineValue(cost.areaLinesMm2, 'weight-rom')).toBeCloseTo((weights * 4) / 57.8e6, 6);
  const units = 32 * Math.ceil(218_103_808 / design.mac.weightsPerUnit);
  const um2 = 35 + (25 * (4 * 8 - 16)) / 48;
  expect(lineValue(cost.areaLinesMm2, 'macs')).toBeCloseTo((units * um2) / 1e6, 9);
  expect(lineValue(cost.latencyS, 'macs')).toBeCloseTo((32 * design.mac.weightsPerUnit) / 1e9, 12);
  expect(lineValue(cost.energyJ, 'macs')).toBeCloseTo(weights * (45 + 55 / 3) * 1e-15, 12);
  // Published: 17,000 tokens/s for one user of the compared chip; this one is of its kind.
  expect(cost.tokensPerSecondPerUser).toBeGreaterThan(5e3);
  expect(cost.tokensPerSecondPerUser).toBeLessThan(5e4);
  expect(JSON.stringify(cost)).not.toMatch(/converter|ladder|clamp|column/i);
});

test('digital: fewer units take less silicon and more time; wider inputs cost energy', () => {
  const { activity, fabric } = ranOn('digital');
  const with_ = (...settings: string[]) => {
    const other = loadFabric(loadDesign('digital', settings).design);
    // What the other design would have counted.
    const layers = activity.layers.map((one) => ({
      ...one,
      weightBits: tensorBits(other.design, one.tensor),
    }));
    return priceModel(
      priceFabric(other, projectFabric(fabric, { layers }, SMALL, LLAMA_3_1_8B), {}),
      LLAMA_3_1_8B,
      constants,
      {
        contextTokens: 1024,
      },
    );
  };
  const [fast, slow] = [with_('mac.weightsPerUnit=512'), with_('mac.weightsPerUnit=8192')];
  expect(slow.areaMm2).toBeLessThan(fast.areaMm2);
  expect(slow.tokenTimeS).toBeGreaterThan(fast.tokenTimeS);
  const macs = (cost: typeof fast) => lineValue(cost.energyJ, 'macs');
  expect(macs(with_('input.bits=float'))).toBeGreaterThan(macs(with_('input.bits=10')));
  expect(macs(with_('input.bits=10'))).toBeGreaterThan(macs(with_('input.bits=4')));
  // Bits of single tensors are stored and multiplied as such.
  const mixed = with_('weights.overrides.ffn_down=6').weights.map(({ bits, tensors }) => [
    bits,
    tensors.length,
  ]);
  expect(mixed).toEqual([
    [4, 6],
    [6, 1],
  ]);
});
