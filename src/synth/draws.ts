/**
 * Fast draws from the generalised normal law of unit variance, f(x) = exp(-|x / a|^shape) / (2 a Gamma(1 + 1 / shape)),
 * a = sqrt(Gamma(1 / shape) / Gamma(3 / shape)), by a table of quantiles: 8e9 weights take one hash and one
 * interpolation each.
 *
 * Of the 32 bits of a draw, the top one is the sign and the others, s = 1 .. 2^31 - 1, the probability s / 2^31 that a
 * magnitude is larger. The table is spaced as floating point is, CELLS per octave of s, so that the tail is as well
 * resolved as the body; between its points the magnitude is linear in s. Largest magnitude: the quantile of 2^-31
 * (6.3 for shape 2, 15 for shape 1).
 */
import type { StreamKey } from '../random.ts';
import { mix32 } from '../random.ts';

const CELL_BITS = 7;
const CELLS = 2 ** CELL_BITS;

/** magnitude at s = 2^octave (1 + cell / CELLS), at index octave * CELLS + cell; [31 CELLS + 1]. */
export type QuantileTable = Float32Array;

/** `shape` from 0.8 to 4. */
export function buildQuantileTable(shape: number): QuantileTable {
  // Where exp(-x^shape) is 1e-20, ten decades below the smallest probability in use.
  const steps = 2 ** 15;
  const h = 46 ** (1 / shape) / steps;
  const density = (x: number): number => Math.exp(-(x ** shape));
  // Mass beyond x = j h, and second moment, by Simpson's rule from the far end.
  const beyond = new Float64Array(steps + 1);
  let secondMoment = 0;
  for (let j = steps - 1; j >= 0; j--) {
    const [left, middle, right] = [j * h, (j + 0.5) * h, (j + 1) * h];
    const [f0, f1, f2] = [density(left), density(middle), density(right)];
    beyond[j] = beyond[j + 1] + (h / 6) * (f0 + 4 * f1 + f2);
    secondMoment += (h / 6) * (f0 * left * left + 4 * f1 * middle * middle + f2 * right * right);
  }
  const deviation = Math.sqrt(secondMoment / beyond[0]);

  const table = new Float32Array(31 * CELLS + 1);
  let j = steps;
  for (let index = 0; index < 31 * CELLS; index++) {
    const probability = 2 ** (Math.floor(index / CELLS) - 31) * (1 + (index % CELLS) / CELLS);
    const mass = probability * beyond[0];
    while (beyond[j - 1] < mass) j--;
    // Between the points the logarithm of the mass is linear.
    const part = j === steps ? 0 : Math.log(beyond[j - 1] / mass) / Math.log(beyond[j - 1] / beyond[j]);
    table[index] = ((j - 1 + part) * h) / deviation;
  }
  table[31 * CELLS] = 0;
  return table;
}

/** Fills out with `sigma` times draws 0, 1, ... of the stream. */
export function fillDraws(table: QuantileTable, key: StreamKey, sigma: number, out: Float32Array): void {
  const { a, b } = key;
  const fraction = 2 ** -(31 - CELL_BITS);
  for (let i = 0; i < out.length; i++) {
    const bits = mix32(mix32((i + a) | 0) ^ b) | 0; // bits32(key, i)
    const s = (bits & 0x7fffffff) | 1;
    const zeros = Math.clz32(s);
    const normalised = s << zeros; // leading one at bit 31
    const at = (31 - zeros) * CELLS + ((normalised >>> (31 - CELL_BITS)) & (CELLS - 1));
    const low = table[at];
    const magnitude = low + (table[at + 1] - low) * (normalised & (2 ** (31 - CELL_BITS) - 1)) * fraction;
    // The sign as a factor: a branch on a random bit costs as much as all the rest.
    out[i] = sigma * magnitude * ((bits >> 31) | 1);
  }
}
