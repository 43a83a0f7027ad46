/**
 * Low-rank paths in the digital part, one token at a time in f32:
 *
 *   project    z[r] = rows[r] . x                         r < count
 *   combine    y += sum_r z[r] rows[r], or -=
 *
 *   rows [count][4 vectors] f32, one after another; x and y [4 vectors]; vectors a multiple of 4 (rows are padded to 16)
 */
import { define, f32, f32x4, i32, load, store, v128, type WatFunction } from '../../../emit/wat.ts';

export function project(): WatFunction {
  return define('project', ['z', 'rows', 'x', 'count', 'vectors'], (f, z, rows, x, count, vectors) => {
    const sums = f.locals('v128', 'sum', 4);
    const [at, left] = ['at', 'left'].map((name) => f.local('i32', name));
    f.countdown(count, () => {
      for (const sum of sums) f.set(sum, v128.zero);
      f.set(at, x.get);
      f.set(left, i32.shrU(vectors.get, 2));
      f.countdown(left, () => {
        sums.forEach((sum, i) => {
          const product = f32x4.mul(load.v128(rows.get, 16 * i), load.v128(at.get, 16 * i));
          f.set(sum, f32x4.add(sum.get, product));
        });
        f.advance(at, 64);
        f.advance(rows, 64);
      });
      const [s0, s1, s2, s3] = sums.map((sum) => sum.get);
      f.set(sums[0], f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
      const lane = (i: number) => f32x4.extract(sums[0].get, i);
      f.emit(store.f32(z.get, f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3)))));
      f.advance(z, 4);
    });
  });
}

export function combine(sign: 'add' | 'subtract'): WatFunction {
  const parameters = ['y', 'rows', 'z', 'count', 'vectors'];
  return define(`combine_${sign}`, parameters, (f, y, rows, z, count, vectors) => {
    const sums = f.locals('v128', 'sum', 4);
    const factor = f.local('v128', 'factor');
    const [left, row, from, terms, stride] = ['left', 'row', 'from', 'terms', 'stride'].map((name) =>
      f.local('i32', name),
    );
    const join = sign === 'add' ? f32x4.add : f32x4.sub;
    f.set(stride, i32.shl(vectors.get, 4));
    f.set(left, i32.shrU(vectors.get, 2));
    f.countdown(left, () => {
      sums.forEach((sum, i) => {
        f.set(sum, load.v128(y.get, 16 * i));
      });
      f.set(row, rows.get);
      f.set(from, z.get);
      f.set(terms, count.get);
      f.countdown(terms, () => {
        f.set(factor, load.splat32(from.get));
        sums.forEach((sum, i) => {
          f.set(sum, join(sum.get, f32x4.mul(factor.get, load.v128(row.get, 16 * i))));
        });
        f.advance(row, stride.get);
        f.advance(from, 4);
      });
      sums.forEach((sum, i) => {
        f.emit(store.v128(y.get, sum.get, 16 * i));
      });
      f.advance(y, 64);
      f.advance(rows, 64);
    });
  });
}
