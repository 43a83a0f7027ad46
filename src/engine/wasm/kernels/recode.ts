/**
 * Weight codes of 16 columns of a tile: src/tile/weight-code.ts's search for the scale that minimises
 * sum_k (w - scale code)^2, all columns side by side in f32.
 *
 *   for factor of CLIP_FACTORS: scale = factor max|w| / top
 *     3 times: code = clip(round(w / scale), +-top); keep the scale with the least error; scale = <w, code> / <code, code>
 *
 *   w [rows][16] f32, zero beyond the matrix;  codes [rows][16] signed bytes;  scales [16] f32
 *
 * The sums are f32 here and f64 there: scales agree to 1e-4 (two of nearly equal error may change places), codes but for weights on a boundary.
 */
import { heldF32 } from '../../../emit/constants.ts';
import {
  define,
  type Expr,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  load,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ROUNDER } from './adc.ts';
import { PANEL_COLUMNS } from './gemm.ts';

/** `factors`: address of `factorCount` f32; `top` the largest magnitude as an i32. */
export function recode(): WatFunction {
  const parameters = ['w', 'rows', 'top', 'factors', 'factorCount', 'codes', 'scales'];
  return define('recode', parameters, (f, w, rows, top, factors, factorCount, codes, scales) => {
    const pair = (name: string) => f.locals('v128', name, 2);
    const [value, code, error, cross, square, scale, inverse, best, bestError, most] = [
      'value',
      'code',
      'error',
      'cross',
      'square',
      'scale',
      'inverse',
      'best',
      'bestError',
      'most',
    ].map(pair);
    const [at, left, factor, factorLeft, refinement, half, to] = [
      'at',
      'left',
      'factor',
      'factorLeft',
      'refinement',
      'half',
      'to',
    ].map((name) => f.local('i32', name));
    const rounder = heldF32(f, 'rounder', ROUNDER);
    const one = heldF32(f, 'one', 1);
    const huge = heldF32(f, 'huge', 3e38);
    const limit = f.local('v128', 'limit');
    const negative = f.local('v128', 'negative');
    const step = f.local('v128', 'step');
    f.set(limit, f32x4.ofI32(i32x4.splatOf(top.get)));
    f.set(negative, f32x4.neg(limit.get));
    const both = (visit: (n: number) => void) => {
      visit(0);
      visit(1);
    };
    const rowsOf = (visit: (n: number) => void) => {
      f.set(at, w.get);
      f.set(left, rows.get);
      f.countdown(left, () => {
        both((n) => {
          f.set(value[n], load.v128(at.get, 16 * n));
          visit(n);
        });
        f.advance(at, PANEL_COLUMNS * 4);
      });
    };
    /** 1 / scale, 0 where the scale is. */
    const invert = (into: Local<'v128'>, of: V128) =>
      f.set(into, v128.and(f32x4.div(one, of), f32x4.greater(of, v128.zero)));
    const round = (x: Expr<'v128'>) => f32x4.sub(f32x4.add(x, rounder), rounder);
    const quantise = (n: number) =>
      f.set(
        code[n],
        f32x4.pmin(limit.get, f32x4.pmax(negative.get, round(f32x4.mul(value[n].get, inverse[n].get)))),
      );
    f.set(half, i32.of(2));
    f.countdown(half, () => {
      both((n) => f.set(most[n], v128.zero));
      rowsOf((n) => f.set(most[n], f32x4.pmax(most[n].get, f32x4.abs(value[n].get))));
      both((n) => {
        f.set(most[n], f32x4.div(most[n].get, limit.get));
        f.set(best[n], most[n].get);
        f.set(bestError[n], huge);
      });
      f.set(factor, factors.get);
      f.set(factorLeft, factorCount.get);
      f.countdown(factorLeft, () => {
        f.set(step, load.splat32(factor.get));
        both((n) => f.set(scale[n], f32x4.mul(most[n].get, step.get)));
        f.set(refinement, i32.of(3));
        f.countdown(refinement, () => {
          both((n) => {
            invert(inverse[n], scale[n].get);
            for (const sum of [error, cross, square]) f.set(sum[n], v128.zero);
          });
          rowsOf((n) => {
            quantise(n);
            f.set(cross[n], f32x4.add(cross[n].get, f32x4.mul(value[n].get, code[n].get)));
            f.set(square[n], f32x4.add(square[n].get, f32x4.mul(code[n].get, code[n].get)));
            f.set(value[n], f32x4.sub(value[n].get, f32x4.mul(scale[n].get, code[n].get)));
            f.set(error[n], f32x4.add(error[n].get, f32x4.mul(value[n].get, value[n].get)));
          });
          both((n) => {
            const better = f32x4.less(error[n].get, bestError[n].get);
            f.set(code[n], better);
            f.set(best[n], v128.select(scale[n].get, best[n].get, code[n].get));
            f.set(bestError[n], v128.select(error[n].get, bestError[n].get, code[n].get));
            const fitted = f32x4.div(cross[n].get, square[n].get);
            f.set(scale[n], v128.and(fitted, f32x4.greater(square[n].get, v128.zero)));
          });
        });
        f.advance(factor, 4);
      });
      both((n) => invert(inverse[n], best[n].get));
      f.set(to, codes.get);
      f.set(at, w.get);
      f.set(left, rows.get);
      f.countdown(left, () => {
        both((n) => {
          f.set(value[n], load.v128(at.get, 16 * n));
          quantise(n);
        });
        const words = i16x8.narrow(i32x4.ofF32(code[0].get), i32x4.ofF32(code[1].get));
        f.emit(store.low64(to.get, i8x16.narrow(words, words)));
        f.advance(at, PANEL_COLUMNS * 4);
        f.advance(to, PANEL_COLUMNS);
      });
      both((n) => {
        f.emit(store.v128(scales.get, best[n].get, 16 * n));
      });
      f.advance(w, PANEL_COLUMNS * 2);
      f.advance(codes, PANEL_COLUMNS / 2);
      f.advance(scales, PANEL_COLUMNS * 2);
    });
  });
}
