/**
 * Limits of the machine, for comparison in `bench`:
 *   peak    dot products on registers alone: 12 independent sums of 256 bits, `count` rounds of 24 * 16 products
 *   stream  reads `count` times 256 bytes of the weights memory
 */
import { define, i32x4, load, store, type WatFunction } from '../../../emit/wat.ts';
import { type DotKind, dotProduct } from './dot.ts';

export const PEAK_PRODUCTS = 24 * 16;
export const STREAM_BYTES = 256;

export interface LimitKernels {
  peak(at: number, count: number): void;
  stream(at: number, out: number, count: number): void;
}

export function peak(kind: DotKind): WatFunction {
  return define('peak', ['at', 'count'], (f, at, count) => {
    const acc = f.locals('v128', 'acc', 24);
    const b = f.local('v128', 'b');
    const dot = dotProduct(f, kind);
    // Each sum multiplies itself: nothing to hoist out of the loop, 12 chains to overlap.
    f.set(b, load.splat32(at.get));
    acc.forEach((sum, i) => {
      f.set(sum, load.v128(at.get, 16 * i));
    });
    f.countdown(count, () => {
      for (const sum of acc) f.set(sum, dot(sum.get, b.get, sum.get));
    });
    acc.forEach((sum, i) => {
      f.emit(store.v128(at.get, sum.get, 16 * i));
    });
  });
}

export function stream(): WatFunction {
  return define('stream', ['at', 'out', 'count'], (f, at, out, count) => {
    const acc = f.locals('v128', 'acc', 4);
    f.countdown(count, () => {
      for (let i = 0; i < STREAM_BYTES / 16; i++) {
        const sum = acc[i % 4];
        f.set(sum, i32x4.add(sum.get, load.v128(at.get, 16 * i, 'weights')));
      }
      f.advance(at, STREAM_BYTES);
    });
    acc.forEach((sum, i) => {
      f.emit(store.v128(out.get, sum.get, 16 * i));
    });
  });
}
