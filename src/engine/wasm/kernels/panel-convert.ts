/** The last step of a panel with converters: draws for as many tokens or tiles as the cache holds, then the conversion. */

import { type Body, callNamed, type I32, i32, type Local } from '../../../emit/wat.ts';
import {
  CONVERT_OPERANDS,
  CONVERT_TILES_OPERANDS,
  convertName,
  convertTilesName,
  TILE_BYTES,
  TOKEN_BYTES,
} from './adc.ts';
import { DRAW_BYTES, DRAW_ITEMS } from './draw.ts';
import type { Epilogue, Frame } from './panel-job.ts';

type Converter = Exclude<Epilogue, string>;
const isNoisy = ({ noise }: Converter) => noise !== 'off';

/** Converts a tile, as many tokens at a time as draws are made. */
export function batchConvert(f: Body, frame: Frame, epilogue: Converter, columns: I32): void {
  const { part, field } = frame;
  const names = ['convertRaw', 'convertCurrents', 'convertY', 'convertTokens', 'convertLeft', 'convertCount'];
  const [raw, currents, y, token, left, some] = names.map((name) => f.local('i32', name));
  f.set(raw, frame.sums.raw.get);
  f.set(currents, frame.sums.currents.get);
  f.set(y, part.y);
  f.set(token, frame.sums.tokens.get);
  f.set(left, frame.count.get);
  if (isNoisy(epilogue)) drawColumns(f, frame, frame.sums.slowKeys.get, i32.of(0), i32.of(1), part.slow);
  inChunks(f, left, some, () => {
    const stride = i32.of(TOKEN_BYTES);
    if (isNoisy(epilogue)) drawColumns(f, frame, token.get, stride, some.get, part.normals);
    callNamed(f, convertName(epilogue.noise, epilogue.float), CONVERT_OPERANDS, {
      raw: raw.get,
      current: currents.get,
      normals: part.normals,
      slow: part.slow,
      zeros: part.zeros,
      weightSums: part.weightSums,
      columns,
      tokens: token.get,
      tile: frame.tileTable.get,
      y: y.get,
      counts: field('counts'),
      count: some.get,
    });
    for (const stream of [raw, currents, y]) f.advance(stream, DRAW_BYTES);
    f.advance(token, DRAW_ITEMS * TOKEN_BYTES);
  });
}

/** Visits `left` items in chunks of at most DRAW_ITEMS; `some` is how many the chunk has. */
function inChunks(f: Body, left: Local<'i32'>, some: Local<'i32'>, visit: () => void): void {
  const chunks = f.local('i32', 'chunks');
  f.set(chunks, i32.divU(i32.add(left.get, DRAW_ITEMS - 1), DRAW_ITEMS));
  f.countdown(chunks, () => {
    f.set(some, i32.of(DRAW_ITEMS));
    f.when(i32.eq(chunks.get, i32.of(1)), () => f.set(some, left.get));
    visit();
    f.advance(left, -DRAW_ITEMS);
  });
}

/** Standard normals of the panel's columns for `count` keys, the first at `keys`: where TOKEN and TILE have theirs. */
function drawColumns(f: Body, { column }: Frame, keys: I32, stride: I32, count: I32, out: I32): void {
  f.call('hash_columns', keys, stride, count, column.get, out);
  f.call('normals', out, count);
}

/** Converts `count` tiles of one token, as many at a time as draws are made; the rest of `from` is that of the first. */
export function tilesConvert(
  f: Body,
  frame: Frame,
  epilogue: Converter,
  from: Readonly<Record<'zeros' | 'weightSums' | 'columns' | 'tiles' | 'count', I32>>,
  stride: I32,
): void {
  const { part, field } = frame;
  const names = [
    'convertRaw',
    'convertCurrents',
    'convertTokens',
    'convertTile',
    'convertSlow',
    'convertColumns',
    'convertZeros',
    'convertWeightSums',
    'convertLeft',
    'convertCount',
  ];
  const [raw, currents, token, tile, slowKeys, columns, zeros, weightSums, left, some] = names.map((name) =>
    f.local('i32', name),
  );
  f.set(raw, frame.sums.raw.get);
  f.set(currents, frame.sums.currents.get);
  f.set(token, frame.sums.tokens.get);
  f.set(slowKeys, frame.sums.slowKeys.get);
  f.set(tile, from.tiles);
  f.set(columns, from.columns);
  f.set(zeros, from.zeros);
  f.set(weightSums, from.weightSums);
  f.set(left, from.count);
  inChunks(f, left, some, () => {
    if (isNoisy(epilogue)) {
      drawColumns(f, frame, token.get, field('tokensStride'), some.get, part.normals);
      drawColumns(f, frame, slowKeys.get, i32.of(TILE_BYTES), some.get, part.slow);
    }
    callNamed(f, convertTilesName(epilogue.noise, epilogue.float), CONVERT_TILES_OPERANDS, {
      raw: raw.get,
      current: currents.get,
      normals: part.normals,
      slow: part.slow,
      zeros: zeros.get,
      weightSums: weightSums.get,
      columns: columns.get,
      columnsStride: stride,
      tokens: token.get,
      tokensStride: field('tokensStride'),
      tile: tile.get,
      y: part.y,
      counts: field('counts'),
      tiles: some.get,
    });
    for (const stream of [raw, currents, zeros, weightSums]) f.advance(stream, DRAW_BYTES);
    f.advance(columns, i32.mul(stride, DRAW_ITEMS));
    f.advance(token, i32.mul(field('tokensStride'), DRAW_ITEMS));
    f.advance(tile, DRAW_ITEMS * TILE_BYTES);
    f.advance(slowKeys, DRAW_ITEMS * TILE_BYTES);
  });
}
