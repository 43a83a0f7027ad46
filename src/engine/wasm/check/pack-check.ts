/** Runs the kernel that packs rows of a file on drawn ones and compares it with its definition, for tests and the self-test. */
import { allocate } from '../../../emit/arena.ts';
import { CONSTANTS_END } from '../../../emit/constants.ts';
import { invoke } from '../../../emit/wat.ts';
import { halfAt, putHalf } from '../../../model/codecs/half.ts';
import { bits32, streamKey, uniform } from '../../../random.ts';
import { BLOCK_BYTES, BLOCK_ROWS, HALVES_BYTES } from '../kernels/blocks.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import type { Kernels } from '../kernels/module.ts';
import { PACK_OPERANDS, PACKED_BYTES } from '../kernels/pack-blocks.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { Memories } from './panel-check.ts';

/** Packs drawn rows of a file, and reads every code and scale where blocks.ts has them; one scale may be no number. */
export function checkPacking(
  kernels: Kernels,
  { state, weights, tables }: Memories,
  tiles: number,
  seed: number,
  infinite: boolean,
): string | undefined {
  state.used = CONSTANTS_END;
  const bytes = new Uint8Array(state.memory.buffer);
  const key = streamKey(seed, 0x7061636b);
  const rowBytes = tiles * PACKED_BYTES;
  const rows = allocate(state, PANEL_COLUMNS * rowBytes, 'rows');
  const wrong = allocate(state, 4, 'wrong');
  for (let i = 0; i < PANEL_COLUMNS * rowBytes; i++) bytes[rows + i] = bits32(key, i);
  for (let i = 0; i < PANEL_COLUMNS * tiles; i++)
    putHalf(bytes, rows + i * PACKED_BYTES, uniform(key, i) - 0.5);
  if (infinite) {
    const place = bits32(key, 0) % (PANEL_COLUMNS * tiles);
    putHalf(bytes, rows + place * PACKED_BYTES, seed % 2 === 0 ? Number.NEGATIVE_INFINITY : Number.NaN);
  }
  invoke(kernels.pack_blocks, PACK_OPERANDS, { rows, rowBytes, codes: 0, halves: 0, tiles, wrong });
  const [codes, halves] = [weights, tables].map(({ memory }) => new Uint8Array(memory.buffer));
  for (let tile = 0; tile < tiles; tile++) {
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      const from = rows + n * rowBytes + tile * PACKED_BYTES;
      if (!Object.is(halfAt(halves, tile * HALVES_BYTES + 2 * n), halfAt(bytes, from)))
        return `scale ${n} of tile ${tile} differs`;
      for (let j = 0; j < BLOCK_ROWS; j++) {
        const pair = bytes[from + 2 + (j & 15)];
        const byte =
          codes[tile * BLOCK_BYTES + (j >> 2) * QUAD_BYTES.codes + (n >> 3) * 16 + (n & 3) * 4 + (j & 3)];
        const code = n & 4 ? byte >> 4 : byte & 15;
        if (code !== (j < 16 ? pair & 15 : pair >> 4))
          return `row ${j} of column ${n} of tile ${tile} differs`;
      }
    }
  }
  const found = new DataView(state.memory.buffer).getInt32(wrong, true) !== 0;
  return found === infinite ? undefined : `a scale that is no number is ${found ? '' : 'not '}seen`;
}
