/**
 * Attention over a cache of keys and values, for blocks of queries that share a key/value head: entries of the cache are
 * decoded once for all of them.
 *
 *   decode     to[i][16] f32 = 16 entries of the cache, for `count` rows of it
 *   products   out[query][16] (+)= sum_i a[query][i] b[i][16]
 *                scores:   i over the head, b the keys of 16 positions, transposed: [headDim][16]
 *                weighting: i over positions, b 16 columns of the values
 *   softmax    p = e^(scale (x - max)) / sum over `count` entries, zero up to the next multiple of 16
 *
 * Sums run over i in order, so that a query's result does not depend on which others it is computed with.
 *
 * The cache holds, per layer and key/value head, keys [positions / 16][headDim][16] and values [positions][headDim,
 * padded to 16], as f32, f16, or as signed bytes with one f32 scale per position and head.
 */
import { addressOfRun, heldF32, heldI32 } from '../../../emit/constants.ts';
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
import { halves } from './half.ts';
import { exponential } from './math.ts';

export type CacheKind = 'f32' | 'f16' | 'i8';
export const CACHE_BYTES: Record<CacheKind, number> = { f32: 4, f16: 2, i8: 1 };
const VECTORS = 4;

/** Queries that `products` takes at once: 4 x 16 sums are 8 vectors of 256 bits, with room for a row of b and its products. */
export const GROUP_QUERIES = 4;

/** Queries of a job: enough that decoding the cache is little beside their products, few enough that their scores are in L2. */
const JOB_QUERIES = { least: 24, most: 48 } as const;
const SCORES_BYTES = 2 ** 19;

/** Positions whose values are decoded together: 16 columns of them are 16 KB. */
export const VALUE_POSITIONS = 256;

/** Bytes between the scores of two queries: rows of a power of two would share the sets of a cache. */
const scoreRowBytes = (contextPadded: number): number => 4 * contextPadded + 64;

/**
 * Plans the jobs of a layer, with `perKv` heads to a key: how many tokens one has, and a worker's scratch for it, by addresses
 * relative to its start.
 */
export function planAttention(perKv: number, headDim: number, contextPadded: number) {
  const scoreRow = scoreRowBytes(contextPadded);
  const { least, most } = JOB_QUERIES;
  const wanted = Math.min(most, Math.max(least, Math.floor(SCORES_BYTES / scoreRow)));
  const tokens = Math.max(1, Math.floor(wanted / perKv));
  // Groups are whole: what they compute beyond the last query is in the scratch, and ignored.
  const queries = GROUP_QUERIES * Math.ceil((tokens * perKv) / GROUP_QUERIES);
  const out = queries * headDim * 4;
  const scores = out + queries * 64 * Math.ceil(headDim / 16);
  const decoded = scores + queries * scoreRow;
  const bytes = decoded + 64 * Math.max(headDim, VALUE_POSITIONS);
  return { tokens, scoreRow, queries: 0, out, scores, decoded, bytes };
}

export const PRODUCTS_OPERANDS = [
  'out',
  'outStride',
  'a',
  'aStride',
  'b',
  'count',
  'groups',
  /** 1: adds to what is in `out`, 0: begins anew. */
  'add',
] as const;

/** Calls `products`: as `invoke`, without an array for every 16 positions. */
export function runProducts(
  kernel: Kernel<typeof PRODUCTS_OPERANDS>,
  o: Operands<typeof PRODUCTS_OPERANDS>,
): void {
  kernel(o.out, o.outStride, o.a, o.aStride, o.b, o.count, o.groups, o.add);
}

/** `aStride` from one query of a to the next, `outStride` between queries of out; `count` is a multiple of `UNROLL`. */
export function products(): WatFunction {
  return defineNamed('products', PRODUCTS_OPERANDS, (f, p) => {
    const { out, outStride, a, aStride, b, count, groups, add } = p;
    const acc = f.locals('v128', 'acc', GROUP_QUERIES * VECTORS);
    const value = f.locals('v128', 'value', VECTORS);
    const splat = f.local('v128', 'splat');
    const rows = f.locals('i32', 'row', GROUP_QUERIES);
    const [to, from, left] = ['to', 'from', 'left'].map((name) => f.local('i32', name));
    const eachOut = (visit: (sum: Local<'v128'>, at: I32, offset: number) => void) => {
      f.set(to, out.get);
      for (let query = 0; query < GROUP_QUERIES; query++) {
        for (let n = 0; n < VECTORS; n++) visit(acc[query * VECTORS + n], to.get, 16 * n);
        f.advance(to, outStride.get);
      }
    };
    f.countdown(groups, () => {
      for (const sum of acc) f.set(sum, v128.zero);
      f.when(add.get, () => eachOut((sum, at, offset) => f.set(sum, load.v128(at, offset))));
      rows.forEach((row, i) => {
        f.set(row, i === 0 ? a.get : i32.add(rows[i - 1].get, aStride.get));
      });
      f.set(from, b.get);
      f.set(left, i32.divU(count.get, i32.of(UNROLL)));
      f.countdown(left, () => {
        for (let i = 0; i < UNROLL; i++) {
          value.forEach((v, n) => {
            f.set(v, load.v128(from.get, (i * VECTORS + n) * 16));
          });
          rows.forEach((row, query) => {
            f.set(splat, load.splat32(row.get, 4 * i));
            value.forEach((v, n) => {
              const sum = acc[query * VECTORS + n];
              f.set(sum, f32x4.add(sum.get, f32x4.mul(v.get, splat.get)));
            });
          });
        }
        for (const row of rows) f.advance(row, 4 * UNROLL);
        f.advance(from, 16 * VECTORS * UNROLL);
      });
      eachOut((sum, at, offset) => f.emit(store.v128(at, sum.get, offset)));
      f.set(out, to.get);
      f.set(a, i32.add(rows[GROUP_QUERIES - 1].get, i32.sub(aStride.get, i32.mul(count.get, i32.of(4)))));
    });
  });
}
const UNROLL = 2;

/** `count` rows of 16 cache entries, `stride` bytes apart, to f32. */
export function decodeCache(kind: CacheKind): WatFunction {
  return define(`decode_${kind}`, ['to', 'from', 'stride', 'count'], (f, to, from, stride, count) => {
    const value = f.locals('v128', 'value', VECTORS);
    const decode = cacheDecoder(f, kind);
    f.countdown(count, () => {
      decode(value, from.get);
      value.forEach((v, n) => {
        f.emit(store.v128(to.get, v.get, 16 * n));
      });
      f.advance(from, stride.get);
      f.advance(to, 16 * VECTORS);
    });
  });
}

/** 16 cache entries to 4 vectors of f32. */
function cacheDecoder(f: Body, kind: CacheKind): (into: readonly Local<'v128'>[], at: I32) => void {
  if (kind === 'f32') {
    return (into, at) => {
      into.forEach((v, n) => {
        f.set(v, load.v128(at, 16 * n));
      });
    };
  }
  if (kind === 'i8') {
    const words = f.local('v128', 'words');
    return (into, at) => {
      for (const half of [0, 1]) {
        f.set(words, load.i8x8(at, 8 * half));
        f.set(into[2 * half], f32x4.ofI32(`(i32x4.extend_low_i16x8_s ${words.get})` as V128));
        f.set(into[2 * half + 1], f32x4.ofI32(`(i32x4.extend_high_i16x8_s ${words.get})` as V128));
      }
    };
  }
  const half = halves(f);
  return (into, at) => {
    into.forEach((v, n) => {
      f.set(v, half(load.i16x4(at, 8 * n)));
    });
  };
}

/** In place on `count` scores, 16 at a time; `scale` is the bits of an f32. */
export function softmax(): WatFunction {
  return define('softmax', ['x', 'count', 'scale'], (f, x, count, scale) => {
    const exp = exponential(f);
    const [total, limit, factor] = ['total', 'limit', 'factor'].map((name) => f.local('v128', name));
    const v = f.locals('v128', 'v', VECTORS);
    const most = f.locals('v128', 'most', VECTORS);
    const index = f.locals('v128', 'index', VECTORS);
    const [at, left] = ['at', 'left'].map((name) => f.local('i32', name));
    const lowest = heldF32(f, 'lowest', -3e38);
    const sixteen = heldI32(f, 'sixteen', 16);
    const one = heldF32(f, 'one', 1);
    f.set(limit, i32x4.splatOf(count.get));
    f.set(factor, `(f32x4.splat (f32.reinterpret_i32 ${scale.get}))` as V128);
    const each = (step: (v: readonly Local<'v128'>[]) => void) => {
      f.set(at, x.get);
      f.set(left, i32.shrU(i32.add(count.get, 15), 4));
      index.forEach((numbers, n) => {
        f.set(numbers, load.v128(i32.of(addressOfRun(LANES)), 16 * n));
      });
      f.countdown(left, () => {
        v.forEach((local, n) => {
          f.set(local, load.v128(at.get, 16 * n));
        });
        step(v);
        f.advance(at, 16 * VECTORS);
        for (const numbers of index) f.set(numbers, i32x4.add(numbers.get, sixteen));
      });
    };
    const replace = () => {
      v.forEach((local, n) => {
        f.emit(store.v128(at.get, local.get, 16 * n));
      });
    };
    const inside = (n: number) => i32x4.greater(limit.get, index[n].get);
    for (const local of most) f.set(local, lowest);
    each(() => {
      most.forEach((local, n) => {
        f.set(local, f32x4.pmax(local.get, v128.select(v[n].get, lowest, inside(n))));
      });
    });
    for (const other of most.slice(1)) f.set(most[0], f32x4.pmax(most[0].get, other.get));
    across(f, most[0], f32x4.pmax);
    each(() => {
      for (const local of v) f.set(local, f32x4.mul(f32x4.sub(local.get, most[0].get), factor.get));
      v.forEach(exp);
      v.forEach((local, n) => {
        f.set(local, v128.and(local.get, inside(n)));
      });
      replace();
    });
    // One sum in order, in a pass of its own: in the pass above it would keep the revectorizer from pairing anything.
    each(() => {
      for (const local of v) f.set(total, f32x4.add(total.get, local.get));
    });
    across(f, total, f32x4.add);
    f.set(total, f32x4.div(one, total.get));
    each(() => {
      for (const local of v) f.set(local, f32x4.mul(local.get, total.get));
      replace();
    });
  });
}
const LANES = Array.from({ length: 16 }, (_, lane) => lane);

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
        if (kind === 'f32') f.emit(store.f32(to.get, x.get));
        else if (kind === 'i8') {
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
