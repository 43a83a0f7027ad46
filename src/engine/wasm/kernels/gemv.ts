/**
 * The integer product of one panel with a single token, straight from the weights memory: every weight is read once,
 * for all planes and for the sum of currents.
 *
 *   for k/4: for column of 16: w = src[k..k+3][column]
 *     plane p: sum_p += w . x_p        current += |w| . magnitude
 *   raw[16] = sum_0 (1 plane) or sum_0 2^7 + sum_1
 *
 *   (source `cells`: from where they were made, in the state memory)
 *   x [planes][quads][4] bytes 0..127, magnitude [quads][4] bytes 0..127, src as in prepare.ts
 *   raw, current [16] i32: added to, so that a longer product may be formed in parts
 */
import { heldI32 } from '../../../emit/constants.ts';
import { defineNamed, i8x16, i32x4, type Local, load, store, type WatFunction } from '../../../emit/wat.ts';
import { type DotKind, dotProduct } from './dot.ts';
import { QUAD_BYTES, readQuad, type Source } from './prepare.ts';

export type GemvName = `gemv_${Source}_${1 | 2}${'' | '_current'}`;
export const gemvName = (source: Source, planes: 1 | 2, current: boolean): GemvName =>
  `gemv_${source}_${planes}${current ? '_current' : ''}`;

export const GEMV_OPERANDS = [
  'src',
  'x',
  'planeBytes',
  'magnitude',
  'table',
  'raw',
  'currents',
  'quads',
] as const;

/** `quads` at least 1; `planeBytes` from one plane of x to the next. */
export function gemv(kind: DotKind, source: Source, planes: 1 | 2, current: boolean): WatFunction {
  return defineNamed(gemvName(source, planes, current), GEMV_OPERANDS, (f, p) => {
    const { src, x, planeBytes, magnitude, table, raw, currents, quads } = p;
    const dot = dotProduct(f, kind);
    const weight = f.locals('v128', 'weight', 4);
    const sums = Array.from({ length: planes }, (_, plane) => f.locals('v128', `plane${plane}sum`, 4));
    const drawn = f.locals('v128', 'drawn', 4);
    const values = f.local('v128', 'values');
    const splat = f.local('v128', 'splat');
    const second = f.local('i32', 'second');
    const nibbles = heldI32(f, 'nibbles', 0x0f0f0f0f);
    f.set(values, load.v128(table.get));
    if (planes === 2) f.set(second, `(i32.add ${x.get} ${planeBytes.get})`);
    f.countdown(quads, () => {
      readQuad(f, kind, source, weight, src, 0, values.get, nibbles);
      const add = (acc: readonly Local<'v128'>[]) =>
        weight.forEach((v, n) => {
          f.set(acc[n], dot(v.get, splat.get, acc[n].get));
        });
      for (const [plane, at] of [x, second].slice(0, planes).entries()) {
        f.set(splat, load.splat32(at.get));
        add(sums[plane]);
        f.advance(at, 4);
      }
      if (current) {
        f.set(splat, load.splat32(magnitude.get));
        for (const v of weight) f.set(v, i8x16.abs(v.get));
        add(drawn);
        f.advance(magnitude, 4);
      }
      f.advance(src, source === 'codes' ? QUAD_BYTES.codes : QUAD_BYTES.bytes);
    });
    const keep = (at: Local<'i32'>, result: (n: number) => string) => {
      const total = f.locals('v128', 'total', 4);
      total.forEach((v, n) => {
        f.set(v, i32x4.add(load.v128(at.get, 16 * n), result(n)));
      });
      total.forEach((v, n) => {
        f.emit(store.v128(at.get, v.get, 16 * n));
      });
    };
    keep(raw, (n) =>
      planes === 1 ? sums[0][n].get : i32x4.add(i32x4.shl(sums[0][n].get, 7), sums[1][n].get),
    );
    if (current) keep(currents, (n) => drawn[n].get);
  });
}
