/**
 * From the physics of a tile to the numbers of the integer kernels.
 *
 * With x = round(u_r(level) X / u0max) per row and w = round(v_r(tap) exp(delta) W) per cell, the sum of both phases'
 * difference and of both phases' current are
 *   D = sum x w  u0max / (X W),      S = sum m |w|  u0max / (127 W),   m = round(u_0(level) 127 / u0max)
 *
 * Off rows: a cell whose row is off carries the off current in both phases, so it cancels in D except in the phase in
 * which its row is driven. The response is therefore decomposed after the off current was taken from every driven
 * entry, and S gets 2 off currents per connected cell. (The mismatch of the off current is that of the driven cell
 * here; in src/tile it has its own slope.)
 */

import { OnefetError } from '../error.ts';
import type { TilePhysics } from '../tile/physics.ts';
import { decompose, type Separable } from '../tile/separable.ts';
import { BYTE_TOP, INPUT_TOP, SMALL_WEIGHT } from './integers.ts';

/** Weights of the top tap saturate beyond this many sigma of ln I: 2e-4 of its cells. */
const SATURATION_SIGMAS = 3.5;

export interface IntegerResponse {
  readonly rank: number;
  /** Levels of the encoding table. */
  readonly levels: number;
  /** The last of them that drives no row. */
  readonly idle: number;
  /** [rank + 1][levels] f32: x of each level and rank, then the magnitude. */
  readonly table: Float32Array;
  /** v_r by tap in units of stored weights: [rank][taps + 1]. */
  readonly weights: readonly Float64Array[];
  /** D per unit of x w, S per unit of m |w|, in I_fs. */
  readonly differenceUnit: number;
  readonly currentUnit: number;
  /** In units of u_0(top): magnitude / 127 is the relative row current. */
  readonly leadingTop: number;
  /** Weights per unit of v. */
  readonly weightUnit: number;
  readonly residual: number;
}

/** `varied`: weights differ from cell to cell and need room for their spread. */
export function integerResponse(
  physics: TilePhysics,
  taps: number,
  planes: 1 | 2,
  varied: boolean,
): IntegerResponse {
  const separable = drivenResponse(physics, taps);
  const { rank, u, v } = separable;
  const top = INPUT_TOP[planes];
  const { input } = physics;
  const grid = levelGrid(physics, planes);
  const leadingTop = input.float ? 1 : u[0][u[0].length - 1];
  const table = new Float32Array((rank + 1) * grid.length);
  grid.forEach((level, i) => {
    for (let r = 0; r < rank; r++) {
      const value = input.float ? level : u[r][level];
      table[r * grid.length + i] = (value / leadingTop) * top;
    }
    const leading = input.float ? level : Math.max(0, u[0][level]);
    table[rank * grid.length + i] = Math.round((leading / leadingTop) * BYTE_TOP);
  });
  const most = weightTop(planes);
  const largest = Math.max(...v.flatMap((vr) => [...vr].map(Math.abs)));
  const sigma = Math.hypot(physics.gmOverIPerV * physics.sigmaVtV, physics.sigmaBeta);
  const weightUnit = varied
    ? most / (largest * Math.exp(SATURATION_SIGMAS * sigma))
    : roundestScale(v, most / largest);
  return {
    rank,
    levels: grid.length,
    idle: grid.lastIndexOf(0),
    table,
    weights: v.map((vr) => vr.map((x) => x * weightUnit)),
    differenceUnit: leadingTop / (top * weightUnit),
    currentUnit: leadingTop / (BYTE_TOP * weightUnit),
    leadingTop,
    weightUnit,
    residual: separable.residual,
  };
}

/** Largest stored weight: with inputs of one plane also weights have 7 bits, for `gemm_small`. */
const weightTop = (planes: 1 | 2): number => (planes === 1 ? SMALL_WEIGHT : BYTE_TOP);

/** The separable response of a driven cell over an off one. */
function drivenResponse(physics: TilePhysics, taps: number): Separable {
  const response = physics.responses.get(taps);
  if (!response) throw new OnefetError('internal', 'TAPS', `no response for ${taps} taps`);
  const off = physics.offCurrent;
  if (off === 0 || physics.input.float) return response.separable;
  const driven = response.table.map((row, level) =>
    level === 0 ? row : row.map((x, tap) => (tap === 0 ? 0 : x - off)),
  );
  return decompose(driven, physics.design.response.residualBound);
}

/**
 * Returns the entries of the encoding table, addressed by round(|a| / s * (entries - 1)): the level for linear
 * codes; for log codes, a grid fine enough that a boundary between levels moves by less than 1/300 of the smallest; for
 * real-valued inputs, the relative magnitude itself on the grid of the planes.
 */
function levelGrid(physics: TilePhysics, planes: 1 | 2): number[] {
  const { input } = physics;
  const entries = (top: number) => Array.from({ length: top + 1 }, (_, i) => i / top);
  if (input.float) return entries(INPUT_TOP[planes]);
  const { magnitudes } = input;
  if (input.linear) return Array.from(magnitudes, (_, level) => level);
  const smallest = magnitudes[1];
  const grid = entries(Math.min(2 ** 16, Math.ceil(300 / smallest)));
  return grid.map((x) => {
    if (x < smallest / 2) return 0;
    let best = 1;
    for (let k = 2; k < magnitudes.length; k++) {
      if (Math.abs(magnitudes[k] - x) < Math.abs(magnitudes[best] - x)) best = k;
    }
    return best;
  });
}

/** The scale up to `most`, at least 70 % of it, at which the table's values are nearest to integers. */
function roundestScale(v: readonly Float64Array[], most: number): number {
  let best = most;
  let bestError = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= 3000; i++) {
    const scale = most * (1 - i * 1e-4);
    let error = 0;
    for (const vr of v) for (const x of vr) error += (Math.round(x * scale) / scale - x) ** 2;
    if (error < bestError * 0.999) {
      bestError = error;
      best = scale;
    }
  }
  // The least-squares scale of the integers that this gives: exact where the values are multiples of one.
  for (let refinement = 0; refinement < 3; refinement++) {
    let cross = 0;
    let squares = 0;
    for (const vr of v) {
      for (const x of vr) {
        cross += Math.round(x * best) * x;
        squares += x * x;
      }
    }
    best = Math.min(most, cross / squares);
  }
  return best;
}

/** The encoding tables of the tap counts that occur. */
export function integerResponses(
  physics: TilePhysics,
  taps: Iterable<number>,
  planes: 1 | 2,
  varied: boolean,
): Map<number, IntegerResponse> {
  return new Map([...new Set(taps)].map((count) => [count, integerResponse(physics, count, planes, varied)]));
}
