/**
 * The currents of a tile's columns, summed cell by cell: the scalar reference, and the baked sums, which are
 * tested against it.
 *
 * A cell at row j, column c with code sign * m carries, in units of I_fs,
 *   on   g(k_j, m) rowFactor_j exp(((b e + c) e + a) e + share_m dBeta + logMean_m),   g = sum_r u_r(k) v_r(m)
 *        with the slope a against the threshold, its curvature c and bend b at (k_j, m), e = rowShare_m tapError - share_m dVt
 *   off  offCurrent exp(share_m (dBeta - a_off dVt) + logMean_m)
 * share and logMean are 1 and 0 unless a tap is several transistors (tap-spread.ts), rowShare is 1 where the tap is the
 * gate of the cell. tapError and rowFactor are those of the bank's row and of the ladder that feeds column c (ladder.ts).
 * A phase yields, per column, over all its connected cells
 *   d = sum sign I      s = sum I      q = sum I^2
 */
import type { TileInput } from './input-code.ts';
import type { Segment } from './ladder.ts';
import type { TilePhysics } from './physics.ts';
import type { Response } from './response.ts';
import type { TileStatics } from './static-errors.ts';
import type { WeightTile } from './weight-code.ts';

/** `reference` is the definition, cell by cell; `baked` is tested against it and some thirty times faster. */
export type CellSumsKind = 'reference' | 'baked';

export interface ColumnSums {
  /** [columns] differential current. */
  readonly d: Float64Array;
  /** [columns] current of both bit lines. */
  readonly s: Float64Array;
  /** [columns] sum of squared cell currents. */
  readonly q: Float64Array;
}

export function newColumnSums(columns: number): ColumnSums {
  return { d: new Float64Array(columns), s: new Float64Array(columns), q: new Float64Array(columns) };
}

/**
 * Forms the sums of a tile; `phaseSign` is the sign of the inputs that are driven, `bank` the set of cells,
 * `rowFactors` are [ladders of a row][rows].
 */
export type CellSums = (
  out: ColumnSums,
  input: TileInput,
  rowFactors: readonly Float64Array[],
  phaseSign: 1 | -1,
  bank: number,
) => void;

/** The definition, cell by cell. Slow; every other sum is measured against it. */
export function referenceSums(
  physics: TilePhysics,
  response: Response,
  tile: WeightTile,
  columns: number,
  statics: TileStatics,
): CellSums {
  const { u, v, rank } = response.separable;
  const { share } = physics.spreads.get(response.taps)!;
  const { segments, tapLogMean } = statics;
  return (out, input, rowFactors, phaseSign, bank) => {
    const vt = statics.vtV[bank];
    const beta = statics.beta[bank];
    const rows = statics.rowErrors[bank];
    out.d.fill(0);
    out.s.fill(0);
    out.q.fill(0);
    for (let j = 0; j < tile.rows; j++) {
      const on = input.signs[j] === phaseSign;
      const level = input.levels[j];
      segments.forEach(({ from, to }, ladder) => {
        const { tapErrorV } = rows[ladder];
        for (let c = from; c < to; c++) {
          const at = j * columns + c;
          const code = tile.codes[at];
          if (code === 0) continue;
          const tap = code < 0 ? -code : code;
          let current: number;
          if (on) {
            let g = 0;
            if (physics.input.float) g = input.magnitudes[j] * v[0][tap];
            else for (let r = 0; r < rank; r++) g += u[r][level] * v[r][tap];
            const gateV = response.rowShareByTap[tap] * tapErrorV[tap][j] - share[tap] * vt[at];
            const curvature = response.curvature[level][tap] + response.bend[level][tap] * gateV;
            const slope = response.gmOverI[level][tap] + curvature * gateV;
            current =
              g * rowFactors[ladder][j] * Math.exp(slope * gateV + share[tap] * beta[at] + tapLogMean[tap]);
          } else {
            current = offCurrent(physics, share[tap], vt[at], beta[at], tapLogMean[tap]);
          }
          out.d[c] += code < 0 ? -current : current;
          out.s[c] += current;
          out.q[c] += current * current;
        }
      });
    }
  };
}

function offCurrent(physics: TilePhysics, share: number, vtV: number, beta: number, logMean: number): number {
  return physics.offCurrent * Math.exp(share * (beta - physics.offGmOverIPerV * vtV) + logMean);
}

/**
 * Baked sums: the static factors of a cell are multiplied into its weight once, so that a token costs one
 * multiply-add per cell and rank. Its one approximation: gm/I, curvature and bend depend on the tap but not on the level (the average
 * over levels weighted by current squared); in weak inversion the two differ by a few percent of gm/I.
 *
 * Memory: (rank + 1) * 4 bytes per cell.
 */
export function bakedSums(
  physics: TilePhysics,
  response: Response,
  tile: WeightTile,
  columns: number,
  statics: TileStatics,
): CellSums {
  const { u, v, rank } = response.separable;
  const { share } = physics.spreads.get(response.taps)!;
  const { segments, tapLogMean } = statics;
  const banks = statics.vtV.map((vt, bank) => {
    const beta = statics.beta[bank];
    const on = Array.from({ length: rank }, () => new Float32Array(tile.rows * columns));
    const off = new Float32Array(tile.rows * columns);
    const leak = newColumnSums(columns);
    for (let j = 0; j < tile.rows; j++) {
      segments.forEach(({ from, to }, ladder) => {
        const { tapErrorV } = statics.rowErrors[bank][ladder];
        for (let c = from; c < to; c++) {
          const at = j * columns + c;
          const code = tile.codes[at];
          if (code === 0) continue;
          const tap = Math.abs(code);
          const sign = Math.sign(code);
          const gateV = response.rowShareByTap[tap] * tapErrorV[tap][j] - share[tap] * vt[at];
          const curvature = response.curvatureByTap[tap] + response.bendByTap[tap] * gateV;
          const slope = response.gmOverIByTap[tap] + curvature * gateV;
          const gain = sign * Math.exp(slope * gateV + share[tap] * beta[at] + tapLogMean[tap]);
          for (let r = 0; r < rank; r++) on[r][at] = v[r][tap] * gain;
          off[at] = sign * offCurrent(physics, share[tap], vt[at], beta[at], tapLogMean[tap]);
          leak.d[c] += off[at];
          leak.s[c] += Math.abs(off[at]);
          leak.q[c] += off[at] * off[at];
        }
      });
    }
    return { on, off, leak };
  });
  // The driven rows of a phase, and the factors u_r(k) rowFactor of each: [rows][rank].
  const rows = new Int32Array(tile.rows);
  const bases = new Int32Array(tile.rows);
  const factors = new Float64Array(tile.rows * rank);
  return (out, input, rowFactors, phaseSign, bank) => {
    const { on, off, leak } = banks[bank];
    out.d.set(leak.d);
    out.s.set(leak.s);
    out.q.set(leak.q);
    let driven = 0;
    for (let j = 0; j < tile.rows; j++) {
      if (input.signs[j] !== phaseSign) continue;
      rows[driven] = j;
      bases[driven++] = j * columns;
    }
    segments.forEach((segment, ladder) => {
      for (let i = 0; i < driven; i++) {
        const j = rows[i];
        for (let r = 0; r < rank; r++) {
          const drive = physics.input.float ? input.magnitudes[j] : u[r][input.levels[j]];
          factors[i * rank + r] = drive * rowFactors[ladder][j];
        }
      }
      let i = 0;
      if (rank === 1) {
        for (; i + 4 <= driven; i += 4) addFourRows(out, segment, on[0], off, bases, factors, i);
      }
      for (; i < driven; i++) addRow(out, segment, on, off, bases[i], factors, i * rank);
    });
  };
}

/** One driven row: its cells' currents replace their leakage. */
function addRow(
  { d, s, q }: ColumnSums,
  { from: first, to }: Segment,
  on: readonly Float32Array[],
  off: Float32Array,
  base: number,
  factors: Float64Array,
  from: number,
): void {
  for (let c = first; c < to; c++) {
    let current = 0;
    for (let r = 0; r < on.length; r++) current += factors[from + r] * on[r][base + c];
    const leak = off[base + c];
    d[c] += current - leak;
    s[c] += Math.abs(current) - Math.abs(leak);
    q[c] += current * current;
  }
}

/** Four driven rows of a rank-1 response at a time: the column sums pass through registers once for all four. */
function addFourRows(
  { d, s, q }: ColumnSums,
  { from: first, to }: Segment,
  on: Float32Array,
  off: Float32Array,
  bases: Int32Array,
  factors: Float64Array,
  i: number,
): void {
  const [b0, b1, b2, b3] = [bases[i], bases[i + 1], bases[i + 2], bases[i + 3]];
  const [f0, f1, f2, f3] = [factors[i], factors[i + 1], factors[i + 2], factors[i + 3]];
  for (let c = first; c < to; c++) {
    const c0 = f0 * on[b0 + c];
    const c1 = f1 * on[b1 + c];
    const c2 = f2 * on[b2 + c];
    const c3 = f3 * on[b3 + c];
    const o0 = off[b0 + c];
    const o1 = off[b1 + c];
    const o2 = off[b2 + c];
    const o3 = off[b3 + c];
    d[c] += c0 - o0 + (c1 - o1) + (c2 - o2) + (c3 - o3);
    s[c] +=
      Math.abs(c0) -
      Math.abs(o0) +
      (Math.abs(c1) - Math.abs(o1)) +
      (Math.abs(c2) - Math.abs(o2)) +
      (Math.abs(c3) - Math.abs(o3));
    q[c] += c0 * c0 + c1 * c1 + c2 * c2 + c3 * c3;
  }
}
