/**
 * Rows of a matrix in Q4_0 as the file has them to codes and halves of a panel (blocks.ts): nothing changes but the order.
 *
 * Block of a row: d as f16, then 16 bytes: value j in the low nibble of byte j, value 16 + j in the high one; q = w + 8 both here
 * and there. Columns n and n + 4 share a byte of the panel: one vector has 16 rows of both, four vectors of them a half of four quads,
 * with rows and columns the other way round.
 *
 *   rows  [16][tiles][18] bytes, wrong  i32: not 0 where a scale is no number; codes, halves  as blocks.ts has them
 */
import { heldI32 } from '../../../emit/constants.ts';
import { defineNamed, i16x8, load, store, v128, type WatFunction } from '../../../emit/wat.ts';
import { BLOCK_BYTES, HALVES_BYTES } from './blocks.ts';
import { PANEL_COLUMNS } from './gemm.ts';
import { turner } from './lay-rows.ts';
import { QUAD_BYTES } from './prepare.ts';

/** Q4_0: bytes of a block. */
export const PACKED_BYTES = 18;

export const PACK_OPERANDS = ['rows', 'rowBytes', 'codes', 'halves', 'tiles', 'wrong'] as const;

export function packBlocks(): WatFunction {
  return defineNamed('pack_blocks', PACK_OPERANDS, (f, p) => {
    const { rows, rowBytes, codes, halves, tiles, wrong } = p;
    const row = f.locals('i32', 'row', PANEL_COLUMNS);
    const bad = f.local('v128', 'bad');
    const nibbles = heldI32(f, 'nibbles', 0x0f0f0f0f);
    const exponent = heldI32(f, 'exponent', 0x7c007c00);
    const turn = turner(f);
    f.set(bad, v128.zero);
    for (const at of row) {
      f.set(at, rows.get);
      f.advance(rows, rowBytes.get);
    }
    const [a, b] = ['a', 'b'].map((name) => f.locals('v128', name, 4));
    f.countdown(tiles, () => {
      row.forEach((at, n) => {
        f.emit(store.i16(halves.get, load.i16(at.get), 2 * n, 'tables'));
      });
      for (let half = 0; half < 2; half++) {
        for (let n = 0; n < 4; n++) {
          f.set(a[n], load.v128(row[8 * half + n].get, 2));
          f.set(b[n], load.v128(row[8 * half + n + 4].get, 2));
        }
        const low = (n: number) =>
          v128.or(v128.and(a[n].get, nibbles), i16x8.shl(v128.and(b[n].get, nibbles), 4));
        const high = (n: number) =>
          v128.or(v128.and(i16x8.shrU(a[n].get, 4), nibbles), v128.andNot(b[n].get, nibbles));
        [low, high].forEach((part, first) => {
          turn(part, (quad, value) => {
            const offset = (4 * first + quad) * QUAD_BYTES.codes + 16 * half;
            f.emit(store.v128(codes.get, value, offset, 'weights'));
          });
        });
      }
      for (const n of [0, 1]) {
        const scales = load.v128(halves.get, 16 * n, 'tables');
        f.set(bad, v128.or(bad.get, i16x8.equal(v128.and(scales, exponent), exponent)));
      }
      for (const at of row) f.advance(at, PACKED_BYTES);
      f.advance(codes, BLOCK_BYTES);
      f.advance(halves, HALVES_BYTES);
    });
    f.emit(store.i32(wrong.get, v128.anyTrue(bad.get)));
  });
}
