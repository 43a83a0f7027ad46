/** Full scales of column converters: what range calibration records, and the table that comes of it. */
import { OnefetError } from '../error.ts';
import { type RangeHistogram, rangeQuantile } from '../tile/adc.ts';
import type { TilePhysics } from '../tile/physics.ts';

/** Full scale of the converters, by tensor key: [tiles][cells per weight], in I_fs. */
export type RangeTable = Record<string, number[][]>;

/** Values that range calibration saw, by tensor: [tiles][cells per weight]. */
export type RangeRecord = Map<string, RangeHistogram[][]>;

/**
 * Full scales from what range calibration recorded of the nominal chip, times the mean gain that a chip's columns are
 * known to have; refuses a design whose clamps cannot carry the common mode (with that gain).
 */
export function rangeTable(record: RangeRecord, physics: TilePhysics): RangeTable {
  const { design } = physics;
  const table: RangeTable = {};
  for (const [key, tiles] of record) {
    table[key] = tiles.map((cells, tile) =>
      cells.map((histogram) => {
        requireClamps(physics, key, tile, histogram.largestCommonMode);
        return physics.meanGain * rangeQuantile(histogram, design.adc.rangeQuantile);
      }),
    );
  }
  return table;
}

/**
 * Refuses a design whose clamps cannot carry the largest current of both lines of a tile's column and phase, in I_fs on the nominal
 * chip. Errors: CLAMP_OVERLOAD.
 */
export function requireClamps(physics: TilePhysics, key: string, tile: number, largest: number): void {
  const commonA = physics.meanGain * largest * physics.design.fullScaleA;
  if (commonA <= physics.clampMaxA) return;
  throw new OnefetError(
    'usage',
    'CLAMP_OVERLOAD',
    `the bit lines of ${key} tile ${tile} carry ${(commonA * 1e6).toFixed(3)} uA, the clamps only ${physics.clampMaxA * 1e6} uA`,
    { hint: 'raise column.clampMaxA, or lower fullScaleA or tile.rows' },
  );
}

/** The same table with every full scale multiplied by `factor`. */
export function scaleRanges(table: RangeTable, factor: number): RangeTable {
  return Object.fromEntries(
    Object.entries(table).map(([key, tiles]) => [key, tiles.map((cells) => cells.map((fs) => fs * factor))]),
  );
}
