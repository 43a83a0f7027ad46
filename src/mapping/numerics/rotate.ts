/**
 * The rotations of hadamard.ts on 16 vectors at a time, in WebAssembly: what the weights and moments of a large model take.
 *
 * Vectors stand in a panel [length][16], so that every factor works on whole rows of 16: butterflies on runs of rows, a
 * dense factor as a product of its signs with the rows that it mixes.
 */
import { DENSE_LIMIT, denseHadamard, type Rotation } from '../hadamard.ts';
import { BLOCK_ROWS, PANEL_COLUMNS, ROW_BYTES } from './kernels/multiply.ts';
import { floats, type Numerics, room, words } from './numerics.ts';

export interface RotationRoom {
  /** Longest vector. */
  readonly length: number;
  readonly panel: number; // [length][16]
  readonly index: number; // [DENSE_LIMIT]
  readonly signs: number; // [blocks][m][6]
  readonly gathered: number; // [DENSE_LIMIT][16]
  readonly mixed: number; // [DENSE_LIMIT + 5][16]
}

const mixedRows = DENSE_LIMIT + BLOCK_ROWS;

/** Elements of `rotationRoom`. */
export const rotationElements = (length: number): number =>
  length * PANEL_COLUMNS + DENSE_LIMIT + mixedRows * DENSE_LIMIT + 2 * mixedRows * PANEL_COLUMNS;

/** Scratch memory for rotations of vectors of up to `length`. */
export function rotationRoom(numerics: Numerics, length: number): RotationRoom {
  const take = (count: number): number => room(numerics, count, 'rotations');
  return {
    length,
    panel: take(length * PANEL_COLUMNS),
    index: take(DENSE_LIMIT),
    signs: take(mixedRows * DENSE_LIMIT),
    gathered: take(mixedRows * PANEL_COLUMNS),
    mixed: take(mixedRows * PANEL_COLUMNS),
  };
}

export interface Rotator {
  readonly numerics: Numerics;
  readonly rotationRoom: RotationRoom;
}

/** x <- x Q for `rows` rows of x [rows][length], as hadamard.ts has it. */
export function rotateManyRows(rotator: Rotator, x: Float32Array, rows: number, rotation: Rotation): void {
  const { length, signs } = rotation;
  const panel = panelOf(rotator, length);
  const scale = 1 / Math.sqrt(rotation.order);
  for (let first = 0; first < rows; first += PANEL_COLUMNS) {
    const count = Math.min(PANEL_COLUMNS, rows - first);
    if (count < PANEL_COLUMNS) panel.fill(0);
    for (let n = 0; n < count; n++) {
      const row = x.subarray((first + n) * length, (first + n + 1) * length);
      for (let j = 0; j < length; j++) panel[j * PANEL_COLUMNS + n] = signs[j] * scale * row[j];
    }
    transform(rotator, rotation);
    for (let n = 0; n < count; n++) {
      const row = x.subarray((first + n) * length, (first + n + 1) * length);
      for (let j = 0; j < length; j++) row[j] = panel[j * PANEL_COLUMNS + n];
    }
  }
}

/** x <- Q^T x for x [length][columns], as hadamard.ts has it. */
export function rotateManyColumns(
  rotator: Rotator,
  x: Float32Array,
  columns: number,
  rotation: Rotation,
): void {
  const { length, signs } = rotation;
  const panel = panelOf(rotator, length);
  const scale = 1 / Math.sqrt(rotation.order);
  for (let first = 0; first < columns; first += PANEL_COLUMNS) {
    const count = Math.min(PANEL_COLUMNS, columns - first);
    if (count < PANEL_COLUMNS) panel.fill(0);
    for (let j = 0; j < length; j++) {
      const factor = signs[j] * scale;
      for (let n = 0, at = j * columns + first; n < count; n++, at++)
        panel[j * PANEL_COLUMNS + n] = factor * x[at];
    }
    transform(rotator, rotation);
    for (let j = 0; j < length; j++) {
      for (let n = 0, at = j * columns + first; n < count; n++, at++) x[at] = panel[j * PANEL_COLUMNS + n];
    }
  }
}

const panelOf = ({ numerics, rotationRoom }: Rotator, length: number): Float32Array =>
  floats(numerics, rotationRoom.panel, length * PANEL_COLUMNS);

/** Along the rows of the panel: y_b = sum_a x_a H[a][b], factor by factor. */
function transform(rotator: Rotator, { length, factors }: Rotation): void {
  const { numerics, rotationRoom: at } = rotator;
  let stride = 1;
  for (let f = factors.length - 1; f >= 0; f--) {
    const m = factors[f];
    if (m === 2) numerics.kernels.butterflies(at.panel, stride * ROW_BYTES, length / (2 * stride));
    else mixDense(rotator, length, m, stride);
    stride *= m;
  }
}

function mixDense({ numerics, rotationRoom: at }: Rotator, length: number, m: number, stride: number): void {
  const { kernels } = numerics;
  const blocks = Math.ceil(m / BLOCK_ROWS);
  loadSigns(numerics, at, m, blocks);
  const index = words(numerics, at.index, m);
  for (let a = 0; a < m; a++) index[a] = a * stride * ROW_BYTES;
  for (let start = 0; start < length; start += m * stride) {
    for (let i = 0; i < stride; i++) {
      const rows = at.panel + (start + i) * ROW_BYTES;
      kernels.gather(rows, at.index, at.gathered, m);
      kernels.multiply_set(at.signs, at.gathered, at.mixed, blocks, m, ROW_BYTES);
      kernels.scatter(at.mixed, at.index, rows, m);
    }
  }
}

/** signs[b / 6][a][b % 6] = H[a][b]; rows beyond m are not kept. */
function loadSigns(numerics: Numerics, at: RotationRoom, m: number, blocks: number): void {
  const signs = floats(numerics, at.signs, blocks * m * BLOCK_ROWS);
  const h = denseHadamard(m)!;
  for (let b = 0; b < m; b++) {
    const block = Math.floor(b / BLOCK_ROWS) * m * BLOCK_ROWS;
    for (let a = 0; a < m; a++) signs[block + a * BLOCK_ROWS + (b % BLOCK_ROWS)] = h[a * m + b];
  }
}
