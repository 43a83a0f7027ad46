/**
 * What a point of an experiment is judged by. A task is one file with a TaskModule (its metrics, and how they and the
 * sums by chip and window come from a finished run) and an entry in tasks.ts.
 */

import type { RunPlan } from '../experiment/plan.ts';
import type { RunResult } from '../experiment/result.ts';
import type { FinishedJobs } from '../experiment/unit-sums.ts';

export type TaskName = 'perplexity' | 'choices';

/** The key `task`: `perplexity`, or the file of questions with choices that are scored in place of a text. */
export const taskOf = (setting: string): TaskName => (setting === 'perplexity' ? 'perplexity' : 'choices');

export interface Metric {
  /** Column of the table; names the unit. */
  readonly column: string;
  /** As figures have it. */
  readonly label: string;
  readonly better: 'lower' | 'higher';
}

/** A mean over chips and its 95 % intervals; null where one cannot be had. */
export interface Measured {
  readonly mean: number;
  /** Covers the draw of the chips, on this text. */
  readonly chipsCi95: readonly [number, number] | null;
  /** Covers other texts of the kind as well. */
  readonly textAndChipsCi95: readonly [number, number] | null;
}

/** Sums over the scored positions, by metric, chip and window (document): what comparisons between points resample. */
export interface UnitSums {
  readonly seeds: readonly number[];
  readonly scored: readonly number[];
  readonly sums: Readonly<Record<string, readonly (readonly number[])[]>>;
}

export interface TaskModule {
  readonly metrics: Readonly<Record<string, Metric>>;
  /** Metrics of which two points are compared, pair by pair of chip and window. */
  readonly compared: readonly string[];
  /** Those of them whose units are right (1) or wrong (0). */
  readonly binary: readonly string[];
  measure(result: RunResult): Record<string, Measured>;
  unitSums(plan: RunPlan, finished: FinishedJobs): UnitSums;
}
