/**
 * The errors' operator y = E H E^T x on up to 16 vectors at once, E [N][K] the errors of a workspace and H its moments: what
 * the side path's eigenvectors need, at 2 K (2 N + K) products a vector, without the N x N matrix itself.
 */
import { BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES } from './kernels/multiply.ts';
import { BLOCK, DEPTH, floats } from './numerics.ts';
import { panelAddress, sumsAddress, type Workspace } from './workspace.ts';

/** Blocks of 6 that cover 16 vectors; two of their 18 rows are not used. */
const VECTOR_BLOCKS = Math.ceil(PANEL_COLUMNS / BLOCK_ROWS);

/** y = E H E^T x for `count` rows of x and y [count][N]; the errors must be formed. */
export function applyErrorGram(workspace: Workspace, x: Float64Array, y: Float64Array, count: number): void {
  const { at, rows } = workspace;
  const first = at.vectors;
  const second = first + (rows + 1) * ROW_BYTES;
  for (let start = 0; start < count; start += PANEL_COLUMNS) {
    const vectors = Math.min(PANEL_COLUMNS, count - start);
    transposedErrorsTimes(workspace, x, start, vectors, first);
    momentsTimes(workspace, first, second);
    errorsTimes(workspace, second, y, start, vectors);
  }
}

/** to[j][c] = sum_n E[n][j] x[start + c][n]. */
function transposedErrorsTimes(
  workspace: Workspace,
  x: Float64Array,
  start: number,
  vectors: number,
  to: number,
): void {
  const { numerics, at, rows, panels, outputs } = workspace;
  const { kernels } = numerics;
  floats(numerics, to, rows * PANEL_COLUMNS).fill(0);
  const lanes = floats(numerics, at.base, PANEL_COLUMNS * PANEL_COLUMNS); // [16 outputs][16 vectors]
  for (let p = 0; p < panels; p++) {
    lanes.fill(0);
    for (let n = 0; n < Math.min(PANEL_COLUMNS, outputs - p * PANEL_COLUMNS); n++) {
      for (let c = 0; c < vectors; c++) {
        lanes[n * PANEL_COLUMNS + c] = x[(start + c) * outputs + p * PANEL_COLUMNS + n];
      }
    }
    for (let first = 0; first < rows; first += BLOCK) {
      const count = Math.min(BLOCK, rows - first);
      const errors = panelAddress(workspace, at.errors, p) + first * ROW_BYTES;
      for (let i = 0; i < count; i += BLOCK_ROWS) {
        kernels.pack_block_rows(
          errors + i * ROW_BYTES,
          at.packed + 4 * i * PANEL_COLUMNS,
          PANEL_COLUMNS,
          ROW_BYTES,
        );
      }
      const out = to + first * ROW_BYTES;
      kernels.multiply_add(at.packed, at.base, out, count / BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES);
    }
  }
}

/** to[i][c] = sum_j H[j][i] from[j][c]. */
function momentsTimes({ numerics, at, rows }: Workspace, from: number, to: number): void {
  const { kernels } = numerics;
  for (let first = 0; first < rows; first += BLOCK) {
    const count = Math.min(BLOCK, rows - first);
    for (let start = 0; start < rows; start += DEPTH) {
      const depth = Math.min(DEPTH, rows - start);
      const columns = at.moments + 4 * (start * rows + first);
      kernels.pack_blocks(columns, at.packed, depth, 4 * rows, count / BLOCK_ROWS);
      const multiply = start === 0 ? kernels.multiply_set : kernels.multiply_add;
      const vectors = from + start * ROW_BYTES;
      multiply(at.packed, vectors, to + first * ROW_BYTES, count / BLOCK_ROWS, depth, ROW_BYTES);
    }
  }
}

/** y[start + c][n] = sum_j from[j][c] E[n][j]. */
function errorsTimes(
  workspace: Workspace,
  from: number,
  y: Float64Array,
  start: number,
  vectors: number,
): void {
  const { numerics, at, rows, panels, outputs } = workspace;
  const { kernels } = numerics;
  for (let chunk = 0; chunk < rows; chunk += DEPTH) {
    const depth = Math.min(DEPTH, rows - chunk);
    kernels.pack_blocks(from + chunk * ROW_BYTES, at.packed, depth, ROW_BYTES, VECTOR_BLOCKS);
    const multiply = chunk === 0 ? kernels.multiply_set : kernels.multiply_add;
    for (let p = 0; p < panels; p++) {
      const errors = panelAddress(workspace, at.errors, p) + chunk * ROW_BYTES;
      multiply(at.packed, errors, sumsAddress(workspace, p), VECTOR_BLOCKS, depth, ROW_BYTES);
    }
  }
  for (let p = 0; p < panels; p++) {
    const found = floats(numerics, sumsAddress(workspace, p), vectors * PANEL_COLUMNS);
    for (let n = 0; n < Math.min(PANEL_COLUMNS, outputs - p * PANEL_COLUMNS); n++) {
      for (let c = 0; c < vectors; c++) {
        y[(start + c) * outputs + p * PANEL_COLUMNS + n] = found[c * PANEL_COLUMNS + n];
      }
    }
  }
}
