/**
 * Static errors of one analog operation on one chip, as far as they are not drawn cell by cell: the same draws as
 * src/tile/static-errors.ts, asked for without its cells.
 */
import { diePosition, tensorNumber } from '../fabric/log-domain.ts';
import { gaussian } from '../random.ts';
import { type ChipInstance, DRAW, drawKey } from '../tile/draws.ts';
import type { TilePhysics } from '../tile/physics.ts';
import { drawStatics, type TilePlace, type TileStatics } from '../tile/static-errors.ts';
import type { Operation } from './plan.ts';

export function tilePlace(operation: Operation, tile: number, blocks: number): TilePlace {
  const { name, tiles } = operation;
  return {
    layer: name.layer,
    tensor: tensorNumber(name),
    tile,
    ...diePosition(name, tile, tiles, blocks),
  };
}

export const rowsOf = (operation: Operation, tile: number): number =>
  tile === operation.tiles - 1 ? operation.lastRows : operation.rows;

/** Rows, taps and common gain of a tile. */
export function tileStatics(
  operation: Operation,
  tile: number,
  blocks: number,
  physics: TilePhysics,
  chip: ChipInstance,
): TileStatics {
  const rows = rowsOf(operation, tile);
  const empty = { rowStart: 0, rows, codes: new Int8Array(0), scales: new Float32Array(0) };
  return drawStatics(physics, chip, tilePlace(operation, tile, blocks), empty, 0, operation.taps, 1);
}

/** Gain and offset (LSB) of the converter of one physical column. */
export function converterErrors(
  place: TilePlace,
  column: number,
  physics: TilePhysics,
  chip: ChipInstance,
): { gain: number; offsetLsb: number } {
  const { gainSigma, offsetSigmaLsb } = physics.design.adc;
  const draw = (use: number, sigma: number) =>
    chip.errors && sigma > 0
      ? sigma * gaussian(drawKey(use, chip.seed, place.layer, place.tensor, place.tile, 0), column)
      : 0;
  return { gain: 1 + draw(DRAW.adcGain, gainSigma), offsetLsb: draw(DRAW.adcOffset, offsetSigmaLsb) };
}
