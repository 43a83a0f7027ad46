/**
 * GPTQ with act-order and static scales: codes are chosen one input at a time, and the error of each is made good by
 * the inputs that are still to come (Frantar et al. 2022, arXiv:2210.17323).
 *
 * In the form of Babai's nearest plane (Chen et al. 2025, arXiv:2507.18553), which gives the same codes: with
 * H + damping = V V^T, V upper triangular, the objective is |e V|^2, and (e V)_j depends on e_1 .. e_j only. So, for j
 * in order,
 *
 *   c_j = clip(round((w_j + sum_{i < j} e_i V_ij / V_jj) / s_j)),   e_j = w_j - s_j c_j
 *
 * which is GPTQ's update w_k -= e_j U_jk / U_jj with inv(H) = U^T U, U = V^-1, summed the other way round; the inverse
 * is never formed. Order: by falling H_jj, so that the loudest inputs have the most left to make their error good.
 * Scales are those of the tile that an input lies in, fixed beforehand, so the order needs no tiles to stay together.
 * Damping: 5 % of the mean diagonal (1 % is as good on the text of the statistics and 1.5 % worse on others), ten times
 * more where the matrix is not positive definite to f32.
 */
import { OnefetError } from '../error.ts';
import type { CodingProblem } from './coding.ts';
import { nearestCode, tileCount } from './coding.ts';
import { factorUpper } from './numerics/factor.ts';
import { ROW_BYTES } from './numerics/kernels/multiply.ts';
import { BLOCK, floats, words } from './numerics/numerics.ts';
import {
  formErrors,
  multiplyColumns,
  panelAddress,
  scalesAddress,
  sumsAddress,
  tileOfRow,
  type Workspace,
} from './numerics/workspace.ts';

export const DAMPING = 0.05;
const MOST_DAMPING = 10;

/** Inputs by falling energy; equals keep their order. */
export function actOrder(diagonal: ArrayLike<number>): Int32Array {
  const order = Int32Array.from({ length: diagonal.length }, (_, j) => j);
  return order.sort((a, b) => diagonal[b] - diagonal[a] || a - b);
}

/** V of H[order][order] + damping mean(diag) I, in double precision: the readable definition. */
export function upperFactorReference(
  moments: Float32Array,
  order: Int32Array,
  damping: number,
): Float64Array {
  const { length } = order;
  let mean = 0;
  for (let j = 0; j < length; j++) mean += moments[j * length + j] / length;
  const v = new Float64Array(length * length);
  for (let k = length - 1; k >= 0; k--) {
    for (let i = k; i >= 0; i--) {
      let sum = moments[order[i] * length + order[k]] + (i === k ? damping * mean : 0);
      for (let m = k + 1; m < length; m++) sum -= v[i * length + m] * v[k * length + m];
      v[i * length + k] = i === k ? Math.sqrt(sum) : sum / v[k * length + k];
    }
  }
  return v;
}

/** Codes [N][K] under given scales. */
export function gptqReference(problem: CodingProblem, scales: Float32Array, damping = DAMPING): Int8Array {
  const { outputs, inputs, tileRows, weights, moments, magnitudeMax } = problem;
  const tiles = tileCount(problem);
  const order = actOrder(Float64Array.from({ length: inputs }, (_, j) => moments[j * inputs + j]));
  const v = upperFactorReference(moments, order, damping);
  const codes = new Int8Array(outputs * inputs);
  const errors = new Float64Array(inputs);
  for (let n = 0; n < outputs; n++) {
    for (let j = 0; j < inputs; j++) {
      const row = order[j];
      const scale = scales[n * tiles + Math.floor(row / tileRows)];
      let sum = 0;
      for (let i = 0; i < j; i++) sum += errors[i] * v[i * inputs + j];
      const target = weights[n * inputs + row] + sum / v[j * inputs + j];
      const code = scale > 0 ? nearestCode(target / scale, magnitudeMax) : 0;
      codes[n * inputs + row] = code;
      errors[j] = weights[n * inputs + row] - scale * code;
    }
  }
  return codes;
}

/** Orders the inputs and factors the moments, once for all matrices that share them. */
function factorMoments(workspace: Workspace, damping = DAMPING): void {
  if (workspace.factored !== undefined && workspace.factored >= damping) return;
  const { numerics, at, rows } = workspace;
  const energy = floats(numerics, at.energy, rows);
  const order = actOrder(energy);
  const offsets = words(numerics, at.order, rows);
  const tiles = words(numerics, at.tileOfOrder, rows);
  for (let j = 0; j < rows; j++) {
    offsets[j] = order[j] * ROW_BYTES;
    tiles[j] = tileOfRow(workspace, order[j]) * ROW_BYTES;
  }
  for (let tried = damping; ; tried *= 10) {
    permuteMoments(workspace, order, tried);
    try {
      factorUpper(numerics, at.factor, rows, workspace.factorRoom);
    } catch (error) {
      if (error instanceof OnefetError && error.code === 'NOT_POSITIVE' && tried < MOST_DAMPING) continue;
      throw error;
    }
    workspace.factored = tried;
    break;
  }
}

function permuteMoments(workspace: Workspace, order: Int32Array, damping: number): void {
  const { numerics, at, rows, inputs } = workspace;
  const moments = floats(numerics, at.moments, rows * rows);
  const factor = floats(numerics, at.factor, rows * rows);
  let mean = 0;
  for (let j = 0; j < inputs; j++) mean += moments[j * rows + j] / inputs;
  for (let i = 0; i < rows; i++) {
    const from = order[i] * rows;
    const row = factor.subarray(i * rows, (i + 1) * rows);
    for (let j = 0; j < rows; j++) row[j] = moments[from + order[j]];
    row[i] += damping * (mean || 1);
  }
}

/** Codes the matrix of a workspace under its scales; forms the errors. */
export function gptq(workspace: Workspace, damping = DAMPING): void {
  factorMoments(workspace, damping);
  const { numerics, at, rows, panels } = workspace;
  const { kernels } = numerics;
  const factor = floats(numerics, at.factor, rows * rows);
  const inverse = floats(numerics, at.inverseDiagonal, rows);
  for (let j = 0; j < rows; j++) inverse[j] = 1 / factor[j * rows + j];
  // While this runs, the errors stand in GPTQ's order.
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    multiplyColumns(workspace, at.factor, first, count, at.errors, 0, first);
    loadCoupling(workspace, factor, first, count);
    for (let p = 0; p < panels; p++) {
      const index = at.order + 4 * first;
      kernels.gather(panelAddress(workspace, at.weights, p), index, at.base, count);
      kernels.sweep(
        at.base,
        sumsAddress(workspace, p),
        panelAddress(workspace, at.errors, p) + first * ROW_BYTES,
        at.moved,
        at.coupling,
        at.inverseDiagonal + 4 * first,
        at.tileOfOrder + 4 * first,
        scalesAddress(workspace, at.scales, p),
        scalesAddress(workspace, at.inverses, p),
        at.limit,
        count,
      );
      kernels.scatter(at.moved, index, panelAddress(workspace, at.codes, p), count);
    }
  }
  formErrors(workspace);
}

/** coupling[j][i] = square[first + i][first + j] for i < j, zero elsewhere. */
export function loadCoupling(workspace: Workspace, square: Float32Array, first: number, count: number): void {
  const { numerics, at, rows } = workspace;
  const coupling = floats(numerics, at.coupling, count * count);
  coupling.fill(0);
  for (let j = 0; j < count; j++) {
    for (let i = 0; i < j; i++) coupling[j * count + i] = square[(first + i) * rows + first + j];
  }
}
