import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';
import { IQ4_LEVELS } from './iq4_nl.ts';

/**
 * IQ4_XS: 256 values in 8 groups of 32; group g has a 6-bit scale s_g, and all share the half-precision factor d;
 * x = d (s_g - 32) LEVELS[q] with 4-bit q and the levels of IQ4_NL.
 *
 * Block of 136 bytes (ggml's block_iq4_xs):
 *   0..1    d
 *   2..3    high two bits of the scales, little endian: s_g at bit 2g
 *   4..7    low four bits of the scales: s_g in byte g >> 1, low nibble for even g
 *   8..135  byte 16 g + j (j = 0..15): value 32 g + j in the low nibble, 32 g + 16 + j in the high one
 */
export const IQ4_XS: Codec = {
  typeId: 23,
  name: 'IQ4_XS',
  blockSize: 256,
  blockBytes: 136,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 136, to += 256) {
      const d = halfAt(bytes, from);
      const highBits = bytes[from + 2] | (bytes[from + 3] << 8);
      for (let group = 0; group < 8; group++) {
        const low = (bytes[from + 4 + (group >> 1)] >>> (4 * (group & 1))) & 15;
        const scale = d * ((low | (((highBits >>> (2 * group)) & 3) << 4)) - 32);
        for (let j = 0; j < 16; j++) {
          const pair = bytes[from + 8 + 16 * group + j];
          out[to + 32 * group + j] = scale * IQ4_LEVELS[pair & 15];
          out[to + 32 * group + 16 + j] = scale * IQ4_LEVELS[pair >>> 4];
        }
      }
    }
  },
};
