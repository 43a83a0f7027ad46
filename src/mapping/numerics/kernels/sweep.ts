/**
 * The sequential heart of GPTQ and of coordinate descent, for 16 outputs (one panel) and a block of rows j:
 *
 *   target_j = base_j + inverse_j (before_j + sum_{i < j} coupling[j][i] change_i)
 *   code_j   = clip(round(target_j / s_j), +-limit)
 *   change_j = base_j - s_j code_j
 *
 * GPTQ (gptq.ts): base = w, coupling = V[i][j], inverse = 1 / V[j][j]; the change is the error w - s c.
 * Descent (descent.ts): base = s c, coupling = H[i][j], inverse = 1 / H[j][j]; the change is what w - s c gains.
 *
 *   base, before, change, codes [rows][16] f32, coupling [rows][rows] f32 with zeros from the diagonal on,
 *   inverse [rows] f32, tileOf [rows] i32 byte offsets into scales and inverses [tiles][16] f32, limit [16] f32
 *
 * `rows` is a multiple of 4. Four sums run at a time to hide the latency of the multiply-adds.
 */
import { heldF32 } from '../../../emit/constants.ts';
import { define, f32x4, i32, load, store, type V128, v128, type WatFunction } from '../../../emit/wat.ts';
import { ROUNDER } from '../../../numbers.ts';
import { multiplyAdd, ROW_BYTES, VECTORS } from './multiply.ts';

const CHAINS = 4;

export function sweep(): WatFunction {
  const parameters = [
    'base',
    'before',
    'change',
    'codes',
    'coupling',
    'inverse',
    'tileOf',
    'scales',
    'inverses',
    'limit',
    'rows',
  ];
  return define('sweep', parameters, (f, ...p) => {
    const [base, before, change, codes, coupling, inverse, tileOf, scales, inverses, limit, rows] = p;
    const acc = f.locals('v128', 'acc', CHAINS * VECTORS);
    const most = f.locals('v128', 'most', VECTORS);
    const value = f.locals('v128', 'value', VECTORS);
    const target = f.locals('v128', 'target', VECTORS);
    const splat = f.local('v128', 'splat');
    const [j, out, from, by, left, tile, count] = ['j', 'out', 'from', 'by', 'left', 'tile', 'count'].map(
      (name) => f.local('i32', name),
    );
    const rounder = heldF32(f, 'rounder', ROUNDER);
    most.forEach((v, n) => {
      f.set(v, load.v128(limit.get, 16 * n));
    });
    f.set(out, change.get);
    f.set(left, rows.get);
    f.countdown(left, () => {
      for (let n = 0; n < VECTORS; n++) f.emit(store.v128(out.get, v128.zero, 16 * n));
      f.advance(out, ROW_BYTES);
    });
    f.set(out, change.get);
    f.set(left, rows.get);
    f.countdown(left, () => {
      acc.forEach((sum, n) => {
        f.set(sum, n < VECTORS ? load.v128(before.get, 16 * n) : v128.zero);
      });
      f.set(from, change.get);
      f.set(by, coupling.get);
      f.set(count, i32.add(i32.shrU(j.get, 2), 1));
      f.countdown(count, () => {
        for (let chain = 0; chain < CHAINS; chain++) {
          value.forEach((v, n) => {
            f.set(v, load.v128(from.get, chain * ROW_BYTES + 16 * n));
          });
          f.set(splat, load.splat32(by.get, 4 * chain));
          value.forEach((v, n) => {
            const sum = acc[chain * VECTORS + n];
            f.set(sum, multiplyAdd(v.get, splat.get, sum.get));
          });
        }
        f.advance(from, CHAINS * ROW_BYTES);
        f.advance(by, CHAINS * 4);
      });
      f.set(splat, load.splat32(inverse.get));
      f.set(tile, load.i32(tileOf.get));
      value.forEach((v, n) => {
        f.set(v, load.v128(base.get, 16 * n));
      });
      target.forEach((t, n) => {
        const pair = (a: number, b: number): V128 =>
          f32x4.add(acc[a * VECTORS + n].get, acc[b * VECTORS + n].get);
        f.set(t, multiplyAdd(splat.get, f32x4.add(pair(0, 1), pair(2, 3)), value[n].get));
      });
      target.forEach((t, n) => {
        f.set(t, f32x4.mul(t.get, load.v128(i32.add(inverses.get, tile.get), 16 * n)));
      });
      target.forEach((t, n) => {
        f.set(t, f32x4.pmin(most[n].get, f32x4.pmax(f32x4.neg(most[n].get), t.get)));
      });
      for (const t of target) f.set(t, f32x4.sub(f32x4.add(t.get, rounder), rounder));
      value.forEach((v, n) => {
        f.set(
          v,
          f32x4.sub(v.get, f32x4.mul(target[n].get, load.v128(i32.add(scales.get, tile.get), 16 * n))),
        );
      });
      target.forEach((t, n) => {
        f.emit(store.v128(codes.get, t.get, 16 * n));
      });
      value.forEach((v, n) => {
        f.emit(store.v128(out.get, v.get, 16 * n));
      });
      for (const at of [base, before, codes, out]) f.advance(at, ROW_BYTES);
      f.advance(inverse, 4);
      f.advance(tileOf, 4);
      f.advance(coupling, i32.shl(rows.get, 2));
      f.advance(j, 1);
    });
  });
}
