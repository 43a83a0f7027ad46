/**
 * The parts of a block between its linear layers, in f32: norm, rotation, gated activation, residual.
 *
 *   norm      y = x / sqrt(mean x^2 + epsilon) gain                     (src/model/forward.ts, with sums in f32)
 *   rotate    pairs (2j, 2j+1) turned by position frequency_j; table [2][headDim]: cos cos.., -sin sin ..
 *   rotate_halves  pairs (j, j + n/2) of the first n elements of a head; table [2][n / 2]: cos.., sin ..
 *   gate      g = g / (1 + e^-g) u
 *   gate_gelu g = g / (1 + e^-2t) u, t = sqrt(2 / pi) (g + 0.044715 g^3): GELU by tanh, since 1 + tanh t = 2 / (1 + e^-2t)
 *   scale     x *= factor
 *   soft_cap  x = cap tanh(factor x / cap)
 *   residual  x += y
 *
 * Lengths in vectors of 4; buffers are padded with zeros to 16.
 */
import { heldF32 } from '../../../emit/constants.ts';
import {
  define,
  type F32,
  f32,
  f32x4,
  type I32,
  i8x16,
  i32,
  load,
  store,
  type V128,
  type WatFunction,
} from '../../../emit/wat.ts';
import type { Activation } from '../../../model/architecture.ts';
import { exponential } from './math.ts';

/** Kernel names by activation. */
export const GATES = { silu: 'gate', gelu: 'gate_gelu' } as const satisfies Record<Activation, string>;

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

/** Rotates `heads` heads of `headBytes` bytes in place; `vectors` are those of half of what turns. */
export function rotateHalves(): WatFunction {
  const parameters = ['x', 'table', 'vectors', 'heads', 'headBytes'];
  return define('rotate_halves', parameters, (f, x, table, vectors, heads, headBytes) => {
    const [a, b, c, s] = ['a', 'b', 'c', 's'].map((name) => f.local('v128', name));
    const [at, to, left, apart] = ['at', 'to', 'left', 'apart'].map((name) => f.local('i32', name));
    f.set(apart, i32.shl(vectors.get, 4));
    f.countdown(heads, () => {
      f.set(at, table.get);
      f.set(to, x.get);
      f.set(left, vectors.get);
      f.countdown(left, () => {
        f.set(a, load.v128(to.get));
        f.set(b, load.v128(i32.add(to.get, apart.get)));
        f.set(c, load.v128(at.get));
        f.set(s, load.v128(i32.add(at.get, apart.get)));
        f.emit(store.v128(to.get, f32x4.sub(f32x4.mul(a.get, c.get), f32x4.mul(b.get, s.get))));
        const second = f32x4.add(f32x4.mul(a.get, s.get), f32x4.mul(b.get, c.get));
        f.emit(store.v128(i32.add(to.get, apart.get), second));
        f.advance(to, 16);
        f.advance(at, 16);
      });
      f.advance(x, headBytes.get);
    });
  });
}

export function scale(): WatFunction {
  return define('scale', ['x', 'vectors', 'factor'], (f, x, vectors, factor) => {
    const by = f.local('v128', 'by');
    f.set(by, splatBits(factor.get));
    f.countdown(vectors, () => {
      f.emit(store.v128(x.get, f32x4.mul(load.v128(x.get), by.get)));
      f.advance(x, 16);
    });
  });
}

/** `factor` and `cap` are bits of f32; tanh z = 1 - 2 / (1 + e^2z). */
export function softCap(): WatFunction {
  return define('soft_cap', ['x', 'vectors', 'factor', 'cap'], (f, x, vectors, factor, cap) => {
    const [inner, outer, v] = ['inner', 'outer', 'v'].map((name) => f.local('v128', name));
    const exp = exponential(f);
    const one = heldF32(f, 'one', 1);
    const two = heldF32(f, 'two', 2);
    f.set(outer, splatBits(cap.get));
    f.set(inner, f32x4.div(f32x4.mul(two, splatBits(factor.get)), outer.get));
    f.countdown(vectors, () => {
      f.set(v, f32x4.mul(load.v128(x.get), inner.get));
      exp(v);
      f.set(v, f32x4.sub(one, f32x4.div(two, f32x4.add(one, v.get))));
      f.emit(store.v128(x.get, f32x4.mul(v.get, outer.get)));
      f.advance(x, 16);
    });
  });
}

const splatBits = (bits: I32): V128 => `(f32x4.splat (f32.reinterpret_i32 ${bits}))` as V128;

export function gate(activation: Activation): WatFunction {
  return define(GATES[activation], ['g', 'u', 'vectors'], (f, g, u, vectors) => {
    const [v, e] = ['v', 'e'].map((name) => f.local('v128', name));
    const exp = exponential(f);
    const one = heldF32(f, 'one', 1);
    const minusTwice = activation === 'gelu' ? heldF32(f, 'minusTwice', -2 * Math.sqrt(2 / Math.PI)) : one;
    const cubic = activation === 'gelu' ? heldF32(f, 'cubic', 0.044715) : one;
    f.countdown(vectors, () => {
      f.set(v, load.v128(g.get));
      if (activation === 'silu') f.set(e, f32x4.neg(v.get));
      else {
        const square = f32x4.mul(v.get, v.get);
        const bend = f32x4.add(one, f32x4.mul(cubic, square));
        f.set(e, f32x4.mul(f32x4.mul(v.get, minusTwice), bend));
      }
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
