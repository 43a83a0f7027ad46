/**
 * When a point has enough chips. Chips are added until half the 95 % interval of the mean over chips (Student t) is at most
 * what was asked for, a purely sequential rule of fixed width (Chow and Robbins 1965, Annals of Mathematical Statistics 36):
 * the interval's coverage tends to 95 % as the width shrinks and is a little below it when it stops after few chips, since it
 * looks at the spread again and again; hence at least `minChips`.
 */
import jstat from 'jstat';
import type { StopRule } from './experiment.ts';
import type { Measured } from './task.ts';

export interface StopState {
  readonly reached: boolean;
  /** Chips that the spread so far asks for, by metric. */
  readonly advisedChips: Readonly<Record<string, number>>;
}

const MOST_ADVISED = 1_000_000;

/** Judges the chips of a point so far. */
export function judgeStop(
  { halfWidth }: StopRule,
  metrics: Readonly<Record<string, Measured>>,
  chips: number,
): StopState {
  const advised = Object.entries(halfWidth).map(([metric, wanted]) => {
    const { chipsCi95 } = metrics[metric];
    return [
      metric,
      chipsCi95 === null ? chips : chipsNeeded((chipsCi95[1] - chipsCi95[0]) / 2, chips, wanted!),
    ];
  });
  const reached = Object.entries(halfWidth).every(([metric, wanted]) => {
    const { chipsCi95 } = metrics[metric];
    // Without an interval every chip is the same.
    return chipsCi95 === null || (chipsCi95[1] - chipsCi95[0]) / 2 <= wanted!;
  });
  return { reached, advisedChips: Object.fromEntries(advised) };
}

/** Chips of the next look: what is advised, at most twice as many as now. */
export function nextChips({ maxChips }: StopRule, { advisedChips }: StopState, chips: number): number {
  const advised = Math.max(...Object.values(advisedChips));
  return Math.min(maxChips, 2 * chips, Math.max(chips + 1, advised));
}

const quantile = (degrees: number): number => jstat.jStat.studentt.inv(0.975, degrees);

/** Smallest n with t(n - 1) s / sqrt(n) <= wanted, s from the half width at `chips`. */
export function chipsNeeded(halfWidth: number, chips: number, wanted: number): number {
  const sigma = (halfWidth * Math.sqrt(chips)) / quantile(chips - 1);
  let n = 2;
  const fits = (count: number) => (quantile(count - 1) * sigma) / Math.sqrt(count) <= wanted;
  while (n < MOST_ADVISED && !fits(n)) n = Math.ceil(n * 1.25);
  // The step was coarse.
  while (n > 2 && fits(n - 1)) n--;
  return n;
}
