/**
 * Process variation of one tile of one chip: drawn once, the same for every token.
 *
 *   cell    dVt ~ N(0, sigma(Vt)), dBeta ~ N(0, sigma(beta)), by (chip seed, layer, tensor, bank; row and column of the matrix);
 *           how near to the normal distribution: cell-draws.ts
 *   row     offset of the buffer ~ N(0, rowOffsetSigmaV), and the mismatch of its ladder's resistors: once per row of the
 *           matrix and ladder.columns columns (ladder.ts)
 *   tile    common gain from the replica's offset, the tile's temperature and the gradient across the die
 *   column  gain and offset of the converter
 */
import { gaussian, gaussians } from '../random.ts';
import { cellBits, gainDraw, thresholdDraw } from './cell-draws.ts';
import { type ChipInstance, cellKey, DRAW, drawKey, type TilePlace } from './draws.ts';
import { drawRows, ladderSegments, type RowErrors, type Segment } from './ladder.ts';
import type { TilePhysics } from './physics.ts';
import type { HardwareWeights, WeightTile } from './weight-code.ts';

export interface TileStatics {
  /** [banks][rows * columns] threshold shift, V. */
  readonly vtV: readonly Float32Array[];
  /** [banks][rows * columns] relative gain. */
  readonly beta: readonly Float32Array[];
  /** [taps + 1] ln of the mean that a tap has beyond its nominal current: of taps of several transistors. */
  readonly tapLogMean: Float64Array;
  /** [ladders of a row] columns that each feeds. */
  readonly segments: readonly Segment[];
  /** [banks][ladders of a row]: the cells of either sign of the input are on rows of their own. */
  readonly rowErrors: readonly (readonly RowErrors[])[];
  /** Common gain of the tile. */
  readonly gain: number;
  /** [columns] */
  readonly adcGain: Float64Array;
  /** [columns] in LSB. */
  readonly adcOffsetLsb: Float64Array;
}

/** Draws a tile. `banks` is 2 where a weight has a cell for either sign of the input (`paired-rows`), else 1. */
export function drawStatics(
  physics: TilePhysics,
  chip: ChipInstance,
  place: TilePlace,
  tile: WeightTile,
  { outputs, columns, format }: Pick<HardwareWeights, 'outputs' | 'columns' | 'format'>,
  banks: number,
): TileStatics {
  const { design } = physics;
  const { taps, cellWeights } = format;
  const at = [place.layer, place.tensor, place.tile] as const;
  const draw = (use: number, count: number, sigma: number): Float64Array => {
    if (!chip.errors || sigma === 0) return new Float64Array(count);
    return gaussians(drawKey(use, chip.seed, ...at, 0), count, sigma);
  };
  const segments = ladderSegments(outputs, cellWeights.length, design.ladder.columns);
  const cells = Array.from({ length: banks }, (_, bank) =>
    drawCells(physics, chip, place, bank, tile, columns),
  );
  return {
    vtV: cells.map(({ vtV }) => vtV),
    beta: cells.map(({ beta }) => beta),
    tapLogMean: chip.errors ? physics.spreads.get(taps)!.logMean : new Float64Array(taps + 1),
    segments,
    rowErrors: Array.from({ length: banks }, (_, bank) =>
      segments.map((_s, i) => drawRows(physics, chip, place, tile, taps, bank * segments.length + i)),
    ),
    gain: drawTileGain(physics, chip, place),
    adcGain: draw(DRAW.adcGain, columns, design.adc.gainSigma).map((error) => 1 + error),
    adcOffsetLsb: draw(DRAW.adcOffset, columns, design.adc.offsetSigmaLsb),
  };
}

/** Of the connected cells of a bank, [rows * columns] each. */
function drawCells(
  { sigmaVtV, sigmaBeta }: TilePhysics,
  chip: ChipInstance,
  place: TilePlace,
  bank: number,
  { rows, rowStart, codes }: WeightTile,
  columns: number,
): { vtV: Float32Array; beta: Float32Array } {
  const vtV = new Float32Array(rows * columns);
  const beta = new Float32Array(rows * columns);
  if (!chip.errors || sigmaVtV + sigmaBeta === 0) return { vtV, beta };
  const key = cellKey(chip, place, bank);
  const first = rowStart * columns;
  for (let i = 0; i < vtV.length; i++) {
    if (codes[i] === 0) continue;
    const bits = cellBits(key, first + i);
    vtV[i] = sigmaVtV * thresholdDraw(bits);
    beta[i] = sigmaBeta * gainDraw(bits);
  }
  return { vtV, beta };
}

/** Common gain of a tile: its replica, its temperature and the gradient across the die. */
export function drawTileGain(physics: TilePhysics, chip: ChipInstance, place: TilePlace): number {
  if (!chip.errors) return 1;
  const gradient = drawKey(DRAW.gradient, chip.seed);
  const gradientLog =
    physics.gradientGainSigma *
    (gaussian(gradient, 0) * (place.dieX - 0.5) + gaussian(gradient, 2) * (place.dieY - 0.5));
  const own = drawKey(DRAW.tileGain, chip.seed, place.layer, place.tensor, place.tile, 0);
  return Math.exp(physics.tileGainSigma * gaussian(own, 0) + gradientLog);
}
