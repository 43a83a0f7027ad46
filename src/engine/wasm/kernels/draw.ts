/**
 * Standard normals of 16 columns for many tokens or tiles: two passes over a buffer in the cache.
 *
 *   hash_columns   out[item][16] = hash(column + c; a, b)      a, b at keys + item * stride
 *   normals        out[item][16] = normal(out[item][16])
 *
 * hash and normal are those of hash.ts. They stand apart from the conversion that uses them, and from each other: as one
 * chain of forty dependent operations they would wait for each other (0.48 ns per draw against 0.22, Zen 4).
 */
import { addressOfRun } from '../../../emit/constants.ts';
import { define, i32, i32x4, load, store, type WatFunction } from '../../../emit/wat.ts';
import type { DotKind } from './dot.ts';
import { PANEL_COLUMNS } from './gemm.ts';
import { draws } from './hash.ts';

const VECTORS = PANEL_COLUMNS / 4;
/** Items that are drawn at a time: few enough that the buffer stays in the first cache. */
export const DRAW_ITEMS = 63;
export const DRAW_BYTES = DRAW_ITEMS * PANEL_COLUMNS * 4;

export function hashColumns(kind: DotKind): WatFunction {
  return define('hash_columns', ['keys', 'stride', 'count', 'column', 'out'], (f, ...p) => {
    const [keys, stride, count, column, out] = p;
    const { hash } = draws(f, kind);
    const index = f.locals('v128', 'index', VECTORS);
    const bits = f.locals('v128', 'bits', VECTORS);
    const [a, b] = ['a', 'b'].map((name) => f.local('v128', name));
    const lanes = addressOfRun(Array.from({ length: PANEL_COLUMNS }, (_, c) => c));
    index.forEach((v, n) => {
      f.set(v, i32x4.add(i32x4.splatOf(column.get), load.v128(i32.of(lanes), 16 * n)));
    });
    f.countdown(count, () => {
      f.set(a, load.splat32(keys.get));
      f.set(b, load.splat32(keys.get, 4));
      bits.forEach((v, n) => {
        hash(v, index[n].get, a.get, b.get);
      });
      bits.forEach((v, n) => {
        f.emit(store.v128(out.get, v.get, 16 * n));
      });
      f.advance(keys, stride.get);
      f.advance(out, PANEL_COLUMNS * 4);
    });
  });
}

/** In place. */
export function normals(kind: DotKind): WatFunction {
  return define('normals', ['out', 'count'], (f, out, count) => {
    const { normal } = draws(f, kind);
    const z = f.locals('v128', 'z', VECTORS);
    f.countdown(count, () => {
      z.forEach((v, n) => {
        normal(v, load.v128(out.get, 16 * n));
      });
      z.forEach((v, n) => {
        f.emit(store.v128(out.get, v.get, 16 * n));
      });
      f.advance(out, PANEL_COLUMNS * 4);
    });
  });
}
