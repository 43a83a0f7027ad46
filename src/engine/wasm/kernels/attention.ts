/**
 * Attention over a cache of keys and values, for 4 queries that share a key/value head.
 *
 *   products   out[query][16] = sum_i a[query][i] b[i][16], b in f16 or bytes
 *                scores:   i over the head, b the keys of 16 positions, transposed: [headDim][16]
 *                weighting: i over positions, b 16 columns of the values: rows of headDim
 *   softmax    p = e^(scale (x - max)) / sum over `count` entries, zero up to the next multiple of 16
 *
 * The cache holds, per layer and key/value head, keys [positions / 16][headDim][16] and values [positions][headDim], as
 * f16, or as signed bytes with one f32 scale per position and head.
 */
import { heldF32, heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  defineNamed,
  f32x4,
  type I32,
  i32,
  i32x4,
  type Kernel,
  type Local,
  load,
  type Operands,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { exponential } from './math.ts';

export type CacheKind = 'f16' | 'i8';
export const CACHE_BYTES: Record<CacheKind, number> = { f16: 2, i8: 1 };
export const QUERIES = 4;
const VECTORS = 4;

export const PRODUCTS_OPERANDS = ['out', 'outStride', 'a', 'aStride', 'b', 'bStride', 'count'] as const;

/** Calls `products`: as `invoke`, without an array for every 16 positions. */
export function runProducts(
  kernel: Kernel<typeof PRODUCTS_OPERANDS>,
  o: Operands<typeof PRODUCTS_OPERANDS>,
): void {
  kernel(o.out, o.outStride, o.a, o.aStride, o.b, o.bStride, o.count);
}

/** `aStride` from one query of a to the next, `bStride` from i to i + 1, `outStride` between queries of out. */
export function products(kind: CacheKind): WatFunction {
  return defineNamed(`products_${kind}`, PRODUCTS_OPERANDS, (f, p) => {
    const { out, outStride, a, aStride, b, bStride, count } = p;
    const acc = f.locals('v128', 'acc', QUERIES * VECTORS);
    const value = f.locals('v128', 'value', VECTORS);
    const splat = f.local('v128', 'splat');
    const at = [a, ...[1, 2, 3].map((i) => f.local('i32', `a${i}`))];
    const decode = cacheDecoder(f, kind);
    for (let i = 1; i < QUERIES; i++) f.set(at[i], i32.add(at[i - 1].get, aStride.get));
    f.countdown(count, () => {
      decode(value, b.get);
      for (let query = 0; query < QUERIES; query++) {
        f.set(splat, load.splat32(at[query].get));
        value.forEach((v, n) => {
          const sum = acc[query * VECTORS + n];
          f.set(sum, f32x4.add(sum.get, f32x4.mul(v.get, splat.get)));
        });
        f.advance(at[query], 4);
      }
      f.advance(b, bStride.get);
    });
    for (let query = 0; query < QUERIES; query++) {
      for (let n = 0; n < VECTORS; n++) f.emit(store.v128(out.get, acc[query * VECTORS + n].get, 16 * n));
      f.advance(out, outStride.get);
    }
  });
}

/** 16 cache entries to 4 vectors of f32. */
function cacheDecoder(f: Body, kind: CacheKind): (into: readonly Local<'v128'>[], at: I32) => void {
  if (kind === 'i8') {
    return (into, at) => {
      for (const half of [0, 1]) {
        const words = f.local('v128', 'words');
        f.set(words, load.i8x8(at, 8 * half));
        f.set(into[2 * half], f32x4.ofI32(`(i32x4.extend_low_i16x8_s ${words.get})` as V128));
        f.set(into[2 * half + 1], f32x4.ofI32(`(i32x4.extend_high_i16x8_s ${words.get})` as V128));
      }
    };
  }
  // The bits of an f16 without its sign, moved to the place of an f32's, are the value times 2^-112.
  const magnitude = heldI32(f, 'magnitude', 0x7fff);
  const sign = heldI32(f, 'sign', 0x8000);
  const rescale = heldF32(f, 'rescale', 2 ** 112);
  return (into, at) => {
    into.forEach((v, n) => {
      f.set(v, load.u16x4(at, 8 * n));
      const size = f32x4.mul(i32x4.shl(v128.and(v.get, magnitude), 13), rescale);
      f.set(v, v128.or(size, i32x4.shl(v128.and(v.get, sign), 16)));
    });
  };
}

/** In place on `count` scores; `scale` is the bits of an f32. */
export function softmax(): WatFunction {
  return define('softmax', ['x', 'count', 'scale'], (f, x, count, scale) => {
    const exp = exponential(f);
    const [most, v, total, index, limit, factor] = ['most', 'v', 'total', 'index', 'limit', 'factor'].map(
      (name) => f.local('v128', name),
    );
    const [at, left, vectors] = ['at', 'left', 'vectors'].map((name) => f.local('i32', name));
    const lowest = heldF32(f, 'lowest', -3e38);
    const four = heldI32(f, 'four', 4);
    const one = heldF32(f, 'one', 1);
    f.set(limit, i32x4.splatOf(count.get));
    f.set(factor, `(f32x4.splat (f32.reinterpret_i32 ${scale.get}))` as V128);
    f.set(vectors, i32.shl(i32.shrU(i32.add(count.get, 15), 4), 2));
    const each = (step: () => void) => {
      f.set(at, x.get);
      f.set(left, vectors.get);
      f.set(index, '(v128.const i32x4 0 1 2 3)' as V128);
      f.countdown(left, () => {
        f.set(v, load.v128(at.get));
        step();
        f.advance(at, 16);
        f.set(index, i32x4.add(index.get, four));
      });
    };
    const inside = () => i32x4.greater(limit.get, index.get);
    f.set(most, lowest);
    each(() => f.set(most, f32x4.max(most.get, v128.select(v.get, lowest, inside()))));
    across(f, most, f32x4.max);
    each(() => {
      f.set(v, f32x4.mul(f32x4.sub(v.get, most.get), factor.get));
      exp(v);
      f.set(v, v128.and(v.get, inside()));
      f.set(total, f32x4.add(total.get, v.get));
      f.emit(store.v128(at.get, v.get));
    });
    across(f, total, f32x4.add);
    f.set(total, f32x4.div(one, total.get));
    each(() => f.emit(store.v128(at.get, f32x4.mul(v.get, total.get))));
  });
}

/** Every lane = the combination of all four. */
function across(f: Body, v: Local<'v128'>, combine: (a: V128, b: V128) => V128): void {
  const shuffled = (pattern: readonly number[]) =>
    `(i8x16.shuffle ${pattern.flatMap((lane) => [0, 1, 2, 3].map((i) => 4 * lane + i)).join(' ')} ${v.get} ${v.get})` as V128;
  f.set(v, combine(v.get, shuffled([2, 3, 0, 1])));
  f.set(v, combine(v.get, shuffled([1, 0, 3, 2])));
}

/** x[i] *= scale[i]: undoes (keys) or applies (values) the scales of a cache of bytes. */
export function multiply(): WatFunction {
  return define('multiply', ['x', 'scale', 'vectors'], (f, x, scale, vectors) => {
    f.countdown(vectors, () => {
      f.emit(store.v128(x.get, f32x4.mul(load.v128(x.get), load.v128(scale.get))));
      f.advance(x, 16);
      f.advance(scale, 16);
    });
  });
}

/** Stores `count` f32 as cache entries, `stride` bytes apart; rounding to nearest. `scale` is 127 / max for bytes. */
export function cacheStore(kind: CacheKind): WatFunction {
  return define(
    `cache_${kind}`,
    ['to', 'stride', 'from', 'count', 'scale'],
    (f, to, stride, from, count, scale) => {
      const x = f.local('f32', 'x');
      const bits = f.local('i32', 'bits');
      f.countdown(count, () => {
        f.set(x, load.f32(from.get));
        if (kind === 'i8') {
          const scaled = `(f32.mul ${x.get} (f32.reinterpret_i32 ${scale.get}))`;
          f.emit(`(i32.store8 ${to.get} (i32.trunc_sat_f32_s (f32.nearest ${scaled})))`);
        } else {
          // Adding and subtracting 2^k leaves the 11 bits of an f16: multiply by 2^-112 first, so that its subnormals
          // round where they end, then round the mantissa to 10 bits, ties to even; saturates at 65504.
          f.set(
            x,
            `(f32.mul (f32.min (f32.const 65504) (f32.max (f32.const -65504) ${x.get})) (f32.const 0x1p-112))`,
          );
          f.set(bits, `(i32.reinterpret_f32 ${x.get})`);
          const magnitude = i32.and(bits.get, 0x7fffffff);
          const even = i32.and(i32.shrU(bits.get, 13), 1);
          const roundedBits = i32.shrU(i32.add(i32.add(magnitude, 0xfff), even), 13);
          const sign = i32.and(i32.shrU(bits.get, 16), 0x8000);
          f.emit(store.i16(to.get, i32.or(roundedBits, sign)));
        }
        f.advance(to, stride.get);
        f.advance(from, 4);
      });
    },
  );
}
