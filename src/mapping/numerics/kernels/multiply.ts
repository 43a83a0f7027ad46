/**
 * The product of two packed f32 matrices, the one kernel in which nearly all of a mapping's time goes:
 *
 *   c[6 b + i][0..15] (op)= sum_k a[b][k][i] w[k][0..15]      b < blocks, i < 6, k < depth
 *
 *   a [blocks][depth][6] f32, w [depth][16] f32, c rows of 16 f32, `cStride` bytes apart
 *   op: `set` (=), `add` (+=), `subtract` (-=)
 *
 * Six rows of 16 columns are 12 sums of 256 bits, enough to hide the latency of a multiply-add and as many as the 16
 * registers of V8 hold besides two vectors of w and one broadcast. Neighbouring 128-bit operations stand side by side
 * for V8's revectorizer, which makes one of 256 bits of them. The multiply-add is fused on every machine that has one.
 */
import {
  type Body,
  define,
  f32x4,
  type I32,
  type Local,
  load,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';

/** Rows of a block of a. */
export const BLOCK_ROWS = 6;
/** Columns of a panel of w and c. */
export const PANEL_COLUMNS = 16;
/** Bytes of a panel's row. */
export const ROW_BYTES = 4 * PANEL_COLUMNS;
export const VECTORS = PANEL_COLUMNS / 4;

export type Write = 'set' | 'add' | 'subtract';

/** a b + c, rounded once where the machine can. */
export const multiplyAdd = (a: V128, b: V128, c: V128): V128 => `(f32x4.relaxed_madd ${a} ${b} ${c})` as V128;

/** `blocks` and `depth` at least 1. */
export function multiply(write: Write): WatFunction {
  const parameters = ['a', 'w', 'c', 'blocks', 'depth', 'cStride'];
  return define(`multiply_${write}`, parameters, (f, a, w, c, blocks, depth, cStride) => {
    const acc = f.locals('v128', 'acc', BLOCK_ROWS * VECTORS);
    const weight = f.locals('v128', 'weight', VECTORS);
    const b = f.local('v128', 'b');
    const [wp, k] = ['wp', 'k'].map((name) => f.local('i32', name));
    f.countdown(blocks, () => {
      for (const sum of acc) f.set(sum, v128.zero);
      f.set(wp, w.get);
      f.set(k, depth.get);
      f.countdown(k, () => {
        weight.forEach((v, n) => {
          f.set(v, load.v128(wp.get, 16 * n));
        });
        for (let i = 0; i < BLOCK_ROWS; i++) {
          f.set(b, load.splat32(a.get, 4 * i));
          weight.forEach((v, n) => {
            const sum = acc[i * VECTORS + n];
            f.set(sum, multiplyAdd(v.get, b.get, sum.get));
          });
        }
        f.advance(wp, 4 * PANEL_COLUMNS);
        f.advance(a, 4 * BLOCK_ROWS);
      });
      for (let i = 0; i < BLOCK_ROWS; i++) {
        writeRow(f, write, c.get, acc.slice(i * VECTORS, (i + 1) * VECTORS), weight);
        f.advance(c, cStride.get);
      }
    });
  });
}

/** Loads come before the stores of a row: the revectorizer does not move a load across a store. */
function writeRow(
  f: Body,
  write: Write,
  at: I32,
  sums: readonly Local<'v128'>[],
  before: readonly Local<'v128'>[],
): void {
  if (write !== 'set') {
    before.forEach((v, n) => {
      f.set(v, load.v128(at, 16 * n));
    });
    before.forEach((v, n) => {
      f.set(sums[n], (write === 'add' ? f32x4.add : f32x4.sub)(v.get, sums[n].get));
    });
  }
  sums.forEach((sum, n) => {
    f.emit(store.v128(at, sum.get, 16 * n));
  });
}

/** Operations per round of `multiplyPeak`. */
export const PEAK_OPERATIONS = 2 * 24 * 4;

/** What the machine can do: 12 chains of 256-bit multiply-adds on registers alone, `count` rounds. */
export function multiplyPeak(): WatFunction {
  return define('multiply_peak', ['at', 'count'], (f, at, count) => {
    const acc = f.locals('v128', 'acc', 24);
    const b = f.local('v128', 'b');
    f.set(b, load.splat32(at.get));
    acc.forEach((sum, i) => {
      f.set(sum, load.v128(at.get, 16 * i));
    });
    f.countdown(count, () => {
      for (const sum of acc) f.set(sum, multiplyAdd(sum.get, b.get, b.get));
    });
    acc.forEach((sum, i) => {
      f.emit(store.v128(at.get, sum.get, 16 * i));
    });
  });
}
