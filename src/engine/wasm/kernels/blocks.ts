/**
 * Weights of 4 bits in blocks of 32 rows, as a file of Q4_0 has them: w = d (q - 8), q in 0..15, d of a block and column in half
 * precision. They are digital: no converter, no rank, inputs of two planes.
 *
 *   codes   as in prepare.ts, q in place of a signed code: [tiles][quads][32 bytes], in the weights memory
 *   halves  d [tiles][16] f16, in the tables memory
 *
 * A batch of tokens meets a block that was prepared (`prepare_block`, `gemm_blocks`). A single token meets the codes themselves (`gemv_blocks`), with the roles of the product exchanged, q being the operand that has no sign:
 *
 *   y += (sum_k q_k x_k - 8 sum_k x_k) d out_t,   x = 2^7 (high - 64) + low
 */
import { heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  defineNamed,
  f32x4,
  type I32,
  i8x16,
  i16x8,
  i32x4,
  type Local,
  load,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { type Dot, type DotKind, dotProduct, pairProducts } from './dot.ts';
import { BLOCK_TOKENS, eachBlock, GEMM_OPERANDS, PANEL_COLUMNS } from './gemm.ts';
import { halves } from './half.ts';
import { INPUT_ZERO, QUAD_BYTES } from './prepare.ts';

/** Rows of a block, and its quads. */
export const BLOCK_ROWS = 32;
const BLOCK_QUADS = BLOCK_ROWS / 4;
/** Bytes of a panel's codes of a block, and of its halves. */
export const BLOCK_BYTES = BLOCK_QUADS * QUAD_BYTES.codes;
export const HALVES_BYTES = 2 * PANEL_COLUMNS;
/** q of a weight of zero. */
export const CODE_ZERO = 8;
const VECTORS = PANEL_COLUMNS / 4;
/**
 * Vectors of columns as the revectorizer pairs them: what is done alike stands together, the low halves of bytes and the high
 * ones.
 */
const PAIRED = [0, 2, 1, 3] as const;

/**
 * A block into the cache, vectors of columns in the order of PAIRED: w [8 quads][16][4] signed bytes, and of its columns what the offset
 * of the inputs' upper plane adds, [16] i32, then the scales, [16] f32.
 */
export function prepareBlock(kind: DotKind): WatFunction {
  return define('prepare_block', ['src', 'halves', 'w', 'columns'], (f, src, from, w, columns) => {
    const dot = dotProduct(f, kind);
    const weight = f.locals('v128', 'weight', VECTORS);
    const sums = f.locals('v128', 'sum', VECTORS);
    const half = halves(f);
    const nibbles = heldI32(f, 'nibbles', 0x0f0f0f0f);
    const codeZero = heldI32(f, 'codeZero', CODE_ZERO * 0x01010101);
    const zeroPoint = heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101);
    for (const v of sums) f.set(v, v128.zero);
    for (let quad = 0; quad < BLOCK_QUADS; quad++) {
      readCodes(f, weight, src, quad * QUAD_BYTES.codes, nibbles);
      weight.forEach((v, n) => {
        f.set(v, i8x16.sub(v.get, codeZero));
        // Eight of -8 .. 7 stay within a byte.
        f.set(sums[n], i8x16.add(sums[n].get, v.get));
      });
      weight.forEach((v, n) => {
        f.emit(store.v128(w.get, v.get, quad * QUAD_BYTES.bytes + 16 * n));
      });
    }
    sums.forEach((sum) => {
      f.set(sum, i32x4.shl(dot(sum.get, zeroPoint, v128.zero), 7));
    });
    sums.forEach((sum, n) => {
      f.emit(store.v128(columns.get, sum.get, 16 * n));
    });
    weight.forEach((v, n) => {
      f.set(v, half(load.i16x4(from.get, 8 * PAIRED[n], 'tables')));
    });
    weight.forEach((v, n) => {
      f.emit(store.v128(columns.get, v.get, 4 * PANEL_COLUMNS + 16 * n));
    });
  });
}

/**
 * A prepared block times a batch of tokens, as `gemm` has them: y += (sum - zero) (scale out_t), y [groups of 6][6][16] f32 in the order
 * of the columns that were prepared; tokens [groups][6] out_t.
 */
export function gemmBlocks(kind: DotKind, small: boolean): WatFunction {
  return define(
    small ? 'gemm_blocks' : 'gemm_byte_blocks',
    [...GEMM_OPERANDS, 'columns', 'tokens'],
    (f, ...operands) => {
      const [y, columns, tokens] = [operands[2], ...operands.slice(GEMM_OPERANDS.length)];
      const out = f.local('v128', 'out');
      const total = f.locals('v128', 'total', VECTORS);
      const finish = (acc: readonly Local<'v128'>[], first: number) => {
        for (let t = 0; t < acc.length / VECTORS; t++) {
          const row = (first + t) * VECTORS * 16;
          f.set(out, load.splat32(tokens.get, (first + t) * 4));
          total.forEach((v, n) => {
            const sum = i32x4.sub(acc[t * VECTORS + n].get, load.v128(columns.get, 16 * n));
            const scale = f32x4.mul(load.v128(columns.get, 4 * PANEL_COLUMNS + 16 * n), out.get);
            f.set(v, f32x4.add(load.v128(y.get, row + 16 * n), f32x4.mul(f32x4.ofI32(sum), scale)));
          });
          total.forEach((v, n) => {
            f.emit(store.v128(y.get, v.get, row + 16 * n));
          });
        }
      };
      eachBlock(f, kind, small, operands, finish, () => f.advance(tokens, BLOCK_TOKENS * 4));
    },
  );
}

/** Swaps the inner two of four vectors at `at`: between the order of columns and that of PAIRED. */
export function exchangePaired(f: Body, at: I32): void {
  const inner = f.locals('v128', 'inner', 2);
  inner.forEach((v, i) => {
    f.set(v, load.v128(at, 16 * (i + 1)));
  });
  inner.forEach((v, i) => {
    f.emit(store.v128(at, v.get, 16 * (2 - i)));
  });
}

export const GEMV_BLOCKS_OPERANDS = [
  'src',
  'halves',
  'x', // [tiles][2 planes][8 quads][4]
  'tokens', // out_t, one a tile
  'tokensStride',
  'y', // [16] f32, vectors of 4 in the order of PAIRED
  'tiles',
] as const;

/**
 * Sums of products over a block: of `pairs` in 16 bits, which eight quads of 2 * 15 * 127 do not overflow, and in 32 at its end.
 */
function blockSums(f: Body, kind: DotKind): { add: Dot; sum(added: V128): V128 } {
  if (kind !== 'pairs') return { add: dotProduct(f, kind), sum: (added) => added };
  const { pairs, sums } = pairProducts(f);
  return { add: (a, b, added) => i16x8.add(added, pairs(a, b)), sum: sums };
}

/** y += all blocks of a panel times one token. */
export function gemvBlocks(kind: DotKind): WatFunction {
  return defineNamed('gemv_blocks', GEMV_BLOCKS_OPERANDS, (f, p) => {
    const { src, x, tokens, tokensStride, y, tiles } = p;
    const { add, sum } = blockSums(f, kind);
    const half = halves(f);
    const constants = {
      nibbles: heldI32(f, 'nibbles', 0x0f0f0f0f),
      zeroPoint: heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101),
      ones: heldI32(f, 'oneBytes', 0x01010101),
    };
    const total = f.locals('v128', 'total', VECTORS);
    const weight = f.locals('v128', 'weight', VECTORS);
    const sums = [f.locals('v128', 'high', VECTORS), f.locals('v128', 'low', VECTORS)];
    const inputs = f.locals('v128', 'inputs', 2);
    const input = f.local('v128', 'input');
    const out = f.local('v128', 'out');
    total.forEach((v, i) => {
      f.set(v, load.v128(y.get, 16 * i));
    });
    f.countdown(tiles, () => {
      for (const vectors of [...sums, inputs]) for (const v of vectors) f.set(v, v128.zero);
      for (let quad = 0; quad < BLOCK_QUADS; quad++) {
        readCodes(f, weight, src, quad * QUAD_BYTES.codes, constants.nibbles);
        for (const plane of [0, 1]) {
          const bytes = load.splat32(x.get, (plane * BLOCK_QUADS + quad) * 4);
          f.set(input, plane === 0 ? i8x16.sub(bytes, constants.zeroPoint) : bytes);
          weight.forEach((q, n) => {
            f.set(sums[plane][n], add(input.get, q.get, sums[plane][n].get));
          });
          f.set(inputs[plane], add(input.get, constants.ones, inputs[plane].get));
        }
      }
      const whole = (high: Local<'v128'>, low: Local<'v128'>): V128 =>
        i32x4.add(i32x4.shl(sum(high.get), 7), sum(low.get));
      f.set(input, i32x4.shl(whole(inputs[0], inputs[1]), Math.log2(CODE_ZERO)));
      f.set(out, load.splat32(tokens.get));
      total.forEach((v, i) => {
        const products = f32x4.ofI32(i32x4.sub(whole(sums[0][i], sums[1][i]), input.get));
        const scale = half(load.i16x4(p.halves.get, 8 * PAIRED[i], 'tables'));
        f.set(v, f32x4.add(v.get, f32x4.mul(products, f32x4.mul(scale, out.get))));
      });
      f.advance(src, BLOCK_BYTES);
      f.advance(p.halves, HALVES_BYTES);
      f.advance(x, 2 * BLOCK_ROWS);
      f.advance(tokens, tokensStride.get);
    });
    total.forEach((v, n) => {
      f.emit(store.v128(y.get, v.get, 16 * n));
    });
  });
}

/** q of one quad, 0..15, in the order of PAIRED. */
function readCodes(
  f: Body,
  into: readonly Local<'v128'>[],
  at: Local<'i32'>,
  offset: number,
  nibbles: V128,
): void {
  for (const pair of [0, 1]) {
    const [low, high] = [into[pair], into[2 + pair]];
    f.set(high, load.v128(at.get, offset + 16 * pair, 'weights'));
    f.set(low, v128.and(high.get, nibbles));
    f.set(high, v128.and(i16x8.shrU(high.get, 4), nibbles));
  }
}
