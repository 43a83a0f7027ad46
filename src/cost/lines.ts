/**
 * Building the lines of a cost breakdown: a value never travels without its formula, source and tag.
 */
import { type Constant, TAGS, type Tag } from './constants.ts';
import type { CostLine } from './cost.ts';

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

/** What a run counted, as a source. */
export const COUNTED: Constant = { value: 0, source: 'counted during the run', tag: 'measured' };
/** What the design says, as a source: a choice is an assumption until somebody builds it. */
export const DESIGN: Constant = { value: 0, source: 'the design', tag: 'assumed' };
