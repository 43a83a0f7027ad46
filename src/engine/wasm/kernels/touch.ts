/**
 * Weights into the cache before they are used. A product that reads them as it goes waits for memory: few of its loads fit the
 * window of a processor beside its arithmetic, and prefetchers stop where a page of memory ends. Loads alone are as fast as memory
 * is.
 */
import { type Body, define, type I32, i32, type Local, load, type WatFunction } from '../../../emit/wat.ts';

export const LINE_SHIFT = 6;
/** A page of memory. */
export const TOUCHED_BYTES = 4096;

/** Reads one word of each of `lines` lines of the cache. */
export function touchWeights(): WatFunction {
  return define('touch_weights', ['at', 'lines'], (f, at, lines) => {
    f.countdown(lines, () => {
      // A load is made though nobody reads it: it might lie outside.
      f.emit(`(drop ${load.i32(at.get, 0, 'weights')})`);
      f.advance(at, 1 << LINE_SHIFT);
    });
  });
}

/** Returns what brings a tile's weights into the cache, called before each tile; of the panel's `left` bytes, some at a time. */
export function touchTiles(f: Body, at: Local<'i32'>, left: Local<'i32'>, tileBytes: () => I32): () => void {
  const [ahead, bytes] = ['touchedAhead', 'touchedBytes'].map((name) => f.local('i32', name));
  return () => {
    f.when(left.get, () => {
      f.when(i32.lessThan(ahead.get, tileBytes()), () => {
        f.set(bytes, i32.of(TOUCHED_BYTES));
        f.when(i32.lessThan(left.get, bytes.get), () => f.set(bytes, left.get));
        f.call('touch_weights', i32.add(at.get, ahead.get), i32.shrU(bytes.get, LINE_SHIFT));
        f.set(left, i32.sub(left.get, bytes.get));
        f.advance(ahead, bytes.get);
      });
      f.set(ahead, i32.sub(ahead.get, tileBytes()));
    });
  };
}
