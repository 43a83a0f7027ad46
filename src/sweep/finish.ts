/**
 * From the outcomes of all points to sweep.json, results.csv, results.parquet and results.jsonl. A pure function of plan.json
 * and the outcomes but for `timing`, which the files beside sweep.json do not have: whoever makes them, they are the same.
 */
import { join } from 'node:path';
import { version as nodeVersion } from 'node:process';
import { toCsv } from '../csv.ts';
import { OnefetError } from '../error.ts';
import { packageVersion, sha256, toJson, writeFileAtomic } from '../files.ts';
import { toParquet } from '../parquet.ts';
import { COMPARISON_RESAMPLES, type Comparison, comparePoints, FEWEST_UNITS } from './compare.ts';
import {
  readDescription,
  readOutcomes,
  type SweepDescription,
  writeDescription,
  writeOutcome,
} from './folder.ts';
import { isAccuracy, type Outcome } from './outcome.ts';
import { isTextColumn, type Row, sweepRows } from './table.ts';
import type { TaskName } from './task.ts';
import { taskModule } from './tasks.ts';

export const SWEEP_SCHEMA = 'onefet.sweep/1';

/** Everything that a report of a sweep is made of. */
export interface FinishedSweep {
  readonly folder: string;
  readonly description: SweepDescription;
  readonly outcomes: readonly Outcome[];
  readonly comparisons: ReadonlyMap<number, readonly Comparison[]>;
  readonly rows: readonly Row[];
}

/** Of the command that finished it. */
export interface SweepTiming {
  readonly seconds: number;
  readonly command: readonly string[];
}

/** Reads a sweep whose points all have an outcome; undefined where some are missing. */
export function readSweep(folder: string): FinishedSweep | undefined {
  const description = readDescription(folder);
  const found = readOutcomes(folder);
  const outcomes = description.points.flatMap((_, point) => found.get(point) ?? []);
  if (outcomes.length < description.points.length) return undefined;
  const comparisons = comparisonsOf(description, outcomes);
  return { folder, description, outcomes, comparisons, rows: sweepRows(description, outcomes, comparisons) };
}

function comparisonsOf(
  { reference }: SweepDescription,
  outcomes: readonly Outcome[],
): ReadonlyMap<number, readonly Comparison[]> {
  const against = outcomes.find(({ point }) => point === reference);
  if (!against || !isAccuracy(against)) return new Map();
  return comparePoints(outcomes.filter(isAccuracy), against, taskModule(against.task as TaskName));
}

/** Writes the sweep's files. */
export function writeSweep(sweep: FinishedSweep, timing: SweepTiming): void {
  const { folder, rows, outcomes, comparisons } = sweep;
  writeFileAtomic(join(folder, 'results.csv'), toCsv(rows));
  writeFileAtomic(join(folder, 'results.parquet'), toParquet(rows, isTextColumn));
  const lines = outcomes.map((outcome) => {
    const { units: _, curves: _curves, ...row } = { units: null, curves: null, ...outcome };
    return `${toJson({ ...row, comparisons: comparisons.get(outcome.point) ?? [] }, `point ${outcome.point + 1}`)}\n`;
  });
  writeFileAtomic(join(folder, 'results.jsonl'), lines.join(''));
  writeFileAtomic(
    join(folder, 'sweep.json'),
    `${toJson(manifestOf(sweep, timing), 'the sweep', 'input', 2)}\n`,
  );
}

function manifestOf({ description, outcomes, rows }: FinishedSweep, timing: SweepTiming) {
  const { schema: _, text, onefet, ...planned } = description;
  const count = (status: Outcome['status']) => outcomes.filter((outcome) => outcome.status === status).length;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return {
    schema: SWEEP_SCHEMA,
    ...planned,
    experiment: { text, sha256: sha256(text) },
    status: { done: count('done'), refused: count('refused'), failed: count('failed') },
    columns,
    statistics: {
      level: 0.95,
      chips: 'Student t over chips: covers the draw of the chips, on this text',
      text_and_chips: 'bootstrap over windows (documents) and chips: covers other texts of the kind as well',
      yield: 'Clopper and Pearson',
      less_reference: `paired bootstrap, ${COMPARISON_RESAMPLES} resamples; no p value with fewer than ${FEWEST_UNITS} of what is resampled`,
      p_holm: 'Holm, over all points of the metric',
    },
    provenance: { onefet, node: nodeVersion },
    timing,
  };
}

/**
 * Puts the shards of a sweep together: outcomes of other folders are copied into the first, then its files are written.
 * Errors: SWEEP_MISSING, SWEEP_INVALID (input), SHARD_OTHER (usage) for another sweep, SHARD_MISSING (input) for points
 * that no shard has.
 */
export function mergeSweep(folders: readonly string[], timing: SweepTiming): FinishedSweep {
  const [target, ...others] = folders;
  const description = readDescription(target);
  requireThisVersion(description, target);
  for (const folder of others) {
    const other = readDescription(folder);
    if (other.key !== description.key) {
      throw new OnefetError('usage', 'SHARD_OTHER', `${folder} is not a shard of the sweep in ${target}`, {
        hint: 'shards of one sweep have the same experiment, model, texts, calibrations and version',
      });
    }
    for (const outcome of readOutcomes(folder).values()) writeOutcome(target, outcome);
  }
  writeDescription(target, description);
  const sweep = readSweep(target);
  if (sweep === undefined) throw missingPoints(description, target);
  writeSweep(sweep, timing);
  return sweep;
}

function requireThisVersion({ onefet }: SweepDescription, folder: string): void {
  const here = packageVersion();
  if (onefet === here) return;
  throw new OnefetError('usage', 'SHARD_OTHER', `${folder} was made by onefet ${onefet}, this is ${here}`, {
    hint: 'merge it with the version that made it',
  });
}

function missingPoints({ points }: SweepDescription, folder: string): OnefetError {
  const found = readOutcomes(folder);
  const missing = points.flatMap((_, i) => (found.has(i) ? [] : [i + 1]));
  const named = missing.slice(0, 10).join(', ');
  return new OnefetError(
    'input',
    'SHARD_MISSING',
    `${missing.length} of ${points.length} points of ${folder} have no outcome: ${named}${missing.length > 10 ? ', ...' : ''}`,
    { hint: 'run the shards that are missing, or give their folders as well' },
  );
}
