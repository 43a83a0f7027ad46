/**
 * Fast rotations by Hadamard matrices of one vector x [length] f32, in place: the factors of src/mapping/hadamard.ts, one
 * kernel call each; signs and scale are a multiplication before (or behind, for the inverse).
 *
 *   butterflies   (a, b) <- (a + b, a - b), `stride` elements apart, stride 1, 2 or a multiple of 4
 *   mix           y_b = sum_a x_a h[a][b] over the m elements of each group, `stride` elements apart
 *
 * Sums have a fixed order: a result does not depend on who computes it. `h` is a table of +-1 in f32 [m][m].
 */
import { addressOfRun } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  f32x4,
  i8x16,
  i32,
  type Local,
  load,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';

const BITS = { plus: 0x3f800000, minus: 0xbf800000 - 2 ** 32 };

/** Within vectors of four: `vectors` of them. */
export function butterfliesWithin(stride: 1 | 2): WatFunction {
  const { plus, minus } = BITS;
  const words = stride === 1 ? [plus, minus, plus, minus] : [plus, plus, minus, minus];
  const order = stride === 1 ? [1, 0, 3, 2] : [2, 3, 0, 1];
  const pattern = order.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
  return define(`butterflies_${stride}`, ['x', 'vectors'], (f, x, vectors) => {
    const v = f.local('v128', 'v');
    const signs = f.local('v128', 'signs');
    f.set(signs, load.v128(i32.of(addressOfRun(words))));
    f.countdown(vectors, () => {
      f.set(v, load.v128(x.get));
      const swapped = i8x16.shuffle(v.get, v.get, pattern);
      f.emit(store.v128(x.get, f32x4.add(swapped, f32x4.mul(v.get, signs.get))));
      f.advance(x, 16);
    });
  });
}

/** `vectors` fours of elements from one half to the other; `groups` pairs of halves. */
export function butterflies(): WatFunction {
  return define('butterflies', ['x', 'vectors', 'groups'], (f, x, vectors, groups) => {
    const [a, b] = f.locals('v128', 'v', 2);
    const [other, left] = ['other', 'left'].map((name) => f.local('i32', name));
    f.countdown(groups, () => {
      f.set(other, i32.add(x.get, i32.shl(vectors.get, 4)));
      f.set(left, vectors.get);
      f.countdown(left, () => {
        f.set(a, load.v128(x.get));
        f.set(b, load.v128(other.get));
        f.emit(store.v128(x.get, f32x4.add(a.get, b.get)));
        f.emit(store.v128(other.get, f32x4.sub(a.get, b.get)));
        f.advance(x, 16);
        f.advance(other, 16);
      });
      f.set(x, other.get);
    });
  });
}

/** Four sums that take turns, so that an addition need not wait for the one before. */
function fourSums(f: Body): { sums: Local<'v128'>[]; total: V128 } {
  const sums = f.locals('v128', 'sum', 4);
  const [s0, s1, s2, s3] = sums.map((sum) => sum.get);
  return { sums, total: f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)) };
}

/** `order` neighbouring elements, a multiple of 4, of each of `groups`; h[a][b]; `scratch` [order]. */
export function mixNeighbours(): WatFunction {
  const parameters = ['x', 'h', 'scratch', 'order', 'groups'];
  return define('mix_neighbours', parameters, (f, x, h, scratch, order, groups) => {
    const { sums, total } = fourSums(f);
    const [from, column, left, terms, to, row] = ['from', 'column', 'left', 'terms', 'to', 'row'].map(
      (name) => f.local('i32', name),
    );
    f.countdown(groups, () => {
      f.set(column, h.get);
      f.set(to, scratch.get);
      f.set(left, i32.shrU(order.get, 2));
      f.countdown(left, () => {
        for (const sum of sums) f.set(sum, v128.zero);
        f.set(from, x.get);
        f.set(row, column.get);
        f.set(terms, i32.shrU(order.get, 2));
        f.countdown(terms, () => {
          for (const [i, sum] of sums.entries()) {
            const product = f32x4.mul(load.splat32(from.get, 4 * i), load.v128(row.get));
            f.set(sum, f32x4.add(sum.get, product));
            f.advance(row, i32.shl(order.get, 2));
          }
          f.advance(from, 16);
        });
        f.emit(store.v128(to.get, total));
        f.advance(to, 16);
        f.advance(column, 16);
      });
      f.set(from, scratch.get);
      f.set(left, i32.shrU(order.get, 2));
      f.countdown(left, () => {
        f.emit(store.v128(x.get, load.v128(from.get)));
        f.advance(x, 16);
        f.advance(from, 16);
      });
    });
  });
}

/**
 * Elements `vectors` fours apart, of each of `groups`: four of them side by side. `h` has the transposed table, h[b][a];
 * `scratch` [order][4].
 */
export function mixApart(): WatFunction {
  const parameters = ['x', 'h', 'scratch', 'order', 'vectors', 'groups'];
  return define('mix_apart', parameters, (f, x, h, scratch, order, vectors, groups) => {
    const { sums, total } = fourSums(f);
    const [at, term, left, terms, to, row, column, stride] = [
      'at',
      'term',
      'left',
      'terms',
      'to',
      'row',
      'column',
      'stride',
    ].map((name) => f.local('i32', name));
    f.set(stride, i32.shl(vectors.get, 4));
    f.countdown(groups, () => {
      f.set(column, vectors.get);
      f.countdown(column, () => {
        f.set(at, x.get);
        f.set(to, scratch.get);
        f.set(left, order.get);
        f.countdown(left, () => {
          f.emit(store.v128(to.get, load.v128(at.get)));
          f.advance(to, 16);
          f.advance(at, stride.get);
        });
        f.set(at, x.get);
        f.set(row, h.get);
        f.set(left, order.get);
        f.countdown(left, () => {
          for (const sum of sums) f.set(sum, v128.zero);
          f.set(term, scratch.get);
          f.set(terms, i32.shrU(order.get, 2));
          f.countdown(terms, () => {
            for (const [i, sum] of sums.entries()) {
              const product = f32x4.mul(load.splat32(row.get, 4 * i), load.v128(term.get, 16 * i));
              f.set(sum, f32x4.add(sum.get, product));
            }
            f.advance(row, 16);
            f.advance(term, 64);
          });
          f.emit(store.v128(at.get, total));
          f.advance(at, stride.get);
        });
        f.advance(x, 16);
      });
      // Over the other rows of the group.
      f.set(x, i32.sub(at.get, i32.sub(stride.get, 16)));
    });
  });
}
