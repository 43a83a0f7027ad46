/**
 * A tile of one panel from the weights memory into the cache, as the signed bytes that `gemm` multiplies. A source `cells`
 * has codes too, and makes the weights of one chip of them: cells.ts.
 *
 *   bytes  for quad: w[quad][16][4] = src[quad][16][4]                         effective weights, baked at load
 *   codes  for quad: w[quad][16][4] = table[src nibble]                        4-bit codes; byte i of the first 16
 *          holds column i/4 (low nibble) and column 4 + i/4 (high nibble), the next 16 columns 8..15
 *
 * `absolute` makes |w| of it for the sum of currents, `sum_weights` adds them up by column.
 */
import { heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  i8x16,
  i16x8,
  type Local,
  load,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { type DotKind, dotProduct } from './dot.ts';

/** Storage of weights. */
export type Source = StoredSource | 'cells';
/** Whose weights are the same for every chip, or baked for one. */
export type StoredSource = 'bytes' | 'codes';
/** Bytes of 16 columns and 4 rows, as they are stored. */
export const QUAD_BYTES: Record<Source, number> = { bytes: 64, codes: 32, cells: 32 };

/** The offset that makes signed inputs of +-63 unsigned. */
export const INPUT_ZERO = 64;

/** table[index], index 0..15 in every byte. */
function lookup(kind: DotKind, table: V128, index: V128): V128 {
  return kind === 'i16' ? i8x16.swizzle(table, index) : (`(i8x16.relaxed_swizzle ${table} ${index})` as V128);
}

/** Reads one quad of a panel into 4 vectors: of cells their weights, which are in the cache; `table` and `nibbles` for codes. */
export function readQuad(
  f: Body,
  kind: DotKind,
  source: Source,
  into: readonly Local<'v128'>[],
  at: Local<'i32'>,
  offset: number,
  table: V128,
  nibbles: V128,
): void {
  if (source !== 'codes') {
    into.forEach((v, n) => {
      f.set(v, load.v128(at.get, offset + 16 * n, source === 'bytes' ? 'weights' : 'state'));
    });
    return;
  }
  for (const pair of [0, 1]) {
    const [low, high] = [into[2 * pair], into[2 * pair + 1]];
    f.set(high, load.v128(at.get, offset + 16 * pair, 'weights'));
    f.set(low, lookup(kind, table, v128.and(high.get, nibbles)));
    f.set(high, lookup(kind, table, v128.and(i16x8.shrU(high.get, 4), nibbles)));
  }
}

export function prepare(kind: DotKind, source: StoredSource): WatFunction {
  return define(`prepare_${source}`, ['src', 'w', 'table', 'quads'], (f, src, w, table, quads) => {
    const weight = f.locals('v128', 'weight', 4);
    const values = f.local('v128', 'values');
    const nibbles = heldI32(f, 'nibbles', 0x0f0f0f0f);
    f.set(values, load.v128(table.get));
    f.countdown(quads, () => {
      readQuad(f, kind, source, weight, src, 0, values.get, nibbles);
      weight.forEach((v, n) => {
        f.emit(store.v128(w.get, v.get, 16 * n));
      });
      f.advance(src, QUAD_BYTES[source]);
      f.advance(w, QUAD_BYTES.bytes);
    });
  });
}

/** zero[16] += 64 sum_k w[k][column] of codes, in the tables memory: what the inputs' offset of 64 adds; used while loading. */
export function zeroSums(kind: DotKind): WatFunction {
  return define('zero_codes', ['src', 'table', 'zero', 'quads'], (f, src, table, zero, quads) => {
    const dot = dotProduct(f, kind);
    const weight = f.locals('v128', 'weight', 4);
    const sum = f.locals('v128', 'sum', 4);
    const values = f.local('v128', 'values');
    const zeroPoint = heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101);
    const nibbles = heldI32(f, 'nibbles', 0x0f0f0f0f);
    f.set(values, load.v128(table.get));
    sum.forEach((v, n) => {
      f.set(v, load.v128(zero.get, 16 * n, 'tables'));
    });
    f.countdown(quads, () => {
      readQuad(f, kind, 'codes', weight, src, 0, values.get, nibbles);
      weight.forEach((v, n) => {
        f.set(sum[n], dot(v.get, zeroPoint, sum[n].get));
      });
      f.advance(src, QUAD_BYTES.codes);
    });
    sum.forEach((v, n) => {
      f.emit(store.v128(zero.get, v.get, 16 * n, 'tables'));
    });
  });
}

/** out[16] += sums of |w| of a tile: w [quads][16][4] signed bytes, out i32. */
export function sumWeights(kind: DotKind): WatFunction {
  return define('sum_weights', ['w', 'out', 'quads'], (f, w, out, quads) => {
    const dot = dotProduct(f, kind);
    const ones = heldI32(f, 'onesOfBytes', 0x01010101);
    const sums = f.locals('v128', 'sum', 4);
    sums.forEach((sum, n) => {
      f.set(sum, load.v128(out.get, 16 * n));
    });
    f.countdown(quads, () => {
      sums.forEach((sum, n) => {
        f.set(sum, dot(i8x16.abs(load.v128(w.get, 16 * n)), ones, sum.get));
      });
      f.advance(w, QUAD_BYTES.bytes);
    });
    sums.forEach((sum, n) => {
      f.emit(store.v128(out.get, sum.get, 16 * n));
    });
  });
}

/** |w| of `quads` quads. */
export function absolute(): WatFunction {
  return define('absolute', ['w', 'magnitude', 'quads'], (f, w, magnitude, quads) => {
    const v = f.locals('v128', 'v', 4);
    f.countdown(quads, () => {
      v.forEach((local, n) => {
        f.set(local, i8x16.abs(load.v128(w.get, 16 * n)));
      });
      v.forEach((local, n) => {
        f.emit(store.v128(magnitude.get, local.get, 16 * n));
      });
      f.advance(w, QUAD_BYTES.bytes);
      f.advance(magnitude, QUAD_BYTES.bytes);
    });
  });
}
