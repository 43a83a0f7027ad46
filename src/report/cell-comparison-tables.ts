/**
 * The tables of a comparison: for its Markdown and for its page.
 */

import type { AutoZeroResult } from '../cell/circuits/auto-zero.ts';
import type { CircuitCalibration } from '../cell/circuits/circuit.ts';
import type { ConverterResult } from '../cell/circuits/converter.ts';
import type { RomResult } from '../cell/circuits/rom.ts';
import type { SelectorResult } from '../cell/circuits/selector.ts';
import type { CellComparison, Comparison, CornerErrors, ErrorAt, Mode } from '../cell/comparison.ts';
import { formatSi } from '../format.ts';
import type { Table } from './html.ts';

export const percent = (value: number, digits = 2): string => `${(100 * value).toFixed(digits)} %`;
const celsius = (tempK: number): string => `${Math.round(tempK - 273.15)} °C`;
const where = (e: ErrorAt): string =>
  `${percent(e.rms)} at ${e.corner}, ${celsius(e.tempK)}, ${e.supplyV.toFixed(2)} V`;

export const area = ({ areaM2 }: CellComparison): string =>
  areaM2 === undefined ? 'no cost.yaml' : `${(areaM2 * 1e12).toPrecision(3)} µm²`;

export const MODE_NAMES: Readonly<Record<Mode, string>> = {
  'replica+ptat': 'replica bias, PTAT ladder',
  'fixed+ptat': 'fixed bias, PTAT ladder',
  'replica+fixed': 'replica bias, fixed ladder',
  'fixed+fixed': 'fixed bias, fixed ladder',
};

export function accuracyTable(comparison: Comparison): Table {
  return {
    caption: `RMS and largest relative error of ${comparison.codes} codes x ${comparison.taps} taps in SPICE, replica bias and PTAT ladder`,
    headers: ['cell', 'driver', 'max 27 °C', 'RMS 27 °C', 'corners', 'up to 85 °C', 'all', 'decades in 5 %'],
    rows: comparison.cells.map((c) => [
      c.cell,
      c.driver,
      percent(c.nominal.max),
      percent(c.nominal.rms),
      percent(c.corners.rms),
      percent(c.worstBelow85C.rms),
      percent(c.worst.rms),
      c.exponentialDecades.toFixed(2),
    ]),
  };
}

export function costTable(comparison: Comparison): Table {
  return {
    caption:
      'Area and static power of one weight, spread of one cell from mismatch at full scale, power of one row and of the reference that rows share',
    headers: ['cell', 'area', 'sigma ln I', 'power per weight', 'power per row', 'shared reference'],
    rows: comparison.cells.map((c) => [
      c.cell,
      area(c),
      percent(c.lnSigma, 1),
      formatSi(c.cellPowerW, 'W'),
      c.rowPowerW === undefined ? 'ideal source' : formatSi(c.rowPowerW, 'W'),
      c.sharedPowerW === undefined ? 'ideal source' : formatSi(c.sharedPowerW, 'W'),
    ]),
  };
}

export function driftTable(comparison: Comparison): Table {
  return {
    caption:
      'Change of the common gain at TT over all temperatures (bias of 27 °C, replica) and for ±10 % supply; RMS error with random ladder steps; sigma of a row from its offset; interpolation error RMS / max of ln I',
    headers: [
      'cell',
      'fixed bias',
      'replica',
      'supply',
      'steps 1 %',
      'steps 3 %',
      'row offset',
      'auto-zeroed',
      'interpolation',
    ],
    rows: comparison.cells.map((c) => [
      c.cell,
      factor(c.gainDriftFixed),
      factor(c.gainDriftReplica),
      factor(c.supplyGain),
      ...[0, 1].map((i) => (c.ladderMismatch[i] === undefined ? '-' : percent(c.ladderMismatch[i].rms))),
      c.rowOffsetLnSigma === undefined ? '-' : percent(Math.abs(c.rowOffsetLnSigma.plain), 1),
      c.rowOffsetLnSigma?.autoZero === undefined ? '-' : percent(Math.abs(c.rowOffsetLnSigma.autoZero), 2),
      `${percent(c.interpolation.rms)} / ${percent(c.interpolation.max)}`,
    ]),
  };
}

/** A change of ln gain: in percent while small, as a factor beyond. */
function factor(lnGain: number): string {
  return lnGain < 0.5 ? percent(Math.expm1(lnGain), 1) : `x ${Math.exp(lnGain).toPrecision(3)}`;
}

export function worstTable(comparison: Comparison): Table {
  return {
    caption: 'Where the largest errors are, replica bias and PTAT ladder',
    headers: ['cell', 'up to 85 °C', 'of all'],
    rows: comparison.cells.map((c) => [c.cell, where(c.worstBelow85C), where(c.worst)]),
  };
}

/** RMS error by temperature, TT, for the four ways to bias. */
export function modeTable(comparison: Comparison): Table {
  const temps = comparison.cells[0]?.modes['replica+ptat']?.map(({ tempK }) => celsius(tempK)) ?? [];
  return {
    caption:
      'RMS error at TT and nominal supply by temperature; one common gain is removed, so bias alone does not show',
    headers: ['cell, mode', ...temps],
    rows: comparison.cells.flatMap((c) =>
      (Object.entries(c.modes) as [Mode, readonly ErrorAt[]][]).map(([mode, list]) => [
        `${c.cell}, ${MODE_NAMES[mode]}`,
        ...list.map(({ rms }) => percent(rms)),
      ]),
    ),
  };
}

const entriesOf = (c: CellComparison) => Object.entries(c.cornersByMode) as [Mode, readonly CornerErrors[]][];

/** Worst RMS error of each corner over temperature and supply, and how far the common gain moves, for every way to bias. */
export function modeCornerTable(comparison: Comparison): Table {
  const corners = comparison.cells[0]?.cornersByMode['replica+ptat']?.map(({ corner }) => corner) ?? [];
  return {
    caption:
      'Largest RMS error of each corner up to 85 °C / up to 125 °C, -40 °C and ±10 % supply included, and the common gain over that of TT, 27 °C and nominal supply, least to most of all conditions',
    headers: ['cell, mode', ...corners, 'gain'],
    rows: comparison.cells.flatMap((c) =>
      entriesOf(c).map(([mode, list]) => [
        `${c.cell}, ${MODE_NAMES[mode]}`,
        ...list.map((e) => `${percent(e.worstBelow85C.rms, 1)} / ${percent(e.worst.rms, 1)}`),
        `${gainText(Math.min(...list.map((e) => e.leastLnGain)))} to ${gainText(Math.max(...list.map((e) => e.mostLnGain)))}`,
      ]),
    ),
  };
}

const gainText = (lnGain: number): string => `x ${Number(Math.exp(lnGain).toPrecision(3))}`;

const isTypical = (c: { corner: string; tempK: number }): boolean =>
  c.corner === 'TT' && celsius(c.tempK) === '27 °C';

/** Tables of the measured circuits, by kind. */
export function circuitTables(circuits: readonly CircuitCalibration[]): Table[] {
  const converters = circuits.flatMap(({ block, converter }) =>
    converter === undefined ? [] : [{ block, converter }],
  );
  const selectors = circuits.flatMap(({ block, selector }) =>
    selector === undefined ? [] : [{ block, selector }],
  );
  return [
    ...(converters.length > 0 ? [converterTable(converters)] : []),
    ...(selectors.length > 0 ? [selectorTable(selectors)] : []),
    ...circuits.flatMap(({ block, parameters, autoZero }) =>
      autoZero === undefined ? [] : [autoZeroTable(block, parameters.hold_s, autoZero)],
    ),
    ...circuits.flatMap(({ block, rom }) => (rom === undefined ? [] : romTables(block, rom))),
  ];
}

function converterTable(converters: readonly { block: string; converter: ConverterResult }[]): Table {
  return {
    caption:
      'String converters: error of the magnitudes exp(V / n Ut), TT 27 °C and worst of corners x T; settling to 1 % of the product',
    headers: [
      'converter',
      'levels RMS',
      'worst RMS',
      'with resistor sigma',
      'RMS',
      'settling',
      'worst',
      'switch energy',
      'string power',
    ],
    rows: converters.map(({ block, converter: c }) => {
      const times = c.settling.map((s) => Math.max(s.riseS, s.fallS));
      return [
        block,
        percent(c.levels.find(isTypical)!.rms, 3),
        percent(Math.max(...c.levels.map((l) => l.rms)), 3),
        percent(c.mismatch.sigma, 1),
        percent(c.mismatch.rms),
        formatSi(times[c.settling.findIndex(isTypical)], 's'),
        formatSi(Math.max(...times), 's'),
        formatSi(c.switchEnergyJ, 'J'),
        formatSi(c.stringPowerW, 'W'),
      ];
    }),
  };
}

function selectorTable(selectors: readonly { block: string; selector: SelectorResult }[]): Table {
  return {
    caption:
      'Product selector ("multiplication by routing"): input edge to the accumulator, at 0.9 to 1.1 supplies, corners and temperatures',
    headers: [
      'selector',
      'condition',
      'delay rise',
      'delay fall',
      'level of a one',
      'energy per rise and fall',
    ],
    rows: selectors.flatMap(({ block, selector }) =>
      selector.conditions.map((c) => [
        block,
        `${c.corner}, ${celsius(c.tempK)}, ${c.supplyV.toFixed(2)} V`,
        formatSi(c.riseS, 's'),
        formatSi(c.fallS, 's'),
        percent(c.oneLevel, 0),
        formatSi(c.energyPerToggleJ, 'J'),
      ]),
    ),
  };
}

function autoZeroTable(block: string, holdS: number, autoZero: AutoZeroResult): Table {
  return {
    caption: `${block}: sigma of a row's offset of ${formatSi(autoZero.plainSigmaV, 'V')} before. Left after ${formatSi(autoZero.zeroS, 's')} of zeroing: sigma right after it and ${formatSi(holdS, 's')} later; with the noise of the capacitor, sqrt(kT/C) = ${formatSi(autoZero.noiseV, 'V')}, a row's sigma is ${formatSi(autoZero.rowSigmaV, 'V')} at TT, 27 °C. One zeroing: ${formatSi(autoZero.energyJ, 'J')}. Charge and droop are common to the rows`,
    headers: [
      'condition',
      'rows',
      'sigma',
      'sigma held',
      'gain',
      'common offset',
      'injected charge',
      'droop',
    ],
    rows: autoZero.conditions.map((c) => [
      `${c.corner}, ${celsius(c.tempK)}`,
      String(c.rows),
      formatSi(c.residualSigmaV, 'V'),
      formatSi(c.heldSigmaV, 'V'),
      c.gain.toFixed(3),
      formatSi(c.meanV, 'V'),
      formatSi(c.injectedC, 'C'),
      formatSi(c.droopVPerS, 'V/s'),
    ]),
  };
}

function romTables(block: string, rom: RomResult): Table[] {
  const typical = rom.conditions.find(isTypical)!;
  const read = rom.read.find(isTypical)!;
  const orDash = (marginV: number | null) => (marginV === null ? '-' : formatSi(marginV, 'V'));
  return [
    {
      caption: `${block}: ${rom.levels} levels, TT 27 °C: current and the threshold shift that is misread`,
      headers: ['level', 'current', 'shift down', 'shift up', 'bit line falls in'],
      rows: typical.currentA.map((current, k) => [
        String(k),
        formatSi(current, 'A'),
        orDash(typical.marginDownV[k]),
        orDash(typical.marginUpV[k]),
        read.fallS[k] === null ? 'not in 5 ns' : formatSi(read.fallS[k], 's'),
      ]),
    },
    {
      caption: `${block}: misread probability of a random word by sigma(Vt); the cell's own ${formatSi(rom.cellSigmaVtV, 'V')} gives ${rom.cellProbability.toPrecision(3)}, in SPICE ${rom.monteCarlo.misreads} of ${rom.monteCarlo.cells} cells (${rom.monteCarlo.expected.toFixed(1)} expected). Read: ${formatSi(read.bitEnergyJ, 'J')} on the bit line, ${formatSi(read.wordEnergyJ, 'J')} on the word line per cell`,
      headers: ['sigma(Vt)', 'probability'],
      rows: rom.misread.map(({ sigmaVtV, probability }) => [
        formatSi(sigmaVtV, 'V'),
        probability.toExponential(2),
      ]),
    },
  ];
}
