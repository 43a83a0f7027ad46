import fc from 'fast-check';
import { expect, test } from 'vitest';
import { relativeDifference } from '../testing/mapping.ts';
import {
  denseHadamard,
  hadamardFactors,
  newRotation,
  repeatRotation,
  rotateColumns,
  rotateMoments,
  rotateRows,
  rotationAdditions,
  unrotateRows,
} from './hadamard.ts';
import { newNumerics } from './numerics/numerics.ts';
import { rotateManyColumns, rotateManyRows, rotationElements, rotationRoom } from './numerics/rotate.ts';

/** |(H H^T)_ij - scale delta_ij| at place `at` of [n][n]. */
function farFromIdentity(h: Int8Array | Float32Array, n: number, at: number, scale: number): number {
  const i = Math.floor(at / n);
  const j = at % n;
  let sum = 0;
  for (let k = 0; k < n; k++) sum += h[i * n + k] * h[j * n + k];
  return Math.abs(sum - (i === j ? scale : 0));
}

test('dense orders: H H^T = n I, entries +-1', () => {
  const orders: number[] = [];
  for (let n = 1; n <= 200; n++) {
    const h = denseHadamard(n);
    if (h === undefined) continue;
    orders.push(n);
    expect(h.every((x) => x === 1 || x === -1)).toBe(true);
    expect(Math.max(...Array.from(h.keys(), (at) => farFromIdentity(h, n, at, n)))).toBe(0);
  }
  expect(orders).toEqual(expect.arrayContaining([1, 2, 4, 8, 12, 20, 24, 28, 44, 60, 68, 76, 108, 148]));
});

test('orders of real models', () => {
  const product = (n: number): number | undefined => hadamardFactors(n)?.reduce((p, m) => p * m, 1);
  for (const n of [64, 576, 640, 896, 1152, 1536, 2048, 4096, 4864, 5632, 8960, 13824, 14336, 18944]) {
    expect(product(n)).toBe(n);
  }
  expect(hadamardFactors(576)?.filter((m) => m > 2)).toEqual([12, 12]);
  expect(hadamardFactors(14336)?.filter((m) => m > 2)).toEqual([28]);
  expect(hadamardFactors(11008)).toBeUndefined();
  expect(newRotation(11008, 1).order).toBe(256);
  // 0.52 M additions per layer and token before `down` of 8B.
  expect(rotationAdditions(newRotation(14336, 1))).toBe(14336 * (27 + 9));
});

test('a rotation is orthogonal, and what it does to rows, columns and moments agrees with its matrix', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 12, 24, 28, 40, 43 * 4, 96),
      fc.integer({ min: 1, max: 3 }),
      fc.integer(),
      (length, rows, seed) => {
        const rotation = newRotation(length, seed);
        const q = new Float32Array(length * length);
        for (let i = 0; i < length; i++) q[i * length + i] = 1;
        rotateRows(q, length, rotation); // the rows of I Q are Q's
        expect(Math.max(...Array.from(q.keys(), (at) => farFromIdentity(q, length, at, 1)))).toBeLessThan(
          1e-5,
        );
        const x = Float32Array.from({ length: rows * length }, (_, i) => Math.sin(i * i + seed));
        const y = x.slice();
        rotateRows(y, rows, rotation);
        const product = x.map((_, at) => {
          const row = at - (at % length);
          let sum = 0;
          for (let k = 0; k < length; k++) sum += x[row + k] * q[k * length + (at % length)];
          return sum;
        });
        expect(relativeDifference(y, product)).toBeLessThan(1e-5);
        // Q^T x^T is (x Q)^T.
        const columns = new Float32Array(rows * length);
        for (let r = 0; r < rows; r++)
          for (let j = 0; j < length; j++) columns[j * rows + r] = x[r * length + j];
        rotateColumns(columns, rows, rotation);
        const transposed = y.map((_, at) => columns[(at % length) * rows + Math.floor(at / length)]);
        expect(relativeDifference(transposed, y)).toBeLessThan(1e-6);
        unrotateRows(y, rows, rotation);
        expect(relativeDifference(y, x)).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 40 },
  );
});

test('16 vectors at a time in WebAssembly equal the definition', async () => {
  const numerics = await newNumerics(4 * rotationElements(1536) + 4096);
  const rotator = { numerics, rotationRoom: rotationRoom(numerics, 1536) };
  for (const rotation of [
    newRotation(1536, 4),
    newRotation(576, 2),
    newRotation(28 * 8, 3),
    newRotation(172, 3),
    repeatRotation(newRotation(24, 5), 7),
  ]) {
    const { length } = rotation;
    for (const rows of [1, 16, 37]) {
      const x = Float32Array.from({ length: rows * length }, (_, i) => Math.sin(i * i));
      const [byRow, rowExpected, byColumn, columnExpected] = [0, 1, 2, 3].map(() => x.slice());
      rotateManyRows(rotator, byRow, rows, rotation);
      rotateRows(rowExpected, rows, rotation);
      expect(relativeDifference(byRow, rowExpected)).toBeLessThan(1e-6);
      rotateManyColumns(rotator, byColumn, rows, rotation);
      rotateColumns(columnExpected, rows, rotation);
      expect(relativeDifference(byColumn, columnExpected)).toBeLessThan(1e-6);
    }
  }
});

test('moments of rotated inputs, and heads that share a rotation', () => {
  const rotation = repeatRotation(newRotation(12, 3), 4);
  const a = Float32Array.from({ length: 5 * 48 }, (_, i) => Math.cos(3 * i * i));
  const momentsOf = (x: Float32Array): Float32Array => {
    const m = new Float32Array(48 * 48);
    for (let t = 0; t < 5; t++) {
      for (let i = 0; i < 48; i++)
        for (let j = 0; j < 48; j++) m[i * 48 + j] += x[t * 48 + i] * x[t * 48 + j];
    }
    return m;
  };
  const moments = momentsOf(a);
  rotateMoments(moments, rotation);
  rotateRows(a, 5, rotation);
  expect(relativeDifference(moments, momentsOf(a))).toBeLessThan(1e-5);
  // One head's rotation does not reach another head.
  const head = new Float32Array(48).fill(0);
  head[13] = 1;
  rotateRows(head, 1, rotation);
  expect([...head].every((x, j) => (x !== 0) === (j >= 12 && j < 24))).toBe(true);
});
