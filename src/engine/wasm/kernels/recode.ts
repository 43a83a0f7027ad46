/**
 * Weight codes of 16 columns of a tile: src/tile/weight-code.ts's search for the scale that minimises
 * sum_k (w - scale code)^2, all columns side by side in f32.
 *
 *   each of CLIP_FACTORS: scale = factor max|w| / top, then 3 times scale = <w, code> / <code, code> from the best of them,
 *     with code = clip(round(w / scale), +-top); the scale with the least error is kept
 *
 *   w [rows][16] f32, zero beyond the matrix;  codes [rows][16] signed bytes;  scales [16] f32
 *
 * The same arithmetic in the same order as there: scales and codes are the same bits.
 */
import { heldF32 } from '../../../emit/constants.ts';
import {
  type Body,
  defineNamed,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  load,
  type Parameters,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ROUNDER } from '../../../numbers.ts';
import { REFINEMENTS } from '../../../tile/weight-code.ts';
import { PANEL_COLUMNS } from './gemm.ts';

/** `factors`: address of `factorCount` f32; `top` the largest magnitude as an i32. */
export const RECODE_OPERANDS = ['w', 'rows', 'top', 'factors', 'factorCount', 'codes', 'scales'] as const;
type RecodeParameters = Parameters<typeof RECODE_OPERANDS>;

export function recode(): WatFunction {
  return defineNamed('recode', RECODE_OPERANDS, (f, p) => {
    const frame = prepareFrame(f, p);
    const { half } = frame;
    f.set(half, i32.of(2));
    f.countdown(half, () => {
      findLargest(f, frame, p);
      searchScales(f, frame, p);
      storeCodes(f, frame, p);
      f.advance(p.w, PANEL_COLUMNS * 2);
      f.advance(p.codes, PANEL_COLUMNS / 2);
      f.advance(p.scales, PANEL_COLUMNS * 2);
    });
  });
}

type Frame = ReturnType<typeof prepareFrame>;

/** Locals and constants; pairs of vectors are the 8 columns that are coded side by side. */
function prepareFrame(f: Body, { top }: RecodeParameters) {
  const pair = (name: string) => f.locals('v128', name, 2);
  const number = (name: string) => f.local('i32', name);
  const frame = {
    value: pair('value'),
    code: pair('code'),
    error: pair('error'),
    fitted: pair('fitted'),
    cross: pair('cross'),
    square: pair('square'),
    scale: pair('scale'),
    inverse: pair('inverse'),
    best: pair('best'),
    bestError: pair('bestError'),
    most: pair('most'),
    at: number('at'),
    left: number('left'),
    factor: number('factor'),
    factorLeft: number('factorLeft'),
    refinement: number('refinement'),
    half: number('half'),
    to: number('to'),
    rounder: heldF32(f, 'rounder', ROUNDER),
    one: heldF32(f, 'one', 1),
    huge: heldF32(f, 'huge', 3e38),
    limit: f.local('v128', 'limit'),
    negative: f.local('v128', 'negative'),
    step: f.local('v128', 'step'),
  };
  f.set(frame.limit, f32x4.ofI32(i32x4.splatOf(top.get)));
  f.set(frame.negative, f32x4.neg(frame.limit.get));
  return frame;
}

/** Emits `visit` for both vectors of a pair. */
function both(visit: (n: number) => void): void {
  visit(0);
  visit(1);
}

/** Emits a loop over the rows: value = a row of w, then `visit` of both vectors. */
function eachRow(
  f: Body,
  { at, left, value }: Frame,
  { w, rows }: RecodeParameters,
  visit: (n: number) => void,
): void {
  f.set(at, w.get);
  f.set(left, rows.get);
  f.countdown(left, () => {
    both((n) => {
      f.set(value[n], load.v128(at.get, 16 * n));
      visit(n);
    });
    f.advance(at, PANEL_COLUMNS * 4);
  });
}

/** into = 1 / scale, 0 where the scale is. */
function invert(f: Body, { one }: Frame, into: Local<'v128'>, scale: V128): void {
  f.set(into, v128.and(f32x4.div(one, scale), f32x4.greater(scale, v128.zero)));
}

/** code = clip(round(value / scale), +-top). */
function quantise(f: Body, { rounder, code, limit, negative, value, inverse }: Frame, n: number): void {
  const scaled = f32x4.mul(value[n].get, inverse[n].get);
  const rounded = f32x4.sub(f32x4.add(scaled, rounder), rounder);
  f.set(code[n], f32x4.pmin(limit.get, f32x4.pmax(negative.get, rounded)));
}

/** most, best = max |w| / top, the scale that clips nothing. */
function findLargest(f: Body, frame: Frame, p: RecodeParameters): void {
  const { value, most, limit, best, bestError, huge } = frame;
  both((n) => f.set(most[n], v128.zero));
  eachRow(f, frame, p, (n) => f.set(most[n], f32x4.pmax(most[n].get, f32x4.abs(value[n].get))));
  both((n) => {
    f.set(most[n], f32x4.div(most[n].get, limit.get));
    f.set(best[n], most[n].get);
    f.set(bestError[n], huge);
  });
}

/** best = the scale of the least error, over all factors and the refinements of the best. */
function searchScales(f: Body, frame: Frame, p: RecodeParameters): void {
  const { most, scale, fitted, factor, factorLeft, refinement, step } = frame;
  const tryScale = () => {
    sumErrors(f, frame, p);
    both((n) => {
      keepBetter(f, frame, n);
    });
  };
  both((n) => f.set(fitted[n], v128.zero));
  f.set(factor, p.factors.get);
  f.set(factorLeft, p.factorCount.get);
  f.countdown(factorLeft, () => {
    f.set(step, load.splat32(factor.get));
    both((n) => f.set(scale[n], f32x4.mul(most[n].get, step.get)));
    tryScale();
    f.advance(factor, 4);
  });
  both((n) => f.set(scale[n], fitted[n].get));
  f.set(refinement, i32.of(REFINEMENTS));
  f.countdown(refinement, () => {
    tryScale();
    both((n) => f.set(scale[n], fittedScale(frame, n)));
  });
}

/** <w, code> / <code, code>, 0 where no weight has a code. */
const fittedScale = ({ cross, square }: Frame, n: number): V128 =>
  v128.and(f32x4.div(cross[n].get, square[n].get), f32x4.greater(square[n].get, v128.zero));

/** error, cross, square = sums over the rows of (w - scale code)^2, w code and code^2. */
function sumErrors(f: Body, frame: Frame, p: RecodeParameters): void {
  const { value, code, error, cross, square, scale, inverse } = frame;
  both((n) => {
    invert(f, frame, inverse[n], scale[n].get);
    for (const sum of [error, cross, square]) f.set(sum[n], v128.zero);
  });
  eachRow(f, frame, p, (n) => {
    quantise(f, frame, n);
    f.set(cross[n], f32x4.add(cross[n].get, f32x4.mul(value[n].get, code[n].get)));
    f.set(square[n], f32x4.add(square[n].get, f32x4.mul(code[n].get, code[n].get)));
    f.set(value[n], f32x4.sub(value[n].get, f32x4.mul(scale[n].get, code[n].get)));
    f.set(error[n], f32x4.add(error[n].get, f32x4.mul(value[n].get, value[n].get)));
  });
}

/** Keeps the scale, and what would be fitted to its codes, where its error is less. */
function keepBetter(f: Body, frame: Frame, n: number): void {
  const { code, error, scale, fitted, best, bestError } = frame;
  f.set(code[n], f32x4.less(error[n].get, bestError[n].get));
  f.set(best[n], v128.select(scale[n].get, best[n].get, code[n].get));
  f.set(bestError[n], v128.select(error[n].get, bestError[n].get, code[n].get));
  f.set(fitted[n], v128.select(fittedScale(frame, n), fitted[n].get, code[n].get));
}

function storeCodes(f: Body, frame: Frame, { w, rows, codes, scales }: RecodeParameters): void {
  const { value, code, inverse, best, at, left, to } = frame;
  both((n) => invert(f, frame, inverse[n], best[n].get));
  f.set(to, codes.get);
  f.set(at, w.get);
  f.set(left, rows.get);
  f.countdown(left, () => {
    both((n) => {
      f.set(value[n], load.v128(at.get, 16 * n));
      quantise(f, frame, n);
    });
    const words = i16x8.narrow(i32x4.ofF32(code[0].get), i32x4.ofF32(code[1].get));
    f.emit(store.low64(to.get, i8x16.narrow(words, words)));
    f.advance(at, PANEL_COLUMNS * 4);
    f.advance(to, PANEL_COLUMNS);
  });
  both((n) => {
    f.emit(store.v128(scales.get, best[n].get, 16 * n));
  });
}
