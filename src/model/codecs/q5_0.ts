import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';

/**
 * Q5_0: 32 values share a half-precision scale d; x = d (q - 16) with 5-bit q.
 *
 * Block of 22 bytes (ggml's block_q5_0):
 *   0..1   d
 *   2..5   fifth bits, little endian: bit j belongs to value j
 *   6..21  byte j: low four bits of value j in the low nibble, of value 16 + j in the high nibble
 */
export const Q5_0: Codec = {
  typeId: 6,
  name: 'Q5_0',
  blockSize: 32,
  blockBytes: 22,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 22, to += 32) {
      const d = halfAt(bytes, from);
      const low = bytes[from + 2] | (bytes[from + 3] << 8); // fifth bits of values 0..15
      const high = bytes[from + 4] | (bytes[from + 5] << 8); // and of 16..31
      for (let j = 0; j < 16; j++) {
        const pair = bytes[from + 6 + j];
        out[to + j] = d * (((pair & 15) | (((low >>> j) & 1) << 4)) - 16);
        out[to + 16 + j] = d * (((pair >>> 4) | (((high >>> j) & 1) << 4)) - 16);
      }
    }
  },
};
