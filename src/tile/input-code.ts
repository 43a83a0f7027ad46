/**
 * Input codes: what the row drivers (DACs) of a tile are told.
 *
 * A scaling group of activations a[j] is coded as sign, level and one scale s = max|a_j|:
 *   linear codes  level k = round(|a| (2^b - 1) / s), magnitude k / (2^b - 1); the row *voltage* is the logarithm of
 *                 a linear code, so the ideal product is an integer
 *   log codes     magnitudes D^(-i / (2^b - 2)), i = 0 .. 2^b - 2, D the dynamic range: uniform voltage steps, the
 *                 easiest DAC. Nearest in linear distance; below half the smallest level the row is off
 *   float         no quantisation, to separate the DAC's error from the rest
 * Level 0 is an off row. b counts magnitude bits.
 */
import { OnefetError } from '../error.ts';

export interface InputOptions {
  readonly bits: number | 'float';
  readonly codes: 'linear' | 'log';
  /** Largest over smallest magnitude of the log codes. */
  readonly dynamicRange: number;
}

export interface InputFormat {
  readonly float: boolean;
  /** [levels] magnitude of each level relative to s; level 0 is 0 (off), the last is 1. */
  readonly magnitudes: Float64Array;
  readonly linear: boolean;
}

/** Most magnitude bits of a row DAC: a 10-bit level is 0.04 mV at the bottom of the range, below any offset. */
const MAX_INPUT_BITS = 10;

export function inputFormat(options: InputOptions): InputFormat {
  if (options.bits === 'float') return { float: true, magnitudes: new Float64Array([0, 1]), linear: true };
  const { bits } = options;
  if (!Number.isInteger(bits) || bits < 2 || bits > MAX_INPUT_BITS) {
    throw new OnefetError(
      'usage',
      'INPUT_BITS',
      `input.bits is ${bits}: it must be 2 to ${MAX_INPUT_BITS}, or float`,
    );
  }
  const top = 2 ** bits - 1;
  const magnitudes = new Float64Array(top + 1);
  for (let k = 1; k <= top; k++) {
    magnitudes[k] = options.codes === 'linear' ? k / top : options.dynamicRange ** (-(top - k) / (top - 1));
  }
  return { float: false, magnitudes, linear: options.codes === 'linear' };
}

/** The inputs of one tile for one token, reused from call to call. */
export interface TileInput {
  /** Rows in use. */
  rows: number;
  /** s. */
  scale: number;
  /** [rows] level, 0 = off; with float inputs 1 for any row that is not exactly zero. */
  readonly levels: Uint16Array;
  /** [rows] magnitude relative to s, of the level (or |a| / s with float inputs). */
  readonly magnitudes: Float64Array;
  /** [rows] -1, 0, 1. */
  readonly signs: Int8Array;
}

export function newTileInput(rows: number): TileInput {
  return {
    rows,
    scale: 0,
    levels: new Uint16Array(rows),
    magnitudes: new Float64Array(rows),
    signs: new Int8Array(rows),
  };
}

/** max|a| of a scaling group. */
export function groupScale(a: Float32Array, start: number, end: number): number {
  let largest = 0;
  for (let j = start; j < end; j++) {
    const magnitude = Math.abs(a[j]);
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

/** Codes a[start .. start + rows] with the scale of its group; `largestScale` >= every |a| in the group. */
export function encodeInputs(
  out: TileInput,
  a: Float32Array,
  start: number,
  rows: number,
  scale: number,
  format: InputFormat,
): void {
  out.rows = rows;
  out.scale = scale;
  const inverse = scale > 0 ? 1 / scale : 0;
  for (let j = 0; j < rows; j++) {
    const value = a[start + j];
    const relative = Math.abs(value) * inverse;
    const level = format.float ? (relative > 0 ? 1 : 0) : nearestLevel(relative, format);
    out.levels[j] = level;
    out.magnitudes[j] = format.float ? relative : format.magnitudes[level];
    out.signs[j] = level === 0 ? 0 : value > 0 ? 1 : -1;
  }
}

function nearestLevel(relative: number, format: InputFormat): number {
  const { magnitudes } = format;
  const top = magnitudes.length - 1;
  if (format.linear) return Math.round(relative * top);
  if (relative < magnitudes[1] / 2) return 0;
  let low = 1;
  let high = top;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (magnitudes[middle] <= relative) low = middle;
    else high = middle;
  }
  return relative - magnitudes[low] <= magnitudes[high] - relative ? low : high;
}
