/**
 * What process variation did to one tile of one chip: drawn once, the same for every token.
 *
 *   cell    dVt ~ N(0, sigma(Vt)), dBeta ~ N(0, sigma(beta)), by (chip seed, layer, tensor, tile, bank; row, column)
 *   row     offset of the buffer ~ N(0, offsetSigmaV), and the mismatch of its ladder's resistors
 *   tile    common gain from the replica's offset, the tile's temperature and the gradient across the die
 *   column  gain and offset of the converter
 */
import { gaussian } from '../random.ts';
import { type ChipInstance, DRAW, drawKey } from './draws.ts';
import type { TilePhysics } from './physics.ts';
import type { WeightTile } from './weight-code.ts';

/** Where a tile is: the coordinates of its draws. */
export interface TilePlace {
  readonly layer: number;
  /** Number of the tensor in its block. */
  readonly tensor: number;
  readonly tile: number;
  /** Position on the die, each 0 .. 1. */
  readonly dieX: number;
  readonly dieY: number;
}

export interface TileStatics {
  /** [banks][rows * columns] threshold shift, V. */
  readonly vtV: readonly Float32Array[];
  /** [banks][rows * columns] relative gain. */
  readonly beta: readonly Float32Array[];
  /** [rows] gate-voltage offset of the row's buffer, V. */
  readonly rowOffsetV: Float64Array;
  /** [taps + 1][rows] gate-voltage error of a tap from its ladder's resistors, V. */
  readonly tapErrorV: readonly Float64Array[];
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
  columns: number,
  taps: number,
  banks: number,
): TileStatics {
  const { design } = physics;
  const at = [place.layer, place.tensor, place.tile] as const;
  const draw = (use: number, count: number, sigma: number, bank = 0): Float64Array => {
    const values = new Float64Array(count);
    if (!chip.errors || sigma === 0) return values;
    const key = drawKey(use, chip.seed, ...at, bank);
    for (let i = 0; i < count; i++) values[i] = sigma * gaussian(key, i);
    return values;
  };
  const cells = tile.rows * columns;
  const banked = (use: number, sigma: number) =>
    Array.from({ length: banks }, (_, bank) => {
      const values = new Float32Array(cells);
      if (!chip.errors || sigma === 0) return values;
      const key = drawKey(use, chip.seed, ...at, bank);
      for (let i = 0; i < cells; i++) if (tile.codes[i] !== 0) values[i] = sigma * gaussian(key, i);
      return values;
    });
  const gradient = chip.errors ? drawKey(DRAW.gradient, chip.seed) : undefined;
  const gradientLog = gradient
    ? physics.gradientGainSigma *
      (gaussian(gradient, 0) * (place.dieX - 0.5) + gaussian(gradient, 2) * (place.dieY - 0.5))
    : 0;
  return {
    vtV: banked(DRAW.vt, physics.sigmaVtV),
    beta: banked(DRAW.beta, physics.sigmaBeta),
    rowOffsetV: draw(DRAW.rowOffset, tile.rows, design.driver.offsetSigmaV),
    tapErrorV: ladderErrors(
      physics.ladderSlopeV,
      draw(DRAW.ladder, tile.rows * taps, design.driver.resistorSigma),
      tile.rows,
      taps,
    ),
    gain: Math.exp(draw(DRAW.tileGain, 1, physics.tileGainSigma)[0] + gradientLog),
    adcGain: draw(DRAW.adcGain, columns, design.adc.gainSigma).map((error) => 1 + error),
    adcOffsetLsb: draw(DRAW.adcOffset, columns, design.adc.offsetSigmaLsb),
  };
}

/**
 * A ladder from the top tap (m = taps) down: segment s between taps s + 1 and s drops n Ut ln((s + 1) / s) (1 + e_s),
 * so tap m is off by -n Ut sum_{s >= m} ln((s + 1) / s) e_s. Returns [taps + 1][rows], V.
 */
function ladderErrors(slopeV: number, resistor: Float64Array, rows: number, taps: number): Float64Array[] {
  const errors = Array.from({ length: taps + 1 }, () => new Float64Array(rows));
  for (let j = 0; j < rows; j++) {
    let sum = 0;
    for (let m = taps - 1; m >= 1; m--) {
      sum -= slopeV * Math.log((m + 1) / m) * resistor[j * taps + m];
      errors[m][j] = sum;
    }
  }
  return errors;
}
