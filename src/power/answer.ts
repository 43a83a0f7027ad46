/** An answer to a standing question: sentences with numbers, tables, and what they rest on. */
import type { Provenance, Tag } from '../provenance.ts';

export interface AnswerTable {
  readonly caption: string;
  readonly headers: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Answer {
  /** Word of the section. */
  readonly id: string;
  readonly question: string;
  readonly sentences: readonly string[];
  readonly tables: readonly AnswerTable[];
  readonly sources: readonly UsedConstant[];
}

export interface UsedConstant {
  readonly name: string;
  readonly value: string;
  readonly source: string;
  readonly tag: Tag;
}

interface Banded extends Provenance {
  readonly value: number;
  readonly low?: number | undefined;
  readonly high?: number | undefined;
}

/** Lists the constants of a group. */
export function usedConstants(group: string, constants: Readonly<Record<string, Banded>>): UsedConstant[] {
  return Object.entries(constants).map(([key, { value, low, high, source, tag }]) => ({
    name: `${group}.${key}`,
    value: low === undefined || high === undefined ? String(value) : `${value} (${low} to ${high})`,
    source,
    tag,
  }));
}

/** Rounded to three digits, for values at the ends of bands. */
export const range = (low: string, high: string): string => (low === high ? low : `${low} to ${high}`);
