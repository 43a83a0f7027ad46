/**
 * Runs a sweep's points, or those of a shard. What is finished is in run folders by content and is never computed again,
 * whoever computed it; what points share (digital pass, ranges, images, codes, engine threads) is made once. A point that
 * fails is a row of the table and the others go on.
 *
 * Points run in an order that spreads over the design, so that the first tenth is like the rest: estimates hold, and what is
 * there early shows the whole.
 */
import { join } from 'node:path';
import { interrupted, OnefetError } from '../error.ts';
import { packageVersion } from '../files.ts';
import { takeLock } from '../lock.ts';
import { runAccuracyPoint } from './accuracy.ts';
import { type FinishedSweep, readSweep, type SweepTiming, writeSweep } from './finish.ts';
import { describeSweep, writeDescription, writeOutcome } from './folder.ts';
import { type MissingOutcome, OUTCOME_SCHEMA, type Outcome } from './outcome.ts';
import type { PlannedPoint, SweepPlan } from './plan.ts';
import { pointStatus, reasonText } from './point-error.ts';
import {
  type Estimate,
  keepRates,
  newEstimate,
  type PointWork,
  readRates,
  sharedWork,
  type Tokens,
  TYPICAL_POINT_S,
  typicalRates,
  type WorkKind,
} from './work.ts';

export interface SweepHooks {
  readonly signal?: AbortSignal;
  /** Shares of the work; `leftS` once something was measured. */
  readonly onProgress?: (done: number, total: number, label: string, leftS: number | undefined) => void;
  readonly onNotice?: (text: string) => void;
  readonly onPoint?: (outcome: Outcome) => void;
  readonly command?: readonly string[];
}

/** What a command did of a sweep. */
export interface SweepRun {
  readonly folder: string;
  /** undefined: other shards are not finished. */
  readonly sweep: FinishedSweep | undefined;
  /** Of this command's points. */
  readonly refused: number;
  readonly failed: number;
}

/** Runs the points of the plan's shard and, where all points are there, writes the sweep's files. */
export async function runSweep(plan: SweepPlan, hooks: SweepHooks = {}): Promise<SweepRun> {
  const started = performance.now();
  const { folder, experiment, options, key } = plan;
  writeDescription(folder, describeSweep(experiment, key, packageVersion()));
  const { index, count } = options.shard;
  const release = takeLock(
    join(folder, `lock-${index + 1}-of-${count}`),
    count === 1 ? `the sweep ${folder}` : `shard ${index + 1}/${count} of the sweep ${folder}`,
  );
  try {
    const counts = { refused: 0, failed: 0 };
    const progress = newProgress(plan, hooks);
    for (const point of executionOrder(plan.own).map((number) => plan.points[number])) {
      if (hooks.signal?.aborted) throw sweepInterrupted();
      const outcome = await runPoint(point, plan, progress, hooks);
      if (outcome.status !== 'done') counts[outcome.status]++;
      writeOutcome(folder, outcome);
      hooks.onPoint?.(outcome);
      progress.ended(point.index);
    }
    progress.keep();
    const timing = { seconds: (performance.now() - started) / 1e3, command: hooks.command ?? [] };
    return { folder, sweep: finishWhereComplete(folder, timing), ...counts };
  } finally {
    release();
  }
}

function finishWhereComplete(folder: string, timing: SweepTiming): FinishedSweep | undefined {
  const sweep = readSweep(folder);
  if (sweep) writeSweep(sweep, timing);
  return sweep;
}

const sweepInterrupted = () =>
  interrupted('interrupted', { hint: 'run the same command again to resume: finished jobs are kept' });

/** 0, n/2, n/4, 3n/4, ...: numbers with the bits of their place turned round, as van der Corput's sequence has them. */
export function executionOrder(numbers: readonly number[]): number[] {
  const bits = Math.ceil(Math.log2(Math.max(1, numbers.length)));
  const order: number[] = [];
  for (let i = 0; i < 2 ** bits; i++) {
    let turned = 0;
    for (let bit = 0; bit < bits; bit++) turned = 2 * turned + ((i >> bit) & 1);
    if (turned < numbers.length) order.push(numbers[turned]);
  }
  return order;
}

async function runPoint(
  { index, settings, run, refused }: PlannedPoint,
  { experiment }: SweepPlan,
  progress: Progress,
  hooks: SweepHooks,
): Promise<Outcome> {
  const missing = (status: MissingOutcome['status'], reason: string): MissingOutcome => ({
    schema: OUTCOME_SCHEMA,
    point: index,
    settings: { ...settings },
    status,
    reason,
  });
  if (run === undefined) return missing('refused', refused!);
  try {
    return await runAccuracyPoint(
      { index, settings, task: run.task, stop: experiment.stop, plan: run.plan },
      {
        ...progress.hooksOf(index),
        ...(hooks.signal ? { signal: hooks.signal } : {}),
        command: hooks.command ?? [],
      },
      (chips) => progress.added(index, { chip: chips * run.work.chipTokens }),
    );
  } catch (error) {
    if (hooks.signal?.aborted) throw sweepInterrupted();
    const status = error instanceof OnefetError ? pointStatus(error) : undefined;
    if (status === undefined) throw error;
    return missing(status, reasonText(error as OnefetError));
  }
}

interface Progress {
  hooksOf(index: number): {
    onNotice: (text: string) => void;
    onKept: () => void;
    onProgress: (done: number, total: number, label: string) => void;
    onJob: (
      job: {
        readonly variant: { readonly kind: WorkKind };
        readonly windows: readonly { readonly scoreTo: number }[];
      },
      from: string,
      seconds: number,
    ) => void;
  };
  added(index: number, tokens: Tokens): void;
  ended(index: number): void;
  keep(): void;
}

/** Work by point, and what is left of it. */
function newProgress({ points, own }: SweepPlan, hooks: SweepHooks): Progress {
  const order = executionOrder(own);
  const works = order.map((number) => points[number].run?.work);
  const known = works.filter((work) => work !== undefined);
  const shares = sharedWork(known);
  const left = new Map<number, Record<string, number>>();
  order.forEach((number, i) => {
    const work = works[i];
    left.set(number, work ? { ...shares[known.indexOf(work)] } : {});
  });
  const ratesKey = known[0]?.ratesKey ?? '';
  const estimate = estimateOf(known, points);
  const started = performance.now();
  const notices = new Set<string>();
  let doneS = 0;
  /** The mapping of the weights has no job of its own: from the start of a run to its first other label. */
  let imageStarted: number | undefined;
  const leftTokens = (): Tokens => {
    const sum: Record<string, number> = {};
    for (const tokens of left.values())
      for (const [kind, count] of Object.entries(tokens)) sum[kind] = (sum[kind] ?? 0) + count;
    return sum;
  };
  const say = (label: string) => {
    const tokens = leftTokens();
    const expected = estimate.expected(tokens);
    hooks.onProgress?.(
      doneS,
      doneS + expected,
      label,
      estimate.left(tokens, (performance.now() - started) / 1e3),
    );
  };
  const take = (index: number, kind: WorkKind, tokens: number, seconds: number) => {
    const own = left.get(index)!;
    own[kind] = Math.max(0, (own[kind] ?? 0) - tokens);
    if (seconds > 0) estimate.finished(kind, tokens, seconds);
    doneS += seconds;
  };
  const labelOf = (index: number) => `point ${order.indexOf(index) + 1} of ${order.length}`;
  return {
    hooksOf: (index) => ({
      onNotice: (text) => {
        if (!notices.has(text)) hooks.onNotice?.(text);
        notices.add(text);
      },
      onKept: () => {},
      onProgress(_done, _total, label) {
        const image = label.startsWith('mapping');
        if (image) imageStarted ??= performance.now();
        else if (imageStarted !== undefined) {
          take(index, 'image', left.get(index)!.image ?? 0, (performance.now() - imageStarted) / 1e3);
          imageStarted = undefined;
        }
        say(`${labelOf(index)} (${points[index].label}): ${label}`);
      },
      onJob({ variant, windows }, from, seconds) {
        const tokens = windows.reduce((sum, { scoreTo }) => sum + scoreTo, 0);
        take(index, variant.kind, tokens, from === 'computed' ? seconds : 0);
        say(`${labelOf(index)} (${points[index].label})`);
      },
    }),
    added(index, tokens) {
      const own = left.get(index)!;
      for (const [kind, count] of Object.entries(tokens)) own[kind] = (own[kind] ?? 0) + count;
    },
    ended(index) {
      left.set(index, {});
      say(labelOf(index));
    },
    keep: () => keepRates(ratesKey, estimate.measured()),
  };
}

/** An estimate from what was measured here before, on top of typical ratios. */
export function estimateOf(works: readonly PointWork[], points: readonly PlannedPoint[]): Estimate {
  const [first] = works;
  if (first === undefined) return newEstimate(typicalRates(0));
  const parameters = points.find(({ run }) => run?.work === first)!.run!.parameters;
  return newEstimate({ ...typicalRates(parameters), ...readRates(first.ratesKey) });
}

/** What `--dry-run` says. */
export interface SweepEstimate {
  readonly points: number;
  readonly ownPoints: number;
  readonly refused: number;
  readonly jobs: number;
  readonly finishedJobs: number;
  readonly seconds: number;
  readonly memoryBytes: number;
}

export function estimateSweep({ points, own }: SweepPlan): SweepEstimate {
  const runs = own.flatMap((number) => points[number].run ?? []);
  const works = runs.map(({ work }) => work);
  const estimate = estimateOf(works, points);
  const distinct = [...new Map(works.map((work) => [work.identity, work])).values()];
  return {
    points: points.length,
    ownPoints: own.length,
    refused: own.filter((number) => points[number].refused !== undefined).length,
    jobs: distinct.reduce((sum, { jobs }) => sum + jobs, 0),
    finishedJobs: distinct.reduce((sum, { finished }) => sum + finished, 0),
    seconds: sharedWork(works).reduce((sum, tokens) => sum + TYPICAL_POINT_S + estimate.expected(tokens), 0),
    memoryBytes: Math.max(0, ...runs.map(({ memoryBytes }) => memoryBytes)),
  };
}
