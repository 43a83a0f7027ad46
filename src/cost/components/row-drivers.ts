/**
 * Row drivers: converters, buffers and ladders that hold a row's taps at their voltages, and the gates that they move.
 */
import { count, formatSi, plain } from '../../format.ts';
import type { Provenance } from '../../provenance.ts';
import type { Census, FormatCensus } from '../census.ts';
import type { CostConstants } from '../constants.ts';
import { CHOSEN, COUNTED, costLine, onSilicon, piecesLine, UM2_PER_MM2, UNPROVEN } from '../lines.ts';
import { countPhases, type LogDomainCostDesign } from '../log-domain-design.ts';
import type { CostComponent, TimedSystem } from '../priced-design.ts';
import type { CostLine } from '../report.ts';
import { currentEnergyJ, formatWires } from './array.ts';

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

/** Supply current of every row while it is powered, A. */
function rowsCurrentA(counts: Census, design: LogDomainCostDesign, constants: CostConstants): number {
  const { rowDriver } = design;
  return rowDriver
    ? counts.ladders * rowDriver.currentA + counts.references * rowDriver.sharedA
    : counts.ladders * (design.ladderCurrentA + constants.analog.rowBufferA.value);
}

function dutyCycle(design: LogDomainCostDesign, tokenTimeS: number): number {
  const stepS = countPhases(design.sign).phases * (design.settleTimeS + design.integrationTimeS);
  return ladderDuty(design.ladderDuty, stepS, tokenTimeS);
}

// Lines.

export function rowDrivers(counts: Census, design: LogDomainCostDesign): CostComponent {
  return {
    name: 'row drivers',
    area: ({ constants: { layout } }) =>
      onSilicon(
        'analog',
        ladderAreaLine(counts.formats, design, layout.ladderUm2),
        piecesLine('row-buffers', counts.ladders, layout.rowBufferUm2.value, 'row buffers', [
          layout.rowBufferUm2,
        ]),
        piecesLine('dacs', counts.rows, layout.dacUm2.value, 'row DACs', [layout.dacUm2]),
      ),
    energy: (system) => [
      ...biasLines(counts, design, system),
      ...wakeUpLines(counts, design, system),
      gateLine(counts, design, system.constants),
      dacLine(counts, system.constants),
    ],
    alwaysOnW: ({ constants, tokenTimeS }) =>
      dutyCycle(design, tokenTimeS) === 1 ? rowsCurrentA(counts, design, constants) * design.supplyV : 0,
  };
}

function ladderAreaLine(
  formats: readonly FormatCensus[],
  design: LogDomainCostDesign,
  sevenTapsUm2: CostConstants['layout']['ladderUm2'],
): CostLine {
  let um2 = 0;
  const terms = formats.map(({ taps, ladders }) => {
    const one = ladderUm2(sevenTapsUm2.value, taps);
    um2 += ladders * one;
    return `${count(ladders)} row ladders (one per row and ${design.ladderColumns} columns) of ${taps} taps x ${plain(one)} um2`;
  });
  return costLine('ladders', um2 / UM2_PER_MM2, terms.join(' + '), [sevenTapsUm2]);
}

function biasLines(counts: Census, design: LogDomainCostDesign, system: TimedSystem): CostLine[] {
  const { rowDriver, supplyV, ladderCurrentA } = design;
  const { tokenTimeS } = system;
  const duty = dutyCycle(design, tokenTimeS);
  const time = `${formatSi(tokenTimeS, 's')} x duty ${plain(duty)}`;
  const energyJ = (number: number, currentA: number) =>
    ladderPowerW(number, currentA, supplyV, duty) * tokenTimeS;
  const each = (currentA: number) => `${formatSi(currentA, 'A')} x ${supplyV} V x ${time}`;
  const always = (currentA: number) =>
    `(always on: ${formatSi(ladderPowerW(counts.ladders, currentA, supplyV, 1), 'W')})`;
  if (rowDriver === null) {
    const { rowBufferA } = system.constants.analog;
    return [
      costLine(
        'ladders',
        energyJ(counts.ladders, ladderCurrentA),
        `${count(counts.ladders)} ladders x ${each(ladderCurrentA)} ${always(ladderCurrentA)}`,
        [UNPROVEN],
      ),
      costLine(
        'row-buffers',
        energyJ(counts.ladders, rowBufferA.value),
        `${count(counts.ladders)} buffers x ${each(rowBufferA.value)}`,
        [UNPROVEN, rowBufferA],
      ),
    ];
  }
  const { currentA, sharedA, source } = rowDriver;
  const simulated: Provenance = { source, tag: 'simulated' };
  return [
    costLine(
      'row-drivers',
      energyJ(counts.ladders, currentA),
      `${count(counts.ladders)} ladders with their followers (one per row and ${design.ladderColumns} columns) x ${each(currentA)} ${always(currentA)}`,
      [simulated, CHOSEN],
    ),
    costLine(
      'row-references',
      energyJ(counts.references, sharedA),
      `${count(counts.references)} references (one per tile and ${design.ladderColumns} columns) x ${each(sharedA)}`,
      [simulated, CHOSEN],
    ),
  ];
}

/** Ladders that are gated are switched on ahead of their step, once per token. */
function wakeUpLines(counts: Census, design: LogDomainCostDesign, system: TimedSystem): CostLine[] {
  if (dutyCycle(design, system.tokenTimeS) === 1) return [];
  const { ladderWakeUpS } = system.constants.analog;
  const rowsA = rowsCurrentA(counts, design, system.constants);
  return [
    costLine(
      'wake-up',
      currentEnergyJ(rowsA, design.supplyV, ladderWakeUpS.value),
      `${formatSi(rowsA, 'A')} of all ladders and what drives them x ${design.supplyV} V x ${formatSi(ladderWakeUpS.value, 's')}, once per token`,
      [ladderWakeUpS],
    ),
  ];
}

function gateLine(counts: Census, design: LogDomainCostDesign, constants: CostConstants): CostLine {
  const { gateSwingV, wireFPerM } = constants.analog;
  const { supplyV } = design;
  const { gateF } = design.device;
  const formats = formatWires(counts, design, constants);
  const chargedF = formats.reduce(
    (sum, { gateCharges, taps, wireF }) => sum + gateCharges * (gateF + taps * wireF),
    0,
  );
  const terms = formats.map(
    ({ gateCharges, taps, wireF }) =>
      `${count(gateCharges)} gates switched x (${formatSi(gateF, 'F')} gate + ${formatSi(taps * wireF, 'F')} tap wires)`,
  );
  return costLine(
    'gates',
    switchedEnergyJ(chargedF, gateSwingV.value, supplyV),
    `${terms.join(' + ')} x ${gateSwingV.value} V swing x ${supplyV} V`,
    [COUNTED, CHOSEN, gateSwingV, wireFPerM],
  );
}

function dacLine(counts: Census, { analog: { dacJ } }: CostConstants): CostLine {
  return costLine(
    'dacs',
    counts.dacConversions * dacJ.value,
    `${count(counts.dacConversions)} conversions x ${formatSi(dacJ.value, 'J')}`,
    [COUNTED, dacJ],
  );
}
