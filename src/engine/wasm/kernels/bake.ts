/**
 * The cells of one chip: codes of a tile and panel to effective weights with every static error of a cell in them.
 *
 *   w_r = sign v_r[m] exp(((b[m] g + c[m]) g + gm[m]) g + sigmaBeta[m] z2)     m = |code|; c, b: curvature and bend of ln I
 *   g   = error[row][m] - sigmaVt z1
 *
 * rounded to signed bytes, clipped to the largest weight. z1 and z2 are the draws of src/tile/static-errors.ts: the same hash, key and
 * counter (row * columns + column), Box-Muller in f32 in place of f64.
 *
 *   codes  [rows][stride] signed bytes, 16 are read          out [rank][rows][16] signed bytes
 *   table  [4 + rank][8] f32: gm, c, sigmaBeta and b by tap, then v_r by tap, in units of the stored weights
 *   taps   [rows][8] f32: error
 *   keys   4 u32: vt a b, beta a b;  sigmas 2 f32: vt and the largest weight
 *
 * `transpose` brings [4 quads][16] bytes into the order of a panel, in the weights memory.
 */
import { heldF32, heldI32 } from '../../../emit/constants.ts';
import {
  type Body,
  define,
  defineNamed,
  type Expr,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  load,
  type Parameters,
  store,
  type V128,
  v128,
  type WatFunction,
} from '../../../emit/wat.ts';
import { exponential, logarithm, sineCosine } from './math.ts';

export const BAKE_OPERANDS = [
  'codes',
  'stride',
  'out',
  'rankBytes',
  'rank',
  'rows',
  'index',
  'columns',
  'keys',
  'sigmas',
  'table',
  'taps',
] as const;
type BakeParameters = Parameters<typeof BAKE_OPERANDS>;

export function bake(): WatFunction {
  return defineNamed('bake', BAKE_OPERANDS, (f, p) => {
    const functions = { exp: exponential(f), ln: logarithm(f), turn: sineCosine(f) };
    const frame = { ...functions, ...holdTables(f, p), ...holdConstants(f), ...declareLocals(f) };
    f.countdown(p.rows, () => {
      splitCodes(f, frame, p.codes);
      f.set(frame.counter, i32x4.splatOf(p.index.get));
      drawNormals(f, frame, frame.vt);
      addGateErrors(f, frame, p.taps);
      drawNormals(f, frame, frame.beta);
      exponentiateGains(f, frame);
      storeWeights(f, frame, p);
      f.advance(p.codes, p.stride.get);
      f.advance(p.taps, 32);
      f.advance(p.out, 16);
      f.advance(p.index, p.columns.get);
    });
  });
}

interface Functions {
  readonly exp: ReturnType<typeof exponential>;
  readonly ln: ReturnType<typeof logarithm>;
  readonly turn: ReturnType<typeof sineCosine>;
}
type Frame = Functions &
  ReturnType<typeof holdTables> &
  ReturnType<typeof holdConstants> &
  ReturnType<typeof declareLocals>;
/** The f32 of a table of 8, and a stream's key: in two vectors. */
type Pair = readonly [V128, V128];

/** Operands that are the same for every row, in locals. */
function holdTables(f: Body, { keys, sigmas, table }: BakeParameters) {
  const held = (name: string, value: V128): Expr<'v128'> => {
    const local = f.local('v128', name);
    f.set(local, value);
    return local.get;
  };
  const [vtA, vtB, betaA, betaB] = ['vtA', 'vtB', 'betaA', 'betaB'].map((name, i) =>
    held(name, load.splat32(keys.get, 4 * i)),
  );
  const sigmaVt = held('sigmaVt', load.splat32(sigmas.get, 0));
  const limit = held('limit', load.splat32(sigmas.get, 4));
  const pair = (name: string, start: number): Pair => {
    const [low, high] = [start, start + 16].map((at) => held(`${name}${at}`, load.v128(table.get, at)));
    return [low, high];
  };
  return {
    vt: [vtA, vtB] as Pair,
    beta: [betaA, betaB] as Pair,
    sigmaVt,
    limit,
    slope: pair('slope', 0),
    curve: pair('curve', 32),
    sigmaBeta: pair('beta', 64),
    bend: pair('bend', 96),
  };
}

function holdConstants(f: Body) {
  return {
    first: heldI32(f, 'first', 0x7feb352d),
    second: heldI32(f, 'second', 0x846ca68b),
    toUnit: heldF32(f, 'toUnit', 2 ** -32),
    halfUnit: heldF32(f, 'halfUnit', 2 ** -33),
    minusTwo: heldF32(f, 'minusTwo', -2),
    spread: heldI32(f, 'spread', 0x04040404),
    bytes: heldI32(f, 'bytes', 0x03020100),
    signBit: heldI32(f, 'signBit', 0x80000000),
    sixteen: heldI32(f, 'sixteen', 0x10101010),
  };
}

/** Locals of a row: 16 columns are four vectors of 32 bits. */
function declareLocals(f: Body) {
  const one = (name: string) => f.local('v128', name);
  const four = (name: string) => f.locals('v128', name, 4);
  return {
    code: one('code'),
    pattern: one('pattern'),
    counter: one('counter'),
    exponent: one('exponent'),
    gate: one('gate'),
    bits: f.locals('v128', 'bits', 2),
    radius: one('radius'),
    sine: one('sine'),
    cosine: one('cosine'),
    normals: four('normal'),
    gains: four('gain'),
    signs: four('sign'),
    /** Byte patterns of the taps, for `pick`. */
    patterns: four('tapPattern'),
    r: f.local('i32', 'r'),
    to: f.local('i32', 'to'),
    entries: f.local('i32', 'entries'),
    wide: four('wide'),
  };
}

/** signs, patterns = of 16 codes. */
function splitCodes(f: Body, frame: Frame, codes: Local<'i32'>): void {
  const { code, wide, signs, signBit, pattern, patterns, spread, bytes } = frame;
  f.set(code, load.v128(codes.get));
  const halves = [i8x16.extendLow(code.get), i8x16.extendHigh(code.get)];
  for (let n = 0; n < 4; n++) {
    const half = n % 2 === 0 ? 'low' : 'high';
    f.set(wide[n], `(i32x4.extend_${half}_i16x8_s ${halves[n >> 1]})` as V128);
    f.set(signs[n], v128.and(wide[n].get, signBit));
    f.set(pattern, `(i32x4.abs ${wide[n].get})` as V128);
    f.set(patterns[n], i32x4.add(i32x4.mul(pattern.get, spread), bytes));
  }
}

/** x = a round of the hash of src/random.ts. */
function mix(f: Body, { first, second }: Frame, x: Local<'v128'>): void {
  f.set(x, v128.xor(x.get, i32x4.shrU(x.get, 16)));
  f.set(x, i32x4.mul(x.get, first));
  f.set(x, v128.xor(x.get, i32x4.shrU(x.get, 15)));
  f.set(x, i32x4.mul(x.get, second));
  f.set(x, v128.xor(x.get, i32x4.shrU(x.get, 16)));
}

const EVEN_LANES = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_LANES = EVEN_LANES.map((i) => i + 4);
/** Lanes 0 and 1 of two vectors in turns; 8 more are lanes 2 and 3. */
const INTERLEAVED_LOW = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const INTERLEAVED_HIGH = INTERLEAVED_LOW.map((i) => i + 8);

/** normals = 16 standard normals for the counters index .. index + 15. */
function drawNormals(f: Body, frame: Frame, [a, b]: Pair): void {
  const { bits, counter, toUnit, halfUnit, radius, minusTwo, sine, cosine, normals, ln, turn } = frame;
  for (const pair of [0, 1]) {
    bits.forEach((v, n) => {
      const lanes = `(v128.const i32x4 ${[0, 1, 2, 3].map((i) => 8 * pair + 4 * n + i).join(' ')})` as V128;
      f.set(v, i32x4.add(i32x4.add(counter.get, lanes), a));
      mix(f, frame, v);
      f.set(v, v128.xor(v.get, b));
      mix(f, frame, v);
      f.set(v, f32x4.add(f32x4.mul(f32x4.ofU32(v.get), toUnit), halfUnit));
    });
    f.set(radius, i8x16.shuffle(bits[0].get, bits[1].get, EVEN_LANES));
    f.set(bits[0], i8x16.shuffle(bits[0].get, bits[1].get, ODD_LANES));
    ln(radius);
    // ln of a rounded-up 1 may be a little above zero.
    f.set(radius, f32x4.sqrt(f32x4.pmax(v128.zero, f32x4.mul(radius.get, minusTwo))));
    turn(bits[0], sine, cosine);
    f.set(sine, f32x4.mul(sine.get, radius.get));
    f.set(cosine, f32x4.mul(cosine.get, radius.get));
    f.set(normals[2 * pair], i8x16.shuffle(cosine.get, sine.get, INTERLEAVED_LOW));
    f.set(normals[2 * pair + 1], i8x16.shuffle(cosine.get, sine.get, INTERLEAVED_HIGH));
  }
}

/** f32 of a table of 8 by the byte patterns of the taps. */
const pick = ({ sixteen }: Frame, [low, high]: Pair, at: Local<'v128'>): V128 =>
  v128.or(i8x16.swizzle(low, at.get), i8x16.swizzle(high, i8x16.sub(at.get, sixteen)));

/** gains = ((b g + c) g + gm) g, with g of the rows' errors and the drawn thresholds. */
function addGateErrors(f: Body, frame: Frame, taps: Local<'i32'>): void {
  const { normals, patterns, gate, gains, sigmaVt } = frame;
  normals.forEach((z, n) => {
    const tapError = pick(frame, [load.v128(taps.get), load.v128(taps.get, 16)], patterns[n]);
    f.set(gate, f32x4.sub(tapError, f32x4.mul(z.get, sigmaVt)));
    const bend = f32x4.mul(gate.get, pick(frame, frame.bend, patterns[n]));
    const curve = f32x4.mul(gate.get, f32x4.add(pick(frame, frame.curve, patterns[n]), bend));
    const slope = f32x4.add(pick(frame, frame.slope, patterns[n]), curve);
    f.set(gains[n], f32x4.mul(gate.get, slope));
  });
}

/** gains = sign exp(gains + sigmaBeta z2). */
function exponentiateGains(f: Body, frame: Frame): void {
  const { normals, patterns, exponent, gains, signs, exp } = frame;
  normals.forEach((z, n) => {
    const beta = f32x4.mul(z.get, pick(frame, frame.sigmaBeta, patterns[n]));
    f.set(exponent, f32x4.add(gains[n].get, beta));
    exp(exponent);
    f.set(gains[n], v128.xor(exponent.get, signs[n].get));
  });
}

/** The gains times the response of every rank, as bytes. */
function storeWeights(f: Body, frame: Frame, { rank, out, rankBytes, table }: BakeParameters): void {
  const { r, to, entries, wide, patterns, gains, limit } = frame;
  f.set(r, rank.get);
  f.set(to, out.get);
  f.set(entries, i32.add(table.get, 128));
  f.countdown(r, () => {
    wide.forEach((v, n) => {
      const response = pick(frame, [load.v128(entries.get), load.v128(entries.get, 16)], patterns[n]);
      f.set(v, f32x4.mul(gains[n].get, response));
      f.set(v, f32x4.pmin(limit, f32x4.pmax(f32x4.neg(limit), v.get)));
      f.set(v, i32x4.ofF32(f32x4.nearest(v.get)));
    });
    const words = [0, 2].map((n) => i16x8.narrow(wide[n].get, wide[n + 1].get));
    f.emit(store.v128(to.get, i8x16.narrow(words[0], words[1])));
    f.advance(to, rankBytes.get);
    f.advance(entries, 32);
  });
}

/** weights[quad][16][4] = bytes[4 quad + j][16] */
export function transpose(): WatFunction {
  return define('transpose', ['bytes', 'to', 'quads'], (f, bytes, to, quads) => {
    const row = f.locals('v128', 'row', 4);
    const pair = f.locals('v128', 'pair', 4);
    const interleave = (unit: number, half: number) =>
      Array.from({ length: 8 / unit }, (_, i) => i).flatMap((i) =>
        [0, 16].flatMap((side) => Array.from({ length: unit }, (_, j) => side + 8 * half + i * unit + j)),
      );
    f.countdown(quads, () => {
      row.forEach((v, j) => {
        f.set(v, load.v128(bytes.get, 16 * j));
      });
      for (const half of [0, 1]) {
        f.set(pair[half], i8x16.shuffle(row[0].get, row[1].get, interleave(1, half)));
        f.set(pair[2 + half], i8x16.shuffle(row[2].get, row[3].get, interleave(1, half)));
      }
      for (let n = 0; n < 4; n++) {
        const [half, part] = [n >> 1, n & 1];
        const columns = i8x16.shuffle(pair[half].get, pair[2 + half].get, interleave(2, part));
        f.emit(store.v128(to.get, columns, 16 * n, 'weights'));
      }
      f.advance(bytes, 64);
      f.advance(to, 64);
    });
  });
}
