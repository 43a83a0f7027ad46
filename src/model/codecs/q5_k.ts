import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';
import { minimumAt, scaleAt } from './k-scales.ts';

/**
 * Q5_K: 256 values in 8 groups of 32; group g has a 6-bit scale s_g and a 6-bit minimum m_g, and all share the
 * half-precision factors d and dmin; x = (d s_g) q - (dmin m_g) with 5-bit q.
 *
 * Block of 176 bytes (ggml's block_q5_K):
 *   0..1     d
 *   2..3     dmin
 *   4..15    scales and minima, packed (k-scales.ts)
 *   16..47   fifth bits: byte i holds in bit g that of value 32 g + i
 *   48..175  byte 32 p + i (p = 0..3; i = 0..31): value 64 p + i in the low nibble, 64 p + 32 + i in the high one
 */
export const Q5_K: Codec = {
  typeId: 13,
  name: 'Q5_K',
  blockSize: 256,
  blockBytes: 176,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 176, to += 256) {
      const d = halfAt(bytes, from);
      const dmin = halfAt(bytes, from + 2);
      for (let group = 0; group < 8; group++) {
        const scale = d * scaleAt(bytes, from + 4, group);
        const minimum = dmin * minimumAt(bytes, from + 4, group);
        const quants = from + 48 + 32 * (group >> 1);
        const shift = 4 * (group & 1);
        for (let i = 0; i < 32; i++) {
          const fifth = (bytes[from + 16 + i] >>> group) & 1;
          const q = ((bytes[quants + i] >>> shift) & 15) | (fifth << 4);
          out[to + 32 * group + i] = scale * q - minimum;
        }
      }
    }
  },
};
