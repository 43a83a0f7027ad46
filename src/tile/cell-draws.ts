/**
 * The two draws of a cell from one hash, in integers, so that a kernel of 16 bits and this reference give the same bits
 * (src/engine/wasm/kernels/cells.ts).
 *
 *   h    = mix(index; key): 32 bits, their signed bytes b0 .. b3
 *   vt   = z(b0 + b1 + b2 + b3 + 2) / 4096        z(s) = s (A + B s^2), rounded as below
 *   beta = (b0 + b1 - b2 - b3) / 147.8            the sum of the same bytes with other signs
 *
 * `vt` is the sum of four uniform bytes with a cubic that gives it the variance and the kurtosis of the normal
 * distribution: over all 2^32 values of h variance 1.00001, kurtosis 3.0000, odd moments below 1e-6, sixth moment 14.46
 * instead of 15. Its distribution function is within 0.0021 of the normal one. Its tails are thinner: beyond 3 sigma 0.00240
 * of the draws instead of 0.00270, beyond 3.5 sigma 1.6e-4 instead of 4.7e-4, and none beyond 4.04 sigma (6e-5). With the
 * small cell's sigma of ln I of 0.49 the mean gain is the lognormal one within 1e-5 and the mean square within 6e-4.
 *
 * `beta` has variance 1, kurtosis 2.7 and ends at 3.45 sigma; it is a seventh of the spread of a cell. Both are exactly
 * uncorrelated. They are not independent: the mean of vt^2 beta^2 is 0.68 instead of 1, which lowers the kurtosis of ln I
 * by 0.04.
 */
import type { StreamKey } from '../random.ts';

/** `vt` in integers has this many units per sigma. */
export const NORMAL_UNIT = 4096;
/** 2^21 A and 2^39 B: nearest to variance 1 and kurtosis 3 over all sums of four bytes. */
export const NORMAL_LINEAR = 13466;
export const NORMAL_CUBIC = 3174;
/** Sigma of the sum of four bytes. */
export const BYTES_SIGMA = Math.sqrt((4 * (2 ** 16 - 1)) / 12);
/** Largest sum of four bytes, less their mean; the largest `vt` is that of it. */
const LARGEST_SUM = 510;

/** round(a b / 2^15), halves up: the multiplication of the kernels. */
export const multiplyQ15 = (a: number, b: number): number => (a * b + 0x4000) >> 15;

/** z(s) in units of 1 / NORMAL_UNIT: s << 6 is s / 512 in 15 bits behind the point. */
export function normalOfSum(sum: number, linear = NORMAL_LINEAR, cubic = NORMAL_CUBIC): number {
  const x = sum << 6;
  return multiplyQ15(x, linear + multiplyQ15(multiplyQ15(x, x), cubic));
}

/** By sum + LARGEST_SUM, in sigma. */
const NORMALS = Float64Array.from(
  { length: 2 * LARGEST_SUM + 1 },
  (_, i) => normalOfSum(i - LARGEST_SUM) / NORMAL_UNIT,
);
/** Largest `vt`, sigma. */
export const LARGEST_NORMAL = NORMALS[NORMALS.length - 1];
/** Largest `beta`, sigma. */
export const LARGEST_DIFFERENCE = LARGEST_SUM / BYTES_SIGMA;

/** 32 random bits: one round of the finaliser of src/random.ts on each side of the key's second word. */
export function cellBits(key: StreamKey, index: number): number {
  let h = (index + key.a) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d) ^ key.b;
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) | 0;
}

/** b0 + b1 + b2 + b3 + 2: mean 0. */
export const sumOfBytes = (bits: number): number =>
  ((bits << 24) >> 24) + ((bits << 16) >> 24) + ((bits << 8) >> 24) + (bits >> 24) + 2;
/** b0 + b1 - b2 - b3 */
export const differenceOfBytes = (bits: number): number =>
  ((bits << 24) >> 24) + ((bits << 16) >> 24) - ((bits << 8) >> 24) - (bits >> 24);

/** Of the threshold, in sigma. */
export const thresholdDraw = (bits: number): number => NORMALS[sumOfBytes(bits) + LARGEST_SUM];
/** Of the gain, in sigma. */
export const gainDraw = (bits: number): number => differenceOfBytes(bits) / BYTES_SIGMA;
