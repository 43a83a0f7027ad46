/**
 * A run's activity, per token and in total: the counts that the formulas of area, time and energy share.
 */
import { OnefetError } from '../error.ts';
import type { Activity } from '../fabric/activity.ts';

export interface Census {
  /** Cell sites, and those with a drain via. */
  cells: number;
  connectedCells: number;
  /** Rows of all tensors: each has one DAC per phase set. */
  rows: number;
  /** Row ladders: one per row and group of `ladderColumns` columns. */
  ladders: number;
  /** Column ends: tiles x columns; each has two bit lines. */
  columnEnds: number;
  /** Analog steps that wait for one another are counted from the model's shape, not here. Per token: */
  currentA: number;
  /** sum over driven rows and phases of the gates on the row. */
  gateCharges: number;
  /** The same without the weight of the row's length: rows driven. */
  activeRows: number;
  dacConversions: number;
  adcConversions: number;
  adcClipped: number;
  /** sum over column ends of the phases in which their clamps are on. */
  clampPhases: number;
  /** Weight products done by the array. */
  macs: number;
  hasHead: boolean;
}

export function census(activity: Activity, ladderColumns: number): Census {
  const sum: Census = {
    cells: 0,
    connectedCells: 0,
    rows: 0,
    ladders: 0,
    columnEnds: 0,
    currentA: 0,
    gateCharges: 0,
    activeRows: 0,
    dacConversions: 0,
    adcConversions: 0,
    adcClipped: 0,
    clampPhases: 0,
    macs: 0,
    hasHead: false,
  };
  if (activity.layers.length === 0) {
    throw new OnefetError(
      'input',
      'NO_ACTIVITY',
      'cost: the run has no analog layers, so there is nothing to cost',
      {
        hint: 'cost needs a design with an analog fabric',
      },
    );
  }
  for (const layer of activity.layers) {
    if (!(layer.tokens > 0)) {
      throw new OnefetError(
        'input',
        'NO_ACTIVITY',
        `cost: layer ${layer.layer} ${layer.tensor} processed ${layer.tokens} tokens, so its averages do not exist`,
      );
    }
    // A row of a weight that takes two cells on one column is two rows (paired-rows): cells over columns counts both.
    const rows = layer.cells / layer.columns;
    sum.cells += layer.cells;
    sum.connectedCells += layer.connectedCells;
    sum.rows += rows;
    sum.ladders += rows * Math.ceil(layer.columns / ladderColumns);
    sum.columnEnds += layer.tiles * layer.columns;
    sum.currentA += layer.sumCurrentA / layer.tokens;
    sum.gateCharges += (layer.sumActiveRows / layer.tokens) * layer.columns;
    sum.activeRows += layer.sumActiveRows / layer.tokens;
    sum.dacConversions += layer.dacConversions / layer.tokens;
    sum.adcConversions += layer.adcConversions / layer.tokens;
    sum.adcClipped += layer.adcClipped / layer.tokens;
    sum.clampPhases += layer.tiles * layer.columns * layer.phases;
    sum.macs += layer.outputs * layer.inputs;
    if (layer.tensor === 'output') sum.hasHead = true;
  }
  return sum;
}
