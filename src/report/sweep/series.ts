/** The points of a sweep along one key: a line for each combination of the other keys. */
import { formatSi, plain } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import type { AccuracyOutcome, CalibrationOutcome } from '../../sweep/outcome.ts';
import { logTicks } from '../ticks.ts';

export type Done = AccuracyOutcome | CalibrationOutcome;

export interface Series {
  /** Of the other keys; '' where there are none. */
  readonly name: string;
  /** Ascending along the key. */
  readonly points: readonly { readonly x: number; readonly outcome: Done }[];
}

export const doneOf = ({ outcomes }: FinishedSweep): Done[] =>
  outcomes.filter((outcome): outcome is Done => outcome.status === 'done');

/** Value of a varied key at a point, from the base where the point does not set it. */
export const settingOf = ({ description }: FinishedSweep, outcome: Done, key: string): unknown =>
  outcome.settings[key] ?? description.base[key];

/** Varied keys with at least two numbers. */
export function numericKeys(sweep: FinishedSweep): string[] {
  const done = doneOf(sweep);
  return sweep.description.varied.filter((key) => {
    const values = done.map((outcome) => settingOf(sweep, outcome, key));
    return new Set(values).size > 1 && values.every((value) => typeof value === 'number');
  });
}

/** Other keys that take several values. */
export const otherKeys = (sweep: FinishedSweep, key: string): string[] =>
  sweep.description.varied.filter(
    (other) =>
      other !== key && new Set(doneOf(sweep).map((outcome) => settingOf(sweep, outcome, other))).size > 1,
  );

export function seriesAlong(sweep: FinishedSweep, key: string): Series[] {
  const others = otherKeys(sweep, key);
  const groups = new Map<string, { x: number; outcome: Done }[]>();
  for (const outcome of doneOf(sweep)) {
    const name = others.map((other) => `${other} ${valueText(settingOf(sweep, outcome, other))}`).join(', ');
    const group = groups.get(name) ?? [];
    group.push({ x: settingOf(sweep, outcome, key) as number, outcome });
    groups.set(name, group);
  }
  return [...groups].map(([name, points]) => ({ name, points: points.sort((a, b) => a.x - b.x) }));
}

/** A setting as a person reads it. */
export function valueText(value: unknown): string {
  if (value === undefined) return '-';
  if (typeof value === 'number') {
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? formatSi(value, '') : plain(value, 5);
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** A log axis with ticks that can be read suits values that span more than a decade. */
export function axisOf(values: readonly number[]): Record<string, unknown> {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (!(low > 0) || high / low <= 20) return {};
  return { type: 'log', ...logTicks(low, high, (v) => (v >= 1e-3 && v < 1e4 ? plain(v) : formatSi(v, ''))) };
}

/** Longer ones hide the figure. */
const MOST_LETTERS = 24;

/** The values of a point alone, to stand beside a mark; its number where they are long. */
export function shortLabel(sweep: FinishedSweep, outcome: Done): string {
  const values = sweep.description.varied.map((key) => settingOf(sweep, outcome, key));
  const text = values
    .filter((value) => value !== undefined)
    .map(valueText)
    .join(', ');
  return text !== '' && text.length <= MOST_LETTERS ? text : `point ${outcome.point + 1}`;
}

export const pointLabel = (sweep: FinishedSweep, outcome: Done): string =>
  [
    `point ${outcome.point + 1}`,
    ...sweep.description.varied.flatMap((key) => {
      const value = settingOf(sweep, outcome, key);
      return value === undefined ? [] : [`${key} ${valueText(value)}`];
    }),
  ].join(', ');
