import type { Codec } from './codec.ts';
import { halfAt, putHalf } from './half.ts';

/**
 * Q6_K: 256 values in 16 groups of 16; group g has an int8 scale s_g, and all share the half-precision factor d;
 * x = (d s_g) (q - 32) with 6-bit q.
 *
 * Block of 210 bytes (ggml's block_q6_K); value 128 h + 32 p + i, h = 0, 1; p = 0..3; i = 0..31:
 *   0..127    low four bits of q, in byte 64 h + 32 (p & 1) + i, low nibble for p < 2, high nibble for the others
 *   128..191  high two bits of q, in byte 32 h + i at bit 2p
 *   192..207  s_g
 *   208..209  d
 *
 * The quantiser is this project's own: least squares per group, not ggml's search, so its bytes differ from
 * llama-quantize's at about the same error.
 */
export const Q6_K: Codec = {
  typeId: 14,
  name: 'Q6_K',
  blockSize: 256,
  blockBytes: 210,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 210, to += 256) {
      const d = halfAt(bytes, from + 208);
      for (let group = 0; group < 16; group++) {
        const scale = d * ((bytes[from + 192 + group] << 24) >> 24);
        const { low, lowShift, high, highShift } = PLACES[group];
        for (let i = 0; i < 16; i++) {
          const q =
            ((bytes[from + low + i] >>> lowShift) & 15) | (((bytes[from + high + i] >>> highShift) & 3) << 4);
          out[to + 16 * group + i] = scale * (q - 32);
        }
      }
    }
  },
  quantise(values, bytes) {
    for (let from = 0, to = 0; from < values.length; from += 256, to += 210) {
      let largest = 0;
      for (let group = 0; group < 16; group++) {
        steps[group] = fitStep(values, from + 16 * group);
        if (Math.abs(steps[group]) > Math.abs(largest)) largest = steps[group];
      }
      // The largest step becomes the scale -128, the far end of int8, as in ggml.
      const d = putHalf(bytes, to + 208, largest / -128);
      bytes.fill(0, to, to + 192);
      for (let group = 0; group < 16; group++) {
        const scale = d === 0 ? 0 : Math.max(-128, Math.min(127, Math.round(steps[group] / d)));
        bytes[to + 192 + group] = scale;
        const step = d * scale;
        const inverse = step === 0 ? 0 : 1 / step;
        const { low, lowShift, high, highShift } = PLACES[group];
        for (let i = 0; i < 16; i++) {
          const q = code(values[from + 16 * group + i] * inverse);
          bytes[to + low + i] |= (q & 15) << lowShift;
          bytes[to + high + i] |= (q >>> 4) << highShift;
        }
      }
    }
  },
};

/** Place of the first of a group's 16 values, from the start of the block. */
const PLACES = Array.from({ length: 16 }, (_, group) => {
  const h = group >> 3;
  const p = (group >> 1) & 3;
  const i = 16 * (group & 1);
  return {
    low: 64 * h + 32 * (p & 1) + i,
    lowShift: p < 2 ? 0 : 4,
    high: 128 + 32 * h + i,
    highShift: 2 * p,
  };
});

/** Steps of the block being quantised. */
const steps = new Float64Array(16);

/** Rounds u + 32 to the nearest of 0..63. */
function code(u: number): number {
  const v = u + 32.5;
  return v <= 0 ? 0 : v >= 63.5 ? 63 : v | 0;
}

/**
 * Step s of x ~ s q, q = -32..31, for the 16 values from `first`: from s = extreme / -32, the extreme being the value
 * of largest magnitude with its sign, once the nearest codes and the least-squares s = sum(q x) / sum(q q).
 */
function fitStep(values: Float32Array, first: number): number {
  let extreme = 0;
  for (let i = first; i < first + 16; i++) {
    if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
  }
  if (extreme === 0) return 0;
  const inverse = -32 / extreme;
  let sumQQ = 0;
  let sumQX = 0;
  for (let i = first; i < first + 16; i++) {
    const q = code(values[i] * inverse) - 32;
    sumQQ += q * q;
    sumQX += q * values[i];
  }
  return sumQX / sumQQ;
}
