/** The kernels between the products, each against its definition in scalar code, in double precision where not exact. */

import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { type Arena, allocate, newArena } from '../../emit/arena.ts';
import { CONSTANTS_END, writeConstants } from '../../emit/constants.ts';
import { invoke } from '../../emit/wat.ts';
import { gaussian, streamKey } from '../../random.ts';
import { CLIP_FACTORS, recodeWeights, weightFormat } from '../../tile/weight-code.ts';
import { floatBits, roundHalfEven } from '../integers.ts';
import { referenceEncode, referenceHash, referenceNormal, splitPlanes } from './check/panel-reference.ts';
import { chooseKernels } from './check/selftest.ts';
import { CACHE_BYTES, GROUP_QUERIES, runProducts } from './kernels/attention.ts';
import {
  BYTE_LEVELS,
  ENCODED,
  ENCODED_BYTES,
  encodeName,
  runEncode,
  runEncodeBytes,
} from './kernels/encode.ts';
import { normalCoefficients } from './kernels/hash.ts';
import { instantiate, type Kernels } from './kernels/module.ts';
import { RECODE_OPERANDS } from './kernels/recode.ts';
import { RANGE_BINS, rangeEdge } from './kernels/record.ts';

let kernels: Kernels;
let state: Arena;
let weights: Arena;
let f32: Float32Array;
let bytes: Uint8Array;
beforeAll(async () => {
  const { module } = await chooseKernels();
  state = newArena(2 ** 22, CONSTANTS_END);
  weights = newArena(2 ** 20);
  writeConstants(state.memory);
  kernels = await instantiate(module, state.memory, weights.memory);
  f32 = new Float32Array(state.memory.buffer);
  bytes = new Uint8Array(state.memory.buffer);
});

/** Fresh memory with these values in it. */
function put(values: ArrayLike<number>): number {
  const at = allocate(state, values.length * 4, 'test');
  f32.set(values, at / 4);
  return at;
}
const take = (at: number, count: number) => f32.slice(at / 4, at / 4 + count);
const restart = () => {
  state.used = CONSTANTS_END;
};
const drawn = (seed: number, count: number, scale = 1) =>
  Float32Array.from({ length: count }, (_, i) => scale * gaussian(streamKey(seed), i));

test.each([1, 2] as const)('encode: levels, signs, planes and sums, %i plane(s)', (planes) => {
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.integer(),
        quads: fc.integer({ min: 1, max: 16 }),
        rank: fc.integer({ min: 1, max: 2 }),
        bits: fc.integer({ min: 3, max: 8 }),
        plain: fc.boolean(),
        block: fc.constantFrom(1, 6),
      }),
      ({ seed, quads, rank, bits, plain, block }) => {
        restart();
        const a = drawn(seed, 4 * quads);
        const top = plain ? (planes === 1 ? 63 : 8191) : 2 ** bits - 1;
        const most = planes === 1 ? 63 : 8000;
        const table = plain
          ? undefined
          : Array.from({ length: rank + 1 }, (_, r) =>
              Float32Array.from({ length: top + 1 }, (_v, k) =>
                r === rank ? Math.round((k / top) * 127) : (r === 0 ? 1 : -0.05) * (k / top) ** 1.1 * most,
              ),
            );
        const ranks = plain ? 1 : rank;
        const from = put(a);
        const tableAt = put(table ? table.flatMap((row) => [...row]) : [0]);
        const rankBytes = quads * block * 4;
        const x = allocate(state, planes * ranks * rankBytes, 'x');
        const magnitude = allocate(state, rankBytes, 'magnitude');
        const stats = allocate(state, ENCODED_BYTES, 'stats');
        // Tables of bytes are those of linear codes, whose every level drives its row.
        const idle = top < BYTE_LEVELS ? 0 : top >> 3;
        new Int32Array(state.memory.buffer)[(stats + ENCODED.idle) / 4] = 4 * idle;
        kernels.largest(from, quads, stats);
        const scale = f32[(stats + ENCODED.scale) / 4];
        expect(scale).toBe(a.reduce((m, v) => Math.max(m, Math.abs(v)), 0));
        const name = encodeName(plain ? 'plain' : 'table', planes);
        const operands = {
          a: from,
          quads,
          x,
          magnitude,
          step: 4 * block,
          rankBytes,
          rank: ranks,
          top,
          stats,
        };
        runEncode(kernels[name], {
          ...operands,
          planeBytes: ranks * rankBytes,
          table: tableAt,
          tableBytes: (top + 1) * 4,
        });
        const expected = referenceEncode(a, scale, top, table, idle);
        if (!plain && planes === 1 && quads % 4 === 0 && top < BYTE_LEVELS) {
          // The same by tables of bytes, to the same places: what follows checks it too.
          for (const [at, size] of [
            [x, ranks * rankBytes],
            [magnitude, rankBytes],
          ]) {
            bytes.fill(255, at, at + size);
          }
          const row = Uint8Array.from({ length: (rank + 1) * BYTE_LEVELS }, (_, i) => {
            const value = table![Math.floor(i / BYTE_LEVELS)][i % BYTE_LEVELS] ?? 0;
            return roundHalfEven(value);
          });
          const byteTable = allocate(state, row.length, 'bytes');
          bytes.set(row, byteTable);
          const squares = f32[(stats + ENCODED.sumSquares) / 4];
          runEncodeBytes(kernels.encode_bytes, { ...operands, table: byteTable });
          expect(f32[(stats + ENCODED.sumSquares) / 4]).toBe(squares);
        }
        for (let r = 0; r < ranks; r++) {
          expected.x[r].forEach((value, j) => {
            splitPlanes(value, planes).forEach((byte, plane) => {
              const at = x + plane * ranks * rankBytes + r * rankBytes + (j >> 2) * 4 * block + (j & 3);
              expect(bytes[at]).toBe(byte);
            });
          });
        }
        if (plain) return;
        expected.magnitude.forEach((value, j) => {
          expect(bytes[magnitude + (j >> 2) * 4 * block + (j & 3)]).toBe(value);
        });
        expect(f32[(stats + ENCODED.sum) / 4]).toBe(expected.sum);
        expect(new Int32Array(state.memory.buffer)[(stats + ENCODED.active) / 4]).toBe(expected.active);
      },
    ),
    { numRuns: 60 },
  );
});

test('norm, residual and gate', () => {
  restart();
  const [x, gain, up] = [drawn(1, 64, 3), drawn(2, 64), drawn(3, 64)];
  const [xAt, gainAt, upAt] = [put(x), put(gain), put(up)];
  const y = put(new Float32Array(64));
  kernels.norm(y, xAt, gainAt, 16, 60, floatBits(1e-5));
  const mean = x.reduce((sum, v) => sum + v * v, 0) / 60;
  take(y, 64).forEach((v, i) => {
    expect(v).toBeCloseTo((x[i] / Math.sqrt(mean + 1e-5)) * gain[i], 5);
  });
  kernels.residual(y, xAt, 16);
  take(y, 64).forEach((v, i) => {
    expect(v).toBeCloseTo((x[i] / Math.sqrt(mean + 1e-5)) * gain[i] + x[i], 5);
  });
  const wide = Float32Array.from({ length: 64 }, (_, i) => (i - 32) * 4); // far into both tails
  const gateAt = put(wide);
  kernels.gate(gateAt, upAt, 16);
  take(gateAt, 64).forEach((v, i) => {
    const expected = (wide[i] / (1 + Math.exp(-wide[i]))) * up[i];
    expect(Math.abs(v - expected)).toBeLessThan(1e-6 * Math.abs(expected) + 1e-30);
  });
});

test('rotate turns neighbouring pairs', () => {
  restart();
  const x = drawn(4, 32);
  const angles = [0.3, 1, 2, -1.5, 0.01, 3, 0, 7];
  const table = new Float32Array(32);
  angles.forEach((angle, j) => {
    table.set([Math.cos(angle), Math.cos(angle)], 2 * j);
    table.set([-Math.sin(angle), Math.sin(angle)], 16 + 2 * j);
  });
  const at = put(x);
  kernels.rotate(at, put(table), 4, 2);
  const turned = take(at, 32);
  for (let head = 0; head < 2; head++) {
    angles.forEach((angle, j) => {
      const [even, odd] = [x[16 * head + 2 * j], x[16 * head + 2 * j + 1]];
      expect(turned[16 * head + 2 * j]).toBeCloseTo(even * Math.cos(angle) - odd * Math.sin(angle), 6);
      expect(turned[16 * head + 2 * j + 1]).toBeCloseTo(even * Math.sin(angle) + odd * Math.cos(angle), 6);
    });
  }
});

test('rotate_halves turns pairs half of what turns apart, and leaves the rest', () => {
  restart();
  const x = drawn(4, 48);
  const angles = [0.3, 1, 2, -1.5, 0.01, 3, 0, 7];
  const table = [...angles.map(Math.cos), ...angles.map(Math.sin)];
  const at = put(x);
  kernels.rotate_halves(at, put(table), 2, 2, 24 * 4);
  const turned = take(at, 48);
  for (let head = 0; head < 2; head++) {
    angles.forEach((angle, j) => {
      const [first, second] = [x[24 * head + j], x[24 * head + 8 + j]];
      expect(turned[24 * head + j]).toBeCloseTo(first * Math.cos(angle) - second * Math.sin(angle), 6);
      expect(turned[24 * head + 8 + j]).toBeCloseTo(first * Math.sin(angle) + second * Math.cos(angle), 6);
    });
    expect(turned.slice(24 * head + 16, 24 * head + 24)).toEqual(x.slice(24 * head + 16, 24 * head + 24));
  }
});

test('GELU, scale and soft cap', () => {
  restart();
  const wide = Float32Array.from({ length: 64 }, (_, i) => (i - 32) / 3);
  const up = drawn(3, 64);
  const at = put(wide);
  kernels.gate_gelu(at, put(up), 16);
  take(at, 64).forEach((v, i) => {
    const z = wide[i];
    const gelu = 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)));
    // In its left tail 1 + tanh loses all its digits in double precision, and e^-2t does not.
    expect(Math.abs(v - gelu * up[i])).toBeLessThan(2e-6 * Math.abs(gelu * up[i]) + 1e-13);
  });
  const scaled = put(wide);
  kernels.scale(scaled, 16, floatBits(0.3));
  take(scaled, 64).forEach((v, i) => {
    expect(v).toBe(Math.fround(wide[i] * Math.fround(0.3)));
  });
  const capped = put(wide.map((v) => 10 * v));
  kernels.soft_cap(capped, 16, floatBits(0.5), floatBits(30));
  take(capped, 64).forEach((v, i) => {
    expect(Math.abs(v - 30 * Math.tanh((5 * wide[i]) / 30))).toBeLessThan(30 * 4e-7);
  });
});

test('softmax of any length, also of large scores', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 70 }),
      fc.integer(),
      fc.constantFrom(0.1, 1, 100),
      (count, seed, size) => {
        restart();
        const scores = drawn(seed, count, size);
        // What stands beyond the last score must not matter.
        const at = put([...scores, ...new Float32Array(80 - count).fill(1e30)]);
        kernels.softmax(at, count, floatBits(0.5));
        const most = Math.max(...scores);
        const e = [...scores].map((s) => Math.exp(0.5 * (s - most)));
        const total = e.reduce((sum, v) => sum + v, 0);
        const found = take(at, 16 * Math.ceil(count / 16));
        found.forEach((p, i) => {
          expect(Math.abs(p - (i < count ? e[i] / total : 0))).toBeLessThan(1e-6);
        });
      },
    ),
  );
});

test.each(['f16', 'i8'] as const)('the %s cache keeps what it can', (kind) => {
  restart();
  const [count, width] = [37, 16];
  const b = drawn(6, count * width, 2);
  // Small, largest, zero, least normal and least subnormal f16; bytes are scaled to their range by the caller.
  if (kind === 'f16') b.set([1e-6, -65504, 0, 2 ** -14, 2 ** -24]);
  else for (let i = 0; i < b.length; i++) b[i] = Math.max(-8, Math.min(8, b[i]));
  const from = put(b);
  const entry = CACHE_BYTES[kind];
  const cache = allocate(state, count * width * entry, 'cache');
  const scale = kind === 'i8' ? 127 / 8 : 0;
  kernels[`cache_${kind}`](cache, entry, from, count * width, floatBits(scale));
  const half = new DataView(state.memory.buffer);
  const kept = Float64Array.from({ length: count * width }, (_, i) =>
    kind === 'i8' ? half.getInt8(cache + i) : fromHalf(half.getUint16(cache + 2 * i, true)),
  );
  b.forEach((value, i) => {
    if (kind === 'i8') {
      const rounded = Math.round(value * scale);
      expect(Math.abs(kept[i] - rounded)).toBeLessThanOrEqual(Math.abs((value * scale) % 1) === 0.5 ? 1 : 0);
    } else {
      expect(Math.abs(kept[i] - value)).toBeLessThanOrEqual(Math.max(2 ** -25, Math.abs(value) * 2 ** -11));
    }
  });
  // What is read back is exactly what is kept, and any row of it can be the first.
  const decoded = allocate(state, 64 * (count - 1), 'decoded');
  kernels[`decode_${kind}`](decoded, cache + width * entry, width * entry, count - 1);
  expect([...take(decoded, 16 * (count - 1))]).toEqual([...kept.subarray(width)]);
});

// Several groups, and sums that go on where others ended.
test('products of queries equal sums in double precision', () => {
  const width = 16;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 27 }),
      fc.integer({ min: 1, max: 40 }).map((n) => 2 * n),
      fc.integer(),
      fc.constantFrom<0 | 1>(0, 1),
      (queries, count, seed, add) => {
        restart();
        const padded = GROUP_QUERIES * Math.ceil(queries / GROUP_QUERIES);
        const a = drawn(seed, padded * (count + 1));
        const b = drawn(seed + 1, count * width, 2);
        const before = drawn(seed + 2, padded * 32);
        const out = put(before);
        runProducts(kernels.products, {
          out,
          outStride: 128,
          a: put(a),
          aStride: (count + 1) * 4,
          b: put(b),
          count,
          groups: padded / GROUP_QUERIES,
          add,
        });
        const found = take(out, padded * 32);
        for (let query = 0; query < queries; query++) {
          for (let n = 0; n < 32; n++) {
            let sum = n >= width || add ? before[query * 32 + n] : 0;
            let size = Math.abs(sum);
            for (let i = 0; n < width && i < count; i++) {
              const product = a[query * (count + 1) + i] * b[i * width + n];
              sum += product;
              size += Math.abs(product);
            }
            expect(Math.abs(found[query * 32 + n] - sum)).toBeLessThanOrEqual(1e-6 * size);
          }
        }
      },
    ),
    { numRuns: 50 },
  );
});

function fromHalf(h: number): number {
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return h & 0x8000 ? -size : size;
}

test('digital weights: codes within half a step, the residual is left for a second byte', () => {
  restart();
  const rows = 32;
  const w = drawn(11, rows * 16, 0.1);
  for (let j = 0; j < rows; j++) w[j * 16 + 5] = 0; // a column without weights
  const at = put(w);
  const [codes, scales] = [allocate(state, rows * 16, 'codes'), allocate(state, 64, 'scales')];
  kernels.quantise(at, rows, 127, codes, scales);
  const found = new Int8Array(state.memory.buffer, codes, rows * 16);
  const left = take(at, rows * 16);
  for (let n = 0; n < 16; n++) {
    const largest = Math.max(...Array.from({ length: rows }, (_, j) => Math.abs(w[j * 16 + n])));
    const scale = take(scales, 16)[n];
    expect(scale).toBe(Math.fround(largest / 127));
    for (let j = 0; j < rows; j++) {
      const q = found[j * 16 + n];
      if (scale === 0) {
        expect(q).toBe(0);
        continue;
      }
      expect(Math.abs(q - w[j * 16 + n] / scale)).toBeLessThanOrEqual(0.5 + 1e-4);
      expect(left[j * 16 + n]).toBeCloseTo(w[j * 16 + n] - scale * q, 7);
    }
  }
});

test('columns of a panel become rows', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.nat({ max: 30 }), (rows, start) => {
      restart();
      const width = 112;
      const w = drawn(rows, 16 * width);
      const from = put(w);
      const to = put(new Float32Array(16 * 72));
      kernels.lay_rows(from + 4 * start, 4 * width, to, rows);
      take(to, 16 * rows).forEach((value, i) => {
        expect(value).toBe(w[(i % 16) * width + start + (i >> 4)]);
      });
    }),
  );
});

test('the normal draws: mean, variance, kurtosis, independence of neighbours and of keys', () => {
  const n = 200_000;
  const z = (a: number, b: number) =>
    Float64Array.from({ length: n }, (_, i) => referenceNormal(referenceHash(i, a, b)));
  // Keys as the engine has them: mixed words. Words that differ in one bit would give correlated streams.
  const keys = Array.from({ length: 4 }, (_, i) => streamKey(9, i));
  const first = z(keys[0].a, keys[0].b);
  const mean = (x: Float64Array) => x.reduce((sum, v) => sum + v, 0) / n;
  const times = (x: Float64Array, y: Float64Array) => x.map((v, i) => v * y[i]);
  const squares = times(first, first);
  // Five standard errors of n independent draws.
  expect(Math.abs(mean(first))).toBeLessThan(5 / Math.sqrt(n));
  expect(Math.abs(mean(squares) - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
  expect(Math.abs(mean(times(squares, squares)) - 3)).toBeLessThan(5 * Math.sqrt(96 / n));
  for (const { a, b } of keys.slice(1)) {
    expect(Math.abs(mean(times(first, z(a, b))))).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(mean(times(squares, times(z(a, b), z(a, b)))) - 1)).toBeLessThan(5 * Math.sqrt(8 / n));
  }
  const shifted = Float64Array.from(first, (_, i) => first[(i + 1) % n]);
  expect(Math.abs(mean(times(first, shifted)))).toBeLessThan(5 / Math.sqrt(n));
  const [linear, cubic] = normalCoefficients();
  const largest = 512 * (linear + cubic * 512 ** 2);
  expect(largest).toBeGreaterThan(3.7);
  expect(largest).toBeLessThan(4.1);
});

test('bins of the range calibration are contiguous', () => {
  for (let bin = 1; bin < RANGE_BINS; bin++) {
    const ratio = rangeEdge(bin) / rangeEdge(bin - 1);
    expect(ratio).toBeGreaterThan(1.003);
    expect(ratio).toBeLessThan(1.009);
  }
});

test.each([3, 4, 6] as const)('recoding gives the codes of src/tile/weight-code.ts, %i bits', (bits) => {
  restart();
  const rows = 96;
  const factors = put(CLIP_FACTORS);
  const codes = allocate(state, rows * 16, 'codes');
  const scales = allocate(state, 64, 'scales');
  const { magnitudeMax, cellWeights } = weightFormat(bits);
  let differ = 0;
  for (let seed = 0; seed < 10; seed++) {
    const w = drawn(seed, rows * 16, 0.1);
    for (let j = 0; j < rows; j++) w[j * 16 + 3] = 0; // a column without weights
    const at = put(w);
    invoke(kernels.recode, RECODE_OPERANDS, {
      w: at,
      rows,
      top: magnitudeMax,
      factors,
      factorCount: CLIP_FACTORS.length,
      codes,
      scales,
    });
    const column = (n: number, out: Float32Array) => out.set(out.map((_, j) => w[j * 16 + n]));
    const [expected] = recodeWeights(16, rows, column, bits, rows).tiles;
    for (let n = 0; n < 16; n++) {
      expect(f32[scales / 4 + n]).toBe(expected.scales[n]);
      for (let j = 0; j < rows; j++) {
        const code = cellWeights.reduce(
          (sum, weight, cell) => sum + weight * expected.codes[j * 16 * cellWeights.length + cell * 16 + n],
          0,
        );
        if ((bytes[codes + j * 16 + n] << 24) >> 24 !== code) differ++;
      }
    }
  }
  expect(differ).toBe(0);
});
