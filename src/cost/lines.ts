/**
 * Building the lines of a cost breakdown: a value never travels without its formula, source and tag.
 */
import { count, plain } from '../format.ts';
import { type Provenance, weakestTag } from '../provenance.ts';
import type { AreaPart, Silicon } from './priced-design.ts';
import type { CostLine, CostReport } from './report.ts';

export const UM2_PER_MM2 = 1e6;

let wordless = false;

/**
 * Runs `price` with lines that have no formula, source and tag: a band is hundreds of prices of which the figures alone are
 * read. What it returns is not to be shown.
 */
export function valuesAlone<T>(price: () => T): T {
  const before = wordless;
  wordless = true;
  try {
    return price();
  } finally {
    wordless = before;
  }
}

/** Makes a line from its value, its formula with the numbers put in, and the provenance of what went in. */
export function costLine(
  name: string,
  value: number,
  formula: string | (() => string),
  used: readonly Provenance[],
): CostLine {
  if (wordless) return { name, value, formula: '', source: '', tag: 'assumed' };
  return {
    name,
    value,
    formula: typeof formula === 'string' ? formula : formula(),
    source: [...new Set(used.map((one) => one.source))].join('; '),
    tag: weakestTag(used),
  };
}

/** Makes the line of `number` equal pieces of silicon of `um2` each. */
export function piecesLine(
  name: string,
  number: number,
  um2: number,
  what: string,
  used: readonly Provenance[],
): CostLine {
  const formula = () => `${count(number)} ${what} x ${plain(um2)} um2`;
  return costLine(name, (number * um2) / UM2_PER_MM2, formula, used);
}

/** Makes a bound of the full pipeline's throughput. */
export function limitLine(
  name: string,
  tokensPerSecond: number,
  formula: () => string,
): CostReport['limits'][number] {
  return { name, tokensPerSecond, formula: wordless ? '' : formula() };
}

export function onSilicon(silicon: Silicon, ...lines: readonly CostLine[]): AreaPart[] {
  return lines.map((line) => ({ line, silicon }));
}

/** Silicon behind a power switch (`gate` 1): powered for `onS` of a token's time. */
export function gatedSilicon(silicon: Silicon, gate: number, onS: number, line: CostLine): AreaPart[] {
  return [gate === 1 ? { line, silicon, onS } : { line, silicon }];
}

export function sumLines(lines: readonly CostLine[]): number {
  return lines.reduce((sum, line) => sum + line.value, 0);
}

export function lineValue(lines: readonly CostLine[], name: string): number {
  return lines.find((line) => line.name === name)?.value ?? 0;
}

/** Counts of a run: counts are exact, but of a chip that was simulated. */
export const COUNTED: Provenance = { source: 'counted during the run', tag: 'simulated' };
/** Currents are those of the fitted cell. */
export const DRAWN: Provenance = { source: 'current drawn during the run by the fitted cell', tag: 'fitted' };
/** A value of the design that says what is built (supply, time, sharing): true by definition. */
export const CHOSEN: Provenance = { source: 'the design', tag: 'chosen' };
/** A value of the design that must suffice (settling time, ladder current): an assumption until somebody builds it. */
export const UNPROVEN: Provenance = { source: 'the design', tag: 'assumed' };
/** Of a circuit measured by SPICE. */
export const SIMULATED: Provenance = { source: 'SPICE', tag: 'simulated' };
