/**
 * Row drivers: converters, buffers and ladders that hold a row's taps at their voltages, and the gates that they move.
 */
import { count, formatSi, plain } from '../../format.ts';
import type { Provenance } from '../../provenance.ts';
import type { Census } from '../census.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, COUNTED, costLine, onSilicon, piecesLine, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import { countPhases, type LogDomainCostDesign } from '../log-domain-design.ts';
import type { CostComponent, TimedSystem } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { currentEnergyJ, deviceUm2, formatWires } from './array.ts';

// Physics.

/** Power of all row ladders, W: 27.3 million of 1 uA at 0.8 V are 22 W always on, 0.7 W at a duty of 1/32. */
export function ladderPowerW(ladders: number, currentA: number, supplyV: number, duty: number): number {
  return ladders * currentA * supplyV * duty;
}

/** Share of a token's time that a ladder is powered: as asked for, but at least while its own layer works. */
export function ladderDuty(askedDuty: number, stepS: number, tokenTimeS: number): number {
  return Math.min(1, Math.max(askedDuty, stepS / tokenTimeS));
}

/** A ladder of m taps is m resistors and a bias device: (m + 1) / 8 of one of seven taps, um2. */
export function ladderUm2(sevenTapsUm2: number, taps: number): number {
  return (sevenTapsUm2 * (taps + 1)) / 8;
}

/** Charge of a swing taken from the supply: E = C dV V, J. */
export function switchedEnergyJ(capacitanceF: number, swingV: number, supplyV: number): number {
  return capacitanceF * swingV * supplyV;
}

/** Ladders, and the buffers in front of them or of the rows and rails: what a chip has of them. */
function driverCounts(counts: Census, { row }: LogDomainCostDesign): { ladders: number; buffers: number } {
  // Rails: one ladder per tile and group of columns, a buffer for each of its taps, and the rows' own buffers.
  const mostTaps = Math.max(...counts.formats.map(({ taps }) => taps));
  return {
    ladders: row.ladder ? counts.ladders : row.rails ? counts.references : 0,
    buffers: counts.ladders + (row.rails ? counts.references * mostTaps : 0),
  };
}

/** Supply current of every row while it is powered, A. */
function rowsCurrentA(counts: Census, design: LogDomainCostDesign): number {
  const { rowDriver, ladderCurrentA, buffer } = design;
  if (rowDriver) return counts.ladders * rowDriver.currentA + counts.references * rowDriver.sharedA;
  const { ladders, buffers } = driverCounts(counts, design);
  return ladders * ladderCurrentA + buffers * buffer.biasA;
}

/** Follower and its sink, laid out, with the capacitor and switches of an auto-zero where it has one, um2. */
export function bufferUm2({ buffer }: LogDomainCostDesign, { layout }: CostConstants): number {
  const devices = 2 * deviceUm2(buffer, layout) * layout.analogSpread.value;
  if (buffer.storeF === 0) return devices;
  return devices + buffer.storeF / layout.capacitorFPerUm2.value + layout.clampSwitchesUm2.value;
}

function dutyCycle(design: LogDomainCostDesign, tokenTimeS: number): number {
  const stepS = countPhases(design.sign).phases * (design.settleTimeS + design.integrationTimeS);
  return ladderDuty(design.ladderDuty, stepS, tokenTimeS);
}

// Lines.

export function rowDrivers(counts: Census, design: LogDomainCostDesign): CostComponent {
  return {
    name: 'row drivers',
    area: ({ constants }) => {
      const { layout } = constants;
      const { buffers } = driverCounts(counts, design);
      return onSilicon(
        'analog',
        ladderAreaLine(counts, design, layout.ladderUm2),
        piecesLine(
          'row-buffers',
          buffers,
          bufferUm2(design, constants),
          `buffers (follower and sink of ${plain(design.buffer.widthM * 1e6)}/${plain(design.buffer.lengthM * 1e6)} um${design.buffer.storeF > 0 ? ` and ${formatSi(design.buffer.storeF, 'F')} of auto-zero` : ''}; x ${layout.analogSpread.value})`,
          [CHOSEN, layout.analogSpread, layout.deviceSideM, layout.deviceEndM],
        ),
        piecesLine('dacs', counts.rows, layout.dacUm2.value, 'row DACs', [layout.dacUm2]),
      );
    },
    energy: (system) => [
      ...biasLines(counts, design, system),
      ...wakeUpLines(counts, design, system),
      gateLine(counts, design, system.constants),
      dacLine(counts, system.constants),
    ],
    alwaysOnW: ({ tokenTimeS }) =>
      dutyCycle(design, tokenTimeS) === 1 ? rowsCurrentA(counts, design) * design.supplyV : 0,
  };
}

function ladderAreaLine(
  counts: Census,
  design: LogDomainCostDesign,
  sevenTapsUm2: CostConstants['layout']['ladderUm2'],
): CostLine {
  const { row, ladderColumns } = design;
  if (!row.ladder) {
    const { ladders } = driverCounts(counts, design);
    const what = row.rails
      ? 'ladders of weight rails, one per tile and group of columns'
      : 'ladders: a weight is a number of transistors';
    return piecesLine('ladders', ladders, sevenTapsUm2.value, what, [sevenTapsUm2]);
  }
  let um2 = 0;
  const terms = counts.formats.map(({ taps, ladders }) => {
    const one = ladderUm2(sevenTapsUm2.value, taps);
    um2 += ladders * one;
    return () =>
      `${count(ladders)} row ladders (one per row and ${ladderColumns} columns) of ${taps} taps x ${plain(one)} um2`;
  });
  return costLine('ladders', um2 / UM2_PER_MM2, () => terms.map((term) => term()).join(' + '), [
    sevenTapsUm2,
  ]);
}

function biasLines(counts: Census, design: LogDomainCostDesign, system: TimedSystem): CostLine[] {
  const { rowDriver, supplyV, ladderCurrentA } = design;
  const { tokenTimeS } = system;
  const duty = dutyCycle(design, tokenTimeS);
  const time = `${formatSi(tokenTimeS, 's')} x duty ${plain(duty)}`;
  const energyJ = (number: number, currentA: number) =>
    ladderPowerW(number, currentA, supplyV, duty) * tokenTimeS;
  const each = (currentA: number) => `${formatSi(currentA, 'A')} x ${supplyV} V x ${time}`;
  const always = (number: number, currentA: number) =>
    `(always on: ${formatSi(ladderPowerW(number, currentA, supplyV, 1), 'W')})`;
  if (rowDriver === null) {
    const { ladders, buffers } = driverCounts(counts, design);
    const { biasA } = design.buffer;
    return [
      costLine(
        'ladders',
        energyJ(ladders, ladderCurrentA),
        () => `${count(ladders)} ladders x ${each(ladderCurrentA)} ${always(ladders, ladderCurrentA)}`,
        [UNPROVEN],
      ),
      costLine('row-buffers', energyJ(buffers, biasA), () => `${count(buffers)} buffers x ${each(biasA)}`, [
        UNPROVEN,
      ]),
    ];
  }
  const { currentA, sharedA, source } = rowDriver;
  const simulated: Provenance = { source, tag: 'simulated' };
  return [
    costLine(
      'row-drivers',
      energyJ(counts.ladders, currentA),
      () =>
        `${count(counts.ladders)} ladders with their followers (one per row and ${design.ladderColumns} columns) x ${each(currentA)} ${always(counts.ladders, currentA)}`,
      [simulated, CHOSEN],
    ),
    costLine(
      'row-references',
      energyJ(counts.references, sharedA),
      () =>
        `${count(counts.references)} references (one per tile and ${design.ladderColumns} columns) x ${each(sharedA)}`,
      [simulated, CHOSEN],
    ),
  ];
}

/** Ladders that are gated are switched on ahead of their step, once per token. */
function wakeUpLines(counts: Census, design: LogDomainCostDesign, system: TimedSystem): CostLine[] {
  if (dutyCycle(design, system.tokenTimeS) === 1) return [];
  const rowsA = rowsCurrentA(counts, design);
  return [
    costLine(
      'wake-up',
      currentEnergyJ(rowsA, design.supplyV, design.wakeUpS),
      () =>
        `${formatSi(rowsA, 'A')} of all ladders and what drives them x ${design.supplyV} V x ${formatSi(design.wakeUpS, 's')} until a row has settled from off, once per token`,
      [SETTLING],
    ),
  ];
}

/** Settling follows from the cell's capacitances and the row's resistances (src/tile/settling.ts). */
const SETTLING: Provenance = {
  source: 'row network with the capacitances of the calibrated cell, held against SPICE transients',
  tag: 'simulated',
};

function gateLine(counts: Census, design: LogDomainCostDesign, constants: CostConstants): CostLine {
  const { gateSwingV, wireFPerM } = constants.analog;
  const { supplyV, row } = design;
  const { gateF } = design.device;
  const terms = formatWires(counts, design, constants).map(({ gateCharges, taps, wireF }) => ({
    ...{ gateCharges, gatesF: row.gatesPerCell(taps) * gateF, wiresF: row.wires(taps) * wireF },
  }));
  const chargedF = terms.reduce((sum, one) => sum + one.gateCharges * (one.gatesF + one.wiresF), 0);
  const text = () =>
    terms.map(
      ({ gateCharges, gatesF, wiresF }) =>
        `${count(gateCharges)} cells switched x (${formatSi(gatesF, 'F')} gate + ${formatSi(wiresF, 'F')} row wires)`,
    );
  return costLine(
    'gates',
    switchedEnergyJ(chargedF, gateSwingV.value, supplyV),
    () => `${text().join(' + ')} x ${gateSwingV.value} V swing x ${supplyV} V`,
    [COUNTED, CHOSEN, gateSwingV, wireFPerM],
  );
}

function dacLine(counts: Census, { analog: { dacJ } }: CostConstants): CostLine {
  return costLine(
    'dacs',
    counts.dacConversions * dacJ.value,
    () => `${count(counts.dacConversions)} conversions x ${formatSi(dacJ.value, 'J')}`,
    [COUNTED, dacJ],
  );
}
