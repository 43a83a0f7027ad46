/** Elementary functions of four f32 at once, in terms of locals of the calling function. */
import { heldF32, heldI32 } from '../../../emit/constants.ts';
import { type Body, type Expr, f32x4, i32x4, type Local, type V128, v128 } from '../../../emit/wat.ts';
import { ROUNDER } from '../../../numbers.ts';

/**
 * x = e^x, relative error below 2e-7 for -87 <= x <= 88 (clamped to it): x = n ln 2 + r, |r| <= ln 2 / 2, the degree-6
 * polynomial of Cephes' expf, and 2^n by its exponent bits.
 */
export function exponential(f: Body): (x: Local<'v128'>) => void {
  const [n, r, p] = ['expN', 'expR', 'expP'].map((name) => f.local('v128', name));
  const c = (name: string, x: number): Expr<'v128'> => heldF32(f, name, x);
  const low = c('expLow', -87);
  const high = c('expHigh', 88);
  const log2e = c('log2e', Math.LOG2E);
  const rounder = c('rounder', ROUNDER);
  const ln2High = c('ln2High', 0.693359375);
  const ln2Low = c('ln2Low', -2.1219444e-4);
  const bias = heldI32(f, 'expBias', 127);
  const one = c('one', 1);
  const terms = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5].map(
    (x, i) => c(`exp${i}`, x),
  );
  return (x) => {
    f.set(r, f32x4.pmax(low, f32x4.pmin(high, x.get)));
    // n + rounder has n in its low bits.
    f.set(n, f32x4.add(f32x4.mul(r.get, log2e), rounder));
    f.set(p, f32x4.sub(n.get, rounder));
    f.set(r, f32x4.sub(f32x4.sub(r.get, f32x4.mul(p.get, ln2High)), f32x4.mul(p.get, ln2Low)));
    f.set(p, terms[0]);
    for (const term of terms.slice(1)) f.set(p, f32x4.add(f32x4.mul(p.get, r.get), term));
    f.set(p, f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r.get, r.get), p.get), r.get), one));
    f.set(x, f32x4.mul(p.get, i32x4.shl(i32x4.add(n.get, bias), 23)));
  };
}

/** x = ln x for normal x > 0, relative error below 2e-7 away from 1 (Cephes' logf). */
export function logarithm(f: Body): (x: Local<'v128'>) => void {
  const [e, m, p, mask] = ['logE', 'logM', 'logP', 'logMask'].map((name) => f.local('v128', name));
  const c = (name: string, x: number): Expr<'v128'> => heldF32(f, name, x);
  const one = c('one', 1);
  const half = c('half', 0.5);
  const root = c('sqrtHalf', Math.SQRT1_2);
  const mantissa = heldI32(f, 'mantissa', 0x007fffff);
  const halfBits = heldI32(f, 'halfBits', 0x3f000000);
  const bias = heldI32(f, 'bias', 126);
  const ln2High = c('ln2High', 0.693359375);
  const ln2Low = c('ln2Low', -2.1219444e-4);
  const terms = [
    7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
  ].map((x, i) => c(`log${i}`, x));
  return (x) => {
    f.set(e, f32x4.ofI32(i32x4.sub(i32x4.shrU(x.get, 23), bias)));
    f.set(m, v128.or(v128.and(x.get, mantissa), halfBits)); // 0.5 <= m < 1
    f.set(mask, f32x4.less(m.get, root));
    f.set(e, f32x4.sub(e.get, v128.and(mask.get, one)));
    f.set(m, f32x4.sub(f32x4.add(m.get, v128.and(mask.get, m.get)), one));
    f.set(p, terms[0]);
    for (const term of terms.slice(1)) f.set(p, f32x4.add(f32x4.mul(p.get, m.get), term));
    const square = f32x4.mul(m.get, m.get);
    f.set(p, f32x4.mul(f32x4.mul(p.get, m.get), square));
    f.set(p, f32x4.add(p.get, f32x4.mul(e.get, ln2Low)));
    f.set(p, f32x4.sub(p.get, f32x4.mul(half, square)));
    f.set(x, f32x4.add(f32x4.add(m.get, p.get), f32x4.mul(e.get, ln2High)));
  };
}

/**
 * sin and cos of 2 pi u for 0 <= u < 1: u is reduced to |t| <= 1/8 of a turn around the nearest quarter, then Taylor
 * series in 2 pi t (degree 9 and 8: error below 3e-7).
 */
export function sineCosine(f: Body): (u: Local<'v128'>, sine: Local<'v128'>, cosine: Local<'v128'>) => void {
  const [q, t, t2, s, c, swap] = ['turnQ', 'turnT', 'turnT2', 'turnS', 'turnC', 'turnSwap'].map((name) =>
    f.local('v128', name),
  );
  const held = (name: string, x: number): Expr<'v128'> => heldF32(f, name, x);
  const four = held('four', 4);
  const quarter = held('quarter', 0.25);
  const rounder = held('rounder', ROUNDER);
  const turn = held('turn', 2 * Math.PI);
  const one = held('one', 1);
  const bitOne = heldI32(f, 'bitOne', 1);
  const bitTwo = heldI32(f, 'bitTwo', 2);
  const sines = [1 / 362880, -1 / 5040, 1 / 120, -1 / 6].map((x, i) => held(`sin${i}`, x));
  const cosines = [1 / 40320, -1 / 720, 1 / 24, -0.5].map((x, i) => held(`cos${i}`, x));
  const series = (into: Local<'v128'>, terms: readonly V128[]) => {
    f.set(into, terms[0]);
    for (const term of terms.slice(1)) f.set(into, f32x4.add(f32x4.mul(into.get, t2.get), term));
  };
  return (u, sine, cosine) => {
    f.set(q, f32x4.add(f32x4.mul(u.get, four), rounder)); // quarter in the low bits
    f.set(t, f32x4.mul(f32x4.sub(u.get, f32x4.mul(f32x4.sub(q.get, rounder), quarter)), turn));
    f.set(t2, f32x4.mul(t.get, t.get));
    series(s, sines);
    f.set(s, f32x4.add(t.get, f32x4.mul(f32x4.mul(t.get, t2.get), s.get)));
    series(c, cosines);
    f.set(c, f32x4.add(one, f32x4.mul(t2.get, c.get)));
    // Odd quarters swap sine and cosine; signs follow from the quarter's bits.
    f.set(swap, i32x4.sub(v128.zero, v128.and(q.get, bitOne)));
    const sineSign = i32x4.shl(v128.and(q.get, bitTwo), 30);
    const cosineSign = i32x4.shl(v128.and(i32x4.add(q.get, bitOne), bitTwo), 30);
    f.set(sine, v128.xor(v128.select(c.get, s.get, swap.get), sineSign));
    f.set(cosine, v128.xor(v128.select(s.get, c.get, swap.get), cosineSign));
  };
}
