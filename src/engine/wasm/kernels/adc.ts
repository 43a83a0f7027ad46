/**
 * From raw integer sums to digital column values, accumulated over tiles.
 *
 * convert (a converter per column):
 *   for token: for column c of 16:
 *     f  = (raw - zero_c) gain_c gain_t + offset_c                   in LSB; gain_t: what a tile's columns share
 *     f += sigma (z + slow_t slowDraw_c)                             z drawn per token, tile and column
 *          sigma = sqrt(floor_t + perCurrent current)     `product`: current = sum |x||w|, as drawn
 *                                                         `column`: current_t sum_c |w|, of inputs at the mean of their tile's
 *                  sigma_t                                `token`: one per tile and token
 *     y += clip(round(f), +-top) scale_c out_t
 *   `float` leaves out round and clip
 *
 * accumulate (exact arithmetic):   y += (raw - zero_c) scale_c out_t
 *
 *   raw, current     [tokens][16] i32, raw products and sums of currents
 *   normals, slow    [tokens][16] and [16] f32, the draws (see draw.ts); not read where there is no noise
 *   zeros            [16] i32, what the offset of the unsigned inputs adds to raw
 *   weightSums       [16] i32, sums of |w| of the response's leading part; read with noise `column`
 *   columns          in the tables memory: f32 [3][16] gain, offset, scale (accumulate: zeros as above, then [1][16] scale)
 *   tokens           [count] of TOKEN_BYTES, see TOKEN; tile  TILE_BYTES, see TILE
 *   y                [tokens][16] f32
 *
 * For a batch, a call does one tile and all tokens (`convert`); for a single token, one call does all tiles
 * (`convert..._tiles`), so that constants are fetched once; slow is then [tiles][16].
 */
import { heldF32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  defineNamed,
  f32x4,
  type I32,
  i32,
  i32x4,
  type Local,
  load,
  store,
  type V128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { ROUNDER } from '../../../numbers.ts';
import { PANEL_COLUMNS } from './gemm.ts';

/** Offsets of what is known per tile and token; `sigma` is read with noise `token`, `floor` with the others, `current` with `column`. */
export const TOKEN = {
  keyA: 0,
  keyB: 4,
  gain: 8,
  out: 12,
  floor: 16,
  slow: 20,
  sigma: 24,
  current: 28,
} as const;
export const TOKEN_BYTES = 32;
/** Offsets of what is known per tile; the second keys are those of a second conversion. */
export const TILE = {
  slowKeyA: 0,
  slowKeyB: 4,
  perCurrent: 8,
  top: 12,
  secondSlowKeyA: 16,
  secondSlowKeyB: 20,
} as const;
export const TILE_BYTES = 32;
/** Offsets of what a panel counts: vectors of 4, clipped conversions (i32) and summed rawCurrent (f32). */
export const COUNTS = { clipped: 0, current: 16 } as const;
export const COUNTS_BYTES = 32;

export type NoiseKind = 'off' | 'token' | 'column' | 'product';
/** Does sigma follow from a current of each column? */
export const byColumn = (noise: NoiseKind): boolean => noise === 'column' || noise === 'product';

const VECTORS = PANEL_COLUMNS / 4;
export type ConvertName = `convert_${NoiseKind}${'' | '_float'}`;
export const convertName = (noise: NoiseKind, float: boolean): ConvertName =>
  `convert_${noise}${float ? '_float' : ''}`;
export const convertTilesName = (noise: NoiseKind, float: boolean): `${ConvertName}_tiles` =>
  `${convertName(noise, float)}_tiles`;

type Pair = readonly Local<'v128'>[];

/** Locals of the conversion of 8 columns (two vectors) of one token. */
interface Step {
  readonly slow: Pair;
  readonly value: Pair;
  readonly code: Pair;
  readonly sigma: Pair;
  readonly clipped: Pair;
  readonly total: Pair;
  readonly gainT: Local<'v128'>;
  readonly outT: Local<'v128'>;
  readonly floorT: Local<'v128'>;
  readonly slowT: Local<'v128'>;
  readonly currentT: Local<'v128'>;
  readonly top: Local<'v128'>;
  readonly bottom: Local<'v128'>;
  readonly perCurrent: Local<'v128'>;
  readonly rounder: V128;
}

const both = (step: (n: number) => void): void => {
  step(0);
  step(1);
};

function newStep(f: Body): Step {
  const pair = (name: string) => f.locals('v128', name, 2);
  const splat = (name: string) => f.local('v128', name);
  return {
    slow: pair('slow'),
    value: pair('value'),
    code: pair('code'),
    sigma: pair('sigma'),
    clipped: pair('clipped'),
    total: pair('total'),
    gainT: splat('gainT'),
    outT: splat('outT'),
    floorT: splat('floorT'),
    slowT: splat('slowT'),
    currentT: splat('currentT'),
    top: splat('top'),
    bottom: splat('bottom'),
    perCurrent: splat('perCurrent'),
    rounder: heldF32(f, 'rounder', ROUNDER),
  };
}

function loadTile(f: Body, step: Step, tile: I32): void {
  f.set(step.top, load.splat32(tile, TILE.top));
  f.set(step.bottom, f32x4.neg(step.top.get));
  f.set(step.perCurrent, load.splat32(tile, TILE.perCurrent));
}

interface Columns {
  weightSum(n: number): V128;
  zero(n: number): V128;
  gain(n: number): V128;
  offset(n: number): V128;
  scale(n: number): V128;
}

/** Converts 8 columns of one token: 32 bytes at `raw`, `current` and `y`. */
function convertStep(
  f: Body,
  noise: NoiseKind,
  float: boolean,
  step: Step,
  columns: Columns,
  at: { raw: I32; current: I32; normals: I32; token: I32; y: I32; offset: number },
): void {
  const { value, code, slow, sigma, total, clipped, gainT, outT, floorT, slowT, currentT } = step;
  f.set(gainT, load.splat32(at.token, TOKEN.gain));
  f.set(outT, load.splat32(at.token, TOKEN.out));
  both((n) => {
    const sum = i32x4.sub(load.v128(at.raw, at.offset + n * 16), columns.zero(n));
    const gain = f32x4.mul(columns.gain(n), gainT.get);
    f.set(value[n], f32x4.add(f32x4.mul(f32x4.ofI32(sum), gain), columns.offset(n)));
  });
  if (noise !== 'off') {
    f.set(floorT, load.splat32(at.token, byColumn(noise) ? TOKEN.floor : TOKEN.sigma));
    f.set(slowT, load.splat32(at.token, TOKEN.slow));
    if (noise === 'column') f.set(currentT, load.splat32(at.token, TOKEN.current));
    both((n) => {
      if (byColumn(noise)) {
        const current =
          noise === 'column'
            ? f32x4.mul(columns.weightSum(n), currentT.get)
            : f32x4.ofI32(load.v128(at.current, at.offset + n * 16));
        f.set(sigma[n], current);
        f.set(total[n], f32x4.add(total[n].get, sigma[n].get));
        const white = f32x4.mul(sigma[n].get, step.perCurrent.get);
        f.set(sigma[n], f32x4.sqrt(f32x4.add(white, floorT.get)));
      }
      const deviation = byColumn(noise) ? sigma[n].get : floorT.get;
      const still = f32x4.mul(slow[n].get, slowT.get);
      const draw = f32x4.add(load.v128(at.normals, at.offset + n * 16), still);
      f.set(value[n], f32x4.add(value[n].get, f32x4.mul(draw, deviation)));
    });
  }
  both((n) => {
    if (!float) {
      f.set(value[n], f32x4.sub(f32x4.add(value[n].get, step.rounder), step.rounder));
      f.set(code[n], f32x4.pmin(step.top.get, f32x4.pmax(step.bottom.get, value[n].get)));
      // Where rounding and clipping differ all bits are set: minus one.
      f.set(clipped[n], i32x4.sub(clipped[n].get, f32x4.notEqual(code[n].get, value[n].get)));
    }
    const result = float ? value[n] : code[n];
    const unit = f32x4.mul(columns.scale(n), outT.get);
    f.set(value[n], f32x4.add(load.v128(at.y, at.offset + n * 16), f32x4.mul(result.get, unit)));
  });
  // Neighbouring stores with no load between them: what the revectorizer pairs.
  both((n) => {
    f.emit(store.v128(at.y, value[n].get, at.offset + n * 16));
  });
}

/** Adds what the steps counted to the panel's counts. */
function keepCounts(f: Body, noise: NoiseKind, float: boolean, { clipped, total }: Step, counts: I32): void {
  const add = (offset: number, sum: (a: V128, b: V128) => V128, value: V128) =>
    f.emit(store.v128(counts, sum(load.v128(counts, offset), value), offset));
  if (!float) add(COUNTS.clipped, i32x4.add, i32x4.add(clipped[0].get, clipped[1].get));
  if (byColumn(noise)) add(COUNTS.current, f32x4.add, f32x4.add(total[0].get, total[1].get));
}

/** Slow draws of 8 columns. */
function loadSlow(f: Body, noise: NoiseKind, { slow }: Step, at: I32, offset: number): void {
  if (noise === 'off') return;
  both((n) => {
    f.set(slow[n], load.v128(at, offset + n * 16));
  });
}

export const CONVERT_OPERANDS = [
  'raw',
  'current',
  'normals',
  'slow',
  'zeros',
  'weightSums',
  'columns',
  'tokens',
  'tile',
  'y',
  'counts',
  'count',
] as const;

/**
 * One tile, `count` tokens (at least 1). Two passes over the tokens, 8 columns each: more would not fit the registers.
 */
export function convert(noise: NoiseKind, float: boolean): WatFunction {
  return defineNamed(convertName(noise, float), CONVERT_OPERANDS, (f, p) => {
    const { raw, current, normals, slow, zeros, weightSums, columns, tokens, tile, y, counts, count } = p;
    const step = newStep(f);
    const table = ['zero', 'gain', 'offset', 'scale'].map((name) => f.locals('v128', name, 2));
    const sums = f.locals('v128', 'weightSum', 2);
    const [left, token, half] = ['left', 'token', 'half'].map((name) => f.local('i32', name));
    loadTile(f, step, tile.get);
    f.set(half, i32.of(2));
    f.countdown(half, () => {
      table.forEach((pair, row) => {
        both((n) => {
          const ownRow = (row - 1) * PANEL_COLUMNS * 4 + n * 16;
          f.set(pair[n], row === 0 ? load.v128(zeros.get, n * 16) : load.v128(columns.get, ownRow, 'tables'));
        });
      });
      if (noise === 'column')
        both((n) => {
          f.set(sums[n], f32x4.ofI32(load.v128(weightSums.get, n * 16)));
        });
      loadSlow(f, noise, step, slow.get, 0);
      f.set(left, count.get);
      f.set(token, tokens.get);
      const [zero, gain, offset, scale, weightSum] = [...table, sums].map(
        (pair) => (n: number) => pair[n].get,
      );
      const streams = [
        raw,
        y,
        ...(noise === 'off' ? [] : [normals]),
        ...(noise === 'product' ? [current] : []),
      ];
      f.countdown(left, () => {
        const at = {
          raw: raw.get,
          current: current.get,
          normals: normals.get,
          token: token.get,
          y: y.get,
          offset: 0,
        };
        convertStep(f, noise, float, step, { zero, gain, offset, scale, weightSum }, at);
        for (const stream of streams) f.advance(stream, PANEL_COLUMNS * 4);
        f.advance(token, TOKEN_BYTES);
      });
      // Back to the first token, on to the next 8 columns.
      const rewind = i32.sub(i32.of(PANEL_COLUMNS * 2), i32.mul(count.get, PANEL_COLUMNS * 4));
      for (const stream of streams) f.advance(stream, rewind);
      f.advance(zeros, PANEL_COLUMNS * 2);
      f.advance(weightSums, PANEL_COLUMNS * 2);
      f.advance(columns, PANEL_COLUMNS * 2);
      f.advance(slow, PANEL_COLUMNS * 2);
    });
    keepCounts(f, noise, float, step, counts.get);
  });
}

export const CONVERT_TILES_OPERANDS = [
  'raw',
  'current',
  'normals',
  'slow',
  'zeros',
  'weightSums',
  'columns',
  'columnsStride',
  'tokens',
  'tokensStride',
  'tile',
  'y',
  'counts',
  'tiles',
] as const;

/**
 * One token, `tiles` tiles: raw and current [tiles][16]; the columns of a tile stand `columnsStride` after those of the
 * one before, a token's parameters `tokensStride`.
 */
export function convertTiles(noise: NoiseKind, float: boolean): WatFunction {
  return defineNamed(convertTilesName(noise, float), CONVERT_TILES_OPERANDS, (f, p) => {
    const {
      raw,
      current,
      normals,
      slow,
      zeros,
      weightSums,
      columns,
      columnsStride,
      tokens,
      tokensStride,
      tile,
      y,
      counts,
      tiles,
    } = p;
    const step = newStep(f);
    f.countdown(tiles, () => {
      loadTile(f, step, tile.get);
      for (const half of [0, 1]) {
        const from = (row: number) => (n: number) =>
          load.v128(columns.get, row * PANEL_COLUMNS * 4 + half * 32 + n * 16, 'tables');
        loadSlow(f, noise, step, slow.get, half * 32);
        const at = {
          raw: raw.get,
          current: current.get,
          normals: normals.get,
          token: tokens.get,
          y: y.get,
          offset: half * 32,
        };
        const zero = (n: number) => load.v128(zeros.get, half * 32 + n * 16);
        const weightSum = (n: number) => f32x4.ofI32(load.v128(weightSums.get, half * 32 + n * 16));
        const table = { zero, gain: from(0), offset: from(1), scale: from(2), weightSum };
        convertStep(f, noise, float, step, table, at);
      }
      for (const stream of [raw, current, normals, slow, zeros, weightSums])
        f.advance(stream, PANEL_COLUMNS * 4);
      f.advance(columns, columnsStride.get);
      f.advance(tokens, tokensStride.get);
      f.advance(tile, TILE_BYTES);
    });
    keepCounts(f, noise, float, step, counts.get);
  });
}

/** Exact accumulation, for digital arithmetic on recoded or int8 weights. */
export function accumulate(): WatFunction {
  return define('accumulate', ['raw', 'columns', 'tokens', 'y', 'count'], (f, ...p) => {
    const [raw, columns, tokens, y, count] = p;
    const zeros = f.locals('v128', 'zero', VECTORS);
    const scales = f.locals('v128', 'scale', VECTORS);
    const sums = f.locals('v128', 'sum', VECTORS);
    for (let n = 0; n < VECTORS; n++) {
      f.set(zeros[n], load.v128(columns.get, n * 16, 'tables'));
      f.set(scales[n], load.v128(columns.get, PANEL_COLUMNS * 4 + n * 16, 'tables'));
    }
    const outT = f.local('v128', 'outT');
    f.countdown(count, () => {
      f.set(outT, load.splat32(tokens.get, TOKEN.out));
      sums.forEach((v, n) => {
        const sum = f32x4.ofI32(i32x4.sub(load.v128(raw.get, n * 16), zeros[n].get));
        const product = f32x4.mul(sum, f32x4.mul(scales[n].get, outT.get));
        f.set(v, f32x4.add(load.v128(y.get, n * 16), product));
      });
      sums.forEach((v, n) => {
        f.emit(store.v128(y.get, v.get, n * 16));
      });
      f.advance(raw, PANEL_COLUMNS * 4);
      f.advance(y, PANEL_COLUMNS * 4);
      f.advance(tokens, TOKEN_BYTES);
    });
  });
}

export const ACCUMULATE_TILES_OPERANDS = [
  'raw',
  'columns',
  'columnsStride',
  'tokens',
  'tokensStride',
  'y',
  'tiles',
] as const;

/** The same for one token and `tiles` tiles: see `convertTiles`. */
export function accumulateTiles(): WatFunction {
  return defineNamed('accumulate_tiles', ACCUMULATE_TILES_OPERANDS, (f, p) => {
    const { raw, columns, columnsStride, tokens, tokensStride, y, tiles } = p;
    const sums = f.locals('v128', 'sum', VECTORS);
    const outT = f.local('v128', 'outT');
    sums.forEach((v, n) => {
      f.set(v, load.v128(y.get, n * 16));
    });
    f.countdown(tiles, () => {
      f.set(outT, load.splat32(tokens.get, TOKEN.out));
      sums.forEach((v, n) => {
        const zero = load.v128(columns.get, n * 16, 'tables');
        const scale = load.v128(columns.get, PANEL_COLUMNS * 4 + n * 16, 'tables');
        const sum = f32x4.ofI32(i32x4.sub(load.v128(raw.get, n * 16), zero));
        f.set(v, f32x4.add(v.get, f32x4.mul(sum, f32x4.mul(scale, outT.get))));
      });
      f.advance(raw, PANEL_COLUMNS * 4);
      f.advance(columns, columnsStride.get);
      f.advance(tokens, tokensStride.get);
    });
    sums.forEach((v, n) => {
      f.emit(store.v128(y.get, v.get, n * 16));
    });
  });
}
