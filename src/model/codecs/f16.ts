import type { Codec } from './codec.ts';
import { HALF_VALUES, halfBits } from './half.ts';

/** 16-bit IEEE floats, little endian. */
export const F16: Codec = {
  typeId: 1,
  name: 'F16',
  blockSize: 1,
  blockBytes: 2,
  dequantise(bytes, out) {
    const count = bytes.length >> 1;
    for (let i = 0; i < count; i++) out[i] = HALF_VALUES[bytes[2 * i] | (bytes[2 * i + 1] << 8)];
  },
  quantise(values, bytes) {
    for (let i = 0; i < values.length; i++) {
      const bits = halfBits(values[i]);
      bytes[2 * i] = bits;
      bytes[2 * i + 1] = bits >>> 8;
    }
  },
};
