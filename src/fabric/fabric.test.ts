/** What every registered fabric must do, and what the design of each says of itself. */
import { describe, expect, test } from 'vitest';
import { gaussian, streamKey } from '../random.ts';
import { VISIBLE_ERRORS } from '../testing/designs.ts';
import { countMagnitudes, hardwareRow } from '../tile/weight-code.ts';
import { addActivity, resetActivity } from './activity.ts';
import { buildDigital } from './build-digital.ts';
import { loadDesign } from './design.ts';
import type { Fabric, LayerOptions } from './fabric.ts';
import type { LinearName } from './linear.ts';
import type { RangeRecord } from './ranges.ts';
import { FABRIC_WORDS, loadFabric } from './registry.ts';

const NAME: LinearName = { layer: 1, tensor: 'ffn_down', ordinal: 6, count: 7 };
const HEAD: LinearName = { layer: -1, tensor: 'output', ordinal: 7, count: 7 };
const AT = { window: 0, position: 5 };
const OUTPUTS = 12;
const INPUTS = 300; // a full tile of 256 rows and a ragged one of 44
const NOMINAL = { errors: false, seed: 0 };
const CHIP = { errors: true, seed: 7 };

const row = (n: number, out: Float32Array) => {
  for (let k = 0; k < INPUTS; k++) out[k] = 0.1 * gaussian(streamKey(1), n * INPUTS + k);
};
const activations = (seed: number) =>
  Float32Array.from({ length: INPUTS }, (_, k) => gaussian(streamKey(seed), k));

function apply(fabric: Fabric, more: Partial<LayerOptions>, a = activations(2)) {
  const weights = fabric.mapWeights(NAME, OUTPUTS, INPUTS, row);
  const layer = fabric.build(NAME, weights, {
    chip: CHIP,
    cellSums: 'baked',
    blocks: 4,
    ranges: undefined,
    ...more,
  });
  const y = new Float32Array(OUTPUTS);
  layer.apply(y, a, AT);
  return { y, layer, weights };
}

/** Full scales as a run measures them: on the nominal chip, over some tokens. */
function measured(fabric: Fabric) {
  const record: RangeRecord = new Map();
  for (let seed = 10; seed < 14; seed++) apply(fabric, { chip: NOMINAL, record }, activations(seed));
  return fabric.ranges(record);
}

const largest = (values: Float32Array) => values.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
const largestDifference = (p: Float32Array, q: Float32Array) =>
  p.reduce((m, x, i) => Math.max(m, Math.abs(x - q[i])), 0);

test.each(FABRIC_WORDS)('%s has a shipped design of its name, which says the word', (word) => {
  const fabric = loadFabric(loadDesign(word).design);
  expect(fabric.kind).toBe(word);
  expect(fabric.design.fabric).toBe(word);
});

test('a gpu carries nothing: its layers are the digital ones', () => {
  const gpu = loadFabric(loadDesign('gpu').design);
  // Its weights are the file's: a mapping would change the layers around them and not them.
  expect(gpu.design.mapping.method).toBe('round');
  expect([NAME, HEAD].map(gpu.carries)).toEqual([false, false]);
  expect(gpu.errorSources).toEqual([]);
  expect(() => apply(gpu, {})).toThrow(/no weights to map/);
  expect(() => gpu.withOnly('gremlins')).toThrow(/gremlins/);
  // What is not its own is no key of it.
  expect(() => loadDesign('gpu', ['weights.bits=3'])).toThrow(
    expect.objectContaining({ code: 'CONFIG_KEY' }),
  );
});

describe.each(FABRIC_WORDS.filter((word) => word !== 'gpu'))('%s', (word) => {
  const fabric = loadFabric(loadDesign(word, VISIBLE_ERRORS[word]).design);

  test('is made again from its parts, as in a worker thread', () => {
    const parts = structuredClone(fabric.parts);
    const again = loadFabric(parts.design, parts.calibration);
    const ranges = measured(fabric);
    expect(apply(again, { ranges }).y).toEqual(apply(fabric, { ranges }).y);
  });

  test('carries the matrices of a block, and the head where the design says so', () => {
    expect(fabric.carries(NAME)).toBe(true);
    expect(fabric.carries(HEAD)).toBe(false);
  });

  test('everything ideal: exact arithmetic on the mapped weights', () => {
    const { y, weights } = apply(fabric.withoutErrors(), {});
    const expected = new Float32Array(OUTPUTS);
    buildDigital(NAME, OUTPUTS, INPUTS, (n, out) => hardwareRow(weights, n, out)).apply(
      expected,
      activations(2),
      AT,
    );
    expect(largestDifference(y, expected)).toBeLessThan(1e-5 * largest(expected));
  });

  test('each source of error acts alone; nothing is drawn in those that are the same on every chip', () => {
    const ranges = measured(fabric);
    for (const { name, description, sameOnEveryChip } of fabric.errorSources) {
      expect(description).not.toBe('');
      const one = fabric.withOnly(name);
      const seen = [1, 2].map(
        (seed) => apply(one, { chip: { errors: true, seed }, ranges: one.converterRanges(ranges) }).y,
      );
      if (sameOnEveryChip) expect(seen[0]).toEqual(seen[1]);
      else expect(seen[0]).not.toEqual(seen[1]);
    }
    expect(() => fabric.withOnly('gremlins')).toThrow(/gremlins/);
  });

  test('chips differ exactly where the fabric says so', () => {
    const ranges = measured(fabric);
    const [one, two] = [1, 2].map((seed) => apply(fabric, { chip: { errors: true, seed }, ranges }).y);
    if (fabric.chipsDiffer) expect(one).not.toEqual(two);
    else expect(one).toEqual(two);
  });

  test('ranges are measured exactly where the fabric has converters', () => {
    expect(Object.keys(measured(fabric))).toEqual(fabric.measuresRanges ? ['blk.1.ffn_down'] : []);
  });

  test('counters grow with the tokens, add up and go back to zero; the rest describes the layer', () => {
    const ranges = measured(fabric);
    const { layer } = apply(fabric, { ranges });
    const once = { ...layer.activity } as unknown as Record<string, number>;
    layer.apply(new Float32Array(OUTPUTS), activations(2), AT);
    const twice = { ...layer.activity } as unknown as Record<string, number>;
    const sum = addActivity([[{ ...layer.activity }], [{ ...layer.activity }]], fabric.counters)[0];
    for (const [key, value] of Object.entries(sum)) {
      if (fabric.counters.includes(key)) {
        expect(twice[key]).toBeGreaterThanOrEqual(once[key]);
        expect(value).toBe(2 * twice[key]);
      } else expect(value).toBe(twice[key]);
    }
    expect(once.tokens).toBe(1);
    // Where it need not be counted it is what was counted.
    const mapped = fabric.mapWeights(NAME, OUTPUTS, INPUTS, row);
    const matrix = { outputs: OUTPUTS, inputs: INPUTS, weightBits: mapped.format.bits };
    const magnitudes = countMagnitudes(mapped);
    const told = fabric.activityOf(NAME, matrix, 2, magnitudes);
    if (told) expect(layer.activity).toEqual(told);
    resetActivity(layer.activity, fabric.counters);
    const zero = layer.activity as unknown as Record<string, number>;
    for (const key of fabric.counters) expect(zero[key]).toBe(0);
    expect(layer.activity).toMatchObject({ layer: 1, tensor: 'ffn_down', outputs: OUTPUTS, inputs: INPUTS });
  });
});

test('a word that names no fabric says which there are, or which was meant', () => {
  expect(() => loadDesign('log-domain', ['fabric=log-domian'])).toThrow(
    expect.objectContaining({ kind: 'usage', code: 'FABRIC', hint: 'did you mean log-domain?' }),
  );
  expect(() => loadDesign('log-domain', ['fabric=quantum'])).toThrow(
    expect.objectContaining({ code: 'FABRIC', hint: `fabrics are ${FABRIC_WORDS.join(', ')}` }),
  );
  expect(() => loadDesign('log-domain', ['fabric=[1]'])).toThrow(expect.objectContaining({ code: 'FABRIC' }));
});

test("a fabric's own keys are refused in the design of another, with the nearest key", () => {
  expect(() => loadDesign('digital', ['adc.bits=6'])).toThrow(
    expect.objectContaining({ code: 'CONFIG_KEY', message: expect.stringContaining('adc') }),
  );
  expect(() => loadDesign('digital', ['mac.weightsPerUnt=6'])).toThrow(
    expect.objectContaining({ code: 'CONFIG_KEY', hint: 'did you mean mac.weightsPerUnit?' }),
  );
});

test('digital with coded inputs: integer sums within a tile, scaled once', () => {
  const fabric = loadFabric(
    loadDesign('digital', ['input.bits=4', 'input.scale=tile', 'weights.bits=6']).design,
  );
  const a = activations(2);
  const { y, weights } = apply(fabric, {});
  const expected = new Float64Array(OUTPUTS);
  const weight = new Float32Array(INPUTS);
  for (let n = 0; n < OUTPUTS; n++) {
    hardwareRow(weights, n, weight);
    for (const { rowStart, rows } of weights.tiles) {
      const part = a.subarray(rowStart, rowStart + rows);
      const s = largest(part);
      part.forEach((x, j) => {
        expected[n] += ((Math.sign(x) * Math.round((Math.abs(x) * 15) / s)) / 15) * s * weight[rowStart + j];
      });
    }
  }
  expect(largestDifference(y, Float32Array.from(expected))).toBeLessThan(1e-6 * largest(y));
});
