/**
 * The integers that stand for activations and weights in every integer backend: how large they get, and how they round.
 * Activations are one plane of 7 bits or two of 7 (most significant first), weights a signed byte.
 */

/** Largest magnitude that the planes hold. */
export const INPUT_LIMIT = { 1: 63, 2: 8191 } as const;

/**
 * The largest input: all that one plane holds (sign and 6 bits, so that a 6-bit DAC's codes are exact); with two planes
 * (sign and 13 bits) 2 % less, for the noise of rows at the top level.
 */
export const INPUT_TOP = { 1: INPUT_LIMIT[1], 2: 8000 } as const;
/** Largest stored weight, and largest magnitude for the sum of currents. */
export const BYTE_TOP = 127;

/** Largest weight for `gemm_small`: 2 pairs of products with inputs up to 127 stay below 2^15. */
export const SMALL_WEIGHT = 63;

/** To the nearest whole number, halves to the even one: what WebAssembly's `nearest` does. */
export function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  if (rest !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/** The bits of a number as an f32: how kernels, whose operands are integers, are given one. */
export const floatBits = (x: number): number => new Int32Array(new Float32Array([x]).buffer)[0];
