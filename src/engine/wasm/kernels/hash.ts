/**
 * Random numbers in vectors.
 *
 * `hash` is a two-round 32-bit finaliser with a 64-bit key (a, b), the multipliers and shifts of "lowbias32" (see
 * src/random.ts); b enters between the rounds, so that streams are not shifted windows of one sequence.
 *
 * `normal` makes a standard normal of 32 bits: the sum of their four signed bytes (Irwin-Hall of order 4, variance 1
 * after scaling, excess kurtosis -0.3), then z = s (A + B s^2) with A and B such that variance and kurtosis are those
 * of the normal distribution. Odd moments are zero. |z| <= 4.07: the tails beyond are missing (5e-5 of the draws).
 */
import { heldF32, heldI32 } from '../../../emit/constants.ts';
import { type Body, f32x4, i32x4, type Local, type V128, v128 } from '../../../emit/wat.ts';
import { type DotKind, dotProduct } from './dot.ts';

export interface Draws {
  /** bits = hash(counter; a, b): vectors of 32 random bits. */
  hash(bits: Local<'v128'>, counter: V128, a: V128, b: V128): void;
  /** z = a standard normal from 32 random bits; `z` and `bits` may be one local. */
  normal(z: Local<'v128'>, bits: V128): void;
}

/** Prepares draws in a function. */
export function draws(f: Body, kind: DotKind): Draws {
  const dot = dotProduct(f, kind);
  const first = heldI32(f, 'first', 0x7feb352d);
  const second = heldI32(f, 'second', 0x846ca68b);
  const ones = heldI32(f, 'bytesOfOne', 0x01010101);
  const two = heldI32(f, 'two', 2);
  const [linearValue, cubicValue] = normalCoefficients();
  const linear = heldF32(f, 'linear', linearValue);
  const cubic = heldF32(f, 'cubic', cubicValue);
  return {
    hash(bits, counter, a, b) {
      const fold = (by: number) => f.set(bits, v128.xor(bits.get, i32x4.shrU(bits.get, by)));
      f.set(bits, i32x4.add(counter, a));
      fold(16);
      f.set(bits, v128.xor(i32x4.mul(bits.get, first), b));
      fold(15);
      f.set(bits, i32x4.mul(bits.get, second));
      fold(16);
    },
    normal(z, bits) {
      // The mean of four signed bytes is -2.
      f.set(z, f32x4.ofI32(dot(bits, ones, two)));
      f.set(z, f32x4.mul(z.get, f32x4.add(linear, f32x4.mul(f32x4.mul(z.get, z.get), cubic))));
    },
  };
}

/** Variance of the sum of four signed bytes. */
const BYTES_VARIANCE = (4 * (2 ** 16 - 1)) / 12;
let coefficients: [linear: number, cubic: number] | undefined;

/**
 * A, B of `normal`: solves variance(s (A + B s^2)) = 1 and kurtosis = 3 for the sum s of four independent bytes,
 * shifted to mean zero, with its exact distribution, by bisection on B / A.
 */
export function normalCoefficients(): [linear: number, cubic: number] {
  if (coefficients) return coefficients;
  // Distribution of the sum of four bytes 0..255 by convolution; its mean is 510.
  let shares = new Float64Array([1]);
  for (let i = 0; i < 4; i++) {
    const next = new Float64Array(shares.length + 255);
    for (let j = 0; j < shares.length; j++) for (let k = 0; k < 256; k++) next[j + k] += shares[j] / 256;
    shares = next;
  }
  const moments = (shape: number): [second: number, fourth: number] => {
    let second = 0;
    let fourth = 0;
    shares.forEach((share, i) => {
      const s = (i - 510) / Math.sqrt(BYTES_VARIANCE);
      const z = s * (1 + shape * s * s);
      second += share * z * z;
      fourth += share * z ** 4;
    });
    return [second, fourth];
  };
  let low = 0;
  let high = 0.2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    const [second, fourth] = moments(middle);
    if (fourth / second ** 2 < 3) low = middle;
    else high = middle;
  }
  const linear = 1 / Math.sqrt(moments(low)[0] * BYTES_VARIANCE);
  coefficients = [linear, (linear * low) / BYTES_VARIANCE];
  return coefficients;
}
