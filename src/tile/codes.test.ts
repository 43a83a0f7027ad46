/** Weight codes, input codes, converters and the separable decomposition, each on its own. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { gaussian, streamKey } from '../random.ts';
import { adcFormat, convert, newRangeHistogram, rangeQuantile, recordRange } from './adc.ts';
import { encodeInputs, groupScale, inputFormat, newTileInput } from './input-code.ts';
import { decompose } from './separable.ts';
import { hardwareRow, recodeWeights } from './weight-code.ts';

const gaussianRows = (outputs: number, inputs: number, seed = 1) => {
  const weights = Float32Array.from({ length: outputs * inputs }, (_, i) => gaussian(streamKey(seed), i));
  return {
    weights,
    row: (n: number, out: Float32Array) => out.set(weights.subarray(n * inputs, (n + 1) * inputs)),
  };
};

test('coding SNR of Gaussian weights is that of the best uniform quantiser (Max 1960)', () => {
  // A uniform mid-tread quantiser of a Gaussian source, levels optimally spaced: 7 levels 14.4 dB, 15 levels 19.9 dB
  // (between the 8- and 16-level mid-rise values 14.27 and 20.22 of J. Max's table). A scale fitted to each column of
  // 256 samples does slightly better than one for the source.
  const { row } = gaussianRows(64, 256);
  const three = recodeWeights(64, 256, row, 3, 256).codingSnrDb;
  const four = recodeWeights(64, 256, row, 4, 256).codingSnrDb;
  const six = recodeWeights(64, 256, row, 6, 256).codingSnrDb;
  expect(three).toBeGreaterThan(12.9);
  expect(three).toBeLessThan(14.3);
  expect(four).toBeGreaterThan(19.2);
  expect(four).toBeLessThan(20.6);
  // 63 levels: within a dB of the 64-level mid-rise value 30.9 (Max, extended by Jayant and Noll).
  expect(six).toBeGreaterThan(30.2);
  expect(six).toBeLessThan(32.2);
});

test('codes stay in range, cells recombine, and the hardware row is scale times code', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(3, 4, 6),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 4, max: 16 }),
      fc.integer(),
      (bits, outputs, inputs, tileRows, seed) => {
        const { weights, row } = gaussianRows(outputs, inputs, seed);
        const hardware = recodeWeights(outputs, inputs, row, bits, tileRows);
        const out = new Float32Array(inputs);
        for (let n = 0; n < outputs; n++) {
          hardwareRow(hardware, n, out);
          for (let k = 0; k < inputs; k++) {
            const tile = hardware.tiles[Math.floor(k / tileRows)];
            const code = out[k] / (tile.scales[n] || 1);
            expect(Math.abs(code - Math.round(code))).toBeLessThan(1e-4);
            expect(Math.abs(Math.round(code))).toBeLessThanOrEqual(hardware.format.magnitudeMax);
            // Inside the clipping level a weight is at most half a step off.
            if (Math.abs(weights[n * inputs + k]) < tile.scales[n] * hardware.format.magnitudeMax) {
              expect(Math.abs(weights[n * inputs + k] - out[k])).toBeLessThanOrEqual(tile.scales[n] * 0.5001);
            }
          }
        }
        expect(
          hardware.tiles.every((tile) => tile.codes.every((code) => Math.abs(code) <= hardware.format.taps)),
        ).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});

test('an all-zero column has zero scale and zero codes', () => {
  const hardware = recodeWeights(1, 8, (_n, out) => out.fill(0), 4, 8);
  expect(hardware.zeroShare).toBe(1);
  expect([...hardware.tiles[0].scales]).toEqual([0]);
});

test('linear input codes round to the nearest of 63 levels, log codes to the nearest in linear distance', () => {
  const a = new Float32Array([0, 1, -0.5, 0.003, 0.012, -1]);
  const input = newTileInput(a.length);
  encodeInputs(
    input,
    a,
    0,
    a.length,
    groupScale(a, 0, a.length),
    inputFormat({ bits: 6, codes: 'linear', dynamicRange: 63 }),
  );
  expect([...input.levels]).toEqual([0, 63, 32, 0, 1, 63]);
  expect([...input.signs]).toEqual([0, 1, -1, 0, 1, -1]);
  const log = inputFormat({ bits: 3, codes: 'log', dynamicRange: 64 });
  expect([...log.magnitudes].map((x) => Number(x.toFixed(6)))).toEqual([
    0, 0.015625, 0.03125, 0.0625, 0.125, 0.25, 0.5, 1,
  ]);
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (x) => {
      encodeInputs(input, new Float32Array([x]), 0, 1, 1, log);
      const value = Math.fround(x);
      const best = Math.min(...log.magnitudes.map((m) => Math.abs(m - value)));
      expect(Math.abs(input.magnitudes[0] - value)).toBeCloseTo(best, 12);
    }),
  );
});

test('an 8-bit converter has 255 codes, clips, and is odd', () => {
  const format = adcFormat(8);
  expect(format.top).toBe(127);
  expect(convert(1, 1, format)).toBe(127);
  expect(convert(9, 1, format)).toBe(127);
  expect(convert(-9, 1, format)).toBe(-127);
  expect(convert(0.5 / 127 - 1e-9, 1, format)).toBe(0);
  expect(convert(0.123, 1, adcFormat('float'))).toBe(0.123);
});

test('the range quantile is within a bin of the sample quantile', () => {
  const histogram = newRangeHistogram();
  const values = Array.from({ length: 50_000 }, (_, i) => 3 * gaussian(streamKey(5), i));
  for (const value of values) recordRange(histogram, value);
  const sorted = values.map(Math.abs).sort((p, q) => p - q);
  const exact = sorted[Math.floor(0.9995 * sorted.length)];
  expect(Math.abs(rangeQuantile(histogram, 0.9995) / exact - 1)).toBeLessThan(0.012);
  expect(rangeQuantile(histogram, 1)).toBe(sorted[sorted.length - 1]);
});

test('decomposition: a product has rank 1, two products rank 2, and the bound holds', () => {
  const table = (f: (k: number, m: number) => number) =>
    Array.from({ length: 64 }, (_, k) => Float64Array.from({ length: 8 }, (_, m) => f(k / 63, m / 7)));
  const product = decompose(
    table((x, y) => x * y),
    1e-9,
  );
  expect(product.rank).toBe(1);
  const curved = table((x, y) => x * y * (1 - 0.05 * x * y));
  const one = decompose(curved, 0.02);
  expect(one.rank).toBe(1);
  const two = decompose(curved, 1e-6);
  expect(two.rank).toBe(2);
  for (let k = 0; k < 64; k++) {
    for (let m = 0; m < 8; m++) {
      const sum = two.u.reduce((s, u, r) => s + u[k] * two.v[r][m], 0);
      expect(Math.abs(sum - curved[k][m])).toBeLessThanOrEqual(two.residual + 1e-12);
    }
  }
});
