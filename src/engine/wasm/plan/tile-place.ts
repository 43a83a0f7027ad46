/**
 * Static errors of one analog operation on one chip, as far as they are not drawn cell by cell: the same draws as
 * src/tile/static-errors.ts, asked for without its cells.
 */

import { OnefetError } from '../../../error.ts';
import { diePosition, tensorKey } from '../../../fabric/placement.ts';
import { gaussians } from '../../../random.ts';
import { type ChipInstance, DRAW, drawKey, type TilePlace } from '../../../tile/draws.ts';
import { drawRows, type RowErrors } from '../../../tile/ladder.ts';
import type { TilePhysics } from '../../../tile/physics.ts';
import type { WorkerContext } from './context.ts';
import type { Operation } from './operations.ts';

export function tilePlace(operation: Operation, tile: number, blocks: number): TilePlace {
  const { name, tiles } = operation;
  return {
    layer: name.layer,
    tensor: name.ordinal,
    tile,
    ...diePosition(name, tile, tiles, blocks),
  };
}

export const tileRows = (operation: Operation, tile: number): number =>
  tile === operation.tiles - 1 ? operation.lastRows : operation.rows;

/** The rows of a tile as one of their ladders drives them. */
export function tileRowErrors(
  operation: Operation,
  tile: number,
  ladder: number,
  blocks: number,
  physics: TilePhysics,
  chip: ChipInstance,
): RowErrors {
  const place = tilePlace(operation, tile, blocks);
  const strip = { rowStart: tile * operation.rows, rows: tileRows(operation, tile) };
  return drawRows(physics, chip, place, strip, operation.taps, ladder);
}

/** Gain less 1 and offset (LSB) of the converters of `count` physical columns; real-valued ones have neither. */
export function converterErrors(
  place: TilePlace,
  column: number,
  count: number,
  physics: TilePhysics,
  chip: ChipInstance,
): { gainError: Float64Array; offsetLsb: Float64Array } {
  const { gainSigma, offsetSigmaLsb } = physics.design.adc;
  const drawn = chip.errors && physics.adc.bits !== 'float';
  const draw = (use: number, sigma: number) =>
    drawn && sigma > 0
      ? gaussians(drawKey(use, chip.seed, place.layer, place.tensor, place.tile, 0), count, sigma, column)
      : new Float64Array(count);
  return { gainError: draw(DRAW.adcGain, gainSigma), offsetLsb: draw(DRAW.adcOffset, offsetSigmaLsb) };
}

export function tileFullScale(
  { ranges }: Pick<WorkerContext['data'], 'ranges'>,
  { name }: Operation,
  tile: number,
  cell: number,
): number | undefined {
  return ranges?.[tensorKey(name)]?.[tile]?.[cell];
}

/** One LSB in I_fs; with real-valued converters, I_fs itself. */
export function converterStep(
  context: Pick<WorkerContext, 'data' | 'physics'>,
  operation: Operation,
  tile: number,
  cell: number,
): number {
  const { data, physics } = context;
  if (data.mode === 'range' || physics!.adc.bits === 'float') return 1;
  const fullScale = tileFullScale(data, operation, tile, cell);
  if (fullScale === undefined || !(fullScale > 0)) {
    throw new OnefetError(
      'internal',
      'RANGES',
      `no converter range for ${tensorKey(operation.name)} tile ${tile} cell ${cell}`,
    );
  }
  return fullScale / physics!.adc.top;
}
