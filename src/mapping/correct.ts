/**
 * Per-chip correction, as a tester can do it: the weights that a chip really has are read through its own converters
 * (one row at a time), and the digital part is fitted to them.
 *
 *   gains      s_nt -> the joint refit of refit.ts with the read cells x in place of codes
 *   residual   rank r of W - s x in the norm of the inputs (low-rank.ts), in the side path's SRAM
 *
 * Both are closed forms in the statistics that the mapping had; no forward pass on the chip is needed.
 */

import { weightFormat } from '../tile/weight-code.ts';
import { lowRank, type SidePath } from './low-rank.ts';
import type { MappedMatrix } from './map-matrix.ts';
import { PANEL_COLUMNS } from './numerics/kernels/multiply.ts';
import {
  energies,
  formErrors,
  loadWeights,
  panelOf,
  readScales,
  type Workspace,
  writeCoding,
} from './numerics/workspace.ts';
import { refit } from './refit.ts';

export interface ChipCorrection {
  /** New digital scales [N][tiles]. */
  readonly scales: Float32Array;
  readonly side: SidePath | undefined;
  /** Relative output error with the chip's weights as they are, with the gains, and with the side path. */
  readonly errors: { readonly raw: number; readonly gains: number; readonly side: number };
}

/** What a matrix should be, and what the rows code: in the rows' basis, as prepare.ts makes them. */
export interface CorrectionTarget {
  /** W [N][K]. */
  readonly weights: Float32Array;
  /** Second moments [K][K] of what the rows code. */
  readonly moments: Float32Array;
}

/**
 * Fits the digital part to `read` [N][K]: the chip's weights in units of codes (x = code times gain of its cells). The
 * target's moments must be loaded in the workspace. The side path takes the place of the mapping's own.
 */
export function correctChip(
  workspace: Workspace,
  { weights, moments }: CorrectionTarget,
  mapped: MappedMatrix,
  read: Float32Array,
  rank: number,
): ChipCorrection {
  const { outputs, inputs, tileRows, bits } = mapped;
  const { magnitudeMax } = weightFormat(bits);
  loadWeights(workspace, { outputs, inputs, tileRows, magnitudeMax, weights, moments });
  writeCoding(workspace, mapped);
  for (let n = 0; n < outputs; n++) {
    const panel = panelOf(workspace, workspace.at.codes, Math.floor(n / PANEL_COLUMNS));
    const lane = n % PANEL_COLUMNS;
    for (let j = 0; j < inputs; j++) panel[j * PANEL_COLUMNS + lane] = read[n * inputs + j];
  }
  const total = (source: number): number => energies(workspace, source).reduce((sum, x) => sum + x, 0);
  const signal = total(workspace.at.weights) || 1;
  formErrors(workspace);
  const raw = total(workspace.at.errors) / signal;
  refit(workspace);
  const gains = total(workspace.at.errors) / signal;
  const scales = readScales(workspace);
  const side = rank > 0 ? lowRank(workspace, rank) : undefined;
  const removed = side ? side.removed.reduce((sum, x) => sum + x, 0) / signal : 0;
  return { scales, side: side?.path, errors: { raw, gains, side: gains - removed } };
}
