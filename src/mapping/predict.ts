/**
 * How far the outputs of one matrix on a chip will be off, without a forward pass: four parts, each relative to what the
 * exact outputs vary by, tr(W H_c W^T), and summed as independent errors are.
 *
 *   coding     tr(E H E^T)
 *   input      the row DAC's levels: inputs of sampled tokens are coded as the drivers do (src/tile/input-code.ts)
 *   mismatch   (exp(sigma^2) - 1) sum_j H_jj sum_n sum_c (s_n q_c m_njc)^2: every cell its own log-normal gain of mean 1,
 *              m_njc the magnitude and q_c the digital weight of a weight's cells
 *              corrected for the chip (correct.ts), without the directions of H that a side path of its rank takes out
 *   converter  rounding and clipping of the same tokens' column values at the full scale that range calibration would
 *              set, gain errors common to a tile's column, offsets, and noise (two phases integrate into one conversion)
 *
 * Input and converter are simulated on up to 64 outputs. Rotations show here as what they are: a smaller coding, input
 * and converter error, and a larger mismatch error where they spread a loud mean or a loud input over all cells.
 */
import { adcFormat, convert } from '../tile/adc.ts';
import {
  encodeInputs,
  groupScale,
  type InputOptions,
  inputFormat,
  newTileInput,
} from '../tile/input-code.ts';
import { type WeightFormat, weightFormat } from '../tile/weight-code.ts';
import type { MappedMatrix, MatrixReport } from './map-matrix.ts';
import type { PreparedInput } from './prepare.ts';

/** What of a chip decides the error of its outputs. */
export interface ChipErrors {
  readonly input: InputOptions;
  /** Scaling group of the input code. */
  readonly scale: 'tile' | 'token';
  readonly adcBits: number | 'float';
  /** Quantile of |D| that becomes the converters' full scale. */
  readonly rangeQuantile: number;
  /** sigma of ln I of a cell. */
  readonly cellSigma: number;
  /** Rank of the side path that is fitted to each chip; undefined: chips are not corrected. */
  readonly correctionRank?: number | undefined;
  /** sigma of the gain of a tile's column, corrected or not: tile, converter, reference. */
  readonly columnGainSigma: number;
  /** sigma of a conversion's offset, in converter steps. */
  readonly offsetLsb: number;
  /** Noise of a conversion as src/tile has it: variance = white * sum of currents + sampling * full scale, in I_fs^2. */
  readonly whiteVariance: number;
  readonly samplingVariance: number;
  /** Of bit lines and clamps, whatever the value. */
  readonly lineVariance: number;
}

export interface PredictedError {
  readonly coding: number;
  readonly input: number;
  readonly mismatch: number;
  readonly converter: number;
  /** Sum of the four. */
  readonly total: number;
}

const MOST_OUTPUTS = 64;

/**
 * `report` is of a matrix with a side path of the correction's rank where there is one; `energies` [K] are then what is
 * left of the diagonal of H (moments-factor.ts).
 */
export function predictError(
  input: PreparedInput,
  mapped: MappedMatrix,
  report: Pick<MatrixReport, 'error' | 'signal'>,
  chip: ChipErrors,
  energies: ArrayLike<number> = diagonalOf(input),
): PredictedError {
  const coding = report.error;
  const mismatch = (Math.expm1(chip.cellSigma ** 2) * cellEnergy(energies, mapped)) / report.signal;
  const outputs = sampledOutputs(mapped.outputs);
  const share = mapped.outputs / outputs.length;
  const simulated = simulate(input, mapped, chip, outputs);
  const inputError = (share * simulated.input) / report.signal;
  const converter = (share * simulated.converter) / report.signal;
  return {
    coding,
    input: inputError,
    mismatch,
    converter,
    total: coding + inputError + mismatch + converter,
  };
}

const diagonalOf = ({ moments, statistics: { inputs } }: PreparedInput): Float64Array =>
  Float64Array.from({ length: inputs }, (_, j) => moments[j * (inputs + 1)]);

/** Evenly spaced outputs. */
function sampledOutputs(outputs: number): number[] {
  const count = Math.min(outputs, MOST_OUTPUTS);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * outputs) / count));
}

/** Magnitudes of a code's cells times their digital weights: q_c m_c. */
function cellParts(code: number, format: WeightFormat): number[] {
  if (format.cellWeights.length === 1) return [code];
  const high = Math.trunc(code / 8);
  return [code - 8 * high, 8 * high];
}

/** sum_j H_jj sum_n sum_c (s_n q_c m_njc)^2. */
function cellEnergy(energies: ArrayLike<number>, mapped: MappedMatrix): number {
  const { outputs, inputs, tileRows, codes, scales } = mapped;
  const tiles = Math.ceil(inputs / tileRows);
  const format = weightFormat(mapped.bits);
  const squares = Float64Array.from({ length: 2 * format.magnitudeMax + 1 }, (_, i) =>
    cellParts(i - format.magnitudeMax, format).reduce((sum, part) => sum + part * part, 0),
  );
  let total = 0;
  for (let n = 0; n < outputs; n++) {
    for (let t = 0; t < tiles; t++) {
      let sum = 0;
      for (let j = t * tileRows; j < Math.min(inputs, (t + 1) * tileRows); j++) {
        sum += energies[j] * squares[codes[n * inputs + j] + format.magnitudeMax];
      }
      total += scales[n * tiles + t] ** 2 * sum;
    }
  }
  return total;
}

/** Mean squared errors over the sample's tokens, summed over `outputs`. */
function simulate(
  input: PreparedInput,
  mapped: MappedMatrix,
  chip: ChipErrors,
  outputs: readonly number[],
): { input: number; converter: number } {
  const { inputs, tileRows } = mapped;
  const tokens = input.sample.length / inputs;
  if (tokens === 0) return { input: 0, converter: 0 };
  const inputErrors = new Float64Array(tokens * outputs.length);
  const converterErrors = new Float64Array(tokens * outputs.length);
  let spread = 0;
  for (let start = 0, tile = 0; start < inputs; start += tileRows, tile++) {
    const rows = Math.min(tileRows, inputs - start);
    const coded = codeTile(input.sample, inputs, start, rows, chip);
    spread += simulateTile(mapped, chip, outputs, coded, { start, rows, tile }, inputErrors, converterErrors);
  }
  const meanSquare = (x: Float64Array): number => x.reduce((sum, value) => sum + value * value, 0) / tokens;
  return { input: meanSquare(inputErrors), converter: meanSquare(converterErrors) + spread / tokens };
}

interface CodedTile {
  readonly rows: number;
  /** Scale of each token's group [tokens]. */
  readonly scales: Float64Array;
  /** Signed magnitudes relative to it, coded and exact [tokens][rows]. */
  readonly coded: Float64Array;
  readonly exact: Float64Array;
}

function codeTile(
  sample: Float32Array,
  inputs: number,
  start: number,
  rows: number,
  chip: ChipErrors,
): CodedTile {
  const tokens = sample.length / inputs;
  const format = inputFormat(chip.input);
  const buffer = newTileInput(rows);
  const scales = new Float64Array(tokens);
  const coded = new Float64Array(tokens * rows);
  const exact = new Float64Array(tokens * rows);
  for (let token = 0; token < tokens; token++) {
    const first = token * inputs;
    const [from, to] =
      chip.scale === 'token' ? [first, first + inputs] : [first + start, first + start + rows];
    const scale = groupScale(sample, from, to);
    scales[token] = scale;
    encodeInputs(buffer, sample, first + start, rows, scale, format);
    for (let j = 0; j < rows; j++) {
      coded[token * rows + j] = buffer.signs[j] * buffer.magnitudes[j];
      exact[token * rows + j] = scale > 0 ? sample[first + start + j] / scale : 0;
    }
  }
  return { rows, scales, coded, exact };
}

/** Adds a tile's errors to those of each token and output; returns the squares of its independent errors. */
function simulateTile(
  mapped: MappedMatrix,
  chip: ChipErrors,
  outputs: readonly number[],
  tile: CodedTile,
  place: { start: number; rows: number; tile: number },
  inputErrors: Float64Array,
  converterErrors: Float64Array,
): number {
  const format = weightFormat(mapped.bits);
  const adc = adcFormat(chip.adcBits);
  const tokens = tile.scales.length;
  const tiles = Math.ceil(mapped.inputs / mapped.tileRows);
  let independent = 0;
  for (let c = 0; c < format.cellWeights.length; c++) {
    const values = new Float64Array(tokens * outputs.length);
    const currents = new Float64Array(tokens * outputs.length);
    const units = outputs.map(
      (n) => mapped.scales[n * tiles + place.tile] * format.cellWeights[c] * format.taps,
    );
    outputs.forEach((n, i) => {
      const cells = Float64Array.from({ length: tile.rows }, (_, j) => {
        const code = mapped.codes[n * mapped.inputs + place.start + j];
        return cellParts(code, format)[c] / format.cellWeights[c] / format.taps;
      });
      for (let token = 0; token < tokens; token++) {
        let [sum, exact, current] = [0, 0, 0];
        for (let j = 0, at = token * tile.rows; j < tile.rows; j++, at++) {
          const product = cells[j] * tile.coded[at];
          sum += product;
          current += Math.abs(product);
          exact += cells[j] * tile.exact[at];
        }
        const at = token * outputs.length + i;
        values[at] = sum;
        currents[at] = current;
        inputErrors[at] += units[i] * tile.scales[token] * (sum - exact);
      }
    });
    const fullScale = quantileOfMagnitude(values, chip.rangeQuantile) || 1;
    const lsb = adc.bits === 'float' ? 0 : fullScale / adc.top;
    for (let token = 0; token < tokens; token++) {
      for (let i = 0; i < outputs.length; i++) {
        const at = token * outputs.length + i;
        const unit = units[i] * tile.scales[token];
        const read = adc.bits === 'float' ? values[at] : convert(values[at], fullScale, adc) * lsb;
        converterErrors[at] += unit * (read - values[at]);
        const variance =
          (chip.columnGainSigma * values[at]) ** 2 +
          (chip.offsetLsb * lsb) ** 2 +
          chip.whiteVariance * currents[at] +
          chip.samplingVariance * fullScale +
          chip.lineVariance;
        independent += unit ** 2 * variance;
      }
    }
  }
  return independent;
}

function quantileOfMagnitude(values: Float64Array, quantile: number): number {
  const sorted = values.map(Math.abs).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(quantile * sorted.length))];
}
