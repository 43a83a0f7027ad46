/**
 * The parts of every chip beside its working ones: area of pads and grids, the clock's distribution, leakage, and the loss
 * of the supply. Each follows from the lines of all components.
 */
import { formatSi, plain } from '../../format.ts';
import type { CostConstants } from '../constants.ts';
import { costLine } from '../lines.ts';
import type { AreaPart, Silicon } from '../priced-design.ts';
import type { CostLine } from '../report.ts';

// Physics.

/** Area of each kind of silicon, mm2. */
export function siliconMm2(parts: readonly AreaPart[]): Record<Silicon, number> {
  const sum = { logic: 0, sram: 0, rom: 0, analog: 0, passive: 0 };
  for (const { line, silicon } of parts) sum[silicon] += line.value;
  return sum;
}

/** Leakage, W: area of each kind times its leakage per area. */
export function leakageW(mm2: Readonly<Record<Silicon, number>>, { power }: CostConstants): number {
  return (
    mm2.logic * power.logicLeakageWPerMm2.value +
    mm2.sram * power.sramLeakageWPerMm2.value +
    mm2.rom * power.romLeakageWPerMm2.value +
    mm2.analog * power.analogLeakageWPerMm2.value
  );
}

/** Returns the loss of the regulator for each joule behind it: 1 / efficiency - 1. */
export function regulatorLossShare({ power }: CostConstants): number {
  return 1 / power.regulatorEfficiency.value - 1;
}

// Lines.

export function overheadLine(usedMm2: number, { layout }: CostConstants): CostLine {
  return costLine(
    'overhead',
    usedMm2 * layout.overheadShare.value,
    `${layout.overheadShare.value} x ${plain(usedMm2)} mm2`,
    [layout.overheadShare],
  );
}

export function clockLine(clockedJ: number, { digital }: CostConstants): CostLine {
  return costLine(
    'clock',
    clockedJ * digital.clockShare.value,
    `${digital.clockShare.value} x ${formatSi(clockedJ, 'J')} of digital energy`,
    [digital.clockShare],
  );
}

export function leakageLine(
  parts: readonly AreaPart[],
  tokenTimeS: number,
  constants: CostConstants,
): CostLine {
  const { power } = constants;
  const mm2 = siliconMm2(parts);
  const watts = leakageW(mm2, constants);
  const kinds = [
    { mm2: mm2.logic, name: 'mm2 logic', perMm2: power.logicLeakageWPerMm2 },
    { mm2: mm2.sram, name: 'SRAM', perMm2: power.sramLeakageWPerMm2 },
    { mm2: mm2.rom, name: 'ROM', perMm2: power.romLeakageWPerMm2 },
    { mm2: mm2.analog, name: 'analog', perMm2: power.analogLeakageWPerMm2 },
  ].filter((kind) => kind.mm2 > 0);
  const terms = kinds.map((kind) => `${plain(kind.mm2)} ${kind.name} x ${kind.perMm2.value}`);
  return costLine(
    'leakage',
    watts * tokenTimeS,
    `(${terms.join(' + ')} W/mm2) = ${formatSi(watts, 'W')} x ${formatSi(tokenTimeS, 's')}`,
    kinds.map(({ perMm2 }) => perMm2),
  );
}

export function regulatorLine(loadJ: number, constants: CostConstants): CostLine {
  const { regulatorEfficiency } = constants.power;
  return costLine(
    'regulator',
    loadJ * regulatorLossShare(constants),
    `${formatSi(loadJ, 'J')} x (1 / ${regulatorEfficiency.value} - 1)`,
    [regulatorEfficiency],
  );
}
