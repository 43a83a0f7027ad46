import type { Codec } from './codec.ts';
import { HALF_VALUES, halfBits } from './half.ts';

/**
 * Q4_0: 32 values share a half-precision scale d; x = d (q - 8) with 4-bit q.
 * Block: d (2 bytes), then 16 bytes whose low nibbles are values 0..15 and high nibbles values 16..31.
 * Quantiser as ggml's reference: d = (the value of largest magnitude, with its sign) / -8.
 */
export const Q4_0: Codec = {
  typeId: 2,
  name: 'Q4_0',
  blockSize: 32,
  blockBytes: 18,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 18, to += 32) {
      const d = HALF_VALUES[bytes[from] | (bytes[from + 1] << 8)];
      for (let j = 0; j < 16; j++) {
        const pair = bytes[from + 2 + j];
        out[to + j] = d * ((pair & 15) - 8);
        out[to + 16 + j] = d * ((pair >>> 4) - 8);
      }
    }
  },
  quantise(values, bytes) {
    for (let from = 0, to = 0; from < values.length; from += 32, to += 18) {
      let largest = 0;
      for (let j = 0; j < 32; j++) {
        if (Math.abs(values[from + j]) > Math.abs(largest)) largest = values[from + j];
      }
      const d = Math.fround(largest / -8);
      const inverse = d === 0 ? 0 : Math.fround(1 / d);
      const bits = halfBits(d);
      bytes[to] = bits;
      bytes[to + 1] = bits >>> 8;
      for (let j = 0; j < 16; j++) {
        const low = code(values[from + j], inverse);
        const high = code(values[from + 16 + j], inverse);
        bytes[to + 2 + j] = low | (high << 4);
      }
    }
  },
};

function code(value: number, inverse: number): number {
  return Math.min(15, Math.trunc(Math.fround(Math.fround(value * inverse) + 8.5)));
}
