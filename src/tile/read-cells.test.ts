import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { gaussian, streamKey } from '../random.ts';
import { codedWeights } from './weight-code.ts';

const NAME = { layer: 1, tensor: 'attn_q', ordinal: 0, count: 7 };
const [OUTPUTS, INPUTS, ROWS] = [24, 60, 40];
const FULL_SCALES = { 'blk.1.attn_q': [[6], [4]] };

function setting(...settings: string[]) {
  const { design } = loadDesign('log-domain', [`tile.rows=${ROWS}`, ...settings]);
  const fabric = loadFabric(design);
  const key = streamKey(3);
  const codes = Int8Array.from({ length: OUTPUTS * INPUTS }, (_, i) =>
    Math.max(-7, Math.min(7, Math.round(3 * gaussian(key, i)))),
  );
  const scales = new Float32Array(OUTPUTS * 2).fill(0.01);
  const weights = codedWeights(
    { outputs: OUTPUTS, inputs: INPUTS, bits: 4, tileRows: ROWS, codes, scales },
    Number.POSITIVE_INFINITY,
  );
  const read = (reads: number, chipSeed = 5) =>
    fabric.readWeights(NAME, weights, { chipSeed, blocks: 2, ranges: FULL_SCALES, reads })!;
  return { fabric, codes, weights, read };
}

const rms = (x: Float32Array): number =>
  Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);

test('without errors a reading is the codes, to the response of the cell and half a step of the converter', () => {
  const quiet = [
    'driver.offsetSigmaV=0.5e-3',
    'mismatch.scale=0',
    'response.model=ideal',
    'noise.white=false',
    'noise.sampling=false',
  ];
  const { codes, read } = setting(...quiet, 'noise.flicker=false', 'noise.trapsPerM2=0', 'adc.gainSigma=0');
  const found = read(1).codes;
  const off = found.map((x, i) => x - codes[i]);
  // Offsets of rows and lines (0.5 mV are 1.5 %) and half a step of 1 / 127 of the strongest cell.
  expect(rms(off)).toBeLessThan(0.03 * rms(Float32Array.from(codes)));
});

test('what is read is what the chip computes with', () => {
  // Independent case: many tokens through the chip, its noise averaged out, against products with what was read.
  const { fabric, codes, weights, read } = setting('mismatch.scale=2', 'cell=t1', 'input.scale=token');
  const found = read(8).codes;
  const linear = fabric.build(NAME, weights, {
    chip: { errors: true, seed: 5 },
    cellSums: 'baked',
    blocks: 2,
    ranges: FULL_SCALES,
  });
  const key = streamKey(11);
  const [y, a] = [new Float32Array(OUTPUTS), new Float32Array(INPUTS)];
  let [asRead, asCoded, signal] = [0, 0, 0];
  for (let token = 0; token < 60; token++) {
    for (let j = 0; j < INPUTS; j++) a[j] = 0.3 * gaussian(key, token * INPUTS + j);
    linear.apply(y, a, { window: 0, position: token });
    for (let n = 0; n < OUTPUTS; n++) {
      let [x, c] = [0, 0];
      for (let j = 0; j < INPUTS; j++) {
        x += 0.01 * found[n * INPUTS + j] * a[j];
        c += 0.01 * codes[n * INPUTS + j] * a[j];
      }
      asRead += (y[n] - x) ** 2;
      asCoded += (y[n] - c) ** 2;
      signal += c * c;
    }
  }
  // A mismatch of some 50 % is in what was read; what is left is the converter's, the noise's and the reading's.
  expect(asCoded / signal).toBeGreaterThan(0.1);
  expect(asRead).toBeLessThan(0.1 * asCoded);
});

test('more conversions read better, and every chip is another', () => {
  const { read } = setting();
  const truth = read(1024).codes;
  const error = (reads: number) => rms(read(reads).codes.map((x, i) => x - truth[i]));
  expect(error(16)).toBeLessThan(0.6 * error(1));
  expect(read(2).codes).toEqual(read(2).codes);
  expect(rms(read(4, 6).codes.map((x, i) => x - truth[i]))).toBeGreaterThan(3 * error(4));
  expect(read(4).seconds).toBeCloseTo(4 * read(1).seconds, 12);
});

test('paired rows are refused, a fabric without converters has nothing to read', () => {
  expect(() => setting('tile.sign=paired-rows').read(1)).toThrow(
    expect.objectContaining({ code: 'READ_CELLS' }),
  );
  const { weights } = setting();
  const digital = loadFabric(loadDesign('digital').design);
  expect(
    digital.readWeights(NAME, weights, { chipSeed: 1, blocks: 2, ranges: {}, reads: 1 }),
  ).toBeUndefined();
});
