import type { Codec } from './codec.ts';
import { HALF_VALUES, halfBits } from './half.ts';

/**
 * Q8_0: 32 values share a half-precision scale d; x = d q with int8 q.
 * Block: d (2 bytes), q (32 bytes). Quantiser as ggml's reference: d = max|x| / 127 kept in float32 while rounding
 * (half away from zero), stored as a half.
 */
export const Q8_0: Codec = {
  typeId: 8,
  name: 'Q8_0',
  blockSize: 32,
  blockBytes: 34,
  dequantise(bytes, out) {
    for (let from = 0, to = 0; from < bytes.length; from += 34, to += 32) {
      const d = HALF_VALUES[bytes[from] | (bytes[from + 1] << 8)];
      for (let j = 0; j < 32; j++) out[to + j] = d * ((bytes[from + 2 + j] << 24) >> 24);
    }
  },
  quantise(values, bytes) {
    for (let from = 0, to = 0; from < values.length; from += 32, to += 34) {
      let largest = 0;
      for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(values[from + j]));
      const d = Math.fround(largest / 127);
      const inverse = d === 0 ? 0 : Math.fround(1 / d);
      const bits = halfBits(d);
      bytes[to] = bits;
      bytes[to + 1] = bits >>> 8;
      for (let j = 0; j < 32; j++) {
        const v = Math.fround(values[from + j] * inverse);
        bytes[to + 2 + j] = v < 0 ? -Math.floor(-v + 0.5) : Math.floor(v + 0.5);
      }
    }
  },
};
