/**
 * Activations of one token and tile to the unsigned bytes that `gemm` and `gemv` multiply.
 *
 *   s = max |a|  (`largest`; of the tile, or of the whole token)
 *   level = round(|a| top / s)
 *   table   x_r = round(sign(a) u_r[level] (1 + noise z))      u_r in units of the last plane, z per row and token
 *   plain   x   = round(a top / s)
 *   one plane: byte = x + 64, |x| <= 63;  two planes: bytes (x >> 7) + 64 and x & 127, |x| <= 8191
 *   magnitude = m[level] in 0..127 for the sum of currents     (table only)
 *
 *   a [4 quads] f32, zero beyond the tile's rows; byte j of quad q, plane p, rank r stands at
 *   x + p planeBytes + r rankBytes + q step + j;  magnitude + q step + j
 *   table [rank + 1][levels] f32: u_r, then m;  stats ENCODED_BYTES, see ENCODED; `scale` there is set beforehand
 */

import { heldF32, heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  defineNamed,
  type Expr,
  f32,
  f32x4,
  type I32,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Kernel,
  type Local,
  load,
  type Operands,
  type Parameters,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ROUNDER } from '../../../numbers.ts';
import { INPUT_LIMIT } from '../../integers.ts';
import type { DotKind } from './dot.ts';
import { type Draws, draws } from './hash.ts';
import { INPUT_ZERO } from './prepare.ts';

/**
 * Offsets of what encoding a token and tile leaves behind: scale, sums of magnitudes, rows that are driven, key of its draws; and of what
 * it is told: noise, and the offset in a table of the last entry that drives no row.
 */
export const ENCODED = {
  scale: 0,
  sum: 4,
  sumSquares: 8,
  active: 12,
  keyA: 16,
  keyB: 20,
  noise: 24,
  idle: 28,
} as const;
export const ENCODED_BYTES = 32;

/** stats.scale = max |a|. */
export function largest(): WatFunction {
  return define('largest', ['a', 'quads', 'stats'], (f, a, quads, stats) => {
    const most = f.local('v128', 'most');
    f.countdown(quads, () => {
      f.set(most, f32x4.pmax(most.get, f32x4.abs(load.v128(a.get))));
      f.advance(a, 16);
    });
    const lane = (i: number) => f32x4.extract(most.get, i);
    const top = f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3)));
    f.emit(store.f32(stats.get, top, ENCODED.scale));
  });
}

/** Way in which `encode` forms inputs: by the table of the response, by it with noise of the rows, or as whole numbers. */
export type EncodeKind = 'table' | 'noisy' | 'plain';
export type EncodeName = `encode_${EncodeKind}_${1 | 2}`;
export const encodeName = (coding: EncodeKind, planes: 1 | 2): EncodeName => `encode_${coding}_${planes}`;

/** Addresses and bytes unless said otherwise. */
export const ENCODE_OPERANDS = [
  'a', // activations [4 quads] f32
  'quads', // fours of rows
  'x',
  'magnitude',
  'step', // from one quad of a token to the next
  'planeBytes',
  'rankBytes',
  'rank', // tables of the response
  'top', // largest level
  'table',
  'tableBytes',
  'stats', // ENCODED of this token and tile
] as const;
type EncodeParameters = Parameters<typeof ENCODE_OPERANDS>;

/** Calls `encode`: as `invoke`, without an array for every token and tile. */
export function runEncode(kernel: Kernel<typeof ENCODE_OPERANDS>, o: Operands<typeof ENCODE_OPERANDS>): void {
  const { a, quads, x, magnitude, step, planeBytes, rankBytes, rank, top, table, tableBytes, stats } = o;
  kernel(a, quads, x, magnitude, step, planeBytes, rankBytes, rank, top, table, tableBytes, stats);
}

export function encode(kind: DotKind, coding: EncodeKind, planes: 1 | 2): WatFunction {
  return defineNamed(encodeName(coding, planes), ENCODE_OPERANDS, (f, p) => {
    const { a, quads, x, magnitude, step, stats } = p;
    const frame = prepareFrame(f, planes);
    const { value, inverse, sign, level, row, rounder } = frame;
    const draw = coding === 'noisy' ? draws(f, kind) : undefined;
    invertScale(f, frame, p);
    if (draw) f.set(row, '(v128.const i32x4 0 1 2 3)' as V128);
    f.countdown(quads, () => {
      f.set(value, load.v128(a.get));
      if (coding === 'plain') {
        f.set(value, rounded(f32x4.mul(value.get, inverse.get), rounder));
        storeInputs(f, frame, planes, value, x.get, p.planeBytes);
      } else {
        f.set(sign, v128.and(value.get, frame.signBit));
        f.set(level, i32x4.ofF32(rounded(f32x4.mul(f32x4.abs(value.get), inverse.get), rounder)));
        f.set(level, i32x4.shl(level.get, 2));
        if (draw) drawRows(f, frame, draw, stats);
        storeResponses(f, frame, p, planes, draw !== undefined);
        gather(f, frame, frame.entries.get);
        addToSums(f, frame, stats);
        storeBytes(f, i32x4.ofF32(frame.out.get), magnitude.get);
        f.advance(magnitude, step.get);
      }
      f.advance(a, 16);
      f.advance(x, step.get);
    });
    if (coding !== 'plain') storeSums(f, frame, stats);
  });
}

type Frame = ReturnType<typeof prepareFrame>;

/** Locals and constants of four rows at a time. */
function prepareFrame(f: Body, planes: 1 | 2) {
  const vector = (name: string) => f.local('v128', name);
  const number = (name: string) => f.local('i32', name);
  return {
    value: vector('value'),
    /** Byte offset of the level in a table. */
    level: vector('level'),
    sign: vector('sign'),
    out: vector('out'),
    drawn: vector('drawn'),
    sum: vector('sum'),
    sumSquares: vector('sumSquares'),
    active: vector('active'),
    row: vector('row'),
    bits: vector('bits'),
    r: number('r'),
    at: number('at'),
    entries: number('entries'),
    inverse: vector('inverse'),
    scale: f.local('f32', 'scale'),
    rounder: heldF32(f, 'rounder', ROUNDER),
    signBit: heldI32(f, 'signBit', 0x80000000),
    zeroPoint: heldI32(f, 'zeroPoint', INPUT_ZERO),
    low: heldI32(f, 'lowBits', 127),
    four: heldI32(f, 'four', 4),
    limit: heldF32(f, 'limit', INPUT_LIMIT[planes]),
    negated: heldF32(f, 'negated', -INPUT_LIMIT[planes]),
  };
}

/** inverse = top / scale, 0 where the scale is. */
function invertScale(
  f: Body,
  { scale, inverse }: Pick<Frame, 'scale' | 'inverse'>,
  { stats, top }: Pick<EncodeParameters, 'stats' | 'top'>,
): void {
  f.set(scale, load.f32(stats.get, ENCODED.scale));
  f.when(
    `(f32.gt ${scale.get} (f32.const 0))` as I32,
    () => f.set(inverse, f32x4.splatOf(f32.div(f32.ofI32(top.get), scale.get))),
    () => f.set(inverse, v128.zero),
  );
}

/** drawn = noise z, z a standard normal of each row and token. */
function drawRows(f: Body, frame: Frame, draw: Draws, stats: Local<'i32'>): void {
  const { bits, row, drawn, four } = frame;
  draw.hash(bits, row.get, load.splat32(stats.get, ENCODED.keyA), load.splat32(stats.get, ENCODED.keyB));
  draw.normal(drawn, bits.get);
  f.set(drawn, f32x4.mul(drawn.get, load.splat32(stats.get, ENCODED.noise)));
  f.set(row, i32x4.add(row.get, four));
}

/** x = sign u_r[level] of every rank; leaves `entries` at the magnitudes, which stand behind the last. */
function storeResponses(
  f: Body,
  frame: Frame,
  { x, table, rank, rankBytes, tableBytes, planeBytes }: EncodeParameters,
  planes: 1 | 2,
  noisy: boolean,
): void {
  const { at, entries, r, out, drawn, limit, negated, rounder, sign } = frame;
  f.set(at, x.get);
  f.set(entries, table.get);
  f.set(r, rank.get);
  f.countdown(r, () => {
    gather(f, frame, entries.get);
    if (noisy) f.set(out, f32x4.add(out.get, f32x4.mul(out.get, drawn.get)));
    // A row at the top level may be drawn above it; a byte beyond 0..127 would be read as something else.
    if (noisy) f.set(out, f32x4.pmin(limit, f32x4.pmax(negated, out.get)));
    f.set(out, v128.xor(rounded(out.get, rounder), sign.get));
    storeInputs(f, frame, planes, out, at.get, planeBytes);
    f.advance(at, rankBytes.get);
    f.advance(entries, tableBytes.get);
  });
}

/** out = four entries of a table of f32 at the byte offsets in `level`. */
function gather(f: Body, { out, level }: Frame, base: I32): void {
  for (let i = 0; i < 4; i++) {
    f.set(out, load.lane32(i32.add(base, i32x4.extract(level.get, i)), out.get, i));
  }
}

/** Four integers 0..127 to four bytes. */
function storeBytes(f: Body, integers: V128, to: I32): void {
  const words = i16x8.narrow(integers, integers);
  f.emit(store.low32(to, i8x16.narrow(words, words)));
}

/** Four signed inputs to the bytes of their planes. */
function storeInputs(
  f: Body,
  { zeroPoint, low }: Frame,
  planes: 1 | 2,
  v: Local<'v128'>,
  to: I32,
  planeBytes: Local<'i32'>,
): void {
  f.set(v, i32x4.ofF32(v.get));
  if (planes === 1) {
    storeBytes(f, i32x4.add(v.get, zeroPoint), to);
  } else {
    storeBytes(f, i32x4.add(i32x4.shrS(v.get, 7), zeroPoint), to);
    storeBytes(f, v128.and(v.get, low), i32.add(to, planeBytes.get));
  }
}

/** sum, sumSquares, active += of the four magnitudes in `out`. */
function addToSums(f: Body, { sum, sumSquares, active, out, level }: Frame, stats: Local<'i32'>): void {
  f.set(sum, f32x4.add(sum.get, out.get));
  f.set(sumSquares, f32x4.add(sumSquares.get, f32x4.mul(out.get, out.get)));
  const driven = i32x4.greater(level.get, load.splat32(stats.get, ENCODED.idle));
  f.set(active, i32x4.sub(active.get, driven));
}

function storeSums(f: Body, { sum, sumSquares, active }: Frame, stats: Local<'i32'>): void {
  const total = (v: Local<'v128'>) =>
    [1, 2, 3].reduce((t, i) => f32.add(t, f32x4.extract(v.get, i)), f32x4.extract(v.get, 0));
  f.emit(store.f32(stats.get, total(sum), ENCODED.sum));
  f.emit(store.f32(stats.get, total(sumSquares), ENCODED.sumSquares));
  f.emit(store.i32(stats.get, sumLanes(active), ENCODED.active));
}

const sumLanes = (v: Local<'v128'>): I32 =>
  [1, 2, 3].reduce((t, i) => i32.add(t, i32x4.extract(v.get, i)), i32x4.extract(v.get, 0));

/** Levels that `encode_bytes` looks up. */
export const BYTE_LEVELS = 64;

export const ENCODE_BYTES_OPERANDS = [
  'a',
  'quads',
  'x',
  'magnitude',
  'step',
  'rankBytes',
  'rank',
  'top',
  'table',
  'stats',
] as const;

/** Calls `encodeBytes` in the same way. */
export function runEncodeBytes(
  kernel: Kernel<typeof ENCODE_BYTES_OPERANDS>,
  o: Operands<typeof ENCODE_BYTES_OPERANDS>,
): void {
  const { a, quads, x, magnitude, step, rankBytes, rank, top, table, stats } = o;
  kernel(a, quads, x, magnitude, step, rankBytes, rank, top, table, stats);
}

/**
 * `encode_table_1` for at most 64 levels and whole groups of 4 quads, 16 inputs at a time: levels as bytes, looked up in
 * tables of bytes. The same results, at a quarter of the time.
 *
 *   table [rank + 1][64] bytes: round(u_r), then m
 */
export function encodeBytes(): WatFunction {
  return defineNamed('encode_bytes', ENCODE_BYTES_OPERANDS, (f, p) => {
    const { a, quads, x, magnitude, step, rankBytes, rank, table, stats } = p;
    const vector = (name: string) => f.local('v128', name);
    const [level, sign, out, inverse, sum, sumSquares] = [
      'level',
      'sign',
      'out',
      'inverse',
      'sum',
      'sumSquares',
    ].map(vector);
    const value = f.locals('v128', 'value', 4);
    const [index, half] = ['index', 'half'].map(vector);
    const [r, at, entries, active, groups, byteAt] = ['r', 'at', 'entries', 'active', 'groups', 'byteAt'].map(
      (name) => f.local('i32', name),
    );
    const scale = f.local('f32', 'scale');
    const rounder = heldF32(f, 'rounder', ROUNDER);
    const zeroPoint = heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101);
    const sixteen = heldI32(f, 'sixteen', 0x10101010);
    /** out = 16 bytes of a table, by the levels. */
    const lookUp = (base: I32) => {
      f.set(index, level.get);
      f.set(out, i8x16.swizzle(load.v128(base), index.get));
      for (let i = 1; i < BYTE_LEVELS / 16; i++) {
        // An index beyond 15, also one that wrapped below zero, gives zero.
        f.set(index, i8x16.sub(index.get, sixteen));
        f.set(out, v128.or(out.get, i8x16.swizzle(load.v128(base, 16 * i), index.get)));
      }
    };
    /** The four quads of `out`. */
    const put = (start: I32) => {
      f.set(byteAt, start);
      for (let i = 0; i < 4; i++) {
        f.emit(store.lane32(byteAt.get, out.get, i));
        f.advance(byteAt, step.get);
      }
    };
    invertScale(f, { scale, inverse }, p);
    f.set(groups, i32.shrU(quads.get, 2));
    f.countdown(groups, () => {
      value.forEach((v, i) => {
        f.set(v, load.v128(a.get, 16 * i));
      });
      const packed = (of: (v: Local<'v128'>) => V128) =>
        i8x16.narrow(i16x8.narrow(of(value[0]), of(value[1])), i16x8.narrow(of(value[2]), of(value[3])));
      f.set(
        sign,
        packed((v) => i32x4.shrS(v.get, 31)),
      );
      f.set(
        level,
        packed((v) => i32x4.ofF32(rounded(f32x4.mul(f32x4.abs(v.get), inverse.get), rounder))),
      );
      f.set(at, x.get);
      f.set(entries, table.get);
      f.set(r, rank.get);
      f.countdown(r, () => {
        lookUp(entries.get);
        // Minus one and the complement: the negative.
        f.set(out, i8x16.sub(v128.xor(out.get, sign.get), sign.get));
        f.set(out, i8x16.add(out.get, zeroPoint));
        put(at.get);
        f.advance(at, rankBytes.get);
        f.advance(entries, BYTE_LEVELS);
      });
      lookUp(entries.get);
      put(magnitude.get);
      f.set(sum, i32x4.add(sum.get, i32x4.addPairsU(i16x8.addPairsOfBytesU(out.get))));
      for (const words of [i16x8.extendLowU8(out.get), i16x8.extendHighU8(out.get)]) {
        f.set(half, words);
        f.set(sumSquares, i32x4.add(sumSquares.get, i16x8.dot(half.get, half.get)));
      }
      f.advance(active, i32.countOnes(i8x16.bitmask(i8x16.greater(level.get, v128.zero))));
      f.advance(a, 64);
      f.advance(x, i32.shl(step.get, 2));
      f.advance(magnitude, i32.shl(step.get, 2));
    });
    f.emit(store.f32(stats.get, f32.ofI32(sumLanes(sum)), ENCODED.sum));
    f.emit(store.f32(stats.get, f32.ofI32(sumLanes(sumSquares)), ENCODED.sumSquares));
    f.emit(store.i32(stats.get, active.get, ENCODED.active));
  });
}

const rounded = (v: V128, rounder: Expr<'v128'>): V128 => f32x4.sub(f32x4.add(v, rounder), rounder);
