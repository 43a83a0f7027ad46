/**
 * The currents of a tile's columns, summed cell by cell: the scalar reference, and the baked kernel that is
 * tested against it.
 *
 * A cell at row j, column c with code sign * m carries, in units of I_fs,
 *   on   g(k_j, m) rowFactor_j exp(-(gm/I)(k_j, m) (dVt - tapError) + dBeta),   g = sum_r u_r(k) v_r(m)
 *   off  offCurrent exp(-(gm/I)_off dVt + dBeta)
 * and a phase yields, per column, over all its connected cells
 *   d = sum sign I      s = sum I      q = sum I^2
 */
import type { TileInput } from './input-code.ts';
import type { Response, TilePhysics } from './physics.ts';
import type { TileStatics } from './static-errors.ts';
import type { WeightTile } from './weight-code.ts';

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

/** How a tile's sums are formed; `phaseSign` is the sign of the inputs that are driven, `bank` the set of cells. */
export type CellSums = (
  out: ColumnSums,
  input: TileInput,
  rowFactors: Float64Array,
  phaseSign: 1 | -1,
  bank: number,
) => void;

/** The definition, cell by cell. Slow; every other kernel is measured against it. */
export function referenceSums(
  physics: TilePhysics,
  response: Response,
  tile: WeightTile,
  columns: number,
  statics: TileStatics,
): CellSums {
  const { u, v, rank } = response.separable;
  return (out, input, rowFactors, phaseSign, bank) => {
    const vt = statics.vtV[bank];
    const beta = statics.beta[bank];
    out.d.fill(0);
    out.s.fill(0);
    out.q.fill(0);
    for (let j = 0; j < tile.rows; j++) {
      const on = input.signs[j] === phaseSign;
      const level = input.levels[j];
      for (let c = 0; c < columns; c++) {
        const at = j * columns + c;
        const code = tile.codes[at];
        if (code === 0) continue;
        const tap = code < 0 ? -code : code;
        let current: number;
        if (on) {
          let g = 0;
          if (physics.input.float) g = input.magnitudes[j] * v[0][tap];
          else for (let r = 0; r < rank; r++) g += u[r][level] * v[r][tap];
          const gateV = statics.tapErrorV[tap][j] - vt[at];
          current = g * rowFactors[j] * Math.exp(response.gmOverI[level][tap] * gateV + beta[at]);
        } else {
          current = physics.offCurrent * Math.exp(-physics.offGmOverIPerV * vt[at] + beta[at]);
        }
        out.d[c] += code < 0 ? -current : current;
        out.s[c] += current;
        out.q[c] += current * current;
      }
    }
  };
}

/**
 * The baked kernel: the static factors of a cell are multiplied into its weight once, so that a token costs one
 * multiply-add per cell and rank. Its one approximation: gm/I depends on the tap but not on the level (the average
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
  const banks = statics.vtV.map((vt, bank) => {
    const beta = statics.beta[bank];
    const on = Array.from({ length: rank }, () => new Float32Array(tile.rows * columns));
    const off = new Float32Array(tile.rows * columns);
    const leak = newColumnSums(columns);
    for (let j = 0; j < tile.rows; j++) {
      for (let c = 0; c < columns; c++) {
        const at = j * columns + c;
        const code = tile.codes[at];
        if (code === 0) continue;
        const tap = Math.abs(code);
        const sign = Math.sign(code);
        const gateV = statics.tapErrorV[tap][j] - vt[at];
        const gain = sign * Math.exp(response.gmOverIByTap[tap] * gateV + beta[at]);
        for (let r = 0; r < rank; r++) on[r][at] = v[r][tap] * gain;
        off[at] = sign * physics.offCurrent * Math.exp(-physics.offGmOverIPerV * vt[at] + beta[at]);
        leak.d[c] += off[at];
        leak.s[c] += Math.abs(off[at]);
        leak.q[c] += off[at] * off[at];
      }
    }
    return { on, off, leak };
  });
  const factors = new Float64Array(rank);
  return (out, input, rowFactors, phaseSign, bank) => {
    const { on, off, leak } = banks[bank];
    const { d, s, q } = out;
    d.set(leak.d);
    s.set(leak.s);
    q.set(leak.q);
    for (let j = 0; j < tile.rows; j++) {
      if (input.signs[j] !== phaseSign) continue;
      const level = input.levels[j];
      if (physics.input.float) factors[0] = input.magnitudes[j] * rowFactors[j];
      else for (let r = 0; r < rank; r++) factors[r] = u[r][level] * rowFactors[j];
      const base = j * columns;
      if (rank === 1) addRow1(d, s, q, on[0], off, base, factors[0]);
      else if (rank === 2) addRow2(d, s, q, on[0], on[1], off, base, factors[0], factors[1]);
      else addRow(d, s, q, on, off, base, factors);
    }
  };
}

/** One driven row: its cells' currents replace their leakage. */
function addRow1(
  d: Float64Array,
  s: Float64Array,
  q: Float64Array,
  on: Float32Array,
  off: Float32Array,
  base: number,
  factor: number,
): void {
  for (let c = 0; c < d.length; c++) {
    const current = factor * on[base + c];
    const leak = off[base + c];
    d[c] += current - leak;
    s[c] += Math.abs(current) - Math.abs(leak);
    q[c] += current * current;
  }
}

function addRow2(
  d: Float64Array,
  s: Float64Array,
  q: Float64Array,
  on0: Float32Array,
  on1: Float32Array,
  off: Float32Array,
  base: number,
  factor0: number,
  factor1: number,
): void {
  for (let c = 0; c < d.length; c++) {
    const current = factor0 * on0[base + c] + factor1 * on1[base + c];
    const leak = off[base + c];
    d[c] += current - leak;
    s[c] += Math.abs(current) - Math.abs(leak);
    q[c] += current * current;
  }
}

function addRow(
  d: Float64Array,
  s: Float64Array,
  q: Float64Array,
  on: readonly Float32Array[],
  off: Float32Array,
  base: number,
  factors: Float64Array,
): void {
  for (let c = 0; c < d.length; c++) {
    let current = 0;
    for (let r = 0; r < factors.length; r++) current += factors[r] * on[r][base + c];
    const leak = off[base + c];
    d[c] += current - leak;
    s[c] += Math.abs(current) - Math.abs(leak);
    q[c] += current * current;
  }
}
