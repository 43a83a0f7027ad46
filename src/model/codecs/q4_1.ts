import type { Codec } from './codec.ts';
import { HALF_VALUES } from './half.ts';

/**
 * Q4_1: 32 values share a half-precision scale d and minimum m; x = d q + m with 4-bit q.
 * Block: d (2 bytes), m (2 bytes), then 16 bytes whose low nibbles are values 0..15 and high nibbles 16..31.
 */
export const Q4_1: Codec = {
  typeId: 3,
  name: 'Q4_1',
  blockSize: 32,
  blockBytes: 20,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 20, to += 32) {
      const d = HALF_VALUES[bytes[from] | (bytes[from + 1] << 8)];
      const m = HALF_VALUES[bytes[from + 2] | (bytes[from + 3] << 8)];
      for (let j = 0; j < 16; j++) {
        const pair = bytes[from + 4 + j];
        out[to + j] = d * (pair & 15) + m;
        out[to + 16 + j] = d * (pair >>> 4) + m;
      }
    }
  },
};
