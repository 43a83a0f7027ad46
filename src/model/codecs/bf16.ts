import type { Codec } from './codec.ts';

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** bfloat16: the upper half of a float32, little endian. */
export const BF16: Codec = {
  typeId: 30,
  name: 'BF16',
  blockSize: 1,
  blockBytes: 2,
  dequantise(bytes, out) {
    const count = bytes.length >> 1;
    for (let i = 0; i < count; i++) {
      word[0] = (bytes[2 * i] << 16) | (bytes[2 * i + 1] << 24);
      out[i] = float[0];
    }
  },
};
