/** A chip and the keys of what is drawn for it. */
import { bits32, mix32, type StreamKey, streamKey, type TokenPosition } from '../random.ts';

/** One instance of the chip: `seed` 0 with no errors is the nominal chip. */
export interface ChipInstance {
  /** Draw static and dynamic errors; false is the nominal, noiseless chip of the range calibration. */
  readonly errors: boolean;
  readonly seed: number;
}

/** Place of a tile: the coordinates of its draws. */
export interface TilePlace {
  readonly layer: number;
  /** Number of the tensor in its block. */
  readonly tensor: number;
  readonly tile: number;
  /** Position on the die, each 0 .. 1. */
  readonly dieX: number;
  readonly dieY: number;
}

/** Use of a draw: the first coordinate of its key, so that no two uses share a stream. */
export const DRAW = {
  cell: 1,
  rowOffset: 3,
  ladder: 4,
  tileGain: 5,
  gradient: 6,
  adcGain: 7,
  adcOffset: 8,
  rowNoise: 9,
  phaseGain: 10,
  conversion: 11,
  lowFrequency: 12,
  sampling: 13,
  trimVector: 14,
  romCell: 15,
} as const;

/**
 * Draws of a cell (cell-draws.ts): key by chip, layer, tensor and bank, number by its row and column in the whole matrix, so
 * that another height of the tiles gives the same transistors. Below 2^32 for a head of 128k columns and 4096 rows.
 */
export function cellKey(
  chip: ChipInstance,
  place: { readonly layer: number; readonly tensor: number },
  bank: number,
): StreamKey {
  return drawKey(DRAW.cell, chip.seed, place.layer, place.tensor, bank);
}

export function drawKey(use: number, seed: number, ...coordinates: number[]): StreamKey {
  return streamKey(use, seed, ...coordinates);
}

/** Draws of one tile: keys folded once from chip and place, then per window, position and phase. */
export interface TileNoise {
  readonly rowKey: StreamKey;
  readonly phaseKey: StreamKey;
  readonly conversionKey: StreamKey;
  readonly samplingKey: StreamKey;
  readonly lowFrequencyKey: StreamKey;
}

export function tileNoise(chip: ChipInstance, place: TilePlace): TileNoise {
  const key = (use: number) => drawKey(use, chip.seed, place.layer, place.tensor, place.tile);
  return {
    rowKey: key(DRAW.rowNoise),
    phaseKey: key(DRAW.phaseGain),
    conversionKey: key(DRAW.conversion),
    samplingKey: key(DRAW.sampling),
    lowFrequencyKey: key(DRAW.lowFrequency),
  };
}

/** A stream's key at one token: a fresh 64-bit key from the stream's, the window and the position. */
export function tokenKey(key: StreamKey, at: TokenPosition): StreamKey {
  const a = bits32(key, at.window);
  return { a: mix32(a ^ bits32(key, at.position ^ 0x5bd1e995)), b: bits32({ a: key.b, b: a }, at.position) };
}

/** As tokenKey, for what stays put over a window. */
export function windowKey(key: StreamKey, window: number): StreamKey {
  return tokenKey(key, { window, position: -1 });
}
