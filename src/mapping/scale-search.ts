/**
 * The scale of each output and tile, before any code is chosen.
 *
 *   maximum    s = max|w| / magnitudeMax
 *   clipped    the s that minimises sum_j (w - s c)^2: today's rule, blind to what the inputs are
 *   weighted   the s that minimises sum_j H_jj (w - s c)^2
 *
 * The last two try clipping factors of the maximum, each with two least-squares refinements s = <w, c> / <c, c> under
 * the same weights. On a real model the blind search clips the weights of loud inputs and is worse than none (KL 0.87
 * against 0.49 on SmolLM2-135M at 4 bits); weighted by the inputs' energy it is better than both. The search for a
 * clipping factor is that of Lin et al. 2023 (AWQ, arXiv:2306.00978), section 3.2, per output and tile.
 */
import type { CodingProblem } from './coding.ts';
import { nearestCode, tileCount } from './coding.ts';
import { PANEL_COLUMNS, ROW_BYTES } from './numerics/kernels/multiply.ts';
import { floats } from './numerics/numerics.ts';
import { invertScales, panelAddress, panelOf, scalesOf, type Workspace } from './numerics/workspace.ts';

export const SCALE_RULES = ['maximum', 'clipped', 'weighted'] as const;
export type ScaleRule = (typeof SCALE_RULES)[number];

const CLIP_FACTORS = [1, 0.94, 0.88, 0.82, 0.76, 0.7, 0.64, 0.58, 0.52, 0.46, 0.4];
const REFINEMENTS = 3;
/** Weights below this share of the mean energy count as this share: a silent input's weight is still a weight. */
const ENERGY_FLOOR = 1e-4;

/** The weights of the search [K]: H_jj with a floor, or 1. */
function searchWeights(rule: ScaleRule, diagonal: ArrayLike<number>): Float32Array {
  const { length } = diagonal;
  if (rule !== 'weighted') return new Float32Array(length).fill(1);
  let mean = 0;
  for (let j = 0; j < length; j++) mean += diagonal[j] / length;
  const floor = ENERGY_FLOOR * mean || 1;
  return Float32Array.from({ length }, (_, j) => Math.max(diagonal[j], floor) / (mean || 1));
}

/** Scales [N][tiles]: the readable definition. */
export function searchScalesReference(problem: CodingProblem, rule: ScaleRule): Float32Array {
  const { outputs, inputs, tileRows, weights, moments } = problem;
  const tiles = tileCount(problem);
  const energy = searchWeights(
    rule,
    Float64Array.from({ length: inputs }, (_, j) => moments[j * inputs + j]),
  );
  const scales = new Float32Array(outputs * tiles);
  for (let n = 0; n < outputs; n++) {
    for (let t = 0; t < tiles; t++) {
      const end = Math.min(inputs, (t + 1) * tileRows);
      const w = weights.subarray(n * inputs + t * tileRows, n * inputs + end);
      scales[n * tiles + t] = searchScale(w, energy.subarray(t * tileRows, end), rule, problem.magnitudeMax);
    }
  }
  return scales;
}

function searchScale(w: Float32Array, energy: Float32Array, rule: ScaleRule, magnitudeMax: number): number {
  let largest = 0;
  for (const x of w) largest = Math.max(largest, Math.abs(x));
  let best = largest / magnitudeMax;
  if (rule === 'maximum' || largest === 0) return best;
  let bestError = Number.POSITIVE_INFINITY;
  for (const factor of CLIP_FACTORS) {
    let scale = (factor * largest) / magnitudeMax;
    for (let refinement = 0; refinement < REFINEMENTS && scale > 0; refinement++) {
      let [error, cross, norm] = [0, 0, 0];
      for (let j = 0; j < w.length; j++) {
        const code = nearestCode(w[j] / scale, magnitudeMax);
        error += energy[j] * (w[j] - scale * code) ** 2;
        cross += energy[j] * w[j] * code;
        norm += energy[j] * code * code;
      }
      if (error < bestError) {
        bestError = error;
        best = scale;
      }
      scale = norm > 0 ? cross / norm : 0;
    }
  }
  return best;
}

/** The same for the matrix of a workspace, 16 outputs at a time. */
export function searchScales(workspace: Workspace, rule: ScaleRule): void {
  const { numerics, at, tiles, tileRows, inputs } = workspace;
  const energy = floats(numerics, at.energy, workspace.rows);
  const diagonal = energy.slice(0, inputs);
  energy.set(searchWeights(rule, diagonal));
  for (let p = 0; p < workspace.panels; p++) {
    const panel = panelOf(workspace, at.weights, p);
    const scales = scalesOf(workspace, p);
    for (let t = 0; t < tiles; t++) {
      const first = t * tileRows;
      const count = Math.min(inputs, first + tileRows) - first;
      const found = scales.subarray(t * PANEL_COLUMNS, (t + 1) * PANEL_COLUMNS);
      const largest = largestOfLanes(panel, first, count);
      for (let n = 0; n < PANEL_COLUMNS; n++) found[n] = largest[n] / workspace.magnitudeMax;
      if (rule !== 'maximum') {
        const address = panelAddress(workspace, at.weights, p) + first * ROW_BYTES;
        searchLanes(workspace, address, at.energy + 4 * first, count, found);
      }
    }
  }
  energy.set(diagonal);
  invertScales(workspace);
}

function largestOfLanes(panel: Float32Array, first: number, count: number): Float32Array {
  const largest = new Float32Array(PANEL_COLUMNS);
  for (let i = first * PANEL_COLUMNS, j = 0; j < count; j++) {
    for (let n = 0; n < PANEL_COLUMNS; n++, i++) largest[n] = Math.max(largest[n], Math.abs(panel[i]));
  }
  return largest;
}

/** `found` [16] holds the scales of the maximum and gets the best ones. */
function searchLanes(
  workspace: Workspace,
  weights: number,
  energy: number,
  count: number,
  found: Float32Array,
): void {
  const { numerics, at } = workspace;
  // lanes: scales, inverses, then error, cross and norm
  const [scales, inverses, sums] = [at.lanes, at.lanes + ROW_BYTES, at.lanes + 2 * ROW_BYTES];
  const lanes = floats(numerics, at.lanes, 5 * PANEL_COLUMNS);
  const lane = (row: number, n: number): number => lanes[row * PANEL_COLUMNS + n];
  const start = found.slice();
  const bestError = new Float64Array(PANEL_COLUMNS).fill(Number.POSITIVE_INFINITY);
  for (const factor of CLIP_FACTORS) {
    for (let n = 0; n < PANEL_COLUMNS; n++) lanes[n] = factor * start[n];
    for (let refinement = 0; refinement < REFINEMENTS; refinement++) {
      lanes.fill(0, 2 * PANEL_COLUMNS);
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        lanes[PANEL_COLUMNS + n] = lanes[n] > 0 ? 1 / lanes[n] : 0;
      }
      numerics.kernels.project(weights, energy, scales, inverses, at.limit, sums, count);
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        if (lanes[n] > 0 && lane(2, n) < bestError[n]) {
          bestError[n] = lane(2, n);
          found[n] = lanes[n];
        }
        lanes[n] = lane(4, n) > 0 ? lane(3, n) / lane(4, n) : 0;
      }
    }
  }
}
