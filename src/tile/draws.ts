/** A chip and the keys of what is drawn for it. */
import { type StreamKey, streamKey } from '../random.ts';

/** One instance of the chip: `seed` 0 with no errors is the nominal chip. */
export interface ChipInstance {
  /** Draw static and dynamic errors; false is the nominal, noiseless chip of the range calibration. */
  readonly errors: boolean;
  readonly seed: number;
}

/** What a draw is for: the first coordinate of its key, so that no two uses share a stream. */
export const DRAW = {
  vt: 1,
  beta: 2,
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
} as const;

/**
 * Draws of a cell: key by chip, layer, tensor and bank, number by its row and column in the whole matrix, so that another
 * height of the tiles gives the same transistors. Below 2^32 for a head of 128k columns and 4096 rows.
 */
export function cellKey(
  use: typeof DRAW.vt | typeof DRAW.beta,
  chip: ChipInstance,
  place: { readonly layer: number; readonly tensor: number },
  bank: number,
): StreamKey {
  return drawKey(use, chip.seed, place.layer, place.tensor, bank);
}

export function drawKey(use: number, seed: number, ...coordinates: number[]): StreamKey {
  return streamKey(use, seed, ...coordinates);
}
