/**
 * The parts of a block between its linear layers, in f32: norm, rotation, gated activation, residual.
 *
 *   norm      y = x / sqrt(mean x^2 + epsilon) gain                     (src/model/forward.ts, with sums in f32)
 *   rotate    pairs (2j, 2j+1) turned by position frequency_j; table [2][headDim]: cos cos.., -sin sin ..
 *   gate      g = g / (1 + e^-g) u
 *   residual  x += y
 *
 * Lengths in vectors of 4; buffers are padded with zeros to 16.
 */
import { heldF32 } from '../../../emit/constants.ts';
import { define, type F32, f32, f32x4, i8x16, load, store, type WatFunction } from '../../../emit/wat.ts';
import { exponential } from './math.ts';

/** `count` is the number of elements for the mean; `epsilon` the bits of an f32. */
export function norm(): WatFunction {
  return define('norm', ['y', 'x', 'gain', 'vectors', 'count', 'epsilon'], (f, ...p) => {
    const [y, x, gain, vectors, count, epsilon] = p;
    const [squares, v] = ['squares', 'v'].map((name) => f.local('v128', name));
    const [at, left] = ['at', 'left'].map((name) => f.local('i32', name));
    const scale = f.local('v128', 'scale');
    f.set(at, x.get);
    f.set(left, vectors.get);
    f.countdown(left, () => {
      f.set(v, load.v128(at.get));
      f.set(squares, f32x4.add(squares.get, f32x4.mul(v.get, v.get)));
      f.advance(at, 16);
    });
    const total = [1, 2, 3].reduce(
      (t, i) => f32.add(t, f32x4.extract(squares.get, i)),
      f32x4.extract(squares.get, 0),
    );
    const mean = f32.div(total, f32.ofI32(count.get));
    const spread = f32.sqrt(f32.add(mean, `(f32.reinterpret_i32 ${epsilon.get})` as F32));
    f.set(scale, f32x4.splatOf(f32.div(f32.of(1), spread)));
    f.countdown(vectors, () => {
      f.emit(store.v128(y.get, f32x4.mul(f32x4.mul(load.v128(x.get), scale.get), load.v128(gain.get))));
      for (const pointer of [y, x, gain]) f.advance(pointer, 16);
    });
  });
}

/** Rotates `heads` heads of `vectors` vectors in place. */
export function rotate(): WatFunction {
  return define('rotate', ['x', 'table', 'vectors', 'heads'], (f, x, table, vectors, heads) => {
    const v = f.local('v128', 'v');
    const [at, left, sines] = ['at', 'left', 'sines'].map((name) => f.local('i32', name));
    f.set(sines, `(i32.shl ${vectors.get} (i32.const 4))`);
    f.countdown(heads, () => {
      f.set(at, table.get);
      f.set(left, vectors.get);
      f.countdown(left, () => {
        f.set(v, load.v128(x.get));
        const swapped = i8x16.shuffle(v.get, v.get, [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]);
        const sine = load.v128(`(i32.add ${at.get} ${sines.get})`);
        f.emit(store.v128(x.get, f32x4.add(f32x4.mul(v.get, load.v128(at.get)), f32x4.mul(swapped, sine))));
        f.advance(x, 16);
        f.advance(at, 16);
      });
    });
  });
}

export function gate(): WatFunction {
  return define('gate', ['g', 'u', 'vectors'], (f, g, u, vectors) => {
    const [v, e] = ['v', 'e'].map((name) => f.local('v128', name));
    const exp = exponential(f);
    const one = heldF32(f, 'one', 1);
    f.countdown(vectors, () => {
      f.set(v, load.v128(g.get));
      f.set(e, f32x4.neg(v.get));
      exp(e);
      f.set(v, f32x4.mul(f32x4.div(v.get, f32x4.add(one, e.get)), load.v128(u.get)));
      f.emit(store.v128(g.get, v.get));
      f.advance(g, 16);
      f.advance(u, 16);
    });
  });
}

export function residual(): WatFunction {
  return define('residual', ['x', 'y', 'vectors'], (f, x, y, vectors) => {
    f.countdown(vectors, () => {
      f.emit(store.v128(x.get, f32x4.add(load.v128(x.get), load.v128(y.get))));
      f.advance(x, 16);
      f.advance(y, 16);
    });
  });
}
