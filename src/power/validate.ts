/**
 * The cost's laws on published macros, figure by figure.
 *
 *   converters   energy and area of the regression (src/cost/adc.ts) at the macro's bits, rate and node, multipliers of 1; and with
 *                the multiplier that the other macros' converters have
 *   rate         2 rows x columns / cycle
 *   supply       E = C V^2, and V^2 t for a resistor that conducts through a cycle, from the parts at one supply to another
 *   efficiency   2 rows / sum of the parts of a column
 *   ladders      mean power of an R-2R ladder over all codes, times the cycle
 *
 * Nothing is fitted to a figure that it is held against. What is more than TOLERANCE off has an explanation in the file.
 */
import { adcCost } from '../cost/adc.ts';
import { formatSi, plain } from '../format.ts';
import { solveSymmetric } from '../small-matrices.ts';
import type { Macro } from './macros.ts';
import { textTable } from './table.ts';

/** A tenth. */
export const TOLERANCE = 0.1;

export interface Validation {
  readonly macro: string;
  readonly figure: string;
  readonly supplyV: number;
  readonly unit: string;
  readonly published: number;
  readonly ours: number;
  /** Ours over published. */
  readonly ratio: number;
  readonly how: string;
  /** Why it is off, where it is by more than TOLERANCE. */
  readonly explanation: string | null;
}

/** Every figure that the laws say something of, macro by macro. */
export function validateMacros(macros: readonly Macro[]): Validation[] {
  return macros.flatMap((macro) => validateMacro(macro, macros));
}

type Found = Omit<Validation, 'macro' | 'ratio' | 'explanation'>;

function validateMacro(macro: Macro, all: readonly Macro[]): Validation[] {
  const found = [...converters(macro, all), ...ladders(macro), ...rates(macro), ...supplies(macro)];
  return found.map((one) => {
    const ratio = one.ours / one.published;
    const off = Math.abs(ratio - 1) > TOLERANCE;
    const byPoint = macro.explanations[`${one.figure} at ${one.supplyV} V`];
    const explanation = off ? (byPoint ?? macro.explanations[one.figure] ?? null) : null;
    return { macro: macro.name, ...one, ratio, explanation };
  });
}

type Point = Macro['points'][number];
const reference = ({ points, at }: Macro): Point => points.find(({ supplyV }) => supplyV === at)!;

/** The regression at the reference point; a converter converts once a cycle. */
function regression(macro: Macro): { energyJ: number; areaUm2: number; publishedUm2: number } {
  const { energyJ, areaUm2 } = adcCost(macro.enobBits, 1 / reference(macro).cycleS!, macro.nodeNm);
  return { energyJ, areaUm2, publishedUm2: (macro.areaMm2.converters * 1e6) / macro.columns };
}

function converters(macro: Macro, all: readonly Macro[]): Found[] {
  const { energyJ, areaUm2, publishedUm2 } = regression(macro);
  const supplyV = macro.at;
  const others = all.filter((one) => one !== macro);
  const area = { figure: 'converter area', supplyV, unit: 'um2', published: publishedUm2 };
  return [
    {
      ...{ figure: 'converter energy', supplyV, unit: 'J', published: macro.partsJ.converter.value },
      ...{ ours: energyJ, how: 'regression' },
    },
    { ...area, ours: areaUm2, how: 'regression' },
    ...others.map((other) => {
      const { areaUm2: theirs, publishedUm2: published } = regression(other);
      const multiplier = published / theirs;
      return {
        ...{ ...area, figure: 'converter area, transferred' },
        ...{ ours: areaUm2 * multiplier, how: `regression x ${multiplier.toFixed(3)}, as ${other.name}` },
      };
    }),
  ];
}

/**
 * Mean power that a voltage-mode R-2R ladder of ideal drivers takes over all codes, W: each bit drives its node through 2R, nodes
 * are R apart, the last is terminated by 2R to ground and the output is open.
 */
export function r2rPowerW(bits: number, unitOhm: number, supplyV: number): number {
  const nodes = new Float64Array(bits * bits);
  const add = (i: number, j: number, siemens: number) => {
    nodes[i * bits + j] += siemens;
  };
  for (let i = 0; i < bits; i++) {
    add(i, i, 1 / (2 * unitOhm));
    if (i === 0) add(i, i, 1 / (2 * unitOhm));
    if (i + 1 === bits) continue;
    for (const [a, b, sign] of [
      [i, i, 1],
      [i + 1, i + 1, 1],
      [i, i + 1, -1],
      [i + 1, i, -1],
    ]) {
      add(a, b, sign / unitOhm);
    }
  }
  let sum = 0;
  for (let code = 0; code < 2 ** bits; code++) {
    const driven = Float64Array.from({ length: bits }, (_, i) => ((code >> i) & 1) * supplyV);
    const currents = driven.map((v) => v / (2 * unitOhm));
    const at = solveSymmetric(nodes, currents)!;
    for (let i = 0; i < bits; i++) sum += (driven[i] * (driven[i] - at[i])) / (2 * unitOhm);
  }
  return sum / 2 ** bits;
}

/** Ladders of all rows over the columns that share them. */
function ladders(macro: Macro): Found[] {
  const { dac, rows, columns, at, partsJ } = macro;
  if (dac === undefined) return [];
  const powerW = dac.ladders * r2rPowerW(dac.bits, dac.unitOhm, dac.supplyShare * at);
  const ours = (powerW * reference(macro).cycleS! * rows) / columns;
  return [
    {
      ...{ figure: 'DAC energy', supplyV: at, unit: 'J', published: partsJ.dac.value, ours },
      how: `${dac.ladders} ladders of ${dac.unitOhm} Ohm through the cycle`,
    },
  ];
}

function rates({ points, rows, columns, areaMm2 }: Macro): Found[] {
  return points.flatMap(({ supplyV, cycleS, fitted, tops, topsPerMm2 }) => {
    if (cycleS === null || fitted) return [];
    const ours = (2 * rows * columns) / cycleS / 1e12;
    const how = `2 x ${rows} x ${columns} / cycle`;
    return [
      { figure: 'rate', supplyV, unit: 'TOPS', published: tops, ours, how },
      ...(topsPerMm2 === undefined
        ? []
        : [
            {
              ...{ figure: 'density', supplyV, unit: 'TOPS/mm2', published: topsPerMm2 },
              ...{ ours: ours / areaMm2.macs, how: `${how} / ${areaMm2.macs} mm2` },
            },
          ]),
    ];
  });
}

/** From the parts at the reference supply to every point. */
function supplies(macro: Macro): Found[] {
  const { rows, at, partsJ } = macro;
  const from = reference(macro);
  return macro.points.flatMap((point) => {
    const { supplyV } = point;
    const scaled = Object.entries(partsJ).map(([name, { value, law, macs }]) => {
      const time = law === 'V2t' ? from.tops / point.tops : 1;
      return { name, macs, energyJ: value * (supplyV / at) ** 2 * time };
    });
    const macsJ = scaled.reduce((sum, { macs, energyJ }) => sum + (macs ? energyJ : 0), 0);
    const how = supplyV === at ? 'sum of its parts' : `parts at ${at} V`;
    return [
      ...scaled.flatMap(({ name, energyJ }): Found[] => {
        const published = point.partsJ[name];
        if (published === undefined) return [];
        return [{ figure: `energy of ${name}`, supplyV, unit: 'J', published, ours: energyJ, how }];
      }),
      ...(supplyV === at && macro.partsAreShares
        ? []
        : [
            {
              ...{ figure: 'efficiency', supplyV, unit: 'TOPS/W', published: point.topsPerW },
              ...{ ours: (2 * rows) / macsJ / 1e12, how },
            },
          ]),
    ];
  });
}

/** The table for people, and under it why figures are off. */
export function validationLines(rows: readonly Validation[]): string[] {
  const value = (x: number, unit: string) => (unit === 'J' ? formatSi(x, 'J') : `${plain(x, 4)} ${unit}`);
  const off = rows.filter(({ ratio }) => Math.abs(ratio - 1) > TOLERANCE);
  return [
    ...textTable([
      ['macro', 'figure', 'supply', 'published', 'ours', 'ratio', 'how'],
      ...rows.map(({ macro, figure, supplyV, unit, published, ours, ratio, how }) => [
        ...[macro, figure, `${supplyV} V`, value(published, unit), value(ours, unit)],
        ...[ratio.toFixed(3), how],
      ]),
    ]),
    '',
    `${rows.length - off.length} of ${rows.length} figures are within ${100 * TOLERANCE} %. The others:`,
    ...off.map(
      ({ macro, figure, supplyV, explanation }) =>
        `${macro}, ${figure} at ${supplyV} V: ${explanation ?? 'not explained'}`,
    ),
  ];
}
