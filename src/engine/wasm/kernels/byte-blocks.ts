/**
 * One panel of a digital layer of signed bytes in blocks of up to 32 rows: 16 columns, all terms and blocks, a batch of tokens or a single
 * one. Its job is that of panel.ts, of which it reads less.
 *
 *   y[token][16] = sum over terms and blocks of  f32(sum_k w[k] x[k]) (scale out_t)      in the order in which they stand
 *
 *   weights  [terms][blocks][quads][16][4], in the weights memory;  scales  [terms][blocks][16] f32, in the tables memory
 *
 * What the offset of the inputs' upper plane adds is found from the weights while they are read.
 */
import { heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  f32x4,
  type I32,
  i32,
  i32x4,
  type Local,
  load,
  store,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { type DotKind, dotProduct } from './dot.ts';
import { BLOCK_TOKENS, PANEL_COLUMNS } from './gemm.ts';
import { copyOut, fill } from './panel.ts';
import { JOB, type JobField, panelName, SCALES_BYTES, SCRATCH_FIELDS } from './panel-job.ts';
import { INPUT_ZERO, QUAD_BYTES } from './prepare.ts';
import { touchTiles } from './touch.ts';

const VECTORS = PANEL_COLUMNS / 4;

/** A block into the cache, and of its columns what `gemm_byte_blocks` takes: what the offset adds [16] i32, scales [16] f32. */
export function prepareByteBlock(kind: DotKind): WatFunction {
  return define('prepare_byte_block', ['src', 'scales', 'w', 'columns', 'quads'], (f, ...p) => {
    const [src, scales, w, columns, quads] = p;
    const dot = dotProduct(f, kind);
    const weight = f.locals('v128', 'weight', VECTORS);
    const sums = f.locals('v128', 'sum', VECTORS);
    const zeroPoint = heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101);
    for (const v of sums) f.set(v, v128.zero);
    f.countdown(quads, () => {
      weight.forEach((v, n) => {
        f.set(v, load.v128(src.get, 16 * n, 'weights'));
      });
      weight.forEach((v, n) => {
        f.set(sums[n], dot(v.get, zeroPoint, sums[n].get));
      });
      weight.forEach((v, n) => {
        f.emit(store.v128(w.get, v.get, 16 * n));
      });
      f.advance(src, QUAD_BYTES.bytes);
      f.advance(w, QUAD_BYTES.bytes);
    });
    // The offset stands in the upper of two planes.
    sums.forEach((v, n) => {
      f.emit(store.v128(columns.get, i32x4.shl(v.get, 7), 16 * n));
    });
    for (let n = 0; n < VECTORS; n++) {
      const scale = load.v128(scales.get, 16 * n, 'tables');
      f.emit(store.v128(columns.get, scale, 4 * PANEL_COLUMNS + 16 * n));
    }
  });
}

/** Where a block is: its weights and scales, inputs, and what they are times. */
type Place = Readonly<Record<'src' | 'scales' | 'x' | 'tokens' | 'quads', Local<'i32'>>>;

/** Visits the blocks of all terms in order. */
function eachBlock(f: Body, field: (name: JobField) => I32, visit: (place: Place) => void): void {
  const names = ['weights', 'tables', 'tokens', 'cells', 'weightBytes'] as const;
  const held = names.map((name) => f.local('i32', name));
  for (const [i, local] of held.entries()) f.set(local, field(names[i]));
  const [src, scales, tokens, term, left] = held;
  const [x, tile, quads] = ['x', 'tile', 'quads'].map((name) => f.local('i32', name));
  const bytes = () => i32.mul(quads.get, QUAD_BYTES.bytes);
  const touch = touchTiles(f, src, left, bytes);
  f.countdown(term, () => {
    f.set(x, field('x'));
    f.set(tile, field('tiles'));
    f.countdown(tile, () => {
      f.set(quads, field('quads'));
      f.when(i32.eq(tile.get, i32.of(1)), () => f.set(quads, field('lastQuads')));
      touch();
      visit({ src, scales, x, tokens, quads });
      f.advance(src, bytes());
      f.advance(scales, SCALES_BYTES);
      f.advance(x, field('xStride'));
      f.advance(tokens, field('tokensStride'));
    });
  });
}

/** For a batch of tokens. */
export function batchByteBlocks(): WatFunction {
  return define(panelName('bytes', 'blocks', true), ['job'], (f, job) => {
    const field = (name: JobField): I32 => load.i32(job.get, JOB[name]);
    const [scratch, w, columns, y, count, groups] = ['scratch', 'w', 'columns', 'y', 'count', 'groups'].map(
      (name) => f.local('i32', name),
    );
    f.set(scratch, field('scratch'));
    const parts = { weights: w, slow: columns, y };
    for (const [name, local] of Object.entries(parts)) {
      const at = 4 * SCRATCH_FIELDS.indexOf(name as keyof typeof parts);
      f.set(local, i32.add(scratch.get, load.i32(scratch.get, at)));
    }
    f.set(count, field('count'));
    f.set(groups, i32.divU(i32.add(count.get, BLOCK_TOKENS - 1), BLOCK_TOKENS));
    fill(f, y.get, i32.mul(groups.get, BLOCK_TOKENS * PANEL_COLUMNS * 4));
    eachBlock(f, field, ({ src, scales, x, tokens, quads }) => {
      f.call('prepare_byte_block', src.get, scales.get, w.get, columns.get, quads.get);
      const planes = field('planes');
      f.call(
        'gemm_byte_blocks',
        ...[x.get, w.get, y.get, groups.get, quads.get, planes, columns.get, tokens.get],
      );
    });
    copyOut(f, y.get, field('out'), field('outStride'), count);
  });
}

/** For a single token: sums over the blocks stay in registers. */
export function singleByteBlocks(kind: DotKind): WatFunction {
  return define(panelName('bytes', 'blocks', false), ['job'], (f, job) => {
    const field = (name: JobField): I32 => load.i32(job.get, JOB[name]);
    const dot = dotProduct(f, kind);
    const y = f.locals('v128', 'y', VECTORS);
    const weight = f.locals('v128', 'weight', VECTORS);
    const planes = [f.locals('v128', 'high', VECTORS), f.locals('v128', 'low', VECTORS)];
    const zero = f.locals('v128', 'zero', VECTORS);
    const [input, out] = ['input', 'out'].map((name) => f.local('v128', name));
    const [from, high, low, left] = ['from', 'highAt', 'lowAt', 'left'].map((name) => f.local('i32', name));
    const zeroPoint = heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101);
    for (const v of y) f.set(v, v128.zero);
    eachBlock(f, field, ({ src, scales, x, tokens, quads }) => {
      for (const v of [...planes.flat(), ...zero]) f.set(v, v128.zero);
      f.set(from, src.get);
      f.set(high, x.get);
      f.set(low, i32.add(x.get, i32.shl(quads.get, 2)));
      f.set(left, quads.get);
      f.countdown(left, () => {
        weight.forEach((v, n) => {
          f.set(v, load.v128(from.get, 16 * n, 'weights'));
        });
        [high, low].forEach((at, plane) => {
          f.set(input, load.splat32(at.get));
          weight.forEach((v, n) => {
            f.set(planes[plane][n], dot(v.get, input.get, planes[plane][n].get));
          });
        });
        weight.forEach((v, n) => {
          f.set(zero[n], dot(v.get, zeroPoint, zero[n].get));
        });
        f.advance(from, QUAD_BYTES.bytes);
        for (const at of [high, low]) f.advance(at, 4);
      });
      f.set(out, load.splat32(tokens.get));
      y.forEach((v, n) => {
        const upper = i32x4.shl(i32x4.sub(planes[0][n].get, zero[n].get), 7);
        const sum = f32x4.ofI32(i32x4.add(upper, planes[1][n].get));
        const unit = f32x4.mul(load.v128(scales.get, 16 * n, 'tables'), out.get);
        f.set(v, f32x4.add(v.get, f32x4.mul(sum, unit)));
      });
    });
    f.set(from, field('out'));
    y.forEach((v, n) => {
      f.emit(store.v128(from.get, v.get, 16 * n));
    });
  });
}
