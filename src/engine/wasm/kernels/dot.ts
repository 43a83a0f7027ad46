/**
 * Four products of bytes per 32-bit lane: lane i of the result is acc_i + sum_{j<4} a[4i+j] b[4i+j], with a signed and
 * b in 0..127. Exact either way:
 *   relaxed  one instruction (vpdpbusd on x86 with AVX-VNNI, sdot on ARM). b stays below 128 because the proposal
 *            leaves the sign of its top bit to the machine, and pairs of products stay below 2^15
 *   pairs    relaxed products of pairs, then their sums: three instructions on x86 without AVX-VNNI (AMD before Zen 5),
 *            where V8 makes five of `relaxed`
 *   i16      the same from 16-bit multiplications, for engines without (or with a wrong) relaxed dot
 */
import { heldI32 } from '../../../emit/constants.ts';
import { type Body, i8x16, i16x8, i32x4, type V128 } from '../../../emit/wat.ts';

export const DOT_KINDS = ['relaxed', 'pairs', 'i16'] as const;
export type DotKind = (typeof DOT_KINDS)[number];

/** acc + products of bytes, as an expression. */
export type Dot = (a: V128, b: V128, acc: V128) => V128;

/** Prepares dot products in a function: `pairs` keeps a vector of ones. */
export function dotProduct(f: Body, kind: DotKind): Dot {
  if (kind === 'relaxed') {
    return (a, b, acc) => `(i32x4.relaxed_dot_i8x16_i7x16_add_s ${a} ${b} ${acc})` as V128;
  }
  if (kind === 'pairs') {
    const { pairs, sums } = pairProducts(f);
    return (a, b, acc) => i32x4.add(acc, sums(pairs(a, b)));
  }
  // dot gives the sums of neighbours [0+1, 2+3] of lanes 0, 1 (low half) and 2, 3 (high half).
  const lanes = (first: number) => [0, 8, 16, 24].flatMap((at) => [0, 1, 2, 3].map((i) => at + first + i));
  return (a, b, acc) => {
    const low = i16x8.dot(i8x16.extendLow(a), i8x16.extendLow(b));
    const high = i16x8.dot(i8x16.extendHigh(a), i8x16.extendHigh(b));
    return i32x4.add(acc, i32x4.add(i8x16.shuffle(low, high, lanes(0)), i8x16.shuffle(low, high, lanes(4))));
  };
}

/** The two steps of `pairs`: eight sums of two products in 16 bits, and their four sums in 32. */
export function pairProducts(f: Body): { pairs(a: V128, b: V128): V128; sums(pairs: V128): V128 } {
  const ones = heldI32(f, 'ones', 0x00010001);
  return {
    pairs: (a, b) => `(i16x8.relaxed_dot_i8x16_i7x16_s ${a} ${b})` as V128,
    sums: (pairs) => i16x8.dot(pairs, ones),
  };
}
