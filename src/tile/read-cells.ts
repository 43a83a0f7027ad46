/**
 * A tile's cells as a tester reads them, through its own drivers and converters: one row at a time at the top level, the
 * integration stretched until one strong cell fills the converter.
 *
 *   x_jc = mean over reads of  lsb' (code(row j driven) - code(no row driven)),   lsb' = FS / (stretch top)
 *
 * The reading has the errors of the chip that is read: gain and offset of the converter and its rounding, gain of the
 * tile, of the phase and of the row, white, clamp and slow noise, and the sampling noise of the capacitor. Stretched by
 * s = T' / T, a charge that fills the converter is a current 1 / s as large: white noise has 1 / s of its variance, and
 * that of the capacitor 1 / s^2.
 */
import { OnefetError } from '../error.ts';
import { gaussian, type TokenPosition } from '../random.ts';
import { convert } from './adc.ts';
import { type CellSums, newColumnSums } from './cell-sums.ts';
import { drawLowFrequency, phaseValue } from './column.ts';
import { type ChipInstance, type TilePlace, tileNoise, tokenKey } from './draws.ts';
import { newTileInput } from './input-code.ts';
import type { TilePhysics } from './physics.ts';
import type { Response } from './response.ts';
import type { TileStatics } from './static-errors.ts';
import { rowErrors } from './tile.ts';
import type { HardwareWeights, WeightTile } from './weight-code.ts';

/** Windows of a text are 0 and up, the trim's vectors -1. */
const READ_WINDOW = -2;

/** A cell of the top tap that is this many sigma(ln I) strong fills the converter. */
const STRONGEST_SIGMAS = 4;

export interface ReadParts {
  readonly physics: TilePhysics;
  readonly response: Response;
  readonly hardware: HardwareWeights;
  readonly tile: WeightTile;
  readonly place: TilePlace;
  readonly chip: ChipInstance;
  readonly statics: TileStatics;
  readonly sums: CellSums;
  /** [cells per weight], in I_fs, of the normal integration time. */
  readonly fullScales: readonly number[];
  /** Conversions that are averaged for a cell. */
  readonly reads: number;
}

/** Stretch of the integration time for a full scale. */
export function readStretch(physics: TilePhysics, fullScale: number): number {
  const sigma = Math.hypot(physics.gmOverIPerV * physics.sigmaVtV, physics.sigmaBeta);
  return Math.max(1, fullScale / Math.exp(STRONGEST_SIGMAS * sigma));
}

/** Seconds in which the tiles of a chip, all at once, are read: the slowest one's. */
export function readSeconds(
  physics: TilePhysics,
  rows: number,
  largestFullScale: number,
  reads: number,
): number {
  const { timing, adc } = physics.design;
  const integrationS = timing.integrationTimeS * readStretch(physics, largestFullScale);
  return reads * (rows + 1) * adc.columnsShared * (integrationS + physics.settleTimeS);
}

/**
 * Signed currents of a tile's cells, relative to what the nominal cell of the top tap has, mean gain taken out [rows][columns].
 * Throws OnefetError('usage', 'READ_CELLS') for tiles with a set of cells for either sign of the input.
 */
export function readCells(parts: ReadParts): Float32Array {
  const { physics, response, hardware, tile, place, chip, statics, sums, reads } = parts;
  const { design } = physics;
  if (design.tile.sign === 'paired-rows') {
    throw new OnefetError('usage', 'READ_CELLS', 'cells of paired rows cannot be read for a correction', {
      hint: 'leave mapping.correction out, or use tile.sign=integrate',
    });
  }
  const { columns, outputs } = hardware;
  const stretches = parts.fullScales.map((scale) => readStretch(physics, scale));
  const noise = tileNoise(chip, place);
  const lowFrequency = new Float64Array(2 * columns);
  drawLowFrequency(lowFrequency, chip, noise, READ_WINDOW);
  const input = newTileInput(tile.rows);
  const top = physics.input.magnitudes.length - 1;
  const found = newColumnSums(columns);
  const value = new Float64Array(columns);
  const zero = new Float64Array(columns);
  const factors = statics.segments.map(() => new Float64Array(tile.rows));
  const out = new Float32Array(tile.rows * columns);
  // Noise of the longest stretch that a tile's columns share; their sampling noise is their own.
  const quiet = { ...physics, whiteVariance: physics.whiteVariance / Math.min(...stretches) };
  const meanGain = chip.errors ? physics.meanGain : 1;
  const read = (into: Float64Array, row: number, position: number): void => {
    const at: TokenPosition = { window: READ_WINDOW, position };
    if (row >= 0) {
      input.signs[row] = 1;
      input.levels[row] = top;
      input.magnitudes[row] = physics.input.magnitudes[top];
      rowErrors(factors, input, physics, response, statics, chip, noise, at);
    }
    sums(found, input, factors, 1, 0);
    if (row >= 0) input.signs[row] = 0;
    phaseValue(value, found, quiet, statics.gain, chip, noise, at, 0, lowFrequency);
    const sampling = tokenKey(noise.samplingKey, at);
    for (let c = 0; c < columns; c++) {
      const cell = Math.floor(c / outputs);
      const stretch = stretches[cell];
      const fullScale = parts.fullScales[cell] / stretch;
      let x = value[c];
      if (chip.errors && physics.samplingVariance + physics.lineVariance > 0) {
        const variance = physics.samplingVariance * parts.fullScales[cell] + physics.lineVariance;
        x += (Math.sqrt(variance) / stretch) * gaussian(sampling, c);
      }
      if (physics.adc.bits === 'float') into[c] += x / meanGain;
      else {
        const lsb = fullScale / physics.adc.top;
        const withErrors = x * statics.adcGain[c] + statics.adcOffsetLsb[c] * lsb;
        into[c] += (convert(withErrors, fullScale, physics.adc) * lsb) / meanGain;
      }
    }
  };
  let position = 0;
  for (let i = 0; i < reads; i++) read(zero, -1, position++);
  const sum = new Float64Array(columns);
  for (let j = 0; j < tile.rows; j++) {
    sum.fill(0);
    for (let i = 0; i < reads; i++) read(sum, j, position++);
    // A weight without a cell carries nothing: that is known without a reading.
    for (let c = 0; c < columns; c++) {
      out[j * columns + c] = tile.codes[j * columns + c] === 0 ? 0 : (sum[c] - zero[c]) / reads;
    }
  }
  return out;
}
