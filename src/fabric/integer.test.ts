/** Fabrics of integer arithmetic against sums of integers that are written out here. */
import { describe, expect, test } from 'vitest';
import { gaussian, streamKey } from '../random.ts';
import { countMagnitudes, recodeWeights, weightCode } from '../tile/weight-code.ts';
import type { HardwiredActivity } from './activity.ts';
import { loadDesign } from './design.ts';
import type { Fabric } from './fabric.ts';
import { sumDigits, sumGroups } from './hardwired.ts';
import { multiplyTile, type TileSum } from './integer.ts';
import { loadFabric } from './registry.ts';
import { routeTile } from './routed.ts';

const OUTPUTS = 9;
const INPUTS = 150;
const ROWS = 64;
const NAME = { layer: 1, tensor: 'ffn_down', ordinal: 6, count: 7 };
const AT = { window: 0, position: 5 };
const row = (n: number, out: Float32Array) => {
  for (let k = 0; k < INPUTS; k++) out[k] = gaussian(streamKey(3), n * INPUTS + k);
};
const activations = Float32Array.from({ length: INPUTS }, (_, k) => gaussian(streamKey(4), k));

describe.each([3, 4, 6])('%i bits', (bits) => {
  const weights = recodeWeights(OUTPUTS, INPUTS, row, bits, ROWS);
  const ways: [string, TileSum][] = [
    ['multiplied', multiplyTile],
    ['routed', routeTile],
    ['signed digits', sumDigits],
    ['grouped', sumGroups],
  ];
  test.each(ways)('%s: the integer dot product of every tile, exactly', (_name, sumTile) => {
    for (const tile of weights.tiles) {
      const x = Float64Array.from({ length: tile.rows }, (_, j) => Math.round(127 * Math.sin(j + bits)));
      const column = new Float64Array(weights.columns);
      sumTile(x, weights, tile, column);
      for (let n = 0; n < OUTPUTS; n++) {
        let found = 0;
        weights.format.cellWeights.forEach((weight, c) => {
          found += weight * column[c * OUTPUTS + n];
        });
        let expected = 0;
        for (let j = 0; j < tile.rows; j++) expected += x[j] * weightCode(weights, tile.codes, j, n);
        expect(found).toBe(expected);
      }
    }
  });
});

function run(fabric: Fabric, seed: number) {
  const weights = fabric.mapWeights(NAME, OUTPUTS, INPUTS, row);
  const layer = fabric.build(NAME, weights, {
    chip: { errors: true, seed },
    cellSums: 'baked',
    blocks: 4,
    ranges: undefined,
  });
  const y = new Float32Array(OUTPUTS);
  layer.apply(y, activations, AT);
  return { y, activity: layer.activity, weights };
}

const made = (word: string, ...settings: string[]) => loadFabric(loadDesign(word, settings).design);

test('exact fabrics compute the same to the last bit', () => {
  const { y } = run(made('digital'), 1);
  for (const fabric of [
    made('routed'),
    made('hardwired'),
    made('hardwired', 'wires.arithmetic=csd'),
    made('mask-rom', 'rom.levels=connection'),
    made('mask-rom', 'rom.sigmaScale=0'),
  ]) {
    expect(run(fabric, 1).y).toEqual(y);
  }
});

test('hardwired: connected weights and signed digits are those of the codes', () => {
  const { activity, weights } = run(made('hardwired'), 1);
  const counts = countMagnitudes(weights);
  const byHand = [0, 1, 1, 2, 1, 2, 2, 2].reduce((sum, digits, m) => sum + digits * counts[m], 0);
  expect(activity as HardwiredActivity).toMatchObject({
    connected: OUTPUTS * INPUTS - counts[0],
    digits: byHand,
  });
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(OUTPUTS * INPUTS);
});

test('mask-rom: fewer misreads with a larger gate, other ones on another chip, as sources alone and together', () => {
  const exact = run(made('digital'), 1).y;
  const rms = (y: Float32Array) => Math.hypot(...y.map((value, n) => value - exact[n]));
  const errors = [1, 4, 64].map((area) => rms(run(made('mask-rom', `rom.cellArea=${area}`), 1).y));
  expect(errors[0]).toBeGreaterThan(errors[1]);
  expect(errors[1]).toBeGreaterThan(0);
  expect(errors[2]).toBe(0);
  const small = made('mask-rom', 'rom.cellArea=1');
  expect(small.chipsDiffer).toBe(true);
  expect(run(small, 1).y).not.toEqual(run(small, 2).y);
  expect(small.errorSources.map(({ name }) => name)).toEqual(['input', 'misreads']);
  expect(run(small.withOnly('input'), 1).y).toEqual(exact);
  expect(small.withOnly('misreads').inputCodes).toBeUndefined();
  expect(made('mask-rom', 'rom.levels=connection').chipsDiffer).toBe(false);
});

test('a process without the circuit is refused by the name of what is missing', () => {
  expect(() => made('mask-rom', 'process=gf180mcu')).toThrow(/mask-rom/);
  expect(() => made('routed', 'process=gf180mcu')).toThrow(/routed-selector/);
});
