/** Codes of 4 bits that a file has itself: Q4_0, blocks of 32 values d (q - 8), to the order of kernels/blocks.ts. */

import { readRow } from '../../../model/gguf.ts';
import type { GgufFile, GgufTensor } from '../../../model/gguf-file.ts';
import { BLOCK_ROWS, CODE_ZERO } from '../kernels/blocks.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';

/** d as a half, then 16 bytes: value j in the low half of byte j, value 16 + j in the high one. */
const BLOCK_BYTES = 18;
const BLOCK_WORDS = ((BLOCK_ROWS / 4) * QUAD_BYTES.codes) / 4;
const QUAD_WORDS = QUAD_BYTES.codes / 4;
/** Exponent of a half that is no number. */
const NOT_FINITE = 0x7c00;
const [LOW, HIGH] = [0x0f0f0f0f, 0xf0f0f0f0];

/** Where a panel's blocks go, one after the other. */
export interface PackedBlocks {
  readonly codes: Uint32Array;
  /** d [blocks][16] as the file has them. */
  readonly halves: Uint16Array;
}

/**
 * Packs `count` rows of a matrix in Q4_0 from row `first` on, the columns of a panel; columns that the matrix does not have are zero.
 * Errors: those of readRow, for a scale that is no number.
 */
export function packBlocks(
  file: GgufFile,
  tensor: GgufTensor,
  first: number,
  count: number,
  to: PackedBlocks,
): void {
  const inputs = tensor.shape[1];
  const blocks = inputs / BLOCK_ROWS;
  const rowBytes = blocks * BLOCK_BYTES;
  const raw = new Uint8Array(PANEL_COLUMNS * rowBytes);
  raw.fill(CODE_ZERO * 0x11, count * rowBytes);
  file.read(tensor.offset + first * rowBytes, raw.subarray(0, count * rowBytes));
  const view = new DataView(raw.buffer);
  for (let n = 0; n < PANEL_COLUMNS; n++) {
    for (let block = 0; block < blocks; block++) {
      const bits = n < count ? view.getUint16(n * rowBytes + block * BLOCK_BYTES, true) : 0;
      if ((bits & NOT_FINITE) === NOT_FINITE) readRow(file, tensor, first + n, new Float32Array(inputs));
      to.halves[block * PANEL_COLUMNS + n] = bits;
    }
  }
  // Columns n and n + 4 share a byte.
  for (let pair = 0; pair < PANEL_COLUMNS / 2; pair++) {
    const low = ((pair & 3) + 8 * (pair >> 2)) * rowBytes + 2;
    const high = low + 4 * rowBytes;
    const place = (pair >> 2) * 4 + (pair & 3);
    for (let block = 0; block < blocks; block++) {
      const from = block * BLOCK_BYTES;
      const start = block * BLOCK_WORDS + place;
      for (let quad = 0; quad < BLOCK_ROWS / 8; quad++) {
        const a = view.getUint32(low + from + 4 * quad, true);
        const b = view.getUint32(high + from + 4 * quad, true);
        const at = start + quad * QUAD_WORDS;
        to.codes[at] = (a & LOW) | ((b & LOW) << 4);
        to.codes[at + (BLOCK_ROWS / 8) * QUAD_WORDS] = ((a >>> 4) & LOW) | (b & HIGH);
      }
    }
  }
}
