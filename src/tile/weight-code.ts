/**
 * Weight codes: what the masks of a column say.
 *
 * A weight w[n][k] becomes sign * magnitude * scale[n][tile] with an integer magnitude:
 *   bits 3: magnitudes 0..3,  one cell,  taps 1..3
 *   bits 4: magnitudes 0..7,  one cell,  taps 1..7
 *   bits 6: magnitudes 0..31 = 8 hi + lo, two cells (hi 0..3, lo 0..7) on two columns joined after their ADCs
 * Magnitude = which tap the gate via lands on; sign = which of the two bit lines the drain via lands on;
 * zero = no drain via. One digital scale per column and tile.
 *
 * The scale minimises sum_k (w - scale * code)^2: the best of some clipping factors of max|w| / magnitudeMax, then three
 * least-squares refinements scale = <w, code> / <code, code>. Refining every factor lowers the error by 0.1 % at 4 bits, and takes 33 passes for 14.
 */
import { OnefetError } from '../error.ts';
import { ROUNDER } from '../numbers.ts';

export type WeightBits = 3 | 4 | 6;

export interface WeightFormat {
  readonly bits: WeightBits;
  /** Largest magnitude of a weight: 3, 7 or 31. */
  readonly magnitudeMax: number;
  /** Taps of the ladder = largest magnitude of one cell: 3 or 7. */
  readonly taps: number;
  /** Digital weight of each of a weight's cells, in the order of its physical columns. */
  readonly cellWeights: readonly number[];
}

export function weightFormat(bits: number): WeightFormat {
  switch (bits) {
    case 3:
      return { bits: 3, magnitudeMax: 3, taps: 3, cellWeights: [1] };
    case 4:
      return { bits: 4, magnitudeMax: 7, taps: 7, cellWeights: [1] };
    case 6:
      return { bits: 6, magnitudeMax: 31, taps: 7, cellWeights: [1, 8] };
    default:
      throw new OnefetError('usage', 'WEIGHT_BITS', `weight bits ${bits} are not supported: 3, 4 or 6`);
  }
}

/** The masks of one tile: rows rowStart .. rowStart + rows of a tensor. */
export interface WeightTile {
  readonly rowStart: number;
  readonly rows: number;
  /** [rows][outputs * cellsPerWeight] signed cell magnitudes; cell c of output n is physical column c * outputs + n. */
  readonly codes: Int8Array;
  /** [outputs] weight = scale * sum_c cellWeights[c] * code. */
  readonly scales: Float32Array;
}

export interface HardwareWeights {
  readonly format: WeightFormat;
  readonly outputs: number;
  readonly inputs: number;
  /** outputs * cells per weight. */
  readonly columns: number;
  readonly tiles: readonly WeightTile[];
  /** 10 log10(sum w^2 / sum (w - recoded)^2). */
  readonly codingSnrDb: number;
  /** Share of weights with code zero. */
  readonly zeroShare: number;
}

/** Clipping factors tried for the scale: 1 keeps the largest weight exact, less spends the codes on the bulk. */
export const CLIP_FACTORS = [1, 0.94, 0.88, 0.82, 0.76, 0.7, 0.64, 0.58, 0.52, 0.46, 0.4];

/** Of the best factor. */
export const REFINEMENTS = 3;

/** Recodes a matrix given row by row (`row(n, out)` fills the K weights of output n) into tiles of `tileRows`. */
export function recodeWeights(
  outputs: number,
  inputs: number,
  row: (n: number, out: Float32Array) => void,
  bits: number,
  tileRows: number,
): HardwareWeights {
  const format = weightFormat(bits);
  const cells = format.cellWeights.length;
  const columns = outputs * cells;
  const tiles: WeightTile[] = [];
  for (let rowStart = 0; rowStart < inputs; rowStart += tileRows) {
    const rows = Math.min(tileRows, inputs - rowStart);
    tiles.push({
      rowStart,
      rows,
      codes: new Int8Array(rows * columns),
      scales: new Float32Array(outputs),
    });
  }
  const weights = new Float32Array(inputs);
  const magnitudes = new Int8Array(tileRows);
  let signalEnergy = 0;
  let errorEnergy = 0;
  let zeros = 0;
  for (let n = 0; n < outputs; n++) {
    row(n, weights);
    for (const tile of tiles) {
      const column = weights.subarray(tile.rowStart, tile.rowStart + tile.rows);
      const scale = Math.fround(fitScale(column, format.magnitudeMax));
      tile.scales[n] = scale;
      quantise(column, scale, format.magnitudeMax, magnitudes);
      for (let j = 0; j < tile.rows; j++) {
        const code = magnitudes[j];
        const error = column[j] - scale * code;
        signalEnergy += column[j] * column[j];
        errorEnergy += error * error;
        if (code === 0) zeros++;
        for (let c = 0; c < cells; c++) tile.codes[j * columns + c * outputs + n] = cellCode(code, c, format);
      }
    }
  }
  return {
    format,
    outputs,
    inputs,
    columns,
    tiles,
    codingSnrDb: errorEnergy > 0 ? 10 * Math.log10(signalEnergy / errorEnergy) : Number.POSITIVE_INFINITY,
    zeroShare: zeros / (outputs * inputs),
  };
}

/** Given codes [N][K] and scales [N][tiles], as the masks hold them; `codingSnrDb` is the caller's to know. */
export function codedWeights(
  coding: {
    readonly outputs: number;
    readonly inputs: number;
    readonly bits: number;
    readonly tileRows: number;
    readonly codes: Int8Array;
    readonly scales: Float32Array;
  },
  codingSnrDb: number,
): HardwareWeights {
  const { outputs, inputs, tileRows, codes, scales } = coding;
  const format = weightFormat(coding.bits);
  const columns = outputs * format.cellWeights.length;
  const count = Math.ceil(inputs / tileRows);
  const tiles = Array.from({ length: count }, (_, t): WeightTile => {
    const rowStart = t * tileRows;
    const rows = Math.min(tileRows, inputs - rowStart);
    const cells = new Int8Array(rows * columns);
    for (let j = 0; j < rows; j++) {
      for (let n = 0; n < outputs; n++) {
        const code = codes[n * inputs + rowStart + j];
        for (let c = 0; c < format.cellWeights.length; c++) {
          cells[j * columns + c * outputs + n] = cellCode(code, c, format);
        }
      }
    }
    return {
      rowStart,
      rows,
      codes: cells,
      scales: Float32Array.from({ length: outputs }, (_v, n) => scales[n * count + t]),
    };
  });
  const zeros = codes.reduce((sum, code) => sum + (code === 0 ? 1 : 0), 0);
  return { format, outputs, inputs, columns, tiles, codingSnrDb, zeroShare: zeros / (outputs * inputs) };
}

/** Returns the code of cell `cell` of a weight: magnitude = 8 hi + lo where there are two. */
export function cellCode(code: number, cell: number, { cellWeights }: WeightFormat): number {
  if (cellWeights.length === 1) return code;
  const magnitude = Math.abs(code);
  return Math.sign(code) * (cell === 0 ? magnitude & 7 : magnitude >> 3);
}

/** The whole code of the weight at row j of a tile and output n. */
export function weightCode(
  { format, columns, outputs }: Pick<HardwareWeights, 'format' | 'columns' | 'outputs'>,
  codes: Int8Array,
  j: number,
  n: number,
): number {
  let code = 0;
  for (let c = 0; c < format.cellWeights.length; c++) {
    code += format.cellWeights[c] * codes[j * columns + c * outputs + n];
  }
  return code;
}

/** Room for the magnitudes of all formats, and for what a misread makes of the largest: 0 to 32. */
export const MAGNITUDE_COUNTS = 33;

/** Weights of a matrix by the magnitude of their code. */
export function countMagnitudes(weights: HardwareWeights): Float64Array {
  const counts = new Float64Array(MAGNITUDE_COUNTS);
  for (const { codes, rows } of weights.tiles) {
    for (let j = 0; j < rows; j++) {
      for (let n = 0; n < weights.outputs; n++) counts[Math.abs(weightCode(weights, codes, j, n))]++;
    }
  }
  return counts;
}

/** The dequantised hardware weights of output n into out[K]. */
export function hardwareRow(weights: HardwareWeights, n: number, out: Float32Array): void {
  const { format, columns, outputs } = weights;
  for (const tile of weights.tiles) {
    for (let j = 0; j < tile.rows; j++) {
      let code = 0;
      for (let c = 0; c < format.cellWeights.length; c++) {
        code += format.cellWeights[c] * tile.codes[j * columns + c * outputs + n];
      }
      out[tile.rowStart + j] = tile.scales[n] * code;
    }
  }
}

const f = Math.fround;

/** The code of a weight: round(w / scale), clipped to +-magnitudeMax. */
function codeOf(w: number, inverse: number, magnitudeMax: number): number {
  const rounded = f(f(f(w * inverse) + ROUNDER) - ROUNDER);
  return Math.max(-magnitudeMax, Math.min(magnitudeMax, rounded));
}

const inverseOf = (scale: number): number => (scale > 0 ? f(1 / scale) : 0);

function quantise(weights: Float32Array, scale: number, magnitudeMax: number, out: Int8Array): void {
  const inverse = inverseOf(scale);
  for (let j = 0; j < weights.length; j++) out[j] = codeOf(weights[j], inverse, magnitudeMax);
}

/**
 * The scale of one column of one tile: the best clipping factor, refined. In single precision and from the first row to the last, as
 * the kernel has it (src/engine/wasm/kernels/recode.ts): of two scales that are nearly alike both take the same.
 */
function fitScale(weights: Float32Array, magnitudeMax: number): number {
  let largest = 0;
  for (let j = 0; j < weights.length; j++) largest = Math.max(largest, Math.abs(weights[j]));
  const unclipped = f(largest / magnitudeMax);
  let best = { scale: unclipped, error: Number.POSITIVE_INFINITY, fitted: 0 };
  const tryScale = (scale: number): number => {
    const { error, fitted } = projection(weights, scale, magnitudeMax);
    if (error < best.error) best = { scale, error, fitted };
    return fitted;
  };
  for (const factor of CLIP_FACTORS) tryScale(f(unclipped * f(factor)));
  let scale = best.fitted;
  for (let refinement = 0; refinement < REFINEMENTS; refinement++) scale = tryScale(scale);
  return best.scale;
}

/** Squared error of coding with `scale`, and the least-squares scale of the codes that it gives. */
function projection(
  weights: Float32Array,
  scale: number,
  magnitudeMax: number,
): { error: number; fitted: number } {
  const inverse = inverseOf(scale);
  let error = 0;
  let cross = 0;
  let norm = 0;
  for (let j = 0; j < weights.length; j++) {
    const w = weights[j];
    const code = codeOf(w, inverse, magnitudeMax);
    const residual = f(w - f(scale * code));
    error = f(error + f(residual * residual));
    cross = f(cross + f(w * code));
    norm = f(norm + f(code * code));
  }
  return { error, fitted: norm > 0 ? f(cross / norm) : 0 };
}
