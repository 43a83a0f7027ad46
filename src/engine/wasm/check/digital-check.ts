/** Runs the kernels of the digital part on drawn cases and compares them with their definitions, for tests and the self-test. */
import { type Arena, allocate } from '../../../emit/arena.ts';
import { CONSTANTS_END } from '../../../emit/constants.ts';
import {
  denseHadamard,
  newRotation,
  repeatRotation,
  rotateRows,
  unrotateRows,
} from '../../../mapping/hadamard.ts';
import { gaussian, streamKey } from '../../../random.ts';
import type { Kernels } from '../kernels/module.ts';
import { padded } from '../plan/operations.ts';
import { rotateVector, unrotateVector } from '../run/rotation.ts';

/** Of f32 sums of some thousand terms, relative to the largest. */
const TOLERANCE = 1e-5;

function drawn(seed: number, count: number): Float32Array {
  const key = streamKey(seed, 0x64696769);
  return Float32Array.from({ length: count }, (_, i) => gaussian(key, i));
}

/** Undefined, or by how much two vectors differ; `least` is the size of the terms where the sums may cancel. */
function compare(
  what: string,
  found: Float32Array,
  expected: ArrayLike<number>,
  least = 1e-30,
): string | undefined {
  let most = 0;
  let size = least;
  for (let i = 0; i < found.length; i++) {
    most = Math.max(most, Math.abs(found[i] - expected[i]));
    size = Math.max(size, Math.abs(expected[i]));
    if (Number.isNaN(found[i])) most = Number.POSITIVE_INFINITY;
  }
  return most <= TOLERANCE * size ? undefined : `${what} differs by ${most} of ${size}`;
}

/** A rotation of `length`, `repeat` times, and back; `state` is used from its start. */
export function checkRotation(
  kernels: Kernels,
  state: Arena,
  length: number,
  repeat: number,
  seed: number,
): string | undefined {
  state.used = CONSTANTS_END;
  const f32 = new Float32Array(state.memory.buffer);
  const rotation = repeatRotation(newRotation(length, seed), repeat);
  const width = padded(rotation.length);
  const put = (values: ArrayLike<number>, count = values.length): number => {
    const at = allocate(state, 4 * count, 'check');
    f32.fill(0, at / 4, at / 4 + count);
    f32.set(values, at / 4);
    return at;
  };
  const tables: Record<number, readonly [number, number]> = {};
  for (const m of new Set(rotation.factors)) {
    if (m === 2) continue;
    const h = denseHadamard(m)!;
    tables[m] = [put(h), put(h.map((_, i) => h[(i % m) * m + Math.floor(i / m)]))];
  }
  const scale = 1 / Math.sqrt(rotation.order);
  const placed = {
    ...rotation,
    tables,
    signs: put(
      Float32Array.from(rotation.signs, (s) => s * scale),
      width,
    ),
  };
  const scratch = allocate(state, 16 * 200, 'check');
  const x = drawn(seed, rotation.length);
  const at = put(x, width);
  const expected = x.slice();
  rotateRows(expected, 1, rotation);
  rotateVector(kernels, placed, at, scratch);
  const wrong = compare(`a rotation of ${length}`, f32.slice(at / 4, at / 4 + rotation.length), expected);
  if (wrong) return wrong;
  if (f32.subarray(at / 4 + rotation.length, at / 4 + width).some((value) => value !== 0)) {
    return `a rotation of ${length} leaves its padding`;
  }
  f32.set(x, at / 4);
  const back = x.slice();
  unrotateRows(back, 1, rotation);
  unrotateVector(kernels, placed, at, scratch);
  return compare(`the inverse rotation of ${length}`, f32.slice(at / 4, at / 4 + rotation.length), back);
}

/** Inner products with `count` rows of `length`, and sums of the rows. */
export function checkPaths(
  kernels: Kernels,
  state: Arena,
  length: number,
  count: number,
  seed: number,
): string | undefined {
  state.used = CONSTANTS_END;
  const f32 = new Float32Array(state.memory.buffer);
  const width = padded(length);
  const take = (elements: number): number => allocate(state, 4 * elements, 'check');
  const [rows, x, z] = [take(count * width), take(width), take(count)];
  const values = drawn(seed, (count + 1) * length);
  f32.fill(0, rows / 4, rows / 4 + count * width);
  f32.fill(0, x / 4, x / 4 + width);
  for (let r = 0; r < count; r++)
    f32.set(values.subarray(r * length, (r + 1) * length), rows / 4 + r * width);
  const vector = values.subarray(count * length);
  f32.set(vector, x / 4);
  const products = Float64Array.from({ length: count }, (_, r) =>
    vector.reduce((sum, value, j) => sum + value * values[r * length + j], 0),
  );
  kernels.project(z, rows, x, count, width / 4);
  // Two vectors may be nearly orthogonal: the sum is then far below its terms.
  const wrong = compare('a projection', f32.slice(z / 4, z / 4 + count), products, Math.sqrt(length));
  if (wrong) return wrong;
  for (const [name, sign] of [
    ['combine_add', 1],
    ['combine_subtract', -1],
  ] as const) {
    f32.set(vector, x / 4);
    kernels[name](x, rows, z, count, width / 4);
    const expected = Float64Array.from(vector, (value, j) =>
      products.reduce((sum, product, r) => sum + sign * product * values[r * length + j], value),
    );
    const different = compare(name, f32.slice(x / 4, x / 4 + length), expected);
    if (different) return different;
  }
  return undefined;
}
