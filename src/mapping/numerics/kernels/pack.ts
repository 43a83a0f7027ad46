/**
 * Packing for `multiply`: a block of 6 rows of a, or a panel of 16 columns of w, out of a row-major f32 matrix.
 *
 *   pack_blocks       dst[b][k][i] = src[k][6 b + i]   i < 6    rows of the matrix are k (contiguous in i)
 *   pack_panel        dst[k][i] = src[k][i]            i < 16
 *   pack_block_rows   dst[k][i] = src[i][k]            i < 6    rows of the matrix are i (contiguous in k): transposes
 *   pack_panel_rows   dst[k][i] = src[i][k]            i < 16
 *
 * `stride` is the bytes between rows of the matrix; `depth` (the number of k) and `blocks` are at least 1. All blocks are
 * packed in one pass, so that a row of a large matrix is touched once.
 */
import { define, type Expr, i32, load, store, type V128, type WatFunction } from '../../../emit/wat.ts';
import { BLOCK_ROWS, PANEL_COLUMNS, VECTORS } from './multiply.ts';

export function packBlocks(): WatFunction {
  const parameters = ['src', 'dst', 'depth', 'stride', 'blocks'];
  return define('pack_blocks', parameters, (f, src, dst, depth, stride, blocks) => {
    const [from, to, left, blockBytes] = ['from', 'to', 'left', 'blockBytes'].map((name) =>
      f.local('i32', name),
    );
    f.set(blockBytes, i32.mul(depth.get, 4 * BLOCK_ROWS));
    f.countdown(depth, () => {
      f.set(from, src.get);
      f.set(to, dst.get);
      f.set(left, blocks.get);
      f.countdown(left, () => {
        f.emit(store.v128(to.get, load.v128(from.get)));
        f.emit(store.low64(to.get, `(v128.load64_zero offset=16 ${from.get})` as V128, 16));
        f.advance(from, 4 * BLOCK_ROWS);
        f.advance(to, blockBytes.get);
      });
      f.advance(src, stride.get);
      f.advance(dst, 4 * BLOCK_ROWS);
    });
  });
}

export function packPanel(): WatFunction {
  return define('pack_panel', ['src', 'dst', 'depth', 'stride'], (f, src, dst, depth, stride) => {
    f.countdown(depth, () => {
      for (let n = 0; n < VECTORS; n++) f.emit(store.v128(dst.get, load.v128(src.get, 16 * n), 16 * n));
      f.advance(src, stride.get);
      f.advance(dst, 4 * PANEL_COLUMNS);
    });
  });
}

export function packRows(width: typeof BLOCK_ROWS | typeof PANEL_COLUMNS): WatFunction {
  const name = width === BLOCK_ROWS ? 'pack_block_rows' : 'pack_panel_rows';
  return define(name, ['src', 'dst', 'depth', 'stride'], (f, src, dst, depth, stride) => {
    const rows = [src, ...Array.from({ length: width - 1 }, (_, i) => f.local('i32', `row${i + 1}`))];
    for (let i = 1; i < width; i++)
      f.set(rows[i], `(i32.add ${rows[i - 1].get} ${stride.get})` as Expr<'i32'>);
    f.countdown(depth, () => {
      rows.forEach((row, i) => {
        f.emit(store.f32(dst.get, load.f32(row.get), 4 * i));
        f.advance(row, 4);
      });
      f.advance(dst, 4 * width);
    });
  });
}
