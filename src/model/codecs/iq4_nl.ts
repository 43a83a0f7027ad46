import type { Codec } from './codec.ts';
import { halfAt } from './half.ts';

/** The 16 levels of IQ4_NL and IQ4_XS (ggml's kvalues_iq4nl): denser near zero, where the weights are. */
export const IQ4_LEVELS: readonly number[] = [
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/**
 * IQ4_NL: 32 values share a half-precision scale d; x = d LEVELS[q] with 4-bit q.
 *
 * Block of 18 bytes (ggml's block_iq4_nl):
 *   0..1   d
 *   2..17  byte j: value j in the low nibble, value 16 + j in the high nibble
 */
export const IQ4_NL: Codec = {
  typeId: 20,
  name: 'IQ4_NL',
  blockSize: 32,
  blockBytes: 18,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 18, to += 32) {
      const d = halfAt(bytes, from);
      for (let j = 0; j < 16; j++) {
        const pair = bytes[from + 2 + j];
        out[to + j] = d * IQ4_LEVELS[pair & 15];
        out[to + 16 + j] = d * IQ4_LEVELS[pair >>> 4];
      }
    }
  },
};
