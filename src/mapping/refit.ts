/**
 * The scales of all tiles of an output at once, for codes that are given: with x_t = the codes of tile t, zero elsewhere,
 *
 *   minimise (w - sum_t s_t x_t) H (w - sum_t s_t x_t)^T
 *   A s = b,   A_tu = x_t H x_u^T,   b_t = x_t H w^T
 *
 * with a small ridge towards the scales there are, (A + r I)(s - s_old) = b - A s_old, r = 1e-4 mean(diag A). An output
 * whose new scales are not better, or not positive, keeps its old ones, so the objective never rises.
 *
 * Where the real weights of a chip were read (correct.ts), x_t are those instead of codes and s_t are column gains.
 */

import { solveSymmetric } from '../small-matrices.ts';
import type { Coding, CodingProblem } from './coding.ts';
import { tileCount } from './coding.ts';
import { BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES } from './numerics/kernels/multiply.ts';
import { BLOCK, floats } from './numerics/numerics.ts';
import {
  formErrors,
  formProducts,
  invertScales,
  multiplyColumns,
  panelAddress,
  scalesOf,
  sumsAddress,
  type Workspace,
} from './numerics/workspace.ts';

const RIDGE = 1e-4;

/**
 * New scales [tiles] from A [tiles][tiles], b and the old scales; the old ones where the new are not better.
 * `objective` of s is s A s - 2 b s, up to a constant.
 */
function refitScales(
  a: Float64Array,
  b: Float64Array,
  old: ArrayLike<number>,
  positive = true,
): Float64Array {
  const tiles = b.length;
  const before = Float64Array.from(old);
  let trace = 0;
  for (let t = 0; t < tiles; t++) trace += a[t * tiles + t];
  if (!(trace > 0)) return before;
  const ridge = (RIDGE * trace) / tiles;
  const damped = a.slice();
  for (let t = 0; t < tiles; t++) damped[t * tiles + t] += ridge;
  const residual = b.map((x, t) => x - rowTimes(a, t, before));
  const step = solveSymmetric(damped, residual);
  if (step === undefined) return before;
  const after = before.map((x, t) => x + step[t]);
  if (positive && after.some((x) => !(x >= 0))) return before;
  return quadratic(a, b, after) < quadratic(a, b, before) ? after : before;
}

const rowTimes = (a: Float64Array, t: number, s: Float64Array): number =>
  s.reduce((sum, x, u) => sum + a[t * s.length + u] * x, 0);
const quadratic = (a: Float64Array, b: Float64Array, s: Float64Array): number =>
  s.reduce((sum, x, t) => sum + x * (rowTimes(a, t, s) - 2 * b[t]), 0);

/** Scales [N][tiles]: the readable definition. */
export function refitReference(problem: CodingProblem, coding: Coding): Float32Array {
  const { outputs, inputs, tileRows, weights, moments } = problem;
  const tiles = tileCount(problem);
  const scales = new Float32Array(coding.scales);
  for (let n = 0; n < outputs; n++) {
    const a = new Float64Array(tiles * tiles);
    const b = new Float64Array(tiles);
    for (let i = 0; i < inputs; i++) {
      const t = Math.floor(i / tileRows);
      const left = coding.codes[n * inputs + i];
      for (let j = 0; j < inputs; j++) {
        const h = moments[i * inputs + j] * left;
        a[t * tiles + Math.floor(j / tileRows)] += h * coding.codes[n * inputs + j];
        b[t] += h * weights[n * inputs + j];
      }
    }
    scales.set(refitScales(a, b, scales.subarray(n * tiles, (n + 1) * tiles)), n * tiles);
  }
  return scales;
}

/** The same for the matrix of a workspace; forms the errors. */
export function refit(workspace: Workspace, positive = true): void {
  const { tiles, panels } = workspace;
  const { a, b } = normalEquations(workspace);
  for (let p = 0; p < panels; p++) {
    const scales = scalesOf(workspace, p);
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      const output = p * PANEL_COLUMNS + n;
      const old = Float64Array.from({ length: tiles }, (_, t) => scales[t * PANEL_COLUMNS + n]);
      const found = refitScales(
        a.subarray(output * tiles * tiles, (output + 1) * tiles * tiles),
        b.subarray(output * tiles, (output + 1) * tiles),
        old,
        positive,
      );
      for (let t = 0; t < tiles; t++) scales[t * PANEL_COLUMNS + n] = found[t];
    }
  }
  invertScales(workspace);
  formErrors(workspace);
}

/**
 * A [N][tiles][tiles] and b [N][tiles] of all outputs, padding included. A is symmetric: H x_t is formed for the rows of
 * tile t and those behind it only; b takes the products H w, which are the same for all codes.
 */
function normalEquations(workspace: Workspace): { a: Float64Array; b: Float64Array } {
  const { numerics, at, rows, panels, tiles, tileRows } = workspace;
  const { kernels } = numerics;
  formProducts(workspace);
  const outputs = panels * PANEL_COLUMNS;
  const a = new Float64Array(outputs * tiles * tiles);
  const b = new Float64Array(outputs * tiles);
  const lanes = floats(numerics, at.lanes, PANEL_COLUMNS);
  const ends = Array.from({ length: tiles }, (_, t) => (t === tiles - 1 ? rows : (t + 1) * tileRows));
  const dot = (left: number, right: number, count: number): Float32Array => {
    lanes.fill(0);
    kernels.dot_rows(left, right, at.lanes, count);
    return lanes;
  };
  for (let t = 0; t < tiles; t++) {
    const begin = t * tileRows;
    for (let p = 0; p < panels; p++) {
      const offset = begin * ROW_BYTES;
      const products = panelAddress(workspace, at.products, p) + offset;
      const found = dot(products, panelAddress(workspace, at.codes, p) + offset, ends[t] - begin);
      for (let n = 0; n < PANEL_COLUMNS; n++) b[(p * PANEL_COLUMNS + n) * tiles + t] = found[n];
    }
    // Whole blocks of rows: the first may begin before the tile.
    for (let first = begin - (begin % BLOCK_ROWS); first < rows; first += BLOCK) {
      const count = Math.min(BLOCK, rows - first);
      // sums = (H x_t) of the block's rows
      multiplyColumns(workspace, at.moments, first, count, at.codes, begin, ends[t]);
      for (let p = 0; p < panels; p++) {
        const sums = sumsAddress(workspace, p);
        // The block's rows may belong to several tiles u.
        for (
          let start = Math.max(first, begin), u = ends.findIndex((end) => end > start);
          start < first + count;
          u++
        ) {
          const end = Math.min(ends[u], first + count);
          const codes = panelAddress(workspace, at.codes, p) + start * ROW_BYTES;
          const found = dot(sums + (start - first) * ROW_BYTES, codes, end - start);
          for (let n = 0; n < PANEL_COLUMNS; n++) {
            a[((p * PANEL_COLUMNS + n) * tiles + t) * tiles + u] += found[n];
          }
          start = end;
        }
      }
    }
  }
  for (let n = 0; n < outputs; n++) {
    const own = a.subarray(n * tiles * tiles, (n + 1) * tiles * tiles);
    for (let t = 0; t < tiles; t++) for (let u = 0; u < t; u++) own[t * tiles + u] = own[u * tiles + t];
  }
  return { a, b };
}
