/**
 * The 5-bit, K and IQ4 blocks against values worked out by hand from ggml's layouts, the own quantisers against their
 * error bounds and the errors that theory gives for Gaussian values, and damaged blocks.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gaussian, streamKey } from '../../random.ts';
import { CODECS, codecByName } from './registry.ts';

/** A block of zeros with the given bytes set. */
function block(name: string, set: Record<number, number>): Float32Array {
  const codec = codecByName(name)!;
  const bytes = new Uint8Array(codec.blockBytes);
  for (const [at, value] of Object.entries(set)) bytes[Number(at)] = value;
  const out = new Float32Array(codec.blockSize);
  codec.dequantise(bytes, out);
  return out;
}

const HALF = 0x38; // high byte of 0.5
const TWO = 0x40; // high byte of 2

describe('blocks worked out by hand', () => {
  test('Q5_0: fifth bits of values 1, 17 and 31', () => {
    const out = block('Q5_0', { 1: TWO, 2: 0b10, 4: 0b10, 5: 0x80, 6: 0x21, 7: 0x43, 21: 0xf0 });
    // q = 1, 3 + 16; 2, 4 + 16; 15 + 16; the others 0.
    expect([out[0], out[1], out[16], out[17], out[31], out[15]]).toEqual([-30, 6, -28, 8, 30, -32]);
  });

  test('Q5_1: scale, minimum, fifth bits', () => {
    const out = block('Q5_1', { 1: HALF, 3: 0xbc, 4: 0b1, 7: 0x80, 8: 0x21, 23: 0xf0 }); // d = 0.5, m = -1
    expect([out[0], out[16], out[31], out[5]]).toEqual([0.5 * 17 - 1, 0, 0.5 * 31 - 1, -1]);
  });

  test('Q2_K: groups 1 and 14', () => {
    const out = block('Q2_K', {
      1: 0x23, // group 1: scale 3, minimum 2
      14: 0x1f, // group 14: scale 15, minimum 1
      [16 + 16]: 0b11, // value 16, in group 1
      [16 + 32]: 0b10_00_00_00, // values 128, 160, 192 are 0, value 224, in group 14, is 2
      81: TWO,
      83: HALF,
    });
    expect([out[16], out[17], out[224], out[225], out[0]]).toEqual([6 * 3 - 1, -1, 30 * 2 - 0.5, -0.5, 0]);
  });

  test('Q3_K: third bits, split scales', () => {
    const out = block('Q3_K', {
      0: 0b1000_0001, // third bits of values 0 and 224
      32: 0b10, // value 0: q = 4 + 2
      [32 + 32]: 0b01_00_00_00, // value 224 (group 14): q = 4 + 1
      [96 + 0]: 0x05, // group 0: low bits 5; group 8: 0
      [96 + 6]: 0x70, // group 14: low bits 7; group 6: 0
      [96 + 8 + 0]: 0b10, // group 0: high bits 2
      [96 + 8 + 2]: 0b01_00_00_00, // group 14: high bits 1
      109: TWO,
    });
    // group 0: 2 (5 + 32 - 32) = 10; group 14: 2 (7 + 16 - 32) = -18; others: 2 (0 - 32) (0 - 4) = 256.
    expect([out[0], out[1], out[224], out[225], out[16]]).toEqual([20, -40, -18, 72, 256]);
  });

  test('Q4_K: packed scales of groups 1 and 6', () => {
    const out = block('Q4_K', {
      1: TWO, // d = 2
      3: HALF, // dmin = 0.5
      [4 + 1]: 37, // s_1
      [4 + 5]: 9, // m_1
      [4 + 2]: 0b11_000000, // high bits of s_6
      [4 + 6]: 0b01_000000, // high bits of m_6
      [4 + 10]: 0x52, // low bits: s_6 = 48 + 2, m_6 = 16 + 5
      [16 + 0]: 0xf0, // value 32 (group 1): 15
      [16 + 96]: 0x0b, // value 192 (group 6): 11
    });
    expect([out[32], out[33], out[192], out[193], out[0]]).toEqual([
      74 * 15 - 4.5,
      -4.5,
      100 * 11 - 10.5,
      -10.5,
      0,
    ]);
  });

  test('Q5_K: fifth bits by group', () => {
    const out = block('Q5_K', {
      1: TWO,
      3: HALF,
      4: 3, // s_0
      [4 + 1]: 37, // s_1
      [4 + 5]: 9, // m_1
      16: 0b10, // fifth bit of value 32
      [48 + 0]: 0x21, // value 0: 1, value 32: 2 + 16
    });
    expect([out[0], out[32], out[33]]).toEqual([6, 74 * 18 - 4.5, -4.5]);
  });

  test('Q6_K: four places of the bits, signed scales', () => {
    const out = block('Q6_K', {
      0: 0x21, // low bits of values 0 (1) and 64 (2)
      [32 + 0]: 0x43, // of values 32 (3) and 96 (4)
      [64 + 16]: 0x05, // of value 144 (5)
      128: 0b11_10_01_00, // high bits of values 0, 32, 64, 96
      [192 + 0]: 1,
      [192 + 2]: 2,
      [192 + 4]: 0xff, // -1
      [192 + 6]: 127,
      [192 + 9]: 0x80, // -128
      209: HALF,
    });
    expect([out[0], out[32], out[64], out[96], out[144]]).toEqual([
      0.5 * (1 - 32),
      1 * (3 + 16 - 32),
      -0.5 * (2 + 32 - 32),
      63.5 * (4 + 48 - 32),
      -64 * (5 - 32),
    ]);
  });

  test('IQ4_NL: levels', () => {
    const out = block('IQ4_NL', { 1: TWO, 2: 0xf0, 3: 0x87 });
    expect([out[0], out[16], out[1], out[17]]).toEqual([-254, 226, -20, 2]);
  });

  test('IQ4_XS: scales of groups 0 and 5', () => {
    const out = block('IQ4_XS', {
      1: HALF,
      2: 0b11, // group 0: high bits 3
      3: 0b0000_1000, // group 5: high bits 2
      4: 0x01, // group 0: 48 + 1 - 32 = 17
      [4 + 2]: 0x70, // group 5: 32 + 7 - 32 = 7
      [8 + 0]: 0x98, // values 0 and 16
      [8 + 80]: 0x0f, // values 160 and 176
    });
    expect([out[0], out[16], out[160], out[176]]).toEqual([8.5, 8.5 * 13, 3.5 * 113, 3.5 * -127]);
  });
});

describe('damaged blocks', () => {
  test('any bytes decode to as many values, and write nothing behind them', () => {
    for (const codec of CODECS.values()) {
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 2 * codec.blockBytes, maxLength: 2 * codec.blockBytes }),
          (bytes) => {
            const out = new Float32Array(2 * codec.blockSize + 1).fill(123);
            codec.dequantise(bytes, out.subarray(0, 2 * codec.blockSize));
            expect(out[2 * codec.blockSize]).toBe(123);
          },
        ),
        { numRuns: 50, seed: 1 },
      );
    }
  });

  test.each([
    ['Q5_0', 0],
    ['Q5_1', 0],
    ['Q2_K', 80],
    ['Q3_K', 108],
    ['Q4_K', 0],
    ['Q5_K', 0],
    ['Q6_K', 208],
    ['IQ4_NL', 0],
    ['IQ4_XS', 0],
  ])('%s: an infinite or NaN factor is passed on', (name, at) => {
    // Every code and scale is odd, so that nothing multiplies the factor by zero but where ggml does as well.
    const fill = Object.fromEntries(
      Array.from({ length: codecByName(name)!.blockBytes }, (_, i) => [i, 0x11]),
    );
    const infinite = block(name, { ...fill, [at]: 0, [at + 1]: 0x7c });
    expect(infinite.every((v) => !Number.isFinite(v))).toBe(true);
    expect(infinite.some((v) => Math.abs(v) === Infinity)).toBe(true);
    expect(block(name, { ...fill, [at]: 1, [at + 1]: 0x7c }).every(Number.isNaN)).toBe(true);
  });
});

function roundTrip(name: string, values: Float32Array): Float32Array {
  const codec = codecByName(name)!;
  const bytes = new Uint8Array((values.length / codec.blockSize) * codec.blockBytes).fill(0xa5);
  codec.quantise!(values, bytes);
  const out = new Float32Array(values.length);
  codec.dequantise(bytes, out);
  return out;
}

function relativeError(out: Float32Array, values: Float32Array): number {
  const error = values.reduce((sum, x, i) => sum + (x - out[i]) ** 2, 0);
  return Math.sqrt(error / values.reduce((sum, x) => sum + x * x, 0));
}

function drawn(count: number, sigma: number): Float32Array {
  const key = streamKey(3);
  return Float32Array.from({ length: count }, (_, i) => sigma * gaussian(key, i));
}

describe('own quantisers', () => {
  test.each([
    // Step range/15 over 32 Gaussians: the mean range is 4.14 sigma (Tippett 1925, n = 32), so a uniform error of
    // step / sqrt(12) is 0.0797 sigma; least squares takes some 10 % off, the 6-bit scales add 2 % of it.
    ['Q4_K', 0.065, 0.08],
    // Step max/32 over 16 Gaussians: the mean largest magnitude is 2.04 sigma, so 0.0184 sigma; the 8-bit scales are
    // almost exact.
    ['Q6_K', 0.016, 0.0195],
  ])('%s: error of Gaussian values between %f and %f of their deviation', (name, least, most) => {
    for (const sigma of [0.01, 1]) {
      const values = drawn(65536, sigma);
      const error = relativeError(roundTrip(name, values), values);
      console.log(`${name}: relative error ${error.toFixed(4)} at sigma ${sigma}`);
      expect(error).toBeGreaterThan(least);
      expect(error).toBeLessThan(most);
    }
  });

  test('Q4_K beats Q4_0, Q6_K beats Q4_K, Q8_0 beats Q6_K', () => {
    const values = drawn(65536, 0.01);
    const errors = ['Q4_0', 'Q4_K', 'Q6_K', 'Q8_0', 'F16'].map((n) =>
      relativeError(roundTrip(n, values), values),
    );
    for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1]);
  });

  test('exact where the values are codes', () => {
    // Q4_K: s = 63, 62, ..; m = 7 steps; d = 2^-6. Q6_K: s = -128, 64, ..; d = 2^-8.
    const forQ4K = new Float32Array(256);
    const forQ6K = new Float32Array(256);
    for (let i = 0; i < 256; i++) {
      const q = (i * 7) % 32;
      forQ4K[i] = ((63 - (i >> 5)) / 64) * (Math.min(q, 15) - 0);
      forQ6K[i] = ((-128 >> ((i >> 4) & 3)) / 256) * ((i & 15) === 0 ? -32 : q - 16);
    }
    expect(roundTrip('Q4_K', forQ4K)).toEqual(forQ4K);
    expect(roundTrip('Q6_K', forQ6K)).toEqual(forQ6K);
  });

  test.each(['Q4_K', 'Q6_K'])('%s: error bounded by the range whatever the values', (name) => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 256, maxLength: 256 }),
        fc.constantFrom(1, 100),
        (list, scale) => {
          const values = Float32Array.from(list, (v) => v * scale);
          const out = roundTrip(name, values);
          const largest = values.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
          // Least squares may trade one outlier for the rest, but each group's error stays below the error of its
          // starting codes: at most the range, 2 largest, in 15 (63) steps, for 32 (16) values.
          const bound =
            name === 'Q4_K' ? largest * (2 / 15) * Math.sqrt(32) : largest * (1 / 32) * Math.sqrt(16);
          for (let i = 0; i < 256; i++)
            expect(Math.abs(out[i] - values[i])).toBeLessThanOrEqual(bound + 1e-4);
        },
      ),
      { numRuns: 200, seed: 1 },
    );
  });

  test.each(['Q4_K', 'Q6_K'])('%s: zeros, one-sided and constant groups', (name) => {
    expect(roundTrip(name, new Float32Array(256)).every((v) => v === 0)).toBe(true);
    for (const level of [0.5, -0.5]) {
      const out = roundTrip(name, new Float32Array(256).fill(level));
      // As the extreme of its range a constant is a code; what is left is the rounding of the factors.
      for (const v of out) expect(Math.abs(v - level)).toBeLessThan(0.5 * 2 ** -10);
    }
  });
});
