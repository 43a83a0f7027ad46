import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';

/**
 * Q2_K: 256 values in 16 groups of 16; group g has a 4-bit scale s_g and a 4-bit minimum m_g, and all of them share the
 * half-precision factors d and dmin; x = (d s_g) q - (dmin m_g) with 2-bit q.
 *
 * Block of 84 bytes (ggml's block_q2_K):
 *   0..15   byte g: s_g in the low nibble, m_g in the high nibble
 *   16..79  q: byte 32 h + i (h = 0, 1; i = 0..31) holds in bits 2p, 2p + 1 the value 128 h + 32 p + i, p = 0..3
 *   80..81  d
 *   82..83  dmin
 */
export const Q2_K: Codec = {
  typeId: 10,
  name: 'Q2_K',
  blockSize: 256,
  blockBytes: 84,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 84, to += 256) {
      const d = halfAt(bytes, from + 80);
      const dmin = halfAt(bytes, from + 82);
      for (let group = 0; group < 16; group++) {
        const scale = d * (bytes[from + group] & 15);
        const minimum = dmin * (bytes[from + group] >>> 4);
        // Groups 2p and 2p + 1 of a half are the two halves of the 32 bytes, at bit 2p.
        const quants = from + 16 + 32 * (group >> 3) + 16 * (group & 1);
        const shift = group & 6;
        for (let i = 0; i < 16; i++) {
          out[to + 16 * group + i] = scale * ((bytes[quants + i] >>> shift) & 3) - minimum;
        }
      }
    }
  },
};
