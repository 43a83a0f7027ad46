/**
 * Passes over one panel, [rows][16] f32: element by element, or summed down the rows for each of the 16 outputs.
 *
 *   dot_rows    out[n] += sum_j a[j][n] b[j][n]
 *   residual    out[j][n] = w[j][n] - s[tile(j)][n] codes[j][n]
 *   difference  out[j][n] = a[j][n] - b[j][n]
 *   accumulate  out[j][n] += a[j][n]
 *   butterflies (a, b) <- (a + b, a - b) for runs a, b of `span` bytes that stand side by side, `groups` pairs of them
 *   gather      out[j] = src[index[j]],  scatter  out[index[j]] = src[j]
 *   project     of coding tile rows with scales s (inverse 1 / s): c = clip(round(w / s)),
 *               error[n] += sum_j h_j (w - s c)^2,  cross[n] += sum_j h_j w c,  norm[n] += sum_j h_j c^2
 *
 * `rows` is at least 1; tileOf [rows] i32 and index [rows] i32 are byte offsets.
 */
import { heldF32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  f32x4,
  type I32,
  i32,
  type Local,
  load,
  store,
  type V128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ROUNDER } from '../../../numbers.ts';
import { multiplyAdd, ROW_BYTES, VECTORS } from './multiply.ts';

type Vectors = readonly Local<'v128'>[];

const read = (f: Body, into: Vectors, at: I32) =>
  into.forEach((v, n) => {
    f.set(v, load.v128(at, 16 * n));
  });
const write = (f: Body, at: I32, from: Vectors) =>
  from.forEach((v, n) => {
    f.emit(store.v128(at, v.get, 16 * n));
  });

export function dotRows(): WatFunction {
  return define('dot_rows', ['a', 'b', 'out', 'rows'], (f, a, b, out, rows) => {
    const sum = f.locals('v128', 'sum', VECTORS);
    const x = f.locals('v128', 'x', VECTORS);
    read(f, sum, out.get);
    f.countdown(rows, () => {
      read(f, x, a.get);
      sum.forEach((s, n) => {
        f.set(s, multiplyAdd(x[n].get, load.v128(b.get, 16 * n), s.get));
      });
      f.advance(a, ROW_BYTES);
      f.advance(b, ROW_BYTES);
    });
    write(f, out.get, sum);
  });
}

export function residual(): WatFunction {
  const parameters = ['w', 'codes', 'scales', 'tileOf', 'out', 'rows'];
  return define('residual', parameters, (f, w, codes, scales, tileOf, out, rows) => {
    const x = f.locals('v128', 'x', VECTORS);
    const tile = f.local('i32', 'tile');
    f.countdown(rows, () => {
      f.set(tile, i32.add(scales.get, load.i32(tileOf.get)));
      read(f, x, w.get);
      x.forEach((v, n) => {
        const coded = f32x4.mul(load.v128(tile.get, 16 * n), load.v128(codes.get, 16 * n));
        f.set(v, f32x4.sub(v.get, coded));
      });
      write(f, out.get, x);
      for (const at of [w, codes, out]) f.advance(at, ROW_BYTES);
      f.advance(tileOf, 4);
    });
  });
}

export function difference(): WatFunction {
  return define('difference', ['a', 'b', 'out', 'rows'], (f, a, b, out, rows) => {
    const x = f.locals('v128', 'x', VECTORS);
    f.countdown(rows, () => {
      x.forEach((v, n) => {
        f.set(v, f32x4.sub(load.v128(a.get, 16 * n), load.v128(b.get, 16 * n)));
      });
      write(f, out.get, x);
      for (const at of [a, b, out]) f.advance(at, ROW_BYTES);
    });
  });
}

export function accumulatePanel(): WatFunction {
  return define('accumulate', ['out', 'a', 'rows'], (f, out, a, rows) => {
    const x = f.locals('v128', 'x', VECTORS);
    f.countdown(rows, () => {
      x.forEach((v, n) => {
        f.set(v, f32x4.add(load.v128(out.get, 16 * n), load.v128(a.get, 16 * n)));
      });
      write(f, out.get, x);
      f.advance(out, ROW_BYTES);
      f.advance(a, ROW_BYTES);
    });
  });
}

export function butterflies(): WatFunction {
  return define('butterflies', ['at', 'span', 'groups'], (f, at, span, groups) => {
    const a = f.locals('v128', 'a', VECTORS);
    const b = f.locals('v128', 'b', VECTORS);
    const [second, left] = ['second', 'left'].map((name) => f.local('i32', name));
    f.countdown(groups, () => {
      f.set(second, i32.add(at.get, span.get));
      f.set(left, i32.shrU(span.get, 6));
      f.countdown(left, () => {
        read(f, a, at.get);
        read(f, b, second.get);
        a.forEach((v, n) => {
          f.emit(store.v128(at.get, f32x4.add(v.get, b[n].get), 16 * n));
        });
        a.forEach((v, n) => {
          f.emit(store.v128(second.get, f32x4.sub(v.get, b[n].get), 16 * n));
        });
        f.advance(at, ROW_BYTES);
        f.advance(second, ROW_BYTES);
      });
      f.set(at, second.get);
    });
  });
}

/** `gather` reads the indexed rows, `scatter` writes them. */
export function moveRows(kind: 'gather' | 'scatter'): WatFunction {
  return define(kind, ['src', 'index', 'out', 'rows'], (f, src, index, out, rows) => {
    const x = f.locals('v128', 'x', VECTORS);
    f.countdown(rows, () => {
      const indexed = i32.add((kind === 'gather' ? src : out).get, load.i32(index.get));
      read(f, x, kind === 'gather' ? indexed : src.get);
      write(f, kind === 'gather' ? out.get : indexed, x);
      f.advance(kind === 'gather' ? out : src, ROW_BYTES);
      f.advance(index, 4);
    });
  });
}

/** `sums` [3][16]: error, cross, norm. */
export function project(): WatFunction {
  const parameters = ['w', 'energy', 'scales', 'inverses', 'limit', 'sums', 'rows'];
  return define('project', parameters, (f, w, energy, scales, inverses, limit, sums, rows) => {
    const [s, inverse, most, error, cross, norm, x, code] = [
      's',
      'inv',
      'most',
      'error',
      'cross',
      'norm',
      'x',
      'code',
    ].map((name) => f.locals('v128', name, VECTORS));
    const h = f.local('v128', 'h');
    const rounder = heldF32(f, 'rounder', ROUNDER);
    read(f, s, scales.get);
    read(f, inverse, inverses.get);
    read(f, most, limit.get);
    [error, cross, norm].forEach((group, i) => {
      read(f, group, i32.add(sums.get, i * ROW_BYTES));
    });
    f.countdown(rows, () => {
      f.set(h, load.splat32(energy.get));
      read(f, x, w.get);
      code.forEach((c, n) => {
        const clipped = f32x4.pmin(
          most[n].get,
          f32x4.pmax(f32x4.neg(most[n].get), f32x4.mul(x[n].get, inverse[n].get)),
        );
        f.set(c, f32x4.sub(f32x4.add(clipped, rounder), rounder));
      });
      const weighted = (c: Local<'v128'>): V128 => f32x4.mul(h.get, c.get);
      cross.forEach((v, n) => {
        f.set(v, multiplyAdd(weighted(code[n]), x[n].get, v.get));
      });
      norm.forEach((v, n) => {
        f.set(v, multiplyAdd(weighted(code[n]), code[n].get, v.get));
      });
      x.forEach((v, n) => {
        f.set(v, f32x4.sub(v.get, f32x4.mul(s[n].get, code[n].get)));
      });
      error.forEach((v, n) => {
        f.set(v, multiplyAdd(weighted(x[n]), x[n].get, v.get));
      });
      f.advance(w, ROW_BYTES);
      f.advance(energy, 4);
    });
    [error, cross, norm].forEach((group, i) => {
      write(f, i32.add(sums.get, i * ROW_BYTES), group);
    });
  });
}
