/**
 * Products with small constants by shifts and additions: canonical signed digits (Reitwiesner 1960: no two neighbouring
 * digits are nonzero, and no other form of digits -1, 0, 1 has fewer nonzero ones) and the products that a router offers.
 */

/** Nonzero digits of a magnitude: m = sum sign 2^shift, least shift first. */
export function signedDigits(magnitude: number): { shift: number; sign: 1 | -1 }[] {
  const digits: { shift: number; sign: 1 | -1 }[] = [];
  for (let rest = magnitude, shift = 0; rest !== 0; shift++) {
    if (rest % 2 !== 0) {
      // 1 where the rest is 1 modulo 4, -1 where it is 3: the next digit is then zero.
      const sign = rest % 4 === 1 ? 1 : -1;
      digits.push({ shift, sign });
      rest -= sign;
    }
    rest /= 2;
  }
  return digits;
}

/** Nonzero digits of all weights of a matrix, from its weights by magnitude. */
export function countDigits(magnitudes: ArrayLike<number>): number {
  let sum = 0;
  for (let m = 1; m < magnitudes.length; m++) sum += magnitudes[m] * signedDigits(m).length;
  return sum;
}

/**
 * Writes out[m] = m x for m = 0 .. out.length - 1. Even products are wires of smaller ones; an odd product m > 1 is one
 * addition to one that stands already: (m - 1) x + x, or where m + 1 is a power of two (m + 1) x - x.
 */
export function routedProducts(x: number, out: Float64Array): void {
  out[0] = 0;
  for (let m = 1; m < out.length; m++) {
    if (m === 1) out[m] = x;
    else if (m % 2 === 0) out[m] = 2 * out[m / 2];
    else if (isPowerOfTwo(m + 1)) out[m] = (m + 1) * x - x;
    else out[m] = out[m - 1] + x;
  }
}

const isPowerOfTwo = (n: number): boolean => (n & (n - 1)) === 0;

/** Adders of `routedProducts`: one for each odd product above 1. */
export const routedAdders = (largest: number): number => Math.max(0, Math.ceil(largest / 2) - 1);
