/**
 * The upper factor of a second-moment matrix, in place and blocked from the last block to the first:
 *
 *   H = V V^T,  V upper triangular with a positive diagonal
 *   block J:  V_JJ V_JJ^T = H_JJ,   V_IJ = H_IJ V_JJ^-T for the rows I before J,   H_II -= V_IJ V_IJ^T
 *
 * This is Cholesky's method from the other end (Golub & Van Loan 2013, section 4.2, with rows and columns reversed).
 * Then inv(H) = U^T U with U = V^-1, the factor that GPTQ is usually written with; V itself serves as well and needs no
 * inverse (see gptq.ts).
 */
import { OnefetError } from '../../error.ts';
import { BLOCK_ROWS, PANEL_COLUMNS } from './kernels/multiply.ts';
import { floats, type Numerics, room } from './numerics.ts';

/** Rows of a diagonal block: the deeper, the fewer times the rest is read and written; a multiple of 48. */
const STEP = 192;

/** Rows of the left operand that are packed at a time. */
const CHUNK = 192;

export interface FactorRoom {
  readonly block: number;
  readonly panels: number;
  readonly inverse: number;
}

/** Elements of `factorRoom`. */
export const factorElements = (rows: number): number => (CHUNK + rows + STEP) * STEP;

/** Scratch memory of `factorUpper` for matrices of up to `rows` (padded) rows. */
export function factorRoom(numerics: Numerics, rows: number): FactorRoom {
  return {
    block: room(numerics, CHUNK * STEP, 'the factorisation'),
    panels: room(numerics, rows * STEP, 'the factorisation'),
    inverse: room(numerics, STEP * STEP, 'the factorisation'),
  };
}

/**
 * Overwrites the upper triangle of the square [rows][rows] at `at` with V; the rest is left undefined. Throws
 * OnefetError('internal', 'NOT_POSITIVE') where the matrix is not positive definite to the precision of f32.
 */
export function factorUpper(numerics: Numerics, at: number, rows: number, scratch: FactorRoom): void {
  const matrix = floats(numerics, at, rows * rows);
  for (let end = rows; end > 0; ) {
    const start = Math.max(0, end - STEP);
    const inverse = factorDiagonal(matrix, rows, start, end);
    if (start > 0) {
      solvePanel(numerics, at, rows, start, end, inverse, scratch);
      updateLeading(numerics, at, rows, start, end, scratch);
    }
    end = start;
  }
}

/** V_JJ in place, in double precision; returns its inverse [size][size], upper. */
function factorDiagonal(matrix: Float32Array, rows: number, start: number, end: number): Float64Array {
  const size = end - start;
  const v = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let k = i; k < size; k++) v[i * size + k] = matrix[(start + i) * rows + start + k];
  }
  for (let k = size - 1; k >= 0; k--) {
    for (let i = k; i >= 0; i--) {
      let sum = v[i * size + k];
      for (let m = k + 1; m < size; m++) sum -= v[i * size + m] * v[k * size + m];
      if (i === k) {
        if (!(sum > 0) || !Number.isFinite(sum)) {
          throw new OnefetError(
            'internal',
            'NOT_POSITIVE',
            `pivot ${start + k} of ${rows} is ${sum}: the matrix is not positive definite`,
          );
        }
        v[k * size + k] = Math.sqrt(sum);
      } else v[i * size + k] = sum / v[k * size + k];
    }
  }
  for (let i = 0; i < size; i++) {
    for (let k = i; k < size; k++) matrix[(start + i) * rows + start + k] = v[i * size + k];
  }
  const inverse = new Float64Array(size * size);
  for (let k = 0; k < size; k++) {
    inverse[k * size + k] = 1 / v[k * size + k];
    for (let i = k - 1; i >= 0; i--) {
      let sum = 0;
      for (let m = i + 1; m <= k; m++) sum += v[i * size + m] * inverse[m * size + k];
      inverse[i * size + k] = -sum / v[i * size + i];
    }
  }
  return inverse;
}

/** V_IJ = H_IJ V_JJ^-T: in the panels' terms, X[i][c] = sum_k H[i][k] inverse[c][k]. */
function solvePanel(
  numerics: Numerics,
  at: number,
  rows: number,
  start: number,
  end: number,
  inverse: Float64Array,
  scratch: FactorRoom,
): void {
  const { kernels } = numerics;
  const size = end - start;
  // panels [size / 16][k][16]
  const packed = floats(numerics, scratch.inverse, STEP * STEP);
  for (let p = 0; p < size / PANEL_COLUMNS; p++) {
    for (let k = 0; k < size; k++) {
      for (let n = 0; n < PANEL_COLUMNS; n++) {
        packed[(p * size + k) * PANEL_COLUMNS + n] = inverse[(p * PANEL_COLUMNS + n) * size + k];
      }
    }
  }
  const stride = 4 * rows;
  for (let first = 0; first < start; first += CHUNK) {
    const count = Math.min(CHUNK, start - first);
    packBlockRows(numerics, at + first * stride + 4 * start, scratch.block, count, size, stride);
    for (let p = 0; p < size / PANEL_COLUMNS; p++) {
      const target = at + first * stride + 4 * (start + p * PANEL_COLUMNS);
      const panel = scratch.inverse + 4 * p * size * PANEL_COLUMNS;
      kernels.multiply_set(scratch.block, panel, target, count / BLOCK_ROWS, size, stride);
    }
  }
}

/** H_II -= V_IJ V_IJ^T in the upper triangle. */
function updateLeading(
  numerics: Numerics,
  at: number,
  rows: number,
  start: number,
  end: number,
  scratch: FactorRoom,
): void {
  const { kernels } = numerics;
  const size = end - start;
  const stride = 4 * rows;
  const panelBytes = 4 * size * PANEL_COLUMNS;
  for (let p = 0; p < start / PANEL_COLUMNS; p++) {
    kernels.pack_panel_rows(
      at + p * PANEL_COLUMNS * stride + 4 * start,
      scratch.panels + p * panelBytes,
      size,
      stride,
    );
  }
  for (let first = 0; first < start; first += CHUNK) {
    const count = Math.min(CHUNK, start - first);
    packBlockRows(numerics, at + first * stride + 4 * start, scratch.block, count, size, stride);
    for (let column = first; column < start; column += PANEL_COLUMNS) {
      // Rows up to the last of the panel's columns: what lies below the diagonal is never read.
      const below = Math.min(count, Math.ceil((column + PANEL_COLUMNS - first) / BLOCK_ROWS) * BLOCK_ROWS);
      const panel = scratch.panels + (column / PANEL_COLUMNS) * panelBytes;
      kernels.multiply_subtract(
        scratch.block,
        panel,
        at + first * stride + 4 * column,
        below / BLOCK_ROWS,
        size,
        stride,
      );
    }
  }
}

function packBlockRows(
  numerics: Numerics,
  from: number,
  to: number,
  count: number,
  depth: number,
  stride: number,
): void {
  for (let i = 0; i < count; i += BLOCK_ROWS) {
    numerics.kernels.pack_block_rows(from + i * stride, to + 4 * i * depth, depth, stride);
  }
}
