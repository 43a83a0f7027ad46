/**
 * Rounding to the nearest code under given scales: c = clip(round(w / s), +-magnitudeMax). What every other method is
 * compared with.
 */
import type { CodingProblem } from './coding.ts';
import { nearestCode, tileCount } from './coding.ts';
import { PANEL_COLUMNS } from './numerics/kernels/multiply.ts';
import { floats } from './numerics/numerics.ts';
import { formErrors, panelOf, scalesAddress, tileOfRow, type Workspace } from './numerics/workspace.ts';

/** Codes [N][K]. */
export function roundReference(problem: CodingProblem, scales: Float32Array): Int8Array {
  const { outputs, inputs, tileRows, weights, magnitudeMax } = problem;
  const tiles = tileCount(problem);
  const codes = new Int8Array(outputs * inputs);
  for (let n = 0; n < outputs; n++) {
    for (let j = 0; j < inputs; j++) {
      const scale = scales[n * tiles + Math.floor(j / tileRows)];
      codes[n * inputs + j] = scale > 0 ? nearestCode(weights[n * inputs + j] / scale, magnitudeMax) : 0;
    }
  }
  return codes;
}

/** The same for the matrix of a workspace; forms the errors. */
export function round(workspace: Workspace): void {
  const { numerics, at, rows, tiles, magnitudeMax } = workspace;
  for (let p = 0; p < workspace.panels; p++) {
    const weights = panelOf(workspace, at.weights, p);
    const codes = panelOf(workspace, at.codes, p);
    const inverses = floats(numerics, scalesAddress(workspace, at.inverses, p), tiles * PANEL_COLUMNS);
    for (let j = 0, i = 0; j < rows; j++) {
      const tile = tileOfRow(workspace, j) * PANEL_COLUMNS;
      for (let n = 0; n < PANEL_COLUMNS; n++, i++) {
        codes[i] = nearestCode(weights[i] * inverses[tile + n], magnitudeMax);
      }
    }
  }
  formErrors(workspace);
}
