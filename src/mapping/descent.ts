/**
 * Coordinate descent on the codes (QuantEase, Behdin et al. 2023, arXiv:2309.01885): with e = w - s c, each code in turn
 * becomes the best one while all others stay,
 *
 *   c_j <- clip(round((s c_j + (e H)_j / H_jj) / s)),
 *
 * so the objective e H e^T never rises, and the sweep may be stopped anywhere. Blocked as GPTQ is: e H of a block's
 * inputs is one product, and inside the block changes are carried along one by one.
 */
import type { Coding, CodingProblem } from './coding.ts';
import { codingErrorRow, nearestCode, tileCount } from './coding.ts';
import { loadCoupling } from './gptq.ts';
import { ROW_BYTES } from './numerics/kernels/multiply.ts';
import { BLOCK, floats } from './numerics/numerics.ts';
import {
  multiplyColumns,
  panelAddress,
  scalesAddress,
  sumsAddress,
  type Workspace,
} from './numerics/workspace.ts';

/** Codes [N][K] after one sweep: the readable definition. `noise` moves the target of an output and input, in steps. */
export function descendReference(
  problem: CodingProblem,
  coding: Coding,
  noise: (output: number, input: number) => number = () => 0,
): Int8Array {
  const { outputs, inputs, tileRows, moments, magnitudeMax } = problem;
  const tiles = tileCount(problem);
  const codes = new Int8Array(coding.codes);
  const error = new Float64Array(inputs);
  for (let n = 0; n < outputs; n++) {
    codingErrorRow(problem, { codes, scales: coding.scales }, n, error);
    for (let j = 0; j < inputs; j++) {
      const scale = coding.scales[n * tiles + Math.floor(j / tileRows)];
      const energy = moments[j * inputs + j];
      if (!(scale > 0) || !(energy > 0)) continue;
      let gradient = 0;
      for (let i = 0; i < inputs; i++) gradient += error[i] * moments[i * inputs + j];
      const before = codes[n * inputs + j];
      const after = nearestCode(before + gradient / (energy * scale) + noise(n, j), magnitudeMax);
      codes[n * inputs + j] = after;
      error[j] += scale * (before - after);
    }
  }
  return codes;
}

/**
 * One sweep over the matrix of a workspace; its errors must be formed, and stay so. `disturb` may change the sums e H of a
 * panel's block of rows before its codes are chosen.
 */
export function descend(
  workspace: Workspace,
  disturb?: (panel: number, first: number, count: number) => void,
): void {
  const { numerics, at, rows, panels } = workspace;
  const { kernels } = numerics;
  const moments = floats(numerics, at.moments, rows * rows);
  const inverse = floats(numerics, at.inverseDiagonal, rows);
  for (let j = 0; j < rows; j++) {
    const energy = moments[j * rows + j];
    inverse[j] = energy > 0 ? 1 / energy : 0;
  }
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    multiplyColumns(workspace, at.moments, first, count, at.errors, 0, rows);
    loadCoupling(workspace, moments, first, count);
    for (let p = 0; p < panels; p++) {
      disturb?.(p, first, count);
      const offset = first * ROW_BYTES;
      const errors = panelAddress(workspace, at.errors, p) + offset;
      // s c = w - e
      kernels.difference(panelAddress(workspace, at.weights, p) + offset, errors, at.base, count);
      kernels.sweep(
        at.base,
        sumsAddress(workspace, p),
        at.change,
        panelAddress(workspace, at.codes, p) + offset,
        at.coupling,
        at.inverseDiagonal + 4 * first,
        at.tileOf + 4 * first,
        scalesAddress(workspace, at.scales, p),
        scalesAddress(workspace, at.inverses, p),
        at.limit,
        count,
      );
      kernels.accumulate(errors, at.change, count);
    }
  }
}
