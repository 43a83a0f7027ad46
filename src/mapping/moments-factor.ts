/**
 * Second moments in short, for what is fitted to a chip after it is made: the R loudest directions and what is left of the
 * diagonal,
 *
 *   H ~ F^T F + diag(d),   F [R][K] = sqrt(lambda_r) v_r,   d_j = max(0, H_jj - sum_r F_rj^2)
 *
 * (R + 1) K numbers in place of K^2. The diagonal, and so the error of cells that are off independently, is exact.
 */
import { gaussian, streamKey } from '../random.ts';
import { largestEigen } from '../small-matrices.ts';
import { applyMoments } from './numerics/operators.ts';
import type { Workspace } from './numerics/workspace.ts';

/** R. With 64 a side path of rank 16 leaves 1 to 6 % more error than with all of H, with 128 up to 3 % (SmolLM2, block 15). */
export const MOMENTS_RANK = 128;

/** Of the subspace: half as many vectors to spare as directions, so the directions that count are there after a few. */
const ITERATIONS = 6;

/** [R + 1][K] of the moments [K][K] that are loaded in the workspace. */
export function momentsFactor(
  workspace: Workspace,
  moments: Float32Array,
  rank = MOMENTS_RANK,
): Float32Array {
  const { inputs } = workspace;
  const used = Math.min(rank, inputs);
  const key = streamKey(inputs, used, 2);
  const apply = (x: Float64Array, y: Float64Array, count: number): void =>
    applyMoments(workspace, x, y, count);
  const { values, vectors } = largestEigen(apply, inputs, used, (i) => gaussian(key, i), ITERATIONS);
  const factor = new Float32Array((used + 1) * inputs);
  const rest = Float64Array.from({ length: inputs }, (_, j) => moments[j * (inputs + 1)]);
  for (let r = 0; r < used; r++) {
    const size = Math.sqrt(Math.max(0, values[r]));
    for (let j = 0; j < inputs; j++) {
      const x = size * vectors[r * inputs + j];
      factor[r * inputs + j] = x;
      rest[j] -= x * x;
    }
  }
  for (let j = 0; j < inputs; j++) factor[used * inputs + j] = Math.max(0, rest[j]);
  return factor;
}

/** H [K][K] of a factor [R + 1][K]. */
export function momentsOf(factor: Float32Array, inputs: number): Float32Array {
  const rank = factor.length / inputs - 1;
  const moments = new Float32Array(inputs * inputs);
  for (let r = 0; r < rank; r++) {
    const row = factor.subarray(r * inputs, (r + 1) * inputs);
    for (let i = 0; i < inputs; i++) {
      const x = row[i];
      if (x === 0) continue;
      for (let j = 0, at = i * inputs; j < inputs; j++, at++) moments[at] += x * row[j];
    }
  }
  for (let j = 0; j < inputs; j++) moments[j * (inputs + 1)] += factor[rank * inputs + j];
  return moments;
}
