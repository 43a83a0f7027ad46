/**
 * From raw integer sums to digital column values, accumulated over tiles.
 *
 * convert (a converter per column):
 *   for token: for column c of 16:
 *     f  = (raw - zero_c) gain_c gain_t + offset_c                   in LSB; gain_t: what a tile's columns share
 *     f += sigma (z + slow_t slowDraw_c)                             z drawn per token, tile and column
 *          sigma = sqrt(floor_t + perCurrent sumCurrent)  `product`: from the drawn current sum |x||w|
 *                  sqrt(floor_t)                          `token`: one per tile and token
 *     y += clip(round(f), +-top) scale_c out_t
 *   `float` leaves out round and clip
 *
 * accumulate (exact arithmetic):   y += (raw - zero_c) scale_c out_t
 *
 *   raw, rawCurrent  [tokens][16] i32        zero  [16] i32, what the offset of the unsigned inputs adds
 *   columns          in the weights memory, [3][16] f32: gain, offset, scale   (accumulate: [1][16]: scale)
 *   tokens           [count] of TOKEN_BYTES, see TOKEN; tile  TILE_BYTES, see TILE
 *   y                [tokens][16] f32
 */
import { heldF32 } from '../constants.ts';
import { define, f32x4, type I32, i32, i32x4, load, store, type V128, type WatFunction } from '../wat.ts';
import type { DotKind } from './dot.ts';
import { PANEL_COLUMNS } from './gemm.ts';
import { draws } from './hash.ts';

/** Offsets of what is known per tile and token. */
export const TOKEN = { keyA: 0, keyB: 4, gain: 8, out: 12, floor: 16, slow: 20 } as const;
export const TOKEN_BYTES = 32;
/** Offsets of what is known per tile. */
export const TILE = { slowKeyA: 0, slowKeyB: 4, perCurrent: 8, top: 12 } as const;
export const TILE_BYTES = 32;
/** Offsets of what a panel counts: vectors of 4, clipped conversions (i32) and summed rawCurrent (f32). */
export const COUNTS = { clipped: 0, current: 16 } as const;
export const COUNTS_BYTES = 32;

export type NoiseKind = 'off' | 'token' | 'product';

const VECTORS = PANEL_COLUMNS / 4;
/** Adding and subtracting 1.5 * 2^23 rounds a small f32 to the nearest integer, ties to even. */
export const ROUNDER = 1.5 * 2 ** 23;

export const convertName = (noise: NoiseKind, float: boolean): string =>
  `convert_${noise}${float ? '_float' : ''}`;

/**
 * `column` is the number of the panel's first column: the counter of its draws. `count` tokens, at least 1. Two passes
 * over the tokens, 8 columns each: more would not fit the registers.
 */
export function convert(dot: DotKind, noise: NoiseKind, float: boolean): WatFunction {
  const parameters = [
    'raw',
    'current',
    'zero',
    'columns',
    'tokens',
    'tile',
    'y',
    'counts',
    'count',
    'column',
  ];
  return define(convertName(noise, float), parameters, (f, ...p) => {
    const [raw, current, zero, columns, tokens, tile, y, counts, count, column] = p;
    const pair = (name: string) => f.locals('v128', name, 2);
    const both = (step: (n: number) => void) => {
      step(0);
      step(1);
    };
    const [zeros, gains, offsets, scales, index] = ['zero', 'gain', 'offset', 'scale', 'index'].map(pair);
    const [value, bits, slow, clipped, total, sigma] = [
      'value',
      'bits',
      'slow',
      'clipped',
      'total',
      'sigma',
    ].map(pair);
    const splat = (name: string) => f.local('v128', name);
    const [top, bottom, perCurrent] = ['top', 'bottom', 'perCurrent'].map(splat);
    const [gainT, outT, floorT, slowT, keyA, keyB] = ['gainT', 'outT', 'floorT', 'slowT', 'keyA', 'keyB'].map(
      splat,
    );
    const left = f.local('i32', 'left');
    const token = f.local('i32', 'token');
    const half = f.local('i32', 'half');
    f.set(top, load.splat32(tile.get, TILE.top));
    f.set(bottom, f32x4.neg(top.get));
    f.set(perCurrent, load.splat32(tile.get, TILE.perCurrent));
    const rounder = heldF32(f, 'rounder', ROUNDER);
    const draw = noise === 'off' ? undefined : draws(f, dot);
    f.set(half, i32.of(2));
    f.countdown(half, () => {
      both((n) => {
        f.set(zeros[n], load.v128(zero.get, n * 16));
        f.set(gains[n], load.v128(columns.get, n * 16, 'weights'));
        f.set(offsets[n], load.v128(columns.get, PANEL_COLUMNS * 4 + n * 16, 'weights'));
        f.set(scales[n], load.v128(columns.get, PANEL_COLUMNS * 8 + n * 16, 'weights'));
      });
      if (draw) {
        f.set(keyA, load.splat32(tile.get, TILE.slowKeyA));
        f.set(keyB, load.splat32(tile.get, TILE.slowKeyB));
        both((n) => {
          const lanes = `(v128.const i32x4 ${[0, 1, 2, 3].map((i) => 4 * n + i).join(' ')})` as V128;
          f.set(index[n], i32x4.add(i32x4.splatOf(column.get), lanes));
          draw.hash(bits[n], index[n].get, keyA.get, keyB.get);
          draw.normal(slow[n], bits[n].get);
        });
      }
      f.set(left, count.get);
      f.set(token, tokens.get);
      f.countdown(left, () => {
        f.set(gainT, load.splat32(token.get, TOKEN.gain));
        f.set(outT, load.splat32(token.get, TOKEN.out));
        both((n) => {
          const sum = i32x4.sub(load.v128(raw.get, n * 16), zeros[n].get);
          const gain = f32x4.mul(gains[n].get, gainT.get);
          f.set(value[n], f32x4.add(f32x4.mul(f32x4.ofI32(sum), gain), offsets[n].get));
        });
        if (draw) {
          f.set(keyA, load.splat32(token.get, TOKEN.keyA));
          f.set(keyB, load.splat32(token.get, TOKEN.keyB));
          f.set(floorT, load.splat32(token.get, TOKEN.floor));
          f.set(slowT, load.splat32(token.get, TOKEN.slow));
          both((n) => {
            draw.hash(bits[n], index[n].get, keyA.get, keyB.get);
            draw.normal(bits[n], bits[n].get);
            f.set(bits[n], f32x4.add(bits[n].get, f32x4.mul(slow[n].get, slowT.get)));
            if (noise === 'product') {
              f.set(sigma[n], f32x4.ofI32(load.v128(current.get, n * 16)));
              f.set(total[n], f32x4.add(total[n].get, sigma[n].get));
              const white = f32x4.mul(sigma[n].get, perCurrent.get);
              f.set(sigma[n], f32x4.sqrt(f32x4.add(white, floorT.get)));
            } else {
              f.set(sigma[n], f32x4.sqrt(floorT.get));
            }
            f.set(value[n], f32x4.add(value[n].get, f32x4.mul(bits[n].get, sigma[n].get)));
          });
        }
        both((n) => {
          if (!float) {
            f.set(value[n], f32x4.sub(f32x4.add(value[n].get, rounder), rounder));
            f.set(bits[n], f32x4.pmin(top.get, f32x4.pmax(bottom.get, value[n].get)));
            // Where rounding and clipping differ all bits are set: minus one.
            f.set(clipped[n], i32x4.sub(clipped[n].get, f32x4.notEqual(bits[n].get, value[n].get)));
          }
          const code = float ? value[n] : bits[n];
          const unit = f32x4.mul(scales[n].get, outT.get);
          f.set(value[n], f32x4.add(load.v128(y.get, n * 16), f32x4.mul(code.get, unit)));
        });
        // Neighbouring stores with no load between them: what the revectorizer pairs.
        both((n) => {
          f.emit(store.v128(y.get, value[n].get, n * 16));
        });
        f.advance(raw, PANEL_COLUMNS * 4);
        if (noise === 'product') f.advance(current, PANEL_COLUMNS * 4);
        f.advance(y, PANEL_COLUMNS * 4);
        f.advance(token, TOKEN_BYTES);
      });
      // Back to the first token, on to the next 8 columns.
      const rewind = i32.sub(i32.of(PANEL_COLUMNS * 2), i32.mul(count.get, PANEL_COLUMNS * 4));
      f.advance(raw, rewind);
      f.advance(current, rewind);
      f.advance(y, rewind);
      for (const table of [zero, columns]) f.advance(table, PANEL_COLUMNS * 2);
      f.advance(column, PANEL_COLUMNS / 2);
    });
    if (!float) {
      addInto(f.emit, counts.get, COUNTS.clipped, i32x4.add, i32x4.add(clipped[0].get, clipped[1].get));
    }
    if (noise === 'product') {
      addInto(f.emit, counts.get, COUNTS.current, f32x4.add, f32x4.add(total[0].get, total[1].get));
    }
  });
}

function addInto(
  emit: (statement: string) => void,
  at: I32,
  offset: number,
  add: (a: V128, b: V128) => V128,
  value: V128,
): void {
  emit(store.v128(at, add(load.v128(at, offset), value), offset));
}

/** Exact accumulation, for digital arithmetic on recoded or int8 weights. */
export function accumulate(): WatFunction {
  return define('accumulate', ['raw', 'zero', 'columns', 'tokens', 'y', 'count'], (f, ...p) => {
    const [raw, zero, columns, tokens, y, count] = p;
    const zeros = f.locals('v128', 'zero', VECTORS);
    const scales = f.locals('v128', 'scale', VECTORS);
    for (let n = 0; n < VECTORS; n++) {
      f.set(zeros[n], load.v128(zero.get, n * 16));
      f.set(scales[n], load.v128(columns.get, n * 16, 'weights'));
    }
    const outT = f.local('v128', 'outT');
    f.countdown(count, () => {
      f.set(outT, load.splat32(tokens.get, TOKEN.out));
      for (let n = 0; n < VECTORS; n++) {
        const sum = f32x4.ofI32(i32x4.sub(load.v128(raw.get, n * 16), zeros[n].get));
        const product = f32x4.mul(sum, f32x4.mul(scales[n].get, outT.get));
        f.emit(store.v128(y.get, f32x4.add(load.v128(y.get, n * 16), product), n * 16));
      }
      f.advance(raw, PANEL_COLUMNS * 4);
      f.advance(y, PANEL_COLUMNS * 4);
      f.advance(tokens, TOKEN_BYTES);
    });
  });
}
