/**
 * The parts of every chip beside its working ones: area of pads and grids, the clock's distribution, leakage, and the loss
 * of the supply. Each follows from the lines of all components.
 */
import { formatSi, plain } from '../../format.ts';
import type { Constant, CostConstants } from '../constants.ts';
import { costLine } from '../lines.ts';
import type { AreaPart, Silicon } from '../priced-design.ts';
import type { CostLine } from '../report.ts';

// Physics.

/** Factor on a leakage from the temperature of its constant to the junction's: 2^((T - T_ref) / T_doubling). */
export function leakageFactor({ power }: CostConstants): number {
  return 2 ** ((power.junctionK.value - power.leakageReferenceK.value) / power.leakageDoublingK.value);
}

/** Leakage per area of each kind of silicon at its reference temperature; `passive` has none of its own. */
function leakagePerMm2(silicon: Silicon, { power }: CostConstants): Constant | undefined {
  switch (silicon) {
    case 'logic':
      return power.logicLeakageWPerMm2;
    case 'sram':
      return power.sramLeakageWPerMm2;
    case 'rom':
      return power.romLeakageWPerMm2;
    case 'analog':
      return power.analogLeakageWPerMm2;
    case 'passive':
      return undefined;
  }
}

/** Leakage of a part while it is powered, W. */
function poweredW({ line, silicon }: AreaPart, constants: CostConstants): number {
  return line.value * (leakagePerMm2(silicon, constants)?.value ?? 0) * leakageFactor(constants);
}

/** Leakage that never stops, W: of what is not gated, and what leaks behind open switches. */
export function leakageW(parts: readonly AreaPart[], constants: CostConstants): number {
  const { gatedLeakageShare } = constants.power;
  return parts.reduce(
    (sum, part) => sum + poweredW(part, constants) * (part.onS === undefined ? 1 : gatedLeakageShare.value),
    0,
  );
}

/** Leakage of gated parts beyond that, J per token: while they are powered. */
export function gatedLeakageJ(parts: readonly AreaPart[], constants: CostConstants): number {
  const more = 1 - constants.power.gatedLeakageShare.value;
  return parts.reduce((sum, part) => sum + poweredW(part, constants) * more * (part.onS ?? 0), 0);
}

/** Returns the loss of the regulator for each joule behind it: 1 / efficiency - 1. */
export function regulatorLossShare({ power }: CostConstants): number {
  return 1 / power.regulatorEfficiency.value - 1;
}

/** Energy of the clock beside that of what it clocks: a share of both together, E = E_clocked s / (1 - s). */
export function clockJ(clockedJ: number, share: number): number {
  return (clockedJ * share) / (1 - share);
}

// Lines.

export function overheadLine(usedMm2: number, { layout }: CostConstants): CostLine {
  return costLine(
    'overhead',
    usedMm2 * layout.overheadShare.value,
    () => `${layout.overheadShare.value} x ${plain(usedMm2)} mm2`,
    [layout.overheadShare],
  );
}

export function clockLine(clockedJ: number, { digital: { clockShare } }: CostConstants): CostLine {
  return costLine(
    'clock',
    clockJ(clockedJ, clockShare.value),
    () =>
      `${clockShare.value} of clock and clocked together: ${formatSi(clockedJ, 'J')} x ${clockShare.value} / (1 - ${clockShare.value})`,
    [clockShare],
  );
}

export function leakageLine(
  parts: readonly AreaPart[],
  tokenTimeS: number,
  constants: CostConstants,
): CostLine {
  const { power } = constants;
  const always = parts.filter((part) => part.onS === undefined && leakagePerMm2(part.silicon, constants));
  const gated = parts.filter((part) => part.onS !== undefined);
  const kinds = [...new Set(always.map(({ silicon }) => silicon))];
  const term = (kind: Silicon) => {
    const mm2 = always.reduce((sum, part) => sum + (part.silicon === kind ? part.line.value : 0), 0);
    return `${plain(mm2)} mm2 ${kind} x ${leakagePerMm2(kind, constants)!.value}`;
  };
  const watts = leakageW(parts, constants);
  const whileOnJ = gatedLeakageJ(parts, constants);
  const gatedText = () => {
    if (gated.length === 0) return '';
    const gatedW = gated.reduce((sum, part) => sum + poweredW(part, constants), 0);
    const gatedMm2 = gated.reduce((sum, part) => sum + part.line.value, 0);
    return `; of it ${plain(gatedMm2)} mm2 behind power switches at ${power.gatedLeakageShare.value} of ${formatSi(gatedW, 'W')}, and ${formatSi(whileOnJ, 'J')} while they are on`;
  };
  return costLine(
    'leakage',
    watts * tokenTimeS + whileOnJ,
    () =>
      `(${kinds.map(term).join(' + ')} W/mm2 at ${power.leakageReferenceK.value} K) x ${plain(leakageFactor(constants))} at ${power.junctionK.value} K: ${formatSi(watts, 'W')} x ${formatSi(tokenTimeS, 's')}${gatedText()}`,
    [
      ...kinds.map((kind) => leakagePerMm2(kind, constants)!),
      power.leakageDoublingK,
      power.junctionK,
      ...(gated.length > 0 ? [power.gatedLeakageShare] : []),
    ],
  );
}

/** Supplies of gated blocks, charged once for each time that they are switched on: once a token. */
export function railLines(parts: readonly AreaPart[], { power }: CostConstants): CostLine[] {
  const mm2 = parts.reduce((sum, part) => sum + (part.onS === undefined ? 0 : part.line.value), 0);
  if (mm2 === 0) return [];
  const { railFPerMm2, logicSupplyV } = power;
  return [
    costLine(
      'power-switches',
      mm2 * railFPerMm2.value * logicSupplyV.value ** 2,
      () =>
        `${plain(mm2)} mm2 of gated blocks x ${formatSi(railFPerMm2.value, 'F')} per mm2 x (${logicSupplyV.value} V)^2, switched on once per token`,
      [railFPerMm2, logicSupplyV],
    ),
  ];
}

export function regulatorLine(loadJ: number, constants: CostConstants): CostLine {
  const { regulatorEfficiency } = constants.power;
  return costLine(
    'regulator',
    loadJ * regulatorLossShare(constants),
    () => `${formatSi(loadJ, 'J')} x (1 / ${regulatorEfficiency.value} - 1)`,
    [regulatorEfficiency],
  );
}
