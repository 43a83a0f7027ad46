/**
 * The integer product of one panel: 16 columns of weights, blocks of 6 tokens, to raw 32-bit sums.
 *
 *   for block: acc[6][16] = 0
 *     for plane: acc <<= 7                      (planes of 7 bits, most significant first)
 *       for k/4: for token: acc[token][column] += sum_{j<4} w[k + j][column] x[token][k + j]
 *     y[block][6][16] = acc
 *
 *   x  [blocks][planes][quads][6][4]  bytes 0..127
 *   w  [quads][16][4]                 signed bytes, in the state memory
 *   y  [blocks][6][16]                i32
 *
 * 6 x 16 sums are 24 vectors of 128 bits: with --experimental-wasm-revectorize 12 of 256, plus the weights and one
 * broadcast, in 16 registers. Nothing else may stand in the loop, and the sums are stored in neighbouring pairs: the
 * revectorizer needs both.
 */
import { define, i32, i32x4, load, store, v128, type WatFunction } from '../wat.ts';
import { type DotKind, dotProduct } from './dot.ts';

export const BLOCK_TOKENS = 6;
export const PANEL_COLUMNS = 16;
/** Vectors of 4 columns in a panel. */
const VECTORS = PANEL_COLUMNS / 4;

/** `quads` must be even, `blocks` and `planes` at least 1. */
export function gemm(kind: DotKind): WatFunction {
  return define('gemm', ['x', 'w', 'y', 'blocks', 'quads', 'planes'], (f, x, w, y, blocks, quads, planes) => {
    const wp = f.local('i32', 'wp');
    const k = f.local('i32', 'k');
    const plane = f.local('i32', 'plane');
    const b = f.local('v128', 'b');
    const acc = f.locals('v128', 'acc', BLOCK_TOKENS * VECTORS);
    const weight = f.locals('v128', 'weight', VECTORS);
    const dot = dotProduct(f, kind);
    f.countdown(blocks, () => {
      for (const a of acc) f.set(a, v128.zero);
      f.set(plane, planes.get);
      f.countdown(plane, () => {
        for (const a of acc) f.set(a, i32x4.shl(a.get, 7));
        f.set(wp, w.get);
        f.set(k, i32.shrU(quads.get, 1));
        f.countdown(k, () => {
          for (let u = 0; u < 2; u++) {
            weight.forEach((v, n) => {
              f.set(v, load.v128(wp.get, (u * VECTORS + n) * 16));
            });
            for (let t = 0; t < BLOCK_TOKENS; t++) {
              f.set(b, load.splat32(x.get, (u * BLOCK_TOKENS + t) * 4));
              weight.forEach((v, n) => {
                const a = acc[t * VECTORS + n];
                f.set(a, dot(v.get, b.get, a.get));
              });
            }
          }
          f.advance(wp, 2 * VECTORS * 16);
          f.advance(x, 2 * BLOCK_TOKENS * 4);
        });
      });
      acc.forEach((a, i) => {
        f.emit(store.v128(y.get, a.get, i * 16));
      });
      f.advance(y, acc.length * 16);
    });
  });
}
