/** Finished runs that stand beside one another: their results, and the sums that paired differences are made of. */
import { realpathSync } from 'node:fs';
import { basename } from 'node:path';
import { OnefetError } from '../../error.ts';
import type { FinishedJob } from '../../experiment/job.ts';
import { readResult } from '../../experiment/read-result.ts';
import type { RunResult } from '../../experiment/result.ts';
import { readFinished } from '../../experiment/store.ts';
import type { Comparable } from '../../sweep/compare.ts';

/** Runs on one page: beyond it nobody tells them apart, and a sweep has a page of its own. */
export const MOST_RUNS = 24;

export interface ComparedRun {
  readonly folder: string;
  /** Name of the folder, which no two have. */
  readonly name: string;
  readonly result: RunResult;
  /** null where the folder's jobs are not there any more: then nothing is paired. */
  readonly comparable: Comparable | null;
}

/** Reads the runs in the order given. Errors: COMPARE_RUNS (usage) for too few or too many; those of `readResult`. */
export function readRuns(folders: readonly string[]): ComparedRun[] {
  const distinct = [...new Set(folders.map((folder) => realPath(folder)))];
  if (distinct.length < 2 || distinct.length > MOST_RUNS) {
    throw new OnefetError(
      'usage',
      'COMPARE_RUNS',
      `${distinct.length} different ${distinct.length === 1 ? 'run' : 'runs'} to compare: from 2 to ${MOST_RUNS} fit on a page`,
      { hint: 'more points than that are a sweep: onefet sweep FILE' },
    );
  }
  const names = distinct.map((folder) => basename(folder));
  return distinct.map((folder, point) => {
    const result = readResult(folder);
    // Folders of the same name in different places are told apart by their place.
    const name = names.filter((other) => other === names[point]).length > 1 ? folder : names[point];
    return { folder, name, result, comparable: comparableOf(point, result, readFinished(folder)) };
  });
}

function realPath(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    // What is wrong with it is said by whoever reads it.
    return folder;
  }
}

/** Runs whose texts, models and jobs are the same have the same key; a unit is a job: a window, or some documents. */
function comparableOf(
  point: number,
  { model, text, chips, fabric }: RunResult,
  finished: ReadonlyMap<string, FinishedJob>,
): Comparable | null {
  const jobs = [...finished.values()].filter(({ metrics }) => metrics !== undefined);
  const digital = jobs
    .filter(({ variant }) => variant.kind === 'digital')
    .sort((a, b) => Number(a.window) - Number(b.window));
  if (digital.length === 0) return null;
  const rows = chips.map(({ seed }) =>
    digital.map(({ window }) =>
      jobs.find((job) => job.variant.kind === 'chip' && job.variant.seed === seed && job.window === window),
    ),
  );
  if (rows.some((row) => row.some((job) => job === undefined))) return null;
  const sums = (of: 'kl' | 'nll') => rows.map((row) => row.map((job) => job!.metrics![of]));
  const scored = digital.map((job) => job.metrics!.scored);
  return {
    point,
    textKey: JSON.stringify([model.sha256, text.sha256, text.scoring, text.contextTokens, scored]),
    chipsDiffer: fabric.chipsDiffer,
    units: { seeds: chips.map(({ seed }) => seed), scored, sums: { kl: sums('kl'), nll: sums('nll') } },
  };
}
