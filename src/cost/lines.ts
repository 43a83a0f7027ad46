/**
 * Building the lines of a cost breakdown: a value never travels without its formula, source and tag.
 */
import { type Constant, TAGS, type Tag } from './constants.ts';
import type { CostLine } from './report.ts';

/** A line from its value, its formula with the numbers put in, and the constants that went in. */
export function costLine(
  name: string,
  value: number,
  formula: string,
  used: readonly { source: string; tag: Tag }[],
): CostLine {
  return {
    name,
    value,
    formula,
    source: [...new Set(used.map((c) => c.source))].join('; '),
    tag: weakestTag(used),
  };
}

/** A sum is known no better than its least known part. */
export function weakestTag(used: readonly { tag: Tag }[]): Tag {
  let worst = 0;
  for (const { tag } of used) worst = Math.max(worst, TAGS.indexOf(tag));
  return TAGS[worst];
}

export function sumOf(lines: readonly CostLine[]): number {
  return lines.reduce((sum, line) => sum + line.value, 0);
}

export function lineValue(lines: readonly CostLine[], name: string): number {
  return lines.find((line) => line.name === name)?.value ?? 0;
}

/** What a run counted, as a source: counts are exact, currents are those of the fitted cell. */
export const COUNTED: Constant = { value: 0, source: 'counted during the run', tag: 'measured' };
export const DRAWN: Constant = {
  value: 0,
  source: 'current drawn during the run by the fitted cell',
  tag: 'fitted',
};
/** A value of the design that says what is built (supply, time, sharing): exact by definition. */
export const CHOSEN: Constant = { value: 0, source: 'the design', tag: 'measured' };
/** A value of the design that must suffice (settling time, ladder current): an assumption until somebody builds it. */
export const DESIGN: Constant = { value: 0, source: 'the design', tag: 'assumed' };
