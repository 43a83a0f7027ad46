/**
 * Weights that give the outputs of the model as shipped from inputs that are a little off, because what lies before them is
 * mapped: with x the inputs of the model as shipped, x^ those of the mapped one, means m and m^,
 *
 *   minimise E |W~ (x^ - m^) - W (x - m)|^2  ->  W~ = W + W D (H + ridge)^-1
 *   D = E[(x - x^)(x^ - m^)^T],   H = E[(x^ - m^)(x^ - m^)^T],   ridge = K / tokens mean(diag H)
 *
 * and the constant W m in place of W~ m^. Codes are then chosen for W~ under H (the asymmetric calibration of Li et al. 2025,
 * GPTAQ, arXiv:2504.02692). The ridge draws W~ to W where a text has said little of a direction: the fewer tokens for an
 * input, the more of D is chance.
 */

import { factorUpper } from './numerics/factor.ts';
import { PANEL_COLUMNS, ROW_BYTES } from './numerics/kernels/multiply.ts';
import { BLOCK, floats } from './numerics/numerics.ts';
import {
  loadMoments,
  loadWeights,
  multiplyColumns,
  panelOf,
  sumsAddress,
  type Workspace,
} from './numerics/workspace.ts';

/** W [N][K]. */
export interface Retargeted {
  readonly weights: Float32Array;
  readonly outputs: number;
}

/**
 * W~ [N][K] in the place of each W, for matrices that read the same inputs: moments H [K][K] and drift D [K][K] in the basis
 * of the weights, ridge in units of H's mean diagonal. The workspace's moments, matrix and factor are overwritten.
 */
export function retarget(
  workspace: Workspace,
  matrices: readonly Retargeted[],
  moments: Float32Array,
  drift: Float32Array,
  ridge: number,
): void {
  const inputs = Math.sqrt(moments.length);
  // W D: the drift stands where moments do.
  loadMoments(workspace, drift, inputs);
  const products = matrices.map(({ weights, outputs }) => {
    load(workspace, weights, outputs, moments);
    for (let first = 0; first < workspace.rows; first += BLOCK) {
      const count = Math.min(BLOCK, workspace.rows - first);
      multiplyColumns(workspace, workspace.at.moments, first, count, workspace.at.weights, 0, workspace.rows);
      copySums(workspace, first, count);
    }
    return readPanels(workspace, outputs);
  });
  loadMoments(workspace, moments, inputs);
  factor(workspace, ridge);
  matrices.forEach(({ weights, outputs }, m) => {
    load(workspace, products[m], outputs, moments);
    solve(workspace);
    const step = readPanels(workspace, outputs);
    for (let i = 0; i < step.length; i++) weights[i] += step[i];
  });
}

function load(workspace: Workspace, weights: Float32Array, outputs: number, moments: Float32Array): void {
  const { inputs, tileRows } = workspace;
  loadWeights(workspace, { outputs, inputs, tileRows, magnitudeMax: 1, weights, moments });
}

/** Sums of a block's columns into `errors`. */
function copySums(workspace: Workspace, first: number, count: number): void {
  const bytes = new Uint8Array(workspace.numerics.arena.memory.buffer);
  for (let p = 0; p < workspace.panels; p++) {
    const from = sumsAddress(workspace, p);
    const to = workspace.at.errors + p * workspace.rows * ROW_BYTES + first * ROW_BYTES;
    bytes.copyWithin(to, from, from + count * ROW_BYTES);
  }
}

function readPanels(workspace: Workspace, outputs: number): Float32Array {
  const { inputs } = workspace;
  const out = new Float32Array(outputs * inputs);
  for (let n = 0; n < outputs; n++) {
    const panel = panelOf(workspace, workspace.at.errors, Math.floor(n / PANEL_COLUMNS));
    const lane = n % PANEL_COLUMNS;
    for (let j = 0; j < inputs; j++) out[n * inputs + j] = panel[j * PANEL_COLUMNS + lane];
  }
  return out;
}

/** H + ridge = V V^T, V above the diagonal and its transpose below it. */
function factor(workspace: Workspace, ridge: number): void {
  const { numerics, at, rows, inputs } = workspace;
  const square = floats(numerics, at.factor, rows * rows);
  square.set(floats(numerics, at.moments, rows * rows));
  let mean = 0;
  for (let j = 0; j < inputs; j++) mean += square[j * (rows + 1)] / inputs;
  for (let j = 0; j < rows; j++) square[j * (rows + 1)] += ridge * (mean || 1);
  factorUpper(numerics, at.factor, rows, workspace.factorRoom);
  for (let i = 0; i < rows; i++)
    for (let j = i + 1; j < rows; j++) square[j * rows + i] = square[i * rows + j];
  workspace.factored = undefined;
}

/** Z (V V^T) = B for B in `weights`, Z into `errors`: Y V^T = B from the last column, then Z V = Y from the first. */
function solve(workspace: Workspace): void {
  const { numerics, at, rows, panels } = workspace;
  const square = floats(numerics, at.factor, rows * rows);
  const starts = Array.from({ length: Math.ceil(rows / BLOCK) }, (_, b) => b * BLOCK);
  for (const first of starts.toReversed()) {
    const count = Math.min(BLOCK, rows - first);
    multiplyColumns(workspace, at.factor, first, count, at.errors, first + count, rows);
    for (let p = 0; p < panels; p++) {
      const sums = floats(numerics, sumsAddress(workspace, p), count * PANEL_COLUMNS);
      const b = panelOf(workspace, at.weights, p).subarray(first * PANEL_COLUMNS);
      const y = panelOf(workspace, at.errors, p).subarray(first * PANEL_COLUMNS);
      for (let i = count - 1; i >= 0; i--) {
        const row = (first + i) * rows + first;
        for (let n = 0, at = i * PANEL_COLUMNS; n < PANEL_COLUMNS; n++, at++) {
          let sum = b[at] - sums[at];
          for (let k = i + 1; k < count; k++) sum -= y[k * PANEL_COLUMNS + n] * square[row + k];
          y[at] = sum / square[row + i];
        }
      }
    }
  }
  for (const first of starts) {
    const count = Math.min(BLOCK, rows - first);
    multiplyColumns(workspace, at.factor, first, count, at.errors, 0, first);
    for (let p = 0; p < panels; p++) {
      const sums = floats(numerics, sumsAddress(workspace, p), count * PANEL_COLUMNS);
      const z = panelOf(workspace, at.errors, p).subarray(first * PANEL_COLUMNS);
      for (let i = 0; i < count; i++) {
        const row = (first + i) * rows + first;
        for (let n = 0, at = i * PANEL_COLUMNS; n < PANEL_COLUMNS; n++, at++) {
          let sum = z[at] - sums[at];
          for (let k = 0; k < i; k++) sum -= z[k * PANEL_COLUMNS + n] * square[row + k];
          z[at] = sum / square[row + i];
        }
      }
    }
  }
}
