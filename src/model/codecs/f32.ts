import type { Codec } from './codec.ts';

/** 32-bit floats, little endian. */
export const F32: Codec = {
  typeId: 0,
  name: 'F32',
  blockSize: 1,
  blockBytes: 4,
  dequantise(bytes, out) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = bytes.byteLength >> 2;
    for (let i = 0; i < count; i++) out[i] = view.getFloat32(4 * i, true);
  },
  quantise(values, bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
  },
};
