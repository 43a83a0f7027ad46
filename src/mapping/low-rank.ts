/**
 * A low-rank side path in SRAM, y += B (A (a - mu)), for what the codes leave: of all matrices of rank r, B A is nearest
 * to E = W - W^ in the norm of the inputs,
 *
 *   minimise tr((E - B A) H (E - B A)^T)
 *   B = U_r, the r leading eigenvectors of E H E^T;   A = U_r^T E
 *
 * for with H = L L^T the singular vectors of E L are those eigenvectors, and A L = U_r^T E L is met by A = U_r^T E
 * without any inverse (as in LQER, Zhang et al. 2024, arXiv:2402.02446). The error falls by the r leading eigenvalues.
 */
import { gaussian, streamKey } from '../random.ts';
import { dot, type Eigen, largestEigen, symmetricEigen } from '../small-matrices.ts';
import { PANEL_COLUMNS } from './numerics/kernels/multiply.ts';
import { applyErrors } from './numerics/operators.ts';
import { panelOf, type Workspace } from './numerics/workspace.ts';

export interface SidePath {
  readonly rank: number;
  /** B [N][rank]. */
  readonly up: Float32Array;
  /** A [rank][K]. */
  readonly down: Float32Array;
}

/** Both paths as one: y += B1 A1 x + B2 A2 x. */
export function joinPaths(first: SidePath, second: SidePath | undefined): SidePath {
  if (!second) return first;
  const rank = first.rank + second.rank;
  const outputs = first.up.length / first.rank;
  const up = new Float32Array(outputs * rank);
  for (let n = 0; n < outputs; n++) {
    up.set(first.up.subarray(n * first.rank, (n + 1) * first.rank), n * rank);
    up.set(second.up.subarray(n * second.rank, (n + 1) * second.rank), n * rank + first.rank);
  }
  const down = new Float32Array(first.down.length + second.down.length);
  down.set(first.down);
  down.set(second.down, first.down.length);
  return { rank, up, down };
}

/** From E [N][K] and H [K][K]: the readable definition. */
export function lowRankReference(
  error: Float32Array,
  moments: Float32Array,
  outputs: number,
  rank: number,
): SidePath {
  const inputs = error.length / outputs;
  const gram = new Float64Array(outputs * outputs); // E H E^T
  for (let m = 0; m < outputs; m++) {
    const product = Float64Array.from({ length: inputs }, (_, i) =>
      dot(moments.subarray(i * inputs, (i + 1) * inputs), error.subarray(m * inputs, (m + 1) * inputs)),
    );
    for (let n = 0; n < outputs; n++) {
      gram[n * outputs + m] = dot(error.subarray(n * inputs, (n + 1) * inputs), product);
    }
  }
  return sidePath(error, symmetricEigen(gram, outputs), outputs, rank);
}

function sidePath(error: Float32Array, eigen: Eigen, outputs: number, rank: number): SidePath {
  const inputs = error.length / outputs;
  const up = new Float32Array(outputs * rank);
  const down = new Float32Array(rank * inputs);
  const sum = new Float64Array(inputs);
  for (let r = 0; r < rank; r++) {
    sum.fill(0);
    for (let n = 0; n < outputs; n++) {
      const u = eigen.vectors[r * outputs + n];
      up[n * rank + r] = u;
      for (let j = 0; j < inputs; j++) sum[j] += u * error[n * inputs + j];
    }
    down.set(sum, r * inputs);
  }
  return { rank, up, down };
}

/** The side path of a workspace's errors (which must be formed), and the eigenvalues it takes away. */
export function lowRank(workspace: Workspace, rank: number): { path: SidePath; removed: Float64Array } {
  const { outputs, inputs } = workspace;
  const used = Math.min(rank, outputs);
  const key = streamKey(outputs, inputs, rank);
  const apply = (x: Float64Array, y: Float64Array, count: number): void =>
    applyErrors(workspace, x, y, count);
  const eigen = largestEigen(apply, outputs, used, (i) => gaussian(key, i));
  return { path: sidePath(readErrors(workspace), eigen, outputs, used), removed: eigen.values };
}

/** E [N][K]. */
export function readErrors(workspace: Workspace): Float32Array {
  const { outputs, inputs } = workspace;
  const error = new Float32Array(outputs * inputs);
  for (let n = 0; n < outputs; n++) {
    const panel = panelOf(workspace, workspace.at.errors, Math.floor(n / PANEL_COLUMNS));
    const lane = n % PANEL_COLUMNS;
    for (let j = 0; j < inputs; j++) error[n * inputs + j] = panel[j * PANEL_COLUMNS + lane];
  }
  return error;
}
