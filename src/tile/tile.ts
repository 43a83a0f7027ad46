/**
 * One tile of one chip: coded inputs in, digital column values out.
 *
 *   encode -> cells -> columns (one or two phases) -> converter -> trim
 *
 * `integrate`      phase P drives rows with a > 0, phase N those with a < 0; both integrate with opposite polarity
 *                  into one conversion
 * `two-conversion` each phase is clipped and rounded by itself
 * `paired-rows`    one phase; a weight has one cell for each sign of the input
 */

import { gaussian, type TokenPosition, uniform } from '../random.ts';
import { convert, type RangeHistogram, recordRange } from './adc.ts';
import { type CellSums, type ColumnSums, newColumnSums } from './cell-sums.ts';
import { drawLowFrequency, phaseValue } from './column.ts';
import {
  type ChipInstance,
  DRAW,
  drawKey,
  type TileNoise,
  type TilePlace,
  tileNoise,
  tokenKey,
} from './draws.ts';
import { newTileInput, type TileInput } from './input-code.ts';
import type { TilePhysics } from './physics.ts';
import type { Response } from './response.ts';
import type { TileStatics } from './static-errors.ts';
import type { HardwareWeights, WeightTile } from './weight-code.ts';

/** Counts of a tile for one token. */
export interface TileCounts {
  currentA: number;
  activeRows: number;
  conversions: number;
  clipped: number;
}

export interface Tile {
  readonly weights: WeightTile;
  readonly columns: number;
  /**
   * value[columns]: the differential current of each column as the digital side sees it, in units of I_fs, mean gain
   * and trim applied. With a recorder the raw value goes there and passes unconverted (range calibration).
   */
  run(value: Float64Array, input: TileInput, at: TokenPosition, counts: TileCounts): void;
}

export interface TileParts {
  readonly physics: TilePhysics;
  readonly response: Response;
  readonly hardware: HardwareWeights;
  readonly tile: WeightTile;
  readonly place: TilePlace;
  readonly chip: ChipInstance;
  readonly statics: TileStatics;
  readonly sums: CellSums;
  /** [cells per weight] full scale of the converters of each cell's columns, in I_fs; undefined while it is measured. */
  readonly fullScales: readonly number[] | undefined;
  /** [cells per weight] where range calibration records. */
  readonly recorders?: readonly RangeHistogram[];
}

export function createTile(parts: TileParts): Tile {
  const { physics, tile, hardware, fullScales } = parts;
  const { columns } = hardware;
  const raw = rawTile(parts);
  const values = [new Float64Array(columns), new Float64Array(columns)];
  const scaleOf = new Float64Array(columns);
  if (fullScales) for (let c = 0; c < columns; c++) scaleOf[c] = fullScales[Math.floor(c / hardware.outputs)];
  const convertAll = (value: Float64Array, counts: TileCounts) => {
    const { adc } = physics;
    counts.conversions += columns;
    if (adc.bits === 'float') return;
    for (let c = 0; c < columns; c++) {
      const lsb = scaleOf[c] / adc.top;
      const withErrors = value[c] * parts.statics.adcGain[c] + parts.statics.adcOffsetLsb[c] * lsb;
      if (Math.abs(withErrors) > scaleOf[c] + lsb / 2) counts.clipped++;
      value[c] = convert(withErrors, scaleOf[c], adc) * lsb;
    }
  };
  // The mean of the drawn gains: nominal cells have none.
  const meanGain = parts.chip.errors ? physics.meanGain : 1;
  const untrimmed = (value: Float64Array, input: TileInput, at: TokenPosition, counts: TileCounts) => {
    const conversions = raw(values, input, at, counts);
    if (parts.recorders) {
      for (let c = 0; c < columns; c++)
        recordRange(parts.recorders[Math.floor(c / hardware.outputs)], values[0][c]);
      if (conversions === 2) {
        for (let c = 0; c < columns; c++)
          recordRange(parts.recorders[Math.floor(c / hardware.outputs)], values[1][c]);
      }
    } else {
      for (let i = 0; i < conversions; i++) convertAll(values[i], counts);
    }
    for (let c = 0; c < columns; c++) {
      value[c] = (conversions === 2 ? values[0][c] - values[1][c] : values[0][c]) / meanGain;
    }
  };
  const trimmed = parts.chip.errors && fullScales && physics.design.adc.trimVectors > 0;
  const trim = trimmed ? estimateTrim(parts, untrimmed) : undefined;
  return {
    weights: tile,
    columns,
    run: trim
      ? (value, input, at, counts) => {
          untrimmed(value, input, at, counts);
          for (let c = 0; c < columns; c++) value[c] = (value[c] - trim.offset[c]) / trim.gain[c];
        }
      : untrimmed,
  };
}

type RawTile = (
  values: readonly Float64Array[],
  input: TileInput,
  at: TokenPosition,
  counts: TileCounts,
) => 1 | 2;

/** The analog part: fills one or two values per column and says how many conversions they need. */
function rawTile(parts: TileParts): RawTile {
  const { physics, response, tile, chip, statics, sums, fullScales, hardware } = parts;
  const { columns } = hardware;
  const { design } = physics;
  const noise = tileNoise(chip, parts.place);
  const first = newColumnSums(columns);
  const second = newColumnSums(columns);
  const rowFactors = statics.segments.map(() => new Float64Array(tile.rows));
  const phases = design.tile.sign === 'paired-rows' ? 1 : 2;
  const lowFrequency = new Float64Array(phases * columns);
  let lowFrequencyWindow: number | undefined;
  const scales = fullScales ?? [];
  return (values, input, at, counts) => {
    if (lowFrequencyWindow !== at.window) {
      drawLowFrequency(lowFrequency, chip, noise, at.window);
      lowFrequencyWindow = at.window;
    }
    rowErrors(rowFactors, input, physics, response, statics, chip, noise, at);
    const [positive, negative] = countRows(input);
    counts.activeRows += positive + negative;
    const current = (total: number) => {
      counts.currentA += total * design.fullScaleA;
    };
    const phase = (value: Float64Array, from: ColumnSums, index: number) => {
      checkClamp(parts, from);
      current(phaseValue(value, from, physics, statics.gain, chip, noise, at, index, lowFrequency));
    };
    sums(first, input, rowFactors, 1, 0);
    sums(second, input, rowFactors, -1, phases === 1 ? 1 : 0);
    if (phases === 1) {
      for (let c = 0; c < columns; c++) {
        first.d[c] -= second.d[c];
        first.s[c] += second.s[c];
        first.q[c] += second.q[c];
      }
      phase(values[0], first, 0);
    } else {
      phase(values[0], first, 0);
      phase(values[1], second, 1);
      if (design.tile.sign === 'integrate') {
        for (let c = 0; c < columns; c++) values[0][c] -= values[1][c];
      }
    }
    const conversions = design.tile.sign === 'two-conversion' ? 2 : 1;
    if (chip.errors && physics.samplingVariance + physics.lineVariance > 0) {
      const sampling = tokenKey(noise.samplingKey, at);
      for (let i = 0; i < conversions; i++) {
        for (let c = 0; c < columns; c++) {
          const scale = scales[Math.floor(c / hardware.outputs)] ?? 0;
          const variance = physics.samplingVariance * scale + physics.lineVariance;
          values[i][c] += Math.sqrt(variance) * gaussian(sampling, i * columns + c);
        }
      }
    }
    return conversions;
  };
}

/** exp(gm/I (offset + noise)) of each driven row and ladder. The noise is of the level that all ladders of a row get. */
export function rowErrors(
  out: readonly Float64Array[],
  input: TileInput,
  physics: TilePhysics,
  response: Response,
  statics: TileStatics,
  chip: ChipInstance,
  noise: TileNoise,
  at: TokenPosition,
): void {
  const sigmaV = physics.design.driver.noiseV;
  const key = chip.errors && sigmaV > 0 ? tokenKey(noise.rowKey, at) : undefined;
  for (let j = 0; j < input.rows; j++) {
    if (input.signs[j] === 0) continue;
    const noiseV = key ? sigmaV * gaussian(key, j) : 0;
    const slope = response.gmOverIByLevel[input.levels[j]];
    // With paired rows the sign of the input says which of the two is driven.
    const rows = statics.rowErrors[input.signs[j] < 0 ? statics.rowErrors.length - 1 : 0];
    for (let ladder = 0; ladder < out.length; ladder++) {
      const gateV = rows[ladder].rowOffsetV[j] + noiseV;
      out[ladder][j] = gateV === 0 ? 1 : Math.exp(slope * gateV);
    }
  }
}

function countRows(input: TileInput): [number, number] {
  let positive = 0;
  let negative = 0;
  for (let j = 0; j < input.rows; j++) {
    if (input.signs[j] > 0) positive++;
    else if (input.signs[j] < 0) negative++;
  }
  return [positive, negative];
}

/** While ranges are measured: the largest common mode that a column's clamps must carry. */
function checkClamp(parts: TileParts, sums: ColumnSums): void {
  if (!parts.recorders) return;
  const { outputs } = parts.hardware;
  for (let c = 0; c < sums.s.length; c++) {
    const recorder = parts.recorders[Math.floor(c / outputs)];
    if (sums.s[c] > recorder.largestCommonMode) recorder.largestCommonMode = sums.s[c];
  }
}

/**
 * Gain and offset per column as a tester would find them: test vectors through the chip (with its noise), regressed on
 * what the nominal cells give. Levels are uniform^3 of the top, signs random: mostly small inputs, so that columns
 * stay inside the converters' range.
 */
function estimateTrim(
  parts: TileParts,
  run: (value: Float64Array, input: TileInput, at: TokenPosition, counts: TileCounts) => void,
): { gain: Float64Array; offset: Float64Array } {
  const { physics, response, tile, hardware, chip, place } = parts;
  const { columns } = hardware;
  const vectors = physics.design.adc.trimVectors;
  const key = drawKey(DRAW.trimVector, chip.seed, place.layer, place.tensor, place.tile);
  const input = newTileInput(tile.rows);
  const top = physics.input.magnitudes.length - 1;
  const value = new Float64Array(columns);
  const nominal = new Float64Array(columns);
  const [sumX, sumY, sumXX, sumXY] = Array.from({ length: 4 }, () => new Float64Array(columns));
  const counts: TileCounts = { currentA: 0, activeRows: 0, conversions: 0, clipped: 0 };
  for (let t = 0; t < vectors; t++) {
    nominal.fill(0);
    for (let j = 0; j < tile.rows; j++) {
      const index = 2 * (t * tile.rows + j);
      const level = Math.floor((top + 1) * uniform(key, index) ** 3);
      const sign = level === 0 ? 0 : uniform(key, index + 1) < 0.5 ? -1 : 1;
      input.levels[j] = level;
      input.magnitudes[j] = physics.input.magnitudes[level];
      input.signs[j] = sign;
      if (sign === 0) continue;
      for (let c = 0; c < columns; c++) {
        const code = tile.codes[j * columns + c];
        if (code !== 0) nominal[c] += sign * Math.sign(code) * response.table[level][Math.abs(code)];
      }
    }
    run(value, input, { window: -1, position: t }, counts);
    for (let c = 0; c < columns; c++) {
      sumX[c] += nominal[c];
      sumY[c] += value[c];
      sumXX[c] += nominal[c] * nominal[c];
      sumXY[c] += nominal[c] * value[c];
    }
  }
  const gain = new Float64Array(columns).fill(1);
  const offset = new Float64Array(columns);
  for (let c = 0; c < columns; c++) {
    const spread = vectors * sumXX[c] - sumX[c] ** 2;
    const fitted = spread > 0 ? (vectors * sumXY[c] - sumX[c] * sumY[c]) / spread : 1;
    // A column without connected cells has no gain to trim.
    gain[c] = fitted > 0 ? fitted : 1;
    offset[c] = (sumY[c] - gain[c] * sumX[c]) / vectors;
  }
  return { gain, offset };
}
