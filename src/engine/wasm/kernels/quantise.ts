/**
 * Digital weights of 16 columns of a block, with one scale per column (Q8_0's form):
 *
 *   s = max|w| / top,  q = round(w / s),  w -= s q
 *
 * What is left in w is coded again where a weight has a second byte.
 *
 *   w [rows][16] f32;  bytes [rows][16] signed;  scales [16] f32
 */
import { heldF32 } from '../../../emit/constants.ts';
import {
  define,
  f32,
  f32x4,
  i8x16,
  i16x8,
  i32x4,
  load,
  store,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { PANEL_COLUMNS } from './gemm.ts';

const VECTORS = PANEL_COLUMNS / 4;

export function quantise(): WatFunction {
  return define('quantise', ['w', 'rows', 'top', 'bytes', 'scales'], (f, w, rows, largest, bytes, scales) => {
    const vectors = (name: string) => f.locals('v128', name, VECTORS);
    const [most, inverse, scale, value, code] = ['most', 'inverse', 'scale', 'value', 'code'].map(vectors);
    const [at, left] = ['at', 'left'].map((name) => f.local('i32', name));
    const one = heldF32(f, 'one', 1);
    const [top, bottom] = ['top', 'bottom'].map((name) => f.local('v128', name));
    f.set(top, f32x4.splatOf(f32.ofI32(largest.get)));
    f.set(bottom, f32x4.neg(top.get));
    f.set(at, w.get);
    f.set(left, rows.get);
    f.countdown(left, () => {
      most.forEach((v, n) => {
        f.set(v, f32x4.pmax(v.get, f32x4.abs(load.v128(at.get, 16 * n))));
      });
      f.advance(at, PANEL_COLUMNS * 4);
    });
    scale.forEach((v, n) => {
      f.set(v, f32x4.div(most[n].get, top.get));
      f.emit(store.v128(scales.get, v.get, 16 * n));
      // A column without weights has no scale: its codes are zero.
      f.set(inverse[n], v128.and(f32x4.div(one, v.get), f32x4.greater(v.get, v128.zero)));
    });
    f.countdown(rows, () => {
      value.forEach((v, n) => {
        f.set(v, load.v128(w.get, 16 * n));
        f.set(code[n], f32x4.nearest(f32x4.mul(v.get, inverse[n].get)));
        f.set(code[n], f32x4.pmin(top.get, f32x4.pmax(bottom.get, code[n].get)));
        f.set(v, f32x4.sub(v.get, f32x4.mul(code[n].get, scale[n].get)));
      });
      value.forEach((v, n) => {
        f.emit(store.v128(w.get, v.get, 16 * n));
      });
      const words = [0, 2].map((n) => i16x8.narrow(i32x4.ofF32(code[n].get), i32x4.ofF32(code[n + 1].get)));
      f.emit(store.v128(bytes.get, i8x16.narrow(words[0], words[1])));
      f.advance(w, PANEL_COLUMNS * 4);
      f.advance(bytes, PANEL_COLUMNS);
    });
  });
}

/** weights[quad][16][4] = bytes[4 quad + j][16]: into the order of a panel, in the weights memory. */
export function transpose(): WatFunction {
  return define('transpose', ['bytes', 'to', 'quads'], (f, bytes, to, quads) => {
    const row = f.locals('v128', 'row', 4);
    const pair = f.locals('v128', 'pair', 4);
    const interleave = (unit: number, half: number) =>
      Array.from({ length: 8 / unit }, (_, i) => i).flatMap((i) =>
        [0, 16].flatMap((side) => Array.from({ length: unit }, (_, j) => side + 8 * half + i * unit + j)),
      );
    f.countdown(quads, () => {
      row.forEach((v, j) => {
        f.set(v, load.v128(bytes.get, 16 * j));
      });
      for (const half of [0, 1]) {
        f.set(pair[half], i8x16.shuffle(row[0].get, row[1].get, interleave(1, half)));
        f.set(pair[2 + half], i8x16.shuffle(row[2].get, row[3].get, interleave(1, half)));
      }
      for (let n = 0; n < 4; n++) {
        const [half, part] = [n >> 1, n & 1];
        const columns = i8x16.shuffle(pair[half].get, pair[2 + half].get, interleave(2, part));
        f.emit(store.v128(to.get, columns, 16 * n, 'weights'));
      }
      f.advance(bytes, 64);
      f.advance(to, 64);
    });
  });
}
