/**
 * The numbers of 16 bits in which an integer kernel forms a cell's weight from its code and its draws (src/tile/cell-draws.ts),
 * and the weight itself as the definition of what such a kernel does.
 *
 * With g the error of the gate, src/tile/cell-sums.ts has ln I = (b g + c) g + a) g + share dBeta over the response of tap m.
 * Here, with x * y = round(x y / 2^15) and every quantity a signed 16-bit integer:
 *
 *   y = row[m] - z(s)                               g in units of gateUnitV; row: the row's and its ladder's errors
 *   u = y * (a[m] + y * (c[m] + y * b[m])) + (64 d) * beta[m]             ln gain in units of lnUnit / 2^15, saturating
 *   F = p0 + v * (p1 + v * (p2 + v * (p3 + v * p4)))                      v = min(u, top): exp((v - top) / 4) or / 16
 *   E = F^4 or F^16 by squarings
 *   w = min(limit, E * base_r[m])                   base = response exp(top), with baseBits bits behind the point that are
 *                                                   rounded away from w; times the code's sign
 *
 * gateUnitV, lnUnit and the number of squarings follow from the design's spread, so that nothing overflows: the gate's unit
 * is a 4096th of sigma(Vt), or larger where the errors of rows ask for it, and lnUnit is what the gain reaches at the end of
 * y. w differs from the exact product by its rounding to a whole number and some hundredths (cells.test.ts).
 */
import { OnefetError } from '../error.ts';
import {
  BYTES_SIGMA,
  differenceOfBytes,
  LARGEST_DIFFERENCE,
  LARGEST_NORMAL,
  multiplyQ15,
  NORMAL_CUBIC,
  NORMAL_LINEAR,
  NORMAL_UNIT,
  normalOfSum,
  sumOfBytes,
} from '../tile/cell-draws.ts';
import type { RowErrors } from '../tile/ladder.ts';
import type { TilePhysics } from '../tile/physics.ts';
import type { IntegerResponse } from './integer-response.ts';
import { BYTE_TOP, SMALL_WEIGHT } from './integers.ts';

/** Entries of a table by tap: as many as a swizzle of 16-bit values looks up. */
export const TABLE_TAPS = 8;

/** What a kernel computes with. */
export interface CellNumbers {
  /** Of z(s): NORMAL_LINEAR and NORMAL_CUBIC where the unit is a 4096th of sigma(Vt). */
  readonly linear: number;
  readonly cubic: number;
  /** By tap: a, c, b and beta. */
  readonly slope: Int16Array;
  readonly curve: Int16Array;
  readonly bend: Int16Array;
  readonly beta: Int16Array;
  readonly top: number;
  /** p0 .. p4 */
  readonly polynomial: Int16Array;
  readonly squarings: 2 | 4;
  /** [rank][tap], with baseBits bits behind the point. */
  readonly base: readonly Int16Array[];
  readonly baseBits: 7 | 5;
  readonly limit: number;
}

export interface CellFormat extends CellNumbers {
  /** Volts per unit of y, and ln gain per 2^15 units of u. */
  readonly gateUnitV: number;
  readonly lnUnit: number;
  /** By tap, what turns an error of the gate (V) of a row into one of y, and what is added: logMean of src/tile/tap-spread.ts. */
  readonly rowScale: Float64Array;
  readonly rowShift: Float64Array;
}

/** Largest weight that `base` holds with so many bits behind the point, with room for 1 / F_TOP^16. */
const BASE_TOP = { 7: 240, 5: 960 } as const;
/** Gains up to so many sigma of all errors together must not saturate in `base`; weights saturate at `limit` before. */
const GAIN_SIGMAS = 4;
/** Errors of rows beyond this many sigma saturate. */
const ROW_SIGMAS = 5;
/** Value of F at its top: below 1, which 16 bits do not hold. `base` makes up for it. */
const F_TOP = 0.997;
const ONE = 2 ** 15;

/** Errors: CELL_SPREAD where the spread of a cell is beyond what 16 bits hold. */
export function cellFormat(
  physics: TilePhysics,
  taps: number,
  { weights }: IntegerResponse,
  planes: 1 | 2,
): CellFormat {
  const response = physics.responses.get(taps)!;
  const { share, logMean } = physics.spreads.get(taps)!;
  const { sigmaVtV, sigmaBeta, rowOffsetSigmaV, design, ladderSlopeV } = physics;
  const each = (of: (tap: number) => number) =>
    Float64Array.from({ length: TABLE_TAPS }, (_, m) => (m >= 1 && m <= taps ? of(m) : 0));
  // In terms of g = e / share + logMean / (a share): exact, as a tap of several transistors has neither c nor b.
  const slopes = each((m) => response.gmOverIByTap[m] * share[m]);
  const curves = each((m) => response.curvatureByTap[m] * share[m] ** 2);
  const bends = each((m) => response.bendByTap[m] * share[m] ** 3);
  const betas = each((m) => share[m] * sigmaBeta);
  const rowScaleV = each((m) => response.rowShareByTap[m] / share[m]);
  const shiftV = each((m) => (slopes[m] > 0 ? logMean[m] / slopes[m] : 0));
  const rowSigmaV = Math.hypot(rowOffsetSigmaV, design.driver.resistorSigma * ladderSlopeV);
  const mostV =
    LARGEST_NORMAL * sigmaVtV +
    Math.max(...each((m) => ROW_SIGMAS * rowScaleV[m] * rowSigmaV + Math.abs(shiftV[m])));
  const gateUnitV = Math.max(sigmaVtV / NORMAL_UNIT, mostV / (ONE - 1)) || 1;
  const shrink = sigmaVtV / (NORMAL_UNIT * gateUnitV);
  const spanV = gateUnitV * ONE;
  const reach = (yV: number) => (m: number) =>
    Math.abs(slopes[m] * yV) + Math.abs(curves[m]) * yV ** 2 + Math.abs(bends[m]) * yV ** 3;
  const betaMost = LARGEST_DIFFERENCE * Math.max(...betas);
  const lnUnit = Math.max(...each(reach(spanV))) + betaMost || 1;
  const lnMost = Math.max(...each(reach(Math.min(mostV, spanV)))) + betaMost;
  const largest = Math.max(...weights.flatMap((of) => [...of].map(Math.abs)));
  const lnSigma = Math.hypot(Math.max(...slopes) * Math.hypot(sigmaVtV, rowSigmaV), sigmaBeta);
  const needed = Math.min(lnMost, GAIN_SIGMAS * lnSigma);
  const baseBits = Math.log(BASE_TOP[7] / largest) >= needed ? 7 : 5;
  const top = Math.min(
    ONE - 1,
    Math.floor((ONE * Math.min(lnMost, Math.log(BASE_TOP[baseBits] / largest))) / lnUnit),
  );
  const fitted = fitExponential(lnUnit, top, -Math.ceil((ONE * lnMost) / lnUnit));
  const gain = Math.exp((lnUnit * top) / ONE) / F_TOP ** (2 ** fitted.squarings);
  const integers = (values: Float64Array) => Int16Array.from(values, (x) => Math.round(x));
  return {
    gateUnitV,
    lnUnit,
    linear: shrink === 1 ? NORMAL_LINEAR : Math.round(NORMAL_LINEAR * shrink),
    cubic: shrink === 1 ? NORMAL_CUBIC : Math.round(NORMAL_CUBIC * shrink),
    slope: integers(slopes.map((a) => ((ONE - 1) * a * spanV) / lnUnit)),
    curve: integers(curves.map((c) => ((ONE - 1) * c * spanV ** 2) / lnUnit)),
    bend: integers(bends.map((b) => ((ONE - 1) * b * spanV ** 3) / lnUnit)),
    // d << 6 is d / 512 in 15 bits behind the point.
    beta: integers(betas.map((b) => (ONE * b * 512) / BYTES_SIGMA / lnUnit)),
    top,
    ...fitted,
    base: weights.map((of) => integers(each((m) => of[m] * gain * 2 ** baseBits))),
    baseBits,
    limit: planes === 1 ? SMALL_WEIGHT : BYTE_TOP,
    rowScale: rowScaleV.map((scale) => scale / gateUnitV),
    rowShift: shiftV.map((v) => v / gateUnitV),
  };
}

const DEGREE = 4;

/** p0 .. p4 with as few squarings as 16 bits allow, over v from `low` to `top`. */
function fitExponential(
  lnUnit: number,
  top: number,
  low: number,
): Pick<CellNumbers, 'polynomial' | 'squarings'> {
  for (const squarings of [2, 4] as const) {
    const f = (v: number) => F_TOP * Math.exp((lnUnit * (v - top / ONE)) / 2 ** squarings);
    const terms = interpolate(f, low / ONE, top / ONE);
    const bound = Math.max(-low, top) / ONE;
    // What the Horner scheme meets on its way, and its result, stay below 1.
    let largest = 0;
    let sum = 0;
    for (const term of terms.toReversed().slice(0, DEGREE)) {
      sum = sum * bound + Math.abs(term);
      largest = Math.max(largest, sum);
    }
    if (largest >= 0.999) continue;
    return { squarings, polynomial: Int16Array.from(terms, (term) => Math.round(term * ONE)) };
  }
  throw new OnefetError(
    'usage',
    'CELL_SPREAD',
    `cells whose gain spreads by exp(+-${lnUnit.toFixed(1)}) are more than the WebAssembly engine's format holds`,
    { hint: 'use --engine scalar' },
  );
}

/** Terms of the polynomial that meets f at the Chebyshev nodes between low and high. */
function interpolate(f: (v: number) => number, low: number, high: number): number[] {
  const nodes = Array.from(
    { length: DEGREE + 1 },
    (_, i) => (low + high) / 2 + ((high - low) / 2) * Math.cos(((2 * i + 1) * Math.PI) / (2 * DEGREE + 2)),
  );
  // Newton's divided differences, expanded.
  const differences = nodes.map(f);
  for (let order = 1; order <= DEGREE; order++) {
    for (let i = DEGREE; i >= order; i--) {
      differences[i] = (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order]);
    }
  }
  let terms = [differences[DEGREE]];
  for (let i = DEGREE - 1; i >= 0; i--) {
    const next = [0, ...terms];
    terms.forEach((term, power) => {
      next[power] -= term * nodes[i];
    });
    next[0] += differences[i];
    terms = next;
  }
  return terms;
}

/** `row` of every row and tap, [rows][8]. */
export function rowTable(
  { rowScale, rowShift }: Pick<CellFormat, 'rowScale' | 'rowShift'>,
  { rowOffsetV, tapErrorV }: RowErrors,
  out: Int16Array,
): void {
  const taps = tapErrorV.length - 1;
  for (let j = 0; j < rowOffsetV.length; j++) {
    for (let m = 1; m <= taps; m++) {
      const y = Math.round(rowScale[m] * (tapErrorV[m][j] + rowOffsetV[j]) + rowShift[m]);
      out[j * TABLE_TAPS + m] = Math.max(-ONE, Math.min(ONE - 1, y));
    }
  }
}

const saturate = (x: number): number => Math.max(-ONE, Math.min(ONE - 1, x));
const wrap = (x: number): number => (x << 16) >> 16;

/** w_r of a cell with `code` and hash `bits` on a row whose table has `row` for its tap. */
export function cellWeight(
  format: CellNumbers,
  rank: number,
  code: number,
  bits: number,
  row: number,
): number {
  const tap = Math.abs(code);
  const { slope, curve, bend, beta, polynomial: p, top, base, baseBits, limit } = format;
  const y = saturate(row - normalOfSum(sumOfBytes(bits), format.linear, format.cubic));
  const second = wrap(curve[tap] + multiplyQ15(y, bend[tap]));
  const first = wrap(slope[tap] + multiplyQ15(y, second));
  const u = saturate(multiplyQ15(y, first) + multiplyQ15(differenceOfBytes(bits) << 6, beta[tap]));
  const v = Math.min(u, top);
  let gain: number = p[DEGREE];
  for (let i = DEGREE - 1; i >= 0; i--) gain = wrap(p[i] + multiplyQ15(v, gain));
  for (let i = 0; i < format.squarings; i++) gain = multiplyQ15(gain, gain);
  const w = (multiplyQ15(gain, base[rank][tap]) + 2 ** (baseBits - 1)) >> baseBits;
  return Math.sign(code) * Math.max(-limit, Math.min(limit, w));
}
