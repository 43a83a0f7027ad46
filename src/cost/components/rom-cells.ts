/**
 * Cells of a mask ROM beyond one bit a transistor (src/fabric/mask-rom.ts, routed.ts).
 *
 *   connection  one transistor a cell and one line a value: cell = lines x metal pitch x gate pitch; no line is a zero
 *   current     a transistor told by its current; cell = max(device, rails x pitch) and a sense circuit for each level
 *               that a unit reads at a time
 *
 * Drivers and sense amplifiers take the rest of the array: cell area over `rom.cellArrayShare`.
 */

import type { CircuitCalibration } from '../../cell/circuits/circuit.ts';
import type { RomResult } from '../../cell/circuits/rom.ts';
import { count, formatSi, plain } from '../../format.ts';
import { cellsPerWord } from '../../tile/code-reads.ts';
import { weightFormat } from '../../tile/weight-code.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, COUNTED, costLine, SIMULATED, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import type { CostLine, WeightCost } from '../report.ts';
import type { ReadTime } from './macs.ts';
import type { MatrixFormat, MatrixTotals } from './matrices.ts';

// Physics.

/** Lines of a cell that is told by its connection: one for either sign of each magnitude. */
export const connectionLines = (bits: number): number => 2 * weightFormat(bits).taps;

/** Cells of a weight that is told by its connection. */
export const connectionCells = (bits: number): number => weightFormat(bits).cellWeights.length;

/** Silicon of a cell told by its connection, with its share of the array's circuits, um2. */
export function connectionCellUm2(bits: number, { layout, rom }: CostConstants): number {
  const lines = connectionLines(bits);
  return (lines * layout.metalPitchM.value * rom.gatePitchM.value * 1e12) / rom.cellArrayShare.value;
}

/** A cell told by its current at `area` times the gate of the calibrated one, and its energy and time of a read. */
export interface CurrentCell {
  readonly levels: number;
  readonly gateAreaScale: number;
  readonly gateWidthM: number;
  readonly gateLengthM: number;
  /** Bit line and word line, J per cell that is read. */
  readonly bitEnergyJ: number;
  readonly wordEnergyJ: number;
  /** Until the slowest level that must has moved the bit line, s. */
  readonly fallS: number;
}

/** Width and length grow alike; the word line's charge goes with the gate, the bit line's with the width of its junctions. */
export function currentCell(
  { parameters }: CircuitCalibration,
  rom: RomResult,
  gateAreaScale: number,
): CurrentCell {
  const side = Math.sqrt(gateAreaScale);
  const typical = rom.read.find(({ corner, tempK }) => corner === 'TT' && tempK === 300.15)!;
  const falls = typical.fallS.filter((fall) => fall !== null);
  return {
    levels: rom.levels,
    gateAreaScale,
    gateWidthM: side * parameters.cell_w_m,
    gateLengthM: side * parameters.cell_l_m,
    bitEnergyJ: side * typical.bitEnergyJ,
    wordEnergyJ: gateAreaScale * typical.wordEnergyJ,
    fallS: Math.max(...falls),
  };
}

/** max((W + side) (L + end), rails x pitch (L + end)) over the share of cells, um2. */
export function currentCellUm2(cell: CurrentCell, { layout, rom }: CostConstants): number {
  const acrossM = Math.max(
    cell.gateWidthM + layout.deviceSideM.value,
    cell.levels * layout.metalPitchM.value,
  );
  const alongM = cell.gateLengthM + layout.deviceEndM.value;
  return (acrossM * alongM * 1e12) / rom.cellArrayShare.value;
}

// Lines.

const CELL = { source: 'SPICE, calibrated mask-ROM cell, TT and 27 C', tag: SIMULATED.tag } as const;

export function connectionAreaLine({ formats }: MatrixTotals, constants: CostConstants): CostLine {
  const { layout, rom } = constants;
  const mm2 = formats.reduce(
    (sum, { bits, weights }) =>
      sum + (weights * connectionCells(bits) * connectionCellUm2(bits, constants)) / UM2_PER_MM2,
    0,
  );
  return costLine(
    'weight-cells',
    mm2,
    () =>
      `${formats.map(({ bits, weights }) => `${count(weights * connectionCells(bits))} cells of ${connectionLines(bits)} lines`).join(' + ')} x ${formatSi(layout.metalPitchM.value, 'm')} x ${formatSi(rom.gatePitchM.value, 'm')} / ${rom.cellArrayShare.value} of the array`,
    [CHOSEN, layout.metalPitchM, rom.gatePitchM, rom.cellArrayShare],
  );
}

/** One line of a cell moves in place of the bits of a word: taken equal to their read. */
export function connectionReadLine({ formats }: MatrixTotals, { memory }: CostConstants): CostLine {
  const bytes = formats.reduce((sum, { bits, macs }) => sum + (macs * bits) / 8, 0);
  return costLine(
    'weight-cells',
    bytes * memory.romReadJPerByte.value,
    () => `${formatSi(bytes, 'B')} of weights x ${formatSi(memory.romReadJPerByte.value, 'J/B')}`,
    [COUNTED, UNPROVEN, memory.romReadJPerByte],
  );
}

const currentCells = (format: MatrixFormat, { levels }: CurrentCell): number =>
  format.weights * cellsPerWord(format.bits, levels);

export function currentAreaLine(
  { formats }: MatrixTotals,
  cell: CurrentCell,
  constants: CostConstants,
): CostLine {
  const { layout, rom } = constants;
  const cells = formats.reduce((sum, format) => sum + currentCells(format, cell), 0);
  const um2 = currentCellUm2(cell, constants);
  return costLine(
    'weight-cells',
    (cells * um2) / UM2_PER_MM2,
    () =>
      `${count(cells)} cells of ${cell.levels} levels x ${plain(um2)} um2 (gate ${formatSi(cell.gateWidthM, 'm')} x ${formatSi(cell.gateLengthM, 'm')} and its rules, ${rom.cellArrayShare.value} of the array)`,
    [CHOSEN, layout.deviceSideM, layout.deviceEndM, rom.cellArrayShare],
  );
}

/** Sense circuits of all units: one for each level above the first of each cell of the widest weight. */
export function senseAreaLine(
  { formats }: MatrixTotals,
  units: number,
  { levels }: CurrentCell,
  { rom }: CostConstants,
): CostLine {
  const each = cellsPerWord(Math.max(...formats.map(({ bits }) => bits)), levels) * (levels - 1);
  return costLine(
    'sense',
    (units * each * rom.senseUm2.value) / UM2_PER_MM2,
    () => `${count(units)} units x ${each} sense circuits x ${plain(rom.senseUm2.value)} um2`,
    [CHOSEN, rom.senseUm2],
  );
}

export function currentReadLines(
  { formats }: MatrixTotals,
  cell: CurrentCell,
  { rom }: CostConstants,
): CostLine[] {
  const reads = formats.reduce((sum, { bits, macs }) => sum + macs * cellsPerWord(bits, cell.levels), 0);
  const decisions = reads * (cell.levels - 1);
  return [
    costLine(
      'weight-cells',
      reads * (cell.bitEnergyJ + cell.wordEnergyJ),
      () =>
        `${count(reads)} cells read x (${formatSi(cell.bitEnergyJ, 'J')} bit line + ${formatSi(cell.wordEnergyJ, 'J')} word line)`,
      [COUNTED, CELL, UNPROVEN],
    ),
    costLine(
      'sense',
      decisions * rom.senseJ.value,
      () => `${count(decisions)} decisions x ${formatSi(rom.senseJ.value, 'J')}`,
      [COUNTED, rom.senseJ],
    ),
  ];
}

export function currentReadTime(cell: CurrentCell, { rom }: CostConstants): ReadTime {
  return {
    seconds: cell.fallS + rom.prechargeS.value,
    formula: `(${formatSi(cell.fallS, 's')} read + ${formatSi(rom.prechargeS.value, 's')} precharge)`,
    used: [CELL, rom.prechargeS],
  };
}

/** Cells of each format and what they take. */
export function cellCosts(
  { formats }: MatrixTotals,
  cells: (format: MatrixFormat) => number,
  um2: (format: MatrixFormat) => number,
): WeightCost[] {
  return formats.map((format) => ({
    bits: format.bits,
    tensors: format.tensors,
    cells: cells(format),
    cellUm2: um2(format),
    cellsMm2: (cells(format) * um2(format)) / UM2_PER_MM2,
  }));
}

export const connectionCosts = (totals: MatrixTotals, constants: CostConstants): WeightCost[] =>
  cellCosts(
    totals,
    ({ bits, weights }) => weights * connectionCells(bits),
    ({ bits }) => connectionCellUm2(bits, constants),
  );

export const currentCosts = (
  totals: MatrixTotals,
  cell: CurrentCell,
  constants: CostConstants,
): WeightCost[] =>
  cellCosts(
    totals,
    (format) => currentCells(format, cell),
    () => currentCellUm2(cell, constants),
  );
