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
import { BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES } from './numerics/kernels/multiply.ts';
import { BLOCK, floats } from './numerics/numerics.ts';
import { multiplyColumns, panelAddress, panelOf, sumsAddress, type Workspace } from './numerics/workspace.ts';
import { type Eigen, largestEigen, symmetricEigen } from './small.ts';

export interface SidePath {
  readonly rank: number;
  /** B [N][rank]. */
  readonly up: Float32Array;
  /** A [rank][K]. */
  readonly down: Float32Array;
}

/** From E [N][K] and G = E H E^T [N][N]: the readable definition. */
export function lowRankReference(
  error: Float32Array,
  gram: Float64Array,
  outputs: number,
  rank: number,
): SidePath {
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
  const error = readErrors(workspace);
  const gram = gramOfErrors(workspace);
  const used = Math.min(rank, outputs);
  const key = streamKey(outputs, inputs, rank);
  const apply = (x: Float64Array, y: Float64Array, count: number): void => {
    for (let i = 0; i < count; i++) {
      for (let n = 0; n < outputs; n++) {
        let sum = 0;
        for (let k = 0; k < outputs; k++) sum += gram[n * outputs + k] * x[i * outputs + k];
        y[i * outputs + n] = sum;
      }
    }
  };
  const eigen = largestEigen(apply, outputs, used, (i) => gaussian(key, i));
  return { path: sidePath(error, eigen, outputs, used), removed: eigen.values };
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

/** Blocks of 6 that cover a panel's 16 outputs; two of their 18 rows are not used. */
const PANEL_BLOCKS = Math.ceil(PANEL_COLUMNS / BLOCK_ROWS);

/** E H E^T [N][N]: costs as much as a sweep of descent, N K (K + N / 2) products. */
function gramOfErrors(workspace: Workspace): Float32Array {
  const { numerics, at, rows, panels, outputs } = workspace;
  const { kernels } = numerics;
  const gram = new Float32Array(outputs * outputs);
  const product = floats(numerics, at.change, PANEL_COLUMNS * PANEL_COLUMNS);
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    multiplyColumns(workspace, at.moments, first, count, at.errors, 0, rows);
    for (let p = 0; p < panels; p++) {
      for (let b = 0; b < PANEL_BLOCKS; b++) {
        const from = sumsAddress(workspace, p) + 4 * b * BLOCK_ROWS;
        kernels.pack_block(from, at.packed + 4 * b * BLOCK_ROWS * count, count, ROW_BYTES);
      }
      for (let q = 0; q <= p; q++) {
        const errors = panelAddress(workspace, at.errors, q) + first * ROW_BYTES;
        kernels.multiply_set(at.packed, errors, at.change, PANEL_BLOCKS, count, ROW_BYTES);
        addProduct(gram, outputs, product, p * PANEL_COLUMNS, q * PANEL_COLUMNS);
      }
    }
  }
  for (let n = 0; n < outputs; n++) {
    for (let m = n + 1; m < outputs; m++) gram[n * outputs + m] = gram[m * outputs + n];
  }
  return gram;
}

function addProduct(
  gram: Float32Array,
  outputs: number,
  product: Float32Array,
  row: number,
  column: number,
): void {
  for (let i = 0; i < Math.min(PANEL_COLUMNS, outputs - row); i++) {
    for (let k = 0; k < Math.min(PANEL_COLUMNS, outputs - column); k++) {
      gram[(row + i) * outputs + column + k] += product[i * PANEL_COLUMNS + k];
    }
  }
}
