/**
 * Runs a sweep's points, or those of a shard. What is finished is kept by content and is never computed again, whoever
 * computed it; what points share is made once. A point that fails is a row of the table and the others go on.
 *
 * Points run in an order that spreads over the design, so that the first tenth is like the rest: estimates hold, and what is
 * there early shows the whole.
 */
import { join } from 'node:path';
import { interrupted, OnefetError } from '../error.ts';
import { packageVersion } from '../files.ts';
import { takeLock } from '../lock.ts';
import { type FinishedSweep, readSweep, type SweepTiming, writeSweep } from './finish.ts';
import { describeSweep, writeDescription, writeOutcome } from './folder.ts';
import { type MissingOutcome, OUTCOME_SCHEMA, type Outcome } from './outcome.ts';
import type { PlannedPoint, PointRun, SweepPlan } from './plan.ts';
import { pointStatus, reasonText } from './point-error.ts';
import { executionOrder, type PointRunner, type SweepHooks } from './runner.ts';
import { shardText } from './shard.ts';

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
export async function executeSweep<R extends PointRun>(
  plan: SweepPlan<R>,
  runner: PointRunner<R>,
  hooks: SweepHooks,
): Promise<SweepRun> {
  const started = performance.now();
  const { folder, experiment, options, key } = plan;
  const { index, count } = options.shard;
  writeDescription(folder, describeSweep(experiment, key, packageVersion()));
  const release = takeLock(
    join(folder, `lock-${index + 1}-of-${count}`),
    count === 1 ? `the sweep ${folder}` : `shard ${shardText(options.shard)} of the sweep ${folder}`,
  );
  const counts = { refused: 0, failed: 0 };
  try {
    for (const point of executionOrder(plan.own).map((number) => plan.points[number])) {
      if (hooks.signal?.aborted) throw sweepInterrupted();
      const outcome = await runPoint(point, runner, hooks);
      if (outcome.status !== 'done') counts[outcome.status]++;
      writeOutcome(folder, outcome);
      hooks.onPoint?.(outcome);
      runner.ended(point.index);
    }
    const timing = { seconds: (performance.now() - started) / 1e3, command: hooks.command ?? [] };
    return { folder, sweep: finishWhereComplete(folder, timing), ...counts };
  } finally {
    await runner.close();
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

async function runPoint<R extends PointRun>(
  point: PlannedPoint<R>,
  runner: PointRunner<R>,
  hooks: SweepHooks,
): Promise<Outcome> {
  const missing = (status: MissingOutcome['status'], reason: string): MissingOutcome => ({
    schema: OUTCOME_SCHEMA,
    point: point.index,
    settings: { ...point.settings },
    status,
    reason,
  });
  if (point.run === undefined) return missing('refused', point.refused!);
  try {
    return await runner.run(point, point.run);
  } catch (error) {
    if (hooks.signal?.aborted) throw sweepInterrupted();
    const status = error instanceof OnefetError ? pointStatus(error) : undefined;
    if (status === undefined) throw error;
    return missing(status, reasonText(error as OnefetError));
  }
}
