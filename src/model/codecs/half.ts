/**
 * IEEE 754 binary16 <-> binary32, exact.
 *
 * A half is 1 sign, 5 exponent (bias 15) and 10 fraction bits:
 *   exponent 0:     (-1)^s * f * 2^-24              (zero and subnormals)
 *   exponent 1..30: (-1)^s * (1 + f/1024) * 2^(e-15)
 *   exponent 31:    infinity (f = 0) or NaN
 */

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** Value of every half bit pattern; 256 kB, built once. Indexing it is the fastest exact conversion. */
export const HALF_VALUES: Float32Array = buildHalfValues();

function buildHalfValues(): Float32Array {
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) values[bits] = sign * fraction * 2 ** -24;
    else if (exponent < 31) values[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    else values[bits] = fraction === 0 ? sign * Infinity : Number.NaN;
  }
  return values;
}

/** Bits of the half nearest to the float32 `x`, ties to even; overflow gives infinity, NaN stays NaN. */
export function halfBits(x: number): number {
  float[0] = x;
  const bits = word[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude < 0x38800000) {
    // Below 2^-14 the half is subnormal: count in units of 2^-24. Adding 0.5 (whose last bit is 2^-24) lets
    // the float adder do the rounding, ties to even.
    word[0] = magnitude;
    float[0] += 0.5;
    return sign | (word[0] - 0x3f000000);
  }
  // Drop 13 fraction bits with ties to even, and move the exponent bias from 127 to 15.
  return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13);
}

/** The half stored little endian at bytes[at], bytes[at + 1]. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return HALF_VALUES[bytes[at] | (bytes[at + 1] << 8)];
}

/** Stores the half nearest to `x` at bytes[at], bytes[at + 1] and returns its value. */
export function putHalf(bytes: Uint8Array, at: number, x: number): number {
  const bits = halfBits(x);
  bytes[at] = bits;
  bytes[at + 1] = bits >>> 8;
  return HALF_VALUES[bits];
}
