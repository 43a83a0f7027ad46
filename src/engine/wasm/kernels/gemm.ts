/**
 * The integer product of one panel: 16 columns of weights, blocks of 6 tokens, to raw 32-bit sums.
 *
 *   for block: acc[6][16] = 0
 *     for plane: acc <<= 7                      (planes of 7 bits, most significant first)
 *       for k/4: for token: acc[token][column] += sum_{j<4} w[k + j][column] x[token][k + j]
 *     y[block][6][16] = acc
 *
 *   x  [blocks][planes][quads][6][4]  bytes 0..127
 *   w  [quads][16][4]                 signed bytes, in the state memory
 *   y  [blocks][6][16]                i32
 *
 * `gemm_small` is the same for |w| <= 63: then two sums of pairs fit 16 bits, and without AVX-VNNI five instructions do
 * what takes six (see dot.ts).
 *
 * 6 x 16 sums are 24 vectors of 128 bits: with --experimental-wasm-revectorize 12 of 256, plus the weights and one
 * broadcast, in 16 registers. Nothing else may stand in the loop, and the sums are stored in neighbouring pairs: the
 * revectorizer needs both.
 */
import {
  type Body,
  define,
  type I32,
  i16x8,
  i32,
  i32x4,
  type Local,
  load,
  store,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { type DotKind, dotProduct, pairProducts } from './dot.ts';

export const BLOCK_TOKENS = 6;
export const PANEL_COLUMNS = 16;
/** Vectors of 4 columns in a panel. */
const VECTORS = PANEL_COLUMNS / 4;

export const GEMM_OPERANDS = ['x', 'w', 'y', 'blocks', 'quads', 'planes'] as const;

/** `quads` must be even, `blocks` and `planes` at least 1. */
export function gemm(kind: DotKind, small: boolean): WatFunction {
  return define(small ? 'gemm_small' : 'gemm', GEMM_OPERANDS, (f, ...operands) => {
    eachBlock(f, kind, small, operands, (acc, first) => {
      acc.forEach((a, i) => {
        f.emit(store.v128(operands[2].get, a.get, (first * VECTORS + i) * 16));
      });
    });
  });
}

/** Forms the sums of each block of tokens, of `tokens` of them from `first` on at once. */
export function eachBlock(
  f: Body,
  kind: DotKind,
  small: boolean,
  [x, w, y, blocks, quads, planes]: readonly Local<'i32'>[],
  finish: (acc: readonly Local<'v128'>[], first: number) => void,
  advance: () => void = () => {},
): void {
  const [wp, xp, k, plane] = ['wp', 'xp', 'k', 'plane'].map((name) => f.local('i32', name));
  // `small` keeps the weights of two quads in registers and has room for the sums of half a block.
  const inPairs = small && kind === 'pairs';
  const tokens = inPairs ? BLOCK_TOKENS / 2 : BLOCK_TOKENS;
  const acc = f.locals('v128', 'acc', tokens * VECTORS);
  const twoQuads = inPairs ? addInPairs(f) : addProducts(f, kind);
  f.countdown(blocks, () => {
    for (let first = 0; first < BLOCK_TOKENS; first += tokens) {
      for (const a of acc) f.set(a, v128.zero);
      f.set(xp, x.get);
      f.set(plane, planes.get);
      f.countdown(plane, () => {
        for (const a of acc) f.set(a, i32x4.shl(a.get, 7));
        f.set(wp, w.get);
        f.set(k, i32.shrU(quads.get, 1));
        f.countdown(k, () => {
          twoQuads(acc, wp.get, xp.get, first);
          f.advance(wp, 2 * VECTORS * 16);
          f.advance(xp, 2 * BLOCK_TOKENS * 4);
        });
      });
      finish(acc, first);
    }
    f.set(x, xp.get);
    f.advance(y, BLOCK_TOKENS * VECTORS * 16);
    advance();
  });
}

/** Adds the products of two quads, for the tokens from `first` of the block on. */
type TwoQuads = (acc: readonly Local<'v128'>[], w: I32, x: I32, first: number) => void;

function addProducts(f: Body, kind: DotKind): TwoQuads {
  const b = f.local('v128', 'b');
  const weight = f.locals('v128', 'weight', VECTORS);
  const dot = dotProduct(f, kind);
  return (acc, w, x, first) => {
    for (let u = 0; u < 2; u++) {
      weight.forEach((v, n) => {
        f.set(v, load.v128(w, (u * VECTORS + n) * 16));
      });
      for (let t = 0; t < acc.length / VECTORS; t++) {
        f.set(b, load.splat32(x, (u * BLOCK_TOKENS + first + t) * 4));
        weight.forEach((v, n) => {
          const a = acc[t * VECTORS + n];
          f.set(a, dot(v.get, b.get, a.get));
        });
      }
    }
  };
}

/** The same with the sums of pairs of both quads added in 16 bits. */
function addInPairs(f: Body): TwoQuads {
  const b = f.locals('v128', 'b', 2);
  const weight = f.locals('v128', 'weight', 2 * VECTORS);
  const { pairs, sums } = pairProducts(f);
  return (acc, w, x, first) => {
    weight.forEach((v, i) => {
      f.set(v, load.v128(w, i * 16));
    });
    for (let t = 0; t < acc.length / VECTORS; t++) {
      b.forEach((v, u) => {
        f.set(v, load.splat32(x, (u * BLOCK_TOKENS + first + t) * 4));
      });
      for (let n = 0; n < VECTORS; n++) {
        const a = acc[t * VECTORS + n];
        const both = i16x8.add(pairs(weight[n].get, b[0].get), pairs(weight[VECTORS + n].get, b[1].get));
        f.set(a, i32x4.add(a.get, sums(both)));
      }
    }
  };
}
