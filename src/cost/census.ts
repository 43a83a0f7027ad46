/**
 * A run's activity, per token and in total: the counts that the formulas of area, time and energy share.
 */
import { OnefetError } from '../error.ts';
import type { Activity, TileActivity } from '../fabric/activity.ts';
import { ladderCount } from '../tile/ladder.ts';
import { weightFormat } from '../tile/weight-code.ts';
import { type LogDomainCostDesign, meanIntegratorF } from './log-domain-design.ts';

/** Counts of the tensors of one weight format together: their cells differ in taps, and so in area and wires. */
export interface FormatCensus {
  bits: number;
  taps: number;
  tensors: string[];
  cells: number;
  ladders: number;
  columnEnds: number;
  gateCharges: number;
  adcConversions: number;
}

export interface Census {
  /** By bits of the weights, ascending. */
  formats: FormatCensus[];
  /** Cell sites, and those with a drain via. */
  cells: number;
  connectedCells: number;
  /** Rows of all tensors: each has one DAC per phase set. */
  rows: number;
  /** Row ladders: one per row and group of `ladderColumns` columns of one cell of the weights. */
  ladders: number;
  /** References of row drivers: one per tile and group of columns, shared by the rows of the tile. */
  references: number;
  /** Column ends: tiles x columns; each has two bit lines. */
  columnEnds: number;
  /** Outputs times tiles: each result has a digital scale. */
  scales: number;
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
  /** Sum over column ends of their integrators' capacitance, and over their conversions per token. */
  integratorsF: number;
  convertedF: number;
  /** Weight products done by the array. */
  macs: number;
  hasHead: boolean;
}

/** Sums a run's activity. Errors: NO_ACTIVITY; COST_ACTIVITY where the columns are not those of the design's weight bits. */
export function census(activity: Activity<TileActivity>, design: LogDomainCostDesign): Census {
  if (activity.layers.length === 0) {
    throw new OnefetError(
      'input',
      'NO_ACTIVITY',
      'cost: the run has no analog layers, so there is nothing to cost',
      { hint: 'cost needs a design with an analog fabric' },
    );
  }
  const sum = emptyCensus();
  for (const layer of activity.layers) {
    checkLayer(layer);
    addLayer(sum, layer, design);
  }
  sum.formats.sort((a, b) => a.bits - b.bits);
  return sum;
}

function emptyCensus(): Census {
  return {
    formats: [],
    cells: 0,
    connectedCells: 0,
    rows: 0,
    ladders: 0,
    references: 0,
    columnEnds: 0,
    scales: 0,
    currentA: 0,
    gateCharges: 0,
    activeRows: 0,
    dacConversions: 0,
    adcConversions: 0,
    adcClipped: 0,
    clampPhases: 0,
    integratorsF: 0,
    convertedF: 0,
    macs: 0,
    hasHead: false,
  };
}

function checkLayer(layer: TileActivity): void {
  if (!(layer.tokens > 0)) {
    throw new OnefetError(
      'input',
      'NO_ACTIVITY',
      `cost: layer ${layer.layer} ${layer.tensor} processed ${layer.tokens} tokens, so its averages do not exist`,
    );
  }
  const { bits, cellWeights } = weightFormat(layer.weightBits);
  if (layer.columns !== layer.outputs * cellWeights.length) {
    throw new OnefetError(
      'input',
      'COST_ACTIVITY',
      `cost: layer ${layer.layer} ${layer.tensor} has ${layer.columns} columns for ${layer.outputs} outputs, but ${bits}-bit weights take ${cellWeights.length} each`,
    );
  }
}

function addLayer(sum: Census, layer: TileActivity, design: LogDomainCostDesign): void {
  const { tokens } = layer;
  const { cellWeights } = weightFormat(layer.weightBits);
  // A row of a weight that takes two cells on one column is two rows (paired-rows): cells over columns counts both.
  const rows = layer.cells / layer.columns;
  const ladders = ladderCount(layer.outputs, cellWeights.length, design.ladderColumns);
  const columnEnds = layer.tiles * layer.columns;
  for (const both of [sum, formatCensus(sum, layer)]) {
    both.cells += layer.cells;
    both.ladders += rows * ladders;
    both.columnEnds += columnEnds;
    both.gateCharges += (layer.sumActiveRows / tokens) * layer.columns;
    both.adcConversions += layer.adcConversions / tokens;
  }
  const capacitorF = meanIntegratorF(design, layer.tensor);
  sum.integratorsF += columnEnds * capacitorF;
  sum.convertedF += (layer.adcConversions / tokens) * capacitorF;
  sum.references += layer.tiles * ladders;
  sum.scales += layer.outputs * layer.tiles;
  sum.connectedCells += layer.connectedCells;
  sum.rows += rows;
  sum.currentA += layer.sumCurrentA / tokens;
  sum.activeRows += layer.sumActiveRows / tokens;
  sum.dacConversions += layer.dacConversions / tokens;
  sum.adcClipped += layer.adcClipped / tokens;
  sum.clampPhases += columnEnds * layer.phases;
  sum.macs += layer.outputs * layer.inputs;
  if (layer.tensor === 'output') sum.hasHead = true;
}

/** The format of a tensor's weights, entered where it is the first of its bits. */
function formatCensus(sum: Census, { tensor, weightBits }: TileActivity): FormatCensus {
  const { bits, taps } = weightFormat(weightBits);
  let format = sum.formats.find((one) => one.bits === bits);
  if (format === undefined) {
    format = {
      bits,
      taps,
      tensors: [],
      cells: 0,
      ladders: 0,
      columnEnds: 0,
      gateCharges: 0,
      adcConversions: 0,
    };
    sum.formats.push(format);
  }
  if (!format.tensors.includes(tensor)) format.tensors.push(tensor);
  return format;
}
