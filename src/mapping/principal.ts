/**
 * The principal part of the input in the digital path: with V the r leading eigenvectors of H_c,
 *
 *   z = V^T (a - mu),   y = W^ (a - mu - V z) + (W V) z + W mu
 *
 * The rows see what is left, H' = (I - V V^T) H_c (I - V V^T), so every error that scales with the input's energy falls,
 * that of mismatched cells included, without any measurement of the chip (as SVDQuant moves outliers to a digital branch,
 * Li et al. 2024, arXiv:2411.05007, but on the side of the inputs). The side path has rank r: r (2 K + N) products.
 */
import { gaussian, streamKey } from '../random.ts';
import { largestEigen } from '../small-matrices.ts';
import type { SidePath } from './low-rank.ts';
import { applyMoments } from './numerics/operators.ts';
import { loadMoments, type Workspace } from './numerics/workspace.ts';
import type { InputStatistics } from './statistics.ts';

export interface PrincipalPart {
  readonly rank: number;
  /** V^T [rank][K], orthonormal rows. */
  readonly directions: Float32Array;
  /** Energy of each, falling. */
  readonly energies: Float64Array;
}

/** The `rank` directions in which the inputs vary most; the workspace's moments become theirs. */
export function principalPart(
  workspace: Workspace,
  statistics: InputStatistics,
  rank: number,
): PrincipalPart {
  const { inputs, moments } = statistics;
  const used = Math.min(rank, inputs);
  const key = streamKey(inputs, used);
  loadMoments(workspace, moments, inputs);
  const apply = (x: Float64Array, y: Float64Array, count: number): void =>
    applyMoments(workspace, x, y, count);
  const eigen = largestEigen(apply, inputs, used, (i) => gaussian(key, i));
  return { rank: used, directions: Float32Array.from(eigen.vectors), energies: eigen.values };
}

/** Statistics of what is left for the rows: a - mu - V V^T (a - mu), with the mean as it was. */
export function withoutPrincipal(statistics: InputStatistics, part: PrincipalPart): InputStatistics {
  const { inputs, tokens, mean } = statistics;
  const { rank, directions } = part;
  const moments = new Float32Array(statistics.moments);
  for (let r = 0; r < rank; r++) {
    const v = directions.subarray(r * inputs, (r + 1) * inputs);
    // One direction after the other: H <- H - v (v H) - (H v) v + v (v H v) v.
    const hv = new Float64Array(inputs);
    for (let i = 0; i < inputs; i++) {
      let sum = 0;
      for (let j = 0; j < inputs; j++) sum += moments[i * inputs + j] * v[j];
      hv[i] = sum;
    }
    let energy = 0;
    for (let i = 0; i < inputs; i++) energy += v[i] * hv[i];
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < inputs; j++) {
        moments[i * inputs + j] += energy * v[i] * v[j] - v[i] * hv[j] - hv[i] * v[j];
      }
    }
  }
  return { inputs, tokens, mean, moments, sample: removeFromRows(statistics, part) };
}

/** a - V V^T (a - mu) of the sample's tokens. */
function removeFromRows({ inputs, mean, sample }: InputStatistics, part: PrincipalPart): Float32Array {
  const rows = sample.slice();
  for (let start = 0; start < rows.length; start += inputs) {
    for (let r = 0; r < part.rank; r++) {
      const v = part.directions.subarray(r * inputs, (r + 1) * inputs);
      let share = 0;
      for (let j = 0; j < inputs; j++) share += v[j] * (rows[start + j] - mean[j]);
      for (let j = 0; j < inputs; j++) rows[start + j] -= share * v[j];
    }
  }
  return rows;
}

/** The digital branch of a matrix W [N][K]: A = V^T, B = W V. */
export function principalPath(weights: Float32Array, outputs: number, part: PrincipalPart): SidePath {
  const { rank, directions } = part;
  const inputs = directions.length / rank;
  const up = new Float32Array(outputs * rank);
  for (let n = 0; n < outputs; n++) {
    for (let r = 0; r < rank; r++) {
      let sum = 0;
      for (let j = 0; j < inputs; j++) sum += weights[n * inputs + j] * directions[r * inputs + j];
      up[n * rank + r] = sum;
    }
  }
  return { rank, up, down: directions };
}
