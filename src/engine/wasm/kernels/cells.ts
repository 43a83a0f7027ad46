/**
 * Cells of one chip, made when they are needed: 4-bit codes of a tile and panel to the effective weights that `gemm`
 * multiplies, in the cache. Nothing of a cell is kept; its draws follow from its number.
 *
 * `prepare_cells` takes some rows at a time through passes over buffers that stay in the first cache:
 *
 *   unpack_cells   codes[row][16] = nibbles of a panel (prepare.ts)
 *   hash_cells     bits[row][16] = cellBits(index + row columns + c; key)
 *   draw_cells     z[row][16] = z(s), difference[row][16] = 64 d, of the four bytes of the bits
 *   gain_cells     gains[row][16] = E, from the rows' table [row][8] and the tables by tap
 *   weigh_cells    w[quad][16][4] = sign E base_r, and the sums of what the inputs' offset of 64 adds
 *
 * src/tile/cell-draws.ts and src/engine/cell-format.ts define every one of these integers; `cellWeight` there is the whole.
 * As one chain of eighty dependent operations the passes would wait for each other.
 *
 *   src     nibbles, in the weights memory        rows    the rows' table of the first row, [row][8] i16
 *   cells   the numbers of CELLS                  index   number of the first row's first cell
 *   w       [rank][quads][16][4] signed bytes     zero    [16] i32
 */
import { addressOfRun, heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  defineNamed,
  type I32,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  load,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import type { CellNumbers } from '../../cell-format.ts';
import { type DotKind, dotProduct } from './dot.ts';
import { PANEL_COLUMNS } from './gemm.ts';
import { draws } from './hash.ts';
import { INPUT_ZERO, QUAD_BYTES } from './prepare.ts';

/**
 * Offsets of the numbers of an operation's cells: key and i32, then 16-bit values in both halves of 32 bits, then tables by
 * tap of 16 bytes; from `base` on one for every rank.
 */
export const CELLS = {
  keyA: 0,
  keyB: 4,
  columns: 8,
  rank: 12,
  squarings: 16,
  baseBits: 20,
  upperPlane: 24,
  linear: 28,
  cubic: 32,
  top: 36,
  polynomial: 40,
  limit: 60,
  slope: 64,
  curve: 80,
  bend: 96,
  beta: 112,
  base: 128,
} as const;
export const cellsBytes = (rank: number): number => CELLS.base + 16 * rank;

/** Writes the numbers of an operation's cells at `at`. */
export function writeCells(
  view: DataView,
  at: number,
  format: CellNumbers,
  place: {
    readonly key: { readonly a: number; readonly b: number };
    readonly columns: number;
    readonly planes: 1 | 2;
  },
): void {
  const word = (offset: number, value: number) => view.setInt32(at + offset, value | 0, true);
  const both = (offset: number, value: number) => {
    view.setInt16(at + offset, value, true);
    view.setInt16(at + offset + 2, value, true);
  };
  word(CELLS.keyA, place.key.a);
  word(CELLS.keyB, place.key.b);
  word(CELLS.columns, place.columns);
  word(CELLS.rank, format.base.length);
  word(CELLS.squarings, format.squarings);
  word(CELLS.baseBits, format.baseBits);
  word(CELLS.upperPlane, place.planes === 2 ? 1 : 0);
  both(CELLS.linear, format.linear);
  both(CELLS.cubic, format.cubic);
  both(CELLS.top, format.top);
  format.polynomial.forEach((term, i) => {
    both(CELLS.polynomial + 4 * i, term);
  });
  view.setInt32(at + CELLS.limit, format.limit * 0x01010101, true);
  const table = (offset: number, values: Int16Array) =>
    values.forEach((value, tap) => {
      view.setInt16(at + offset + 2 * tap, value, true);
    });
  for (const name of ['slope', 'curve', 'bend', 'beta'] as const) table(CELLS[name], format[name]);
  format.base.forEach((values, r) => {
    table(CELLS.base + 16 * r, values);
  });
}

/** Quads that a pass takes at a time. */
const PASS_QUADS = 16;
/** Offsets of the buffers of a pass, each some lines apart from the others' place in the cache. */
const PASS = { codes: 0, bits: 1088, z: 5248, difference: 7360, gains: 9472, zeros: 11584 } as const;
export const PASS_BYTES = PASS.zeros + PANEL_COLUMNS * 4;

export const PREPARE_CELLS_OPERANDS = [
  'src',
  'w',
  'cells',
  'rows',
  'index',
  'quads',
  'zero',
  'buffers',
] as const;

function prepareCells(): WatFunction {
  return defineNamed('prepare_cells', PREPARE_CELLS_OPERANDS, (f, p) => {
    const { src, w, cells, rows, index, quads, zero, buffers } = p;
    const names = ['left', 'some', 'passes', 'r', 'to', 'base', 'rankBytes', 'count', 'columns'];
    const [left, some, passes, r, to, base, rankBytes, count, columns] = names.map((n) => f.local('i32', n));
    const buffer = Object.fromEntries(
      Object.entries(PASS).map(([name, offset]) => {
        const at = f.local('i32', `at_${name}`);
        f.set(at, i32.add(buffers.get, offset));
        return [name, at.get];
      }),
    ) as Record<keyof typeof PASS, I32>;
    const field = (name: keyof typeof CELLS) => load.i32(cells.get, CELLS[name]);
    f.emit(`(memory.fill ${buffer.zeros} (i32.const 0) (i32.const ${PANEL_COLUMNS * 4}))`);
    f.set(rankBytes, i32.mul(quads.get, QUAD_BYTES.bytes));
    f.set(columns, field('columns'));
    f.set(left, quads.get);
    f.set(passes, i32.divU(i32.add(quads.get, PASS_QUADS - 1), PASS_QUADS));
    f.countdown(passes, () => {
      f.set(some, i32.of(PASS_QUADS));
      f.when(i32.eq(passes.get, i32.of(1)), () => f.set(some, left.get));
      f.set(count, i32.shl(some.get, 2));
      f.call('unpack_cells', src.get, buffer.codes, some.get);
      f.call('hash_cells', index.get, columns.get, cells.get, count.get, buffer.bits);
      f.call('draw_cells', buffer.bits, cells.get, buffer.z, buffer.difference, count.get);
      const gains = (squarings: 2 | 4) => () =>
        f.call(
          gainName(squarings),
          buffer.codes,
          buffer.z,
          buffer.difference,
          rows.get,
          cells.get,
          buffer.gains,
          count.get,
        );
      f.when(i32.eq(field('squarings'), i32.of(2)), gains(2), gains(4));
      f.set(r, field('rank'));
      f.set(to, w.get);
      f.set(base, i32.add(cells.get, CELLS.base));
      f.countdown(r, () => {
        const weigh = (bits: 7 | 5) => () =>
          f.call(
            weighName(bits),
            buffer.codes,
            buffer.gains,
            base.get,
            cells.get,
            to.get,
            some.get,
            buffer.zeros,
          );
        f.when(i32.eq(field('baseBits'), i32.of(7)), weigh(7), weigh(5));
        f.advance(to, rankBytes.get);
        f.advance(base, 16);
      });
      f.advance(src, i32.mul(some.get, QUAD_BYTES.codes));
      f.advance(w, i32.mul(some.get, QUAD_BYTES.bytes));
      f.advance(rows, i32.shl(count.get, 4));
      f.advance(index, i32.mul(count.get, columns.get));
      f.advance(left, -PASS_QUADS);
    });
    const sums = f.locals('v128', 'sum', 4);
    sums.forEach((v, n) => {
      f.set(v, load.v128(buffer.zeros, 16 * n));
    });
    f.when(field('upperPlane'), () => {
      for (const v of sums) f.set(v, i32x4.shl(v.get, 7));
    });
    sums.forEach((v, n) => {
      f.emit(store.v128(zero.get, v.get, 16 * n));
    });
  });
}

/** Byte i of a quad's first 16 has columns i/4 and 4 + i/4 of row i%4, of the next 16 columns 8 + i/4 and 12 + i/4. */
function unpackCells(): WatFunction {
  return define('unpack_cells', ['src', 'codes', 'quads'], (f, src, codes, quads) => {
    const nibbles = heldI32(f, 'nibbles', 0x0f0f0f0f);
    const eights = heldI32(f, 'eights', 0x08080808);
    const [a, b, low, high] = ['a', 'b', 'low', 'high'].map((name) => f.local('v128', name));
    const pairs = f.locals('v128', 'pair', 2);
    const row = f.locals('v128', 'row', 4);
    const signed = (v: V128) => i8x16.sub(v128.xor(v, eights), eights);
    f.countdown(quads, () => {
      f.set(a, load.v128(src.get, 0, 'weights'));
      f.set(b, load.v128(src.get, 16, 'weights'));
      for (const half of [0, 1]) {
        const rows = [2 * half, 2 * half + 1];
        const places = rows.flatMap((j) => [0, 16].flatMap((side) => [0, 4, 8, 12].map((c) => side + c + j)));
        f.set(pairs[half], i8x16.shuffle(a.get, b.get, places));
      }
      for (const half of [0, 1]) {
        f.set(low, signed(v128.and(pairs[half].get, nibbles)));
        f.set(high, signed(v128.and(i16x8.shrU(pairs[half].get, 4), nibbles)));
        for (const j of [0, 1]) {
          const places = [0, 16, 4, 20].flatMap((from) => [0, 1, 2, 3].map((i) => from + 8 * j + i));
          f.set(row[2 * half + j], i8x16.shuffle(low.get, high.get, places));
        }
      }
      row.forEach((v, j) => {
        f.emit(store.v128(codes.get, v.get, 16 * j));
      });
      f.advance(src, QUAD_BYTES.codes);
      f.advance(codes, 4 * PANEL_COLUMNS);
    });
  });
}

function hashCells(kind: DotKind): WatFunction {
  return define(
    'hash_cells',
    ['index', 'columns', 'cells', 'rows', 'out'],
    (f, index, columns, cells, rows, out) => {
      const { hash } = draws(f, kind);
      const [a, b, step] = ['a', 'b', 'step'].map((name) => f.local('v128', name));
      const counter = f.locals('v128', 'counter', 4);
      const bits = f.locals('v128', 'bits', 4);
      const lanes = addressOfRun(Array.from({ length: PANEL_COLUMNS }, (_, c) => c));
      f.set(a, load.splat32(cells.get, CELLS.keyA));
      f.set(b, load.splat32(cells.get, CELLS.keyB));
      f.set(step, i32x4.splatOf(columns.get));
      counter.forEach((v, n) => {
        f.set(v, i32x4.add(i32x4.splatOf(index.get), load.v128(i32.of(lanes), 16 * n)));
      });
      f.countdown(rows, () => {
        bits.forEach((v, n) => {
          hash(v, counter[n].get, a.get, b.get);
        });
        bits.forEach((v, n) => {
          f.emit(store.v128(out.get, v.get, 16 * n));
        });
        for (const v of counter) f.set(v, i32x4.add(v.get, step.get));
        f.advance(out, PANEL_COLUMNS * 4);
      });
    },
  );
}

/** round(a b / 2^15): no two factors are both -2^15, where the relaxed instruction may differ. */
const multiplier = (kind: DotKind) =>
  kind === 'i16' ? i16x8.q15Mul : (a: V128, b: V128) => `(i16x8.relaxed_q15mulr_s ${a} ${b})` as V128;

function drawCells(kind: DotKind): WatFunction {
  return define(
    'draw_cells',
    ['bits', 'cells', 'z', 'difference', 'rows'],
    (f, bits, cells, z, difference, rows) => {
      const times = multiplier(kind);
      const ones = heldI32(f, 'onesOfWords', 0x00010001);
      const signs = heldI32(f, 'oneAndMinusOne', 0xffff0001);
      const two = heldI32(f, 'two', 2);
      const [linear, cubic] = ['linear', 'cubic'].map((name) => f.local('v128', name));
      const pairs = f.locals('v128', 'pairs', 4);
      const sums = f.locals('v128', 'sums', 4);
      const [x, q, d] = ['x', 'q', 'd'].map((name) => f.locals('v128', name, 2));
      f.set(linear, load.splat32(cells.get, CELLS.linear));
      f.set(cubic, load.splat32(cells.get, CELLS.cubic));
      f.countdown(rows, () => {
        pairs.forEach((v, n) => {
          f.set(v, i16x8.addPairsOfBytes(load.v128(bits.get, 16 * n)));
        });
        sums.forEach((v, n) => {
          f.set(v, i32x4.add(i16x8.dot(pairs[n].get, ones), two));
        });
        x.forEach((v, n) => {
          f.set(v, i16x8.shl(i16x8.narrow(sums[2 * n].get, sums[2 * n + 1].get), 6));
        });
        sums.forEach((v, n) => {
          f.set(v, i16x8.dot(pairs[n].get, signs));
        });
        d.forEach((v, n) => {
          f.set(v, i16x8.shl(i16x8.narrow(sums[2 * n].get, sums[2 * n + 1].get), 6));
        });
        q.forEach((v, n) => {
          f.set(v, i16x8.add(linear.get, times(times(x[n].get, x[n].get), cubic.get)));
        });
        q.forEach((v, n) => {
          f.set(v, times(x[n].get, v.get));
        });
        q.forEach((v, n) => {
          f.emit(store.v128(z.get, v.get, 16 * n));
        });
        d.forEach((v, n) => {
          f.emit(store.v128(difference.get, v.get, 16 * n));
        });
        f.advance(bits, PANEL_COLUMNS * 4);
        f.advance(z, PANEL_COLUMNS * 2);
        f.advance(difference, PANEL_COLUMNS * 2);
      });
    },
  );
}

/** Byte places of 16-bit table entries, of 8 of 16 taps each; `into` gets them. */
function tapPlaces(f: Body, into: readonly Local<'v128'>[], taps: V128): void {
  const pair = heldI32(f, 'bytesOfPair', 0x01000100);
  into.forEach((v, n) => {
    const twice = i8x16.shuffle(
      taps,
      taps,
      Array.from({ length: 16 }, (_, i) => 8 * n + (i >> 1)),
    );
    f.set(v, twice);
    f.set(v, i8x16.add(i8x16.add(v.get, v.get), pair));
  });
}

const looker = (kind: DotKind) =>
  kind === 'i16'
    ? i8x16.swizzle
    : (table: V128, places: V128) => `(i8x16.relaxed_swizzle ${table} ${places})` as V128;

type GainName = `gain_cells_${2 | 4}`;
const gainName = (squarings: 2 | 4): GainName => `gain_cells_${squarings}`;

function gainCells(kind: DotKind, squarings: 2 | 4): WatFunction {
  const parameters = ['codes', 'z', 'difference', 'table', 'cells', 'gains', 'rows'];
  return define(gainName(squarings), parameters, (f, codes, z, difference, table, cells, gains, rows) => {
    const times = multiplier(kind);
    const look = looker(kind);
    const held = (name: string, value: V128): V128 => {
      const local = f.local('v128', name);
      f.set(local, value);
      return local.get;
    };
    const [slope, curve, bend, beta] = (['slope', 'curve', 'bend', 'beta'] as const).map((name) =>
      held(name, load.v128(cells.get, CELLS[name])),
    );
    const top = held('top', load.splat32(cells.get, CELLS.top));
    const terms = [0, 1, 2, 3, 4].map((i) =>
      held(`p${i}`, load.splat32(cells.get, CELLS.polynomial + 4 * i)),
    );
    const taps = f.local('v128', 'taps');
    const errors = f.local('v128', 'errors');
    const [places, y, u, e] = ['places', 'y', 'u', 'e'].map((name) => f.locals('v128', name, 2));
    const each = (into: readonly Local<'v128'>[], value: (n: number) => V128) =>
      into.forEach((v, n) => {
        f.set(v, value(n));
      });
    f.countdown(rows, () => {
      f.set(taps, i8x16.abs(load.v128(codes.get)));
      f.set(errors, load.v128(table.get));
      tapPlaces(f, places, taps.get);
      each(y, (n) => i16x8.subSaturated(look(errors.get, places[n].get), load.v128(z.get, 16 * n)));
      each(u, (n) => i16x8.add(look(curve, places[n].get), times(y[n].get, look(bend, places[n].get))));
      each(u, (n) => i16x8.add(look(slope, places[n].get), times(y[n].get, u[n].get)));
      each(u, (n) => times(y[n].get, u[n].get));
      each(u, (n) => {
        const own = times(load.v128(difference.get, 16 * n), look(beta, places[n].get));
        return i16x8.min(i16x8.addSaturated(u[n].get, own), top);
      });
      each(e, (n) => i16x8.add(terms[3], times(u[n].get, terms[4])));
      for (const i of [2, 1, 0]) each(e, (n) => i16x8.add(terms[i], times(u[n].get, e[n].get)));
      for (let i = 0; i < squarings; i++) each(e, (n) => times(e[n].get, e[n].get));
      e.forEach((v, n) => {
        f.emit(store.v128(gains.get, v.get, 16 * n));
      });
      f.advance(codes, PANEL_COLUMNS);
      f.advance(table, 16);
      for (const stream of [z, difference, gains]) f.advance(stream, PANEL_COLUMNS * 2);
    });
  });
}

type WeighName = `weigh_cells_${7 | 5}`;
const weighName = (bits: 7 | 5): WeighName => `weigh_cells_${bits}`;

/** The weights of one rank, in the order of a panel; zeros[16] += 64 times their sums. */
function weighCells(kind: DotKind, bits: 7 | 5): WatFunction {
  const parameters = ['codes', 'gains', 'base', 'cells', 'w', 'quads', 'zeros'];
  return define(weighName(bits), parameters, (f, codes, gains, base, cells, w, quads, zeros) => {
    const times = multiplier(kind);
    const look = looker(kind);
    const dot = dotProduct(f, kind);
    const half = heldI32(f, 'half', 2 ** (bits - 1) * 0x10001);
    const zeroPoint = heldI32(f, 'zeroPoint', INPUT_ZERO * 0x01010101);
    const [table, limit, code, least] = ['table', 'limit', 'code', 'least'].map((name) =>
      f.local('v128', name),
    );
    const [places, weight] = ['places', 'weight'].map((name) => f.locals('v128', name, 2));
    const [row, pair, column, sum] = ['row', 'pair', 'column', 'sum'].map((name) =>
      f.locals('v128', name, 4),
    );
    const sign = f.local('v128', 'sign');
    f.set(table, load.v128(base.get));
    f.set(limit, load.splat32(cells.get, CELLS.limit));
    f.set(least, i8x16.sub(v128.zero, limit.get));
    sum.forEach((v, n) => {
      f.set(v, load.v128(zeros.get, 16 * n));
    });
    const interleave = (unit: number, part: number) =>
      Array.from({ length: 8 / unit }, (_, i) => i).flatMap((i) =>
        [0, 16].flatMap((side) => Array.from({ length: unit }, (_, j) => side + 8 * part + i * unit + j)),
      );
    f.countdown(quads, () => {
      row.forEach((v, j) => {
        f.set(code, load.v128(codes.get, 16 * j));
        tapPlaces(f, places, i8x16.abs(code.get));
        weight.forEach((e, n) => {
          const product = times(load.v128(gains.get, 32 * j + 16 * n), look(table.get, places[n].get));
          f.set(e, i16x8.shrS(i16x8.add(product, half), bits));
        });
        f.set(v, i8x16.narrow(weight[0].get, weight[1].get));
        f.set(v, i8x16.max(least.get, i8x16.min(limit.get, v.get)));
        f.set(sign, i8x16.greater(v128.zero, code.get));
        f.set(v, i8x16.sub(v128.xor(v.get, sign.get), sign.get));
      });
      for (const part of [0, 1]) {
        f.set(pair[part], i8x16.shuffle(row[0].get, row[1].get, interleave(1, part)));
        f.set(pair[2 + part], i8x16.shuffle(row[2].get, row[3].get, interleave(1, part)));
      }
      column.forEach((v, n) => {
        f.set(v, i8x16.shuffle(pair[n >> 1].get, pair[2 + (n >> 1)].get, interleave(2, n & 1)));
      });
      column.forEach((v, n) => {
        f.set(sum[n], dot(v.get, zeroPoint, sum[n].get));
      });
      column.forEach((v, n) => {
        f.emit(store.v128(w.get, v.get, 16 * n));
      });
      f.advance(codes, 4 * PANEL_COLUMNS);
      f.advance(gains, 8 * PANEL_COLUMNS);
      f.advance(w, QUAD_BYTES.bytes);
    });
    sum.forEach((v, n) => {
      f.emit(store.v128(zeros.get, v.get, 16 * n));
    });
  });
}

export const cellKernels = (kind: DotKind): WatFunction[] => [
  prepareCells(),
  unpackCells(),
  hashCells(kind),
  drawCells(kind),
  gainCells(kind, 2),
  gainCells(kind, 4),
  weighCells(kind, 7),
  weighCells(kind, 5),
];
