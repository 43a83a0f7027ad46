/** Codes of 4 bits that a file has itself: Q4_0, blocks of 32 values d (q - 8). */

import { halfAt } from '../../../model/codecs/half.ts';
import { readRow } from '../../../model/gguf.ts';
import type { GgufFile, GgufTensor } from '../../../model/gguf-file.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';

const BLOCK_ROWS = 32;
/** d as a half, then 16 bytes: value j in the low half of byte j, value 16 + j in the high one. */
const BLOCK_BYTES = 18;

export interface FileBlocks {
  /**
   * Writes block number `block` of all columns in the order of kernels/prepare.ts, and returns their scales [16]; columns
   * that the matrix does not have are zero.
   */
  pack(block: number, to: Uint8Array): Float32Array;
}

/** Reads `count` rows of a matrix in Q4_0, the columns of a panel, at once. Errors: those of readRow, for a scale that is no number. */
export function readBlocks(file: GgufFile, tensor: GgufTensor, first: number, count: number): FileBlocks {
  const inputs = tensor.shape[1];
  const rowBytes = (inputs / BLOCK_ROWS) * BLOCK_BYTES;
  // Code 8 is zero.
  const raw = new Uint8Array(PANEL_COLUMNS * rowBytes);
  raw.fill(0x88, count * rowBytes);
  file.read(tensor.offset + first * rowBytes, raw.subarray(0, count * rowBytes));
  const scales = new Float32Array(PANEL_COLUMNS);
  return {
    pack(block, to) {
      const start = block * BLOCK_BYTES;
      for (let n = 0; n < count; n++) {
        const at = n * rowBytes + start;
        scales[n] = halfAt(raw, at);
        if (!Number.isFinite(scales[n])) readRow(file, tensor, first + n, new Float32Array(inputs));
      }
      // Columns n and n + 4 share a byte, in two's complement: q - 8 is q with its top bit the other way round.
      for (let pair = 0; pair < PANEL_COLUMNS / 2; pair++) {
        const n = (pair & 3) + 8 * (pair >> 2);
        const low = n * rowBytes + start + 2;
        const high = low + 4 * rowBytes;
        const base = (pair >> 2) * 16 + (pair & 3) * 4;
        for (let j = 0; j < BLOCK_ROWS / 2; j++) {
          const [a, b] = [raw[low + j], raw[high + j]];
          const place = base + (j >> 2) * QUAD_BYTES.codes + (j & 3);
          to[place] = ((a & 15) | (b << 4)) ^ 0x88;
          to[place + 4 * QUAD_BYTES.codes] = ((a >> 4) | (b & 0xf0)) ^ 0x88;
        }
      }
      return scales;
    },
  };
}
