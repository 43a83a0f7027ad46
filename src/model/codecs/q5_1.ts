import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';

/**
 * Q5_1: 32 values share a half-precision scale d and minimum m; x = d q + m with 5-bit q.
 *
 * Block of 24 bytes (ggml's block_q5_1):
 *   0..1   d
 *   2..3   m
 *   4..7   fifth bits, little endian: bit j belongs to value j
 *   8..23  byte j: low four bits of value j in the low nibble, of value 16 + j in the high nibble
 */
export const Q5_1: Codec = {
  typeId: 7,
  name: 'Q5_1',
  blockSize: 32,
  blockBytes: 24,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 24, to += 32) {
      const d = halfAt(bytes, from);
      const m = halfAt(bytes, from + 2);
      const low = bytes[from + 4] | (bytes[from + 5] << 8); // fifth bits of values 0..15
      const high = bytes[from + 6] | (bytes[from + 7] << 8); // and of 16..31
      for (let j = 0; j < 16; j++) {
        const pair = bytes[from + 8 + j];
        out[to + j] = d * ((pair & 15) | (((low >>> j) & 1) << 4)) + m;
        out[to + 16 + j] = d * ((pair >>> 4) | (((high >>> j) & 1) << 4)) + m;
      }
    }
  },
};
