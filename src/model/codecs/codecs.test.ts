/**
 * Codecs against values worked out by hand from ggml's block layouts, the half conversion against a brute-force
 * nearest search, and the quantisers against files that another quantiser wrote.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { missingShared, needs, sharedPath } from '../../testing/needs.ts';
import { openGguf, readRow } from '../gguf.ts';
import type { Codec } from './codec.ts';
import { HALF_VALUES, halfBits } from './half.ts';
import { CODECS, codecByName, typeName } from './registry.ts';

function decode(name: string, bytes: number[]): Float32Array {
  const codec = codecByName(name)!;
  const out = new Float32Array((bytes.length / codec.blockBytes) * codec.blockSize);
  codec.dequantise(Uint8Array.from(bytes), out);
  return out;
}

function encode(codec: Codec, values: Float32Array): Uint8Array {
  const bytes = new Uint8Array((values.length / codec.blockSize) * codec.blockBytes);
  codec.quantise!(values, bytes);
  return bytes;
}

describe('half precision', () => {
  test('landmarks of IEEE 754 binary16', () => {
    const landmarks: [number, number][] = [
      [0x0000, 0],
      [0x8000, -0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3555, 0.333251953125],
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
    ];
    for (const [bits, value] of landmarks) {
      expect(HALF_VALUES[bits]).toBe(value);
      expect(halfBits(value)).toBe(bits);
    }
    expect(HALF_VALUES[0x7c01]).toBeNaN();
    expect(halfBits(Number.NaN) & 0x7fff).toBeGreaterThan(0x7c00);
  });

  test('every half survives the round trip', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = HALF_VALUES[bits];
      if (!Number.isNaN(value)) expect(halfBits(value)).toBe(bits);
    }
  });

  test('rounds to the nearest, ties to even', () => {
    /** By search: the half below and above |x|, whichever is nearer, the one with the even last bit on a tie. */
    function nearest(x: number): number {
      const magnitude = Math.abs(x);
      let below = 0;
      let above = 0x7bff;
      if (magnitude >= 65520) return Infinity * Math.sign(x);
      if (magnitude > 65504) return 65504 * Math.sign(x);
      while (above - below > 1) {
        const middle = (below + above) >> 1;
        if (HALF_VALUES[middle] <= magnitude) below = middle;
        else above = middle;
      }
      const down = magnitude - HALF_VALUES[below];
      const up = HALF_VALUES[above] - magnitude;
      const best = down < up || (down === up && (below & 1) === 0) ? below : above;
      return HALF_VALUES[best] * (x < 0 || Object.is(x, -0) ? -1 : 1);
    }
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
        expect(HALF_VALUES[halfBits(x)]).toBe(nearest(x));
      }),
      { numRuns: 5000, seed: 1 },
    );
    fc.assert(
      fc.property(fc.nat(0x7bfe), fc.boolean(), (bits, negative) => {
        // Exactly between two halves.
        const tie = ((HALF_VALUES[bits] + HALF_VALUES[bits + 1]) / 2) * (negative ? -1 : 1);
        expect(halfBits(tie) & 1).toBe(0);
        expect(HALF_VALUES[halfBits(tie)]).toBe(nearest(tie));
      }),
      { numRuns: 2000, seed: 1 },
    );
  });
});

describe('blocks worked out by hand', () => {
  test('BF16 is the upper half of a float', () => {
    expect([...decode('BF16', [0x80, 0x3f, 0x20, 0xc0, 0x80, 0x7f])]).toEqual([1, -2.5, Infinity]);
  });

  test('Q8_0: half scale, signed bytes', () => {
    const out = decode('Q8_0', [0x00, 0x38, 127, 0x80, 255, ...Array(29).fill(2)]); // d = 0.5
    expect([...out.subarray(0, 4)]).toEqual([63.5, -64, -0.5, 1]);
  });

  test('Q4_0: low nibbles first, offset 8', () => {
    const out = decode('Q4_0', [0x00, 0x40, 0xf0, 0x97, ...Array(14).fill(0x88)]); // d = 2
    expect([out[0], out[1], out[2], out[16], out[17], out[31]]).toEqual([-16, -2, 0, 14, 2, 0]);
  });

  test('Q4_1: scale and minimum', () => {
    const out = decode('Q4_1', [0x00, 0x38, 0x00, 0xbc, 0xf0, 0x21, ...Array(14).fill(0)]); // d = 0.5, m = -1
    expect([out[0], out[1], out[2], out[16], out[17]]).toEqual([-1, -0.5, -1, 6.5, 0]);
  });

  test('unaligned bytes decode as well', () => {
    for (const codec of CODECS.values()) {
      const bytes = Uint8Array.from({ length: codec.blockBytes + 1 }, (_, i) => (i * 37 + 11) & 0x3f);
      const expected = new Float32Array(codec.blockSize);
      codec.dequantise(bytes.slice(1), expected);
      const out = new Float32Array(codec.blockSize);
      codec.dequantise(bytes.subarray(1), out);
      expect(out).toEqual(expected);
    }
  });

  test('types without a codec have a name to show', () => {
    expect([typeName(14), typeName(99)]).toEqual(['Q6_K', 'type 99']);
  });
});

describe('quantisers', () => {
  test.each([
    // |error| <= half a step (d = max/127), plus the rounding of d to a half (2^-11 relative) at 127 steps.
    ['Q8_0', (max: number) => (max / 127) * (0.5 + 127 * 2 ** -11)],
    // Steps of max/8; the sign opposite to the extreme saturates at 7 steps, so the error there is up to one step.
    ['Q4_0', (max: number) => (max / 8) * (1 + 8 * 2 ** -11)],
    ['F16', (max: number) => max * 2 ** -11],
    ['F32', () => 0],
  ] as const)('%s stays within its error bound', (name, bound) => {
    const codec = codecByName(name)!;
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 32, maxLength: 32 }),
        fc.constantFrom(1e-2, 1, 300),
        (list, scale) => {
          const values = Float32Array.from(list, (v) => (Math.abs(v) < 1e-6 ? 0 : v * scale));
          const max = values.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
          if (max < 1e-2) return; // below, the half scale is subnormal and the bound does not hold
          const out = decode(name, [...encode(codec, values)]);
          for (let i = 0; i < 32; i++) {
            expect(Math.abs(out[i] - values[i])).toBeLessThanOrEqual(bound(max) * 1.000001 + 2 ** -25);
          }
        },
      ),
      { numRuns: 500, seed: 1 },
    );
  });

  test('zeros stay zero', () => {
    for (const name of ['Q8_0', 'Q4_0']) {
      const out = decode(name, [...encode(codecByName(name)!, new Float32Array(32))]);
      expect(out.every((v) => v === 0)).toBe(true);
    }
  });

  const stories = 'models/stories260K-f32.gguf';
  test.each(['q8_0', 'q4_0'])(
    'stories260K: the bytes of the published %s file',
    needs(missingShared(stories)),
    (type) => {
      const source = openGguf(sharedPath(stories));
      const target = openGguf(sharedPath(stories).replace('f32', type));
      let quantised = 0;
      for (const tensor of target.tensors.values()) {
        if (tensor.codec.blockSize === 1) continue;
        const from = source.tensors.get(tensor.name)!;
        const row = new Float32Array(tensor.shape[1]);
        const rowBytes = tensor.sizeBytes / tensor.shape[0];
        const bytes = new Uint8Array(rowBytes);
        for (let n = 0; n < tensor.shape[0]; n++) {
          readRow(source, from, n, row);
          target.read(tensor.offset + n * rowBytes, bytes);
          expect(encode(tensor.codec, row)).toEqual(bytes);
          quantised += row.length;
        }
      }
      expect(quantised).toBeGreaterThan(100_000);
      source.close();
      target.close();
    },
  );
});
