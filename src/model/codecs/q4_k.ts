import type { Codec } from './codec.ts';
import { halfAt, putHalf } from './half.ts';
import { minimumAt, putScales, scaleAt } from './k-scales.ts';

/**
 * Q4_K: 256 values in 8 groups of 32; group g has a 6-bit scale s_g and a 6-bit minimum m_g, and all share the
 * half-precision factors d and dmin; x = (d s_g) q - (dmin m_g) with 4-bit q.
 *
 * Block of 144 bytes (ggml's block_q4_K):
 *   0..1     d
 *   2..3     dmin
 *   4..15    scales and minima, packed (k-scales.ts)
 *   16..143  byte 32 p + i (p = 0..3; i = 0..31): value 64 p + i in the low nibble, 64 p + 32 + i in the high one
 *
 * The quantiser is this project's own: least squares per group, not ggml's search, so its bytes differ from
 * llama-quantize's at about the same error.
 */
export const Q4_K: Codec = {
  typeId: 12,
  name: 'Q4_K',
  blockSize: 256,
  blockBytes: 144,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 144, to += 256) {
      const d = halfAt(bytes, from);
      const dmin = halfAt(bytes, from + 2);
      for (let group = 0; group < 8; group++) {
        const scale = d * scaleAt(bytes, from + 4, group);
        const minimum = dmin * minimumAt(bytes, from + 4, group);
        const quants = from + 16 + 32 * (group >> 1);
        const shift = 4 * (group & 1);
        for (let i = 0; i < 32; i++) {
          out[to + 32 * group + i] = scale * ((bytes[quants + i] >>> shift) & 15) - minimum;
        }
      }
    }
  },
  quantise(values, bytes) {
    for (let from = 0, to = 0; from < values.length; from += 256, to += 144) {
      let largestStep = 0;
      let largestMinimum = 0;
      for (let group = 0; group < 8; group++) {
        fitGroup(values, from + 32 * group);
        steps[group] = fit.step;
        minima[group] = fit.minimum;
        largestStep = Math.max(largestStep, fit.step);
        largestMinimum = Math.max(largestMinimum, fit.minimum);
      }
      const d = putHalf(bytes, to, largestStep / 63);
      const dmin = putHalf(bytes, to + 2, largestMinimum / 63);
      for (let group = 0; group < 8; group++) {
        scaleCodes[group] = d > 0 ? Math.min(63, Math.round(steps[group] / d)) : 0;
        minimumCodes[group] = dmin > 0 ? Math.min(63, Math.round(minima[group] / dmin)) : 0;
      }
      putScales(bytes, to + 4, scaleCodes, minimumCodes);
      for (let group = 0; group < 8; group++) {
        const step = d * scaleCodes[group];
        const inverse = step > 0 ? 1 / step : 0;
        const offset = dmin * minimumCodes[group] * inverse + 0.5;
        const quants = to + 16 + 32 * (group >> 1);
        const first = from + 32 * group;
        if ((group & 1) === 0) {
          for (let i = 0; i < 32; i++) bytes[quants + i] = code(values[first + i] * inverse + offset);
        } else {
          for (let i = 0; i < 32; i++) bytes[quants + i] |= code(values[first + i] * inverse + offset) << 4;
        }
      }
    }
  },
};

/** Of the block being quantised: a step and a minimum (both >= 0) per group, and their codes. */
const steps = new Float64Array(8);
const minima = new Float64Array(8);
const scaleCodes = new Uint8Array(8);
const minimumCodes = new Uint8Array(8);
const fit = { step: 0, minimum: 0 };

/** Rounds u - 0.5 to the nearest of 0..15. */
function code(u: number): number {
  return u <= 0 ? 0 : u >= 15.5 ? 15 : u | 0;
}

/**
 * Step s and minimum m >= 0 of x ~ s q - m for the 32 values from `first`, into `fit`: start from the range (with 0
 * in it, since m cannot be negative) and twice alternate between the nearest codes and the least-squares line
 *   s = (32 sum(q x) - sum(q) sum(x)) / (32 sum(q q) - sum(q)^2),   m = (s sum(q) - sum(x)) / 32.
 */
function fitGroup(values: Float32Array, first: number): void {
  let least = 0;
  let most = 0;
  let sumX = 0;
  for (let i = first; i < first + 32; i++) {
    const x = values[i];
    if (x < least) least = x;
    if (x > most) most = x;
    sumX += x;
  }
  let step = (most - least) / 15;
  let minimum = -least;
  for (let pass = 0; pass < 2 && step > 0; pass++) {
    const inverse = 1 / step;
    const offset = minimum * inverse + 0.5;
    let sumQ = 0;
    let sumQQ = 0;
    let sumQX = 0;
    for (let i = first; i < first + 32; i++) {
      const q = code(values[i] * inverse + offset);
      sumQ += q;
      sumQQ += q * q;
      sumQX += q * values[i];
    }
    const determinant = 32 * sumQQ - sumQ * sumQ;
    if (determinant === 0) break;
    step = (32 * sumQX - sumQ * sumX) / determinant;
    minimum = (step * sumQ - sumX) / 32;
    if (minimum < 0) {
      minimum = 0;
      step = sumQX / sumQQ;
    }
  }
  fit.step = Math.max(0, step);
  fit.minimum = minimum;
}
