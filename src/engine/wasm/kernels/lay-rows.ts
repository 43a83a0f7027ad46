/**
 * Columns of a panel as rows: what `recode` and `quantise` read.
 *
 *   to[rows][16] = from[16][stride bytes], f32; rows in fours: up to three behind the last are what stands there
 */
import {
  type Body,
  define,
  i8x16,
  i32,
  type Local,
  load,
  store,
  type V128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { PANEL_COLUMNS } from './gemm.ts';

export function layRows(): WatFunction {
  return define('lay_rows', ['from', 'stride', 'to', 'rows'], (f, from, stride, to, rows) => {
    const column = f.locals('i32', 'column', PANEL_COLUMNS);
    const fours = f.local('i32', 'fours');
    const turn = turner(f);
    for (const at of column) {
      f.set(at, from.get);
      f.advance(from, stride.get);
    }
    f.set(fours, i32.shrU(i32.add(rows.get, 3), 2));
    f.countdown(fours, () => {
      for (let first = 0; first < PANEL_COLUMNS; first += 4) {
        turn(
          (n) => load.v128(column[first + n].get),
          (row, value) => f.emit(store.v128(to.get, value, (row * PANEL_COLUMNS + first) * 4)),
        );
      }
      for (const at of column) f.advance(at, 16);
      f.advance(to, 4 * PANEL_COLUMNS * 4);
    });
  });
}

/** Prepares turning four vectors of four words each: visits the words 0 of all, then 1, 2 and 3. */
export function turner(
  f: Body,
): (part: (n: number) => V128, visit: (word: number, value: V128) => void) => void {
  const value = f.locals('v128', 'value', 4);
  const pair = f.locals('v128', 'pair', 4);
  const words = (...at: number[]) => at.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte));
  const shuffled = (x: Local<'v128'>, y: Local<'v128'>, ...at: number[]) =>
    i8x16.shuffle(x.get, y.get, words(...at));
  return (part, visit) => {
    value.forEach((v, n) => {
      f.set(v, part(n));
    });
    for (const n of [0, 1]) {
      f.set(pair[n], shuffled(value[2 * n], value[2 * n + 1], 0, 4, 1, 5));
      f.set(pair[2 + n], shuffled(value[2 * n], value[2 * n + 1], 2, 6, 3, 7));
    }
    for (let word = 0; word < 4; word++) {
      const [x, y] = word < 2 ? [pair[0], pair[1]] : [pair[2], pair[3]];
      visit(word, word % 2 === 0 ? shuffled(x, y, 0, 1, 4, 5) : shuffled(x, y, 2, 3, 6, 7));
    }
  };
}
