/**
 * Operators on up to 16 vectors at once, for the eigenvectors of side paths: neither needs a matrix beyond what a workspace
 * holds.
 *
 *   errors    y = E H E^T x, E [N][K] the workspace's errors, H its moments: 2 K (2 N + K) products a vector
 *   moments   y = H x
 */
import { BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES } from './kernels/multiply.ts';
import { BLOCK, DEPTH, floats } from './numerics.ts';
import { panelAddress, sumsAddress, type Workspace } from './workspace.ts';

/** Blocks of 6 that cover 16 vectors; two of their 18 rows are not used. */
const VECTOR_BLOCKS = Math.ceil(PANEL_COLUMNS / BLOCK_ROWS);

/** y = E H E^T x for `count` rows of x and y [count][N]; the errors must be formed. */
export function applyErrors(workspace: Workspace, x: Float64Array, y: Float64Array, count: number): void {
  const [first, second] = vectorPlaces(workspace);
  for (let start = 0; start < count; start += PANEL_COLUMNS) {
    const vectors = Math.min(PANEL_COLUMNS, count - start);
    transposedErrorsTimes(workspace, x, start, vectors, first);
    momentsTimes(workspace, first, second);
    errorsTimes(workspace, second, y, start, vectors);
  }
}

/** y = H x for `count` rows of x and y [count][K]. */
export function applyMoments(workspace: Workspace, x: Float64Array, y: Float64Array, count: number): void {
  const { numerics, inputs, rows } = workspace;
  const [first, second] = vectorPlaces(workspace);
  const [from, to] = [first, second].map((at) => floats(numerics, at, rows * PANEL_COLUMNS));
  for (let start = 0; start < count; start += PANEL_COLUMNS) {
    const vectors = Math.min(PANEL_COLUMNS, count - start);
    from.fill(0);
    for (let c = 0; c < vectors; c++) {
      for (let j = 0; j < inputs; j++) from[j * PANEL_COLUMNS + c] = x[(start + c) * inputs + j];
    }
    momentsTimes(workspace, first, second);
    for (let c = 0; c < vectors; c++) {
      for (let j = 0; j < inputs; j++) y[(start + c) * inputs + j] = to[j * PANEL_COLUMNS + c];
    }
  }
}

/** Two sets of 16 vectors [rows][16], with a row to spare behind each. */
const vectorPlaces = ({ at, rows }: Workspace): [number, number] => [
  at.vectors,
  at.vectors + (rows + 1) * ROW_BYTES,
];

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
