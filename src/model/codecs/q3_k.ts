import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';

/**
 * Q3_K: 256 values in 16 groups of 16; group g has a 6-bit scale s_g, and all share the half-precision factor d;
 * x = d (s_g - 32) (q - 4) with 3-bit q.
 *
 * Block of 110 bytes (ggml's block_q3_K):
 *   0..31    third bits of q: byte i holds in bit 4 h + p the value 128 h + 32 p + i (h = 0, 1; p = 0..3)
 *   32..95   low two bits of q: byte 32 h + i holds in bits 2p, 2p + 1 the value 128 h + 32 p + i
 *   96..107  scales: low four bits of s_g in byte g & 7 (low nibble for g < 8, high nibble for the others),
 *            high two bits in byte 8 + (g & 3) at bit 2 (g >> 2)
 *   108..109 d
 */
export const Q3_K: Codec = {
  typeId: 11,
  name: 'Q3_K',
  blockSize: 256,
  blockBytes: 110,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 110, to += 256) {
      const d = halfAt(bytes, from + 108);
      for (let group = 0; group < 16; group++) {
        const low = (bytes[from + 96 + (group & 7)] >>> (group < 8 ? 0 : 4)) & 15;
        const high = (bytes[from + 104 + (group & 3)] >>> (2 * (group >> 2))) & 3;
        const scale = d * ((low | (high << 4)) - 32);
        const quants = from + 32 + 32 * (group >> 3) + 16 * (group & 1);
        const thirdBits = from + 16 * (group & 1);
        const shift = group & 6;
        const bit = group >> 1;
        for (let i = 0; i < 16; i++) {
          const q = ((bytes[quants + i] >>> shift) & 3) | (((bytes[thirdBits + i] >>> bit) & 1) << 2);
          out[to + 16 * group + i] = scale * (q - 4);
        }
      }
    }
  },
};
