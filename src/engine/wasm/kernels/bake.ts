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
  define,
  type Expr,
  f32x4,
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
import { exponential, logarithm, sineCosine } from './math.ts';

export function bake(): WatFunction {
  const parameters = [
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
  ];
  return define('bake', parameters, (f, ...p) => {
    const [codes, stride, out, rankBytes, rank, rows, index, columns, keys, sigmas, table, taps] = p;
    const held = (name: string, value: V128): Expr<'v128'> => {
      const local = f.local('v128', name);
      f.set(local, value);
      return local.get;
    };
    const exp = exponential(f);
    const ln = logarithm(f);
    const turn = sineCosine(f);
    const splats = ['vtA', 'vtB', 'betaA', 'betaB'].map((name, i) =>
      held(name, load.splat32(keys.get, 4 * i)),
    );
    const sigmaVt = held('sigmaVt', load.splat32(sigmas.get, 0));
    const limit = held('limit', load.splat32(sigmas.get, 4));
    const [slopeLow, slopeHigh] = [0, 16].map((at) => held(`slope${at}`, load.v128(table.get, at)));
    const [curveLow, curveHigh] = [32, 48].map((at) => held(`curve${at}`, load.v128(table.get, at)));
    const [betaLow, betaHigh] = [64, 80].map((at) => held(`beta${at}`, load.v128(table.get, at)));
    const [bendLow, bendHigh] = [96, 112].map((at) => held(`bend${at}`, load.v128(table.get, at)));
    const first = heldI32(f, 'first', 0x7feb352d);
    const second = heldI32(f, 'second', 0x846ca68b);
    const toUnit = heldF32(f, 'toUnit', 2 ** -32);
    const halfUnit = heldF32(f, 'halfUnit', 2 ** -33);
    const minusTwo = heldF32(f, 'minusTwo', -2);
    const spread = heldI32(f, 'spread', 0x04040404);
    const bytes = heldI32(f, 'bytes', 0x03020100);
    const signBit = heldI32(f, 'signBit', 0x80000000);
    const sixteen = heldI32(f, 'sixteen', 0x10101010);
    const [code, pattern, counter, exponent, gate] = ['code', 'pattern', 'counter', 'exponent', 'gate'].map(
      (name) => f.local('v128', name),
    );
    const bits = f.locals('v128', 'bits', 2);
    const [radius, sine, cosine] = ['radius', 'sine', 'cosine'].map((name) => f.local('v128', name));
    const normals = f.locals('v128', 'normal', 4);
    const gains = f.locals('v128', 'gain', 4);
    const signs = f.locals('v128', 'sign', 4);
    const patterns = f.locals('v128', 'tapPattern', 4);
    const [r, to, entries] = ['r', 'to', 'entries'].map((name) => f.local('i32', name));
    const wide = f.locals('v128', 'wide', 4);

    const mix = (x: Local<'v128'>) => {
      f.set(x, v128.xor(x.get, i32x4.shrU(x.get, 16)));
      f.set(x, i32x4.mul(x.get, first));
      f.set(x, v128.xor(x.get, i32x4.shrU(x.get, 15)));
      f.set(x, i32x4.mul(x.get, second));
      f.set(x, v128.xor(x.get, i32x4.shrU(x.get, 16)));
    };
    const even = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
    const odd = even.map((i) => i + 4);
    /** 16 standard normals for the counters index .. index + 15. */
    const drawNormals = (a: V128, b: V128) => {
      for (const pair of [0, 1]) {
        bits.forEach((v, n) => {
          const lanes =
            `(v128.const i32x4 ${[0, 1, 2, 3].map((i) => 8 * pair + 4 * n + i).join(' ')})` as V128;
          f.set(v, i32x4.add(i32x4.add(counter.get, lanes), a));
          mix(v);
          f.set(v, v128.xor(v.get, b));
          mix(v);
          f.set(v, f32x4.add(f32x4.mul(f32x4.ofU32(v.get), toUnit), halfUnit));
        });
        f.set(radius, i8x16.shuffle(bits[0].get, bits[1].get, even));
        f.set(bits[0], i8x16.shuffle(bits[0].get, bits[1].get, odd));
        ln(radius);
        // ln of a rounded-up 1 may be a little above zero.
        f.set(radius, f32x4.sqrt(f32x4.pmax(v128.zero, f32x4.mul(radius.get, minusTwo))));
        turn(bits[0], sine, cosine);
        f.set(sine, f32x4.mul(sine.get, radius.get));
        f.set(cosine, f32x4.mul(cosine.get, radius.get));
        const low = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
        f.set(normals[2 * pair], i8x16.shuffle(cosine.get, sine.get, low));
        f.set(
          normals[2 * pair + 1],
          i8x16.shuffle(
            cosine.get,
            sine.get,
            low.map((i) => i + 8),
          ),
        );
      }
    };
    /** f32 of a table of 8 by the byte patterns of the taps. */
    const pick = (low: V128, high: V128, at: V128) =>
      v128.or(i8x16.swizzle(low, at), i8x16.swizzle(high, i8x16.sub(at, sixteen)));

    f.countdown(rows, () => {
      f.set(code, load.v128(codes.get));
      const halves = [i8x16.extendLow(code.get), i8x16.extendHigh(code.get)];
      for (let n = 0; n < 4; n++) {
        const half = n % 2 === 0 ? 'low' : 'high';
        f.set(wide[n], `(i32x4.extend_${half}_i16x8_s ${halves[n >> 1]})` as V128);
        f.set(signs[n], v128.and(wide[n].get, signBit));
        f.set(pattern, `(i32x4.abs ${wide[n].get})` as V128);
        f.set(patterns[n], i32x4.add(i32x4.mul(pattern.get, spread), bytes));
      }
      f.set(counter, i32x4.splatOf(index.get));
      drawNormals(splats[0], splats[1]);
      normals.forEach((z, n) => {
        const tapError = pick(load.v128(taps.get), load.v128(taps.get, 16), patterns[n].get);
        f.set(gate, f32x4.sub(tapError, f32x4.mul(z.get, sigmaVt)));
        const bend = f32x4.mul(gate.get, pick(bendLow, bendHigh, patterns[n].get));
        const curve = f32x4.mul(gate.get, f32x4.add(pick(curveLow, curveHigh, patterns[n].get), bend));
        const slope = f32x4.add(pick(slopeLow, slopeHigh, patterns[n].get), curve);
        f.set(gains[n], f32x4.mul(gate.get, slope));
      });
      drawNormals(splats[2], splats[3]);
      normals.forEach((z, n) => {
        const beta = f32x4.mul(z.get, pick(betaLow, betaHigh, patterns[n].get));
        f.set(exponent, f32x4.add(gains[n].get, beta));
        exp(exponent);
        f.set(gains[n], v128.xor(exponent.get, signs[n].get));
      });
      f.set(r, rank.get);
      f.set(to, out.get);
      f.set(entries, i32.add(table.get, 128));
      f.countdown(r, () => {
        wide.forEach((v, n) => {
          const response = pick(load.v128(entries.get), load.v128(entries.get, 16), patterns[n].get);
          f.set(v, f32x4.mul(gains[n].get, response));
          f.set(v, f32x4.pmin(limit, f32x4.pmax(f32x4.neg(limit), v.get)));
          f.set(v, i32x4.ofF32(f32x4.nearest(v.get)));
        });
        const words = [0, 2].map((n) => i16x8.narrow(wide[n].get, wide[n + 1].get));
        const packed = i8x16.narrow(words[0], words[1]);
        f.emit(store.v128(to.get, packed));
        f.advance(to, rankBytes.get);
        f.advance(entries, 32);
      });
      f.advance(codes, stride.get);
      f.advance(taps, 32);
      f.advance(out, 16);
      f.advance(index, columns.get);
    });
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
