/**
 * Row drivers: a buffer and its ladder feed the gates of `ladder.columns` columns, so a row of a wide tensor has several,
 * each with an offset and resistors of its own. The columns that hold one cell of the weights are divided by themselves.
 */

import { gaussians } from '../random.ts';
import { type ChipInstance, DRAW, drawKey, type TilePlace } from './draws.ts';
import type { TilePhysics } from './physics.ts';

/** Physical columns from .. to - 1 that one ladder per row feeds. */
export interface Segment {
  readonly from: number;
  readonly to: number;
}

/** Ladders of a row: what is drawn here and what is built in src/cost. */
export function ladderCount(outputs: number, cells: number, ladderColumns: number): number {
  return cells * Math.ceil(outputs / ladderColumns);
}

/** The ladder that feeds a physical column (cell * outputs + output). */
export function ladderIndex(column: number, outputs: number, ladderColumns: number): number {
  const cell = Math.floor(column / outputs);
  return cell * Math.ceil(outputs / ladderColumns) + Math.floor((column - cell * outputs) / ladderColumns);
}

export function ladderSegments(outputs: number, cells: number, ladderColumns: number): Segment[] {
  return Array.from({ length: cells }, (_, cell) =>
    Array.from({ length: Math.ceil(outputs / ladderColumns) }, (_s, i) => ({
      from: cell * outputs + i * ladderColumns,
      to: cell * outputs + Math.min(outputs, (i + 1) * ladderColumns),
    })),
  ).flat();
}

/** Static errors of the rows of one tile and ladder. */
export interface RowErrors {
  /** [rows] gate-voltage offset of the row's buffer, V. */
  readonly rowOffsetV: Float64Array;
  /** [taps + 1][rows] gate-voltage error of a tap from its ladder's resistors, V. */
  readonly tapErrorV: readonly Float64Array[];
}

/** The draws of ladder number `ladder` of each row, numbered in the whole matrix. */
export function drawRows(
  physics: TilePhysics,
  chip: ChipInstance,
  place: TilePlace,
  { rowStart, rows }: { readonly rowStart: number; readonly rows: number },
  taps: number,
  ladder: number,
): RowErrors {
  const { driver } = physics.design;
  const draw = (use: number, perRow: number, sigma: number): Float64Array => {
    if (!chip.errors || sigma === 0) return new Float64Array(rows * perRow);
    const key = drawKey(use, chip.seed, place.layer, place.tensor, ladder);
    return gaussians(key, rows * perRow, sigma, rowStart * perRow);
  };
  return {
    rowOffsetV: draw(DRAW.rowOffset, 1, physics.rowOffsetSigmaV),
    tapErrorV: ladderErrors(
      physics.ladderSlopeV,
      draw(DRAW.ladder, taps, physics.ladderSlopeV === 0 ? 0 : driver.resistorSigma),
      rows,
      taps,
    ),
  };
}

/**
 * A ladder from the top tap (m = taps) down: segment s between taps s + 1 and s drops n Ut ln((s + 1) / s) (1 + e_s),
 * so tap m is off by -n Ut sum_{s >= m} ln((s + 1) / s) e_s. Returns [taps + 1][rows], V.
 */
function ladderErrors(slopeV: number, resistor: Float64Array, rows: number, taps: number): Float64Array[] {
  const errors = Array.from({ length: taps + 1 }, () => new Float64Array(rows));
  const dropV = Array.from({ length: taps }, (_, m) => (m === 0 ? 0 : slopeV * Math.log((m + 1) / m)));
  for (let j = 0; j < rows; j++) {
    let sum = 0;
    for (let m = taps - 1; m >= 1; m--) {
      sum -= dropV[m] * resistor[j * taps + m];
      errors[m][j] = sum;
    }
  }
  return errors;
}
