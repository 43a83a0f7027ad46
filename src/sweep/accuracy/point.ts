/** One point of an accuracy sweep: run, judged by its stop rule, and put into an outcome. */
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CostReport } from '../../cost/report.ts';
import { OnefetError } from '../../error.ts';
import { assembleResult } from '../../experiment/assemble.ts';
import { baselineKey } from '../../experiment/cache.ts';
import { type RunPlan, withChips } from '../../experiment/plan.ts';
import type { RunResult } from '../../experiment/result.ts';
import { executeRun, type RunHooks } from '../../experiment/run.ts';
import { readFinished } from '../../experiment/store.ts';
import type { FinishedJobs } from '../../experiment/unit-sums.ts';
import type { StopRule } from '../experiment.ts';
import type { Settings } from '../keys.ts';
import { type AccuracyOutcome, type Costs, OUTCOME_SCHEMA } from '../outcome.ts';
import { judgeStop, nextChips, type StopState } from '../stop.ts';
import type { TaskName } from '../task.ts';
import { taskModule } from '../tasks.ts';

export interface AccuracyPoint {
  readonly index: number;
  readonly settings: Settings;
  readonly task: TaskName;
  readonly stop: StopRule | undefined;
  plan(): RunPlan;
}

/** Runs the point until it has chips enough. `onChips` hears of chips that are added. */
export async function runAccuracyPoint(
  point: AccuracyPoint,
  hooks: RunHooks,
  onChips: (added: number) => void,
): Promise<AccuracyOutcome> {
  const { stop } = point;
  const task = taskModule(point.task);
  let plan = point.plan();
  for (;;) {
    const { result, finished } = await runExactly(plan, hooks);
    const chips = result.chips.length;
    const state = stop && judgeStop(stop, task.measure(result), chips);
    // Where every chip computes the same, one stands for all.
    if (!stop || !state || state.reached || chips >= stop.maxChips || !plan.fabric.chipsDiffer) {
      return outcomeOf(point, plan, result, finished, state ?? null);
    }
    const next = nextChips(stop, state, chips);
    onChips(next - chips);
    plan = withChips(plan, next, plan.options.attributionChips);
  }
}

/**
 * Runs a plan and returns the result of just the chips that it asks for: the folder may have more of other commands, and a
 * point of a sweep does not depend on what ran before it.
 */
async function runExactly(
  plan: RunPlan,
  hooks: RunHooks,
): Promise<{ result: RunResult; finished: FinishedJobs }> {
  const result = await runWhenFree(plan, hooks);
  const finished = readFinished(plan.folder);
  if (result.chips.length === plan.chipSeeds.length) return { result, finished };
  const { emulation, mapping } = result;
  return { result: assembleResult(plan, finished, emulation, mapping), finished };
}

const BUSY_WAIT_MS = 1000;

/** Another shard or command may be at the same run: its jobs are used when it has ended. */
async function runWhenFree(plan: RunPlan, hooks: RunHooks): Promise<RunResult> {
  for (let told = false; ; told = true) {
    try {
      return await executeRun(plan, hooks);
    } catch (error) {
      if (!(error instanceof OnefetError) || error.code !== 'BUSY') throw error;
      if (!told) hooks.onNotice?.(`${error.message}: waiting for it`);
      await sleep(BUSY_WAIT_MS, undefined, hooks.signal ? { signal: hooks.signal } : {});
    }
  }
}

function outcomeOf(
  { index, settings, task }: AccuracyPoint,
  plan: RunPlan,
  result: RunResult,
  finished: FinishedJobs,
  stop: StopState | null,
): AccuracyOutcome {
  const { seeds, scored, sums } = taskModule(task).unitSums(plan, finished);
  const measured = Object.entries(taskModule(task).measure(result)).map(([name, value]) => [
    name,
    {
      mean: value.mean,
      chipsCi95: value.chipsCi95 && [...value.chipsCi95],
      textAndChipsCi95: value.textAndChipsCi95 && [...value.textAndChipsCi95],
    },
  ]);
  const { recoded } = result;
  return {
    schema: OUTCOME_SCHEMA,
    point: index,
    settings: { ...settings },
    status: 'done',
    kind: 'accuracy',
    runFolder: join('..', basename(plan.folder)),
    task,
    design: { name: result.design.name, sha256: result.design.sha256 },
    engine: plan.engine,
    textKey: baselineKey(plan),
    chips: result.chips.length,
    chipsDiffer: result.fabric.chipsDiffer,
    windows: scored.length,
    scored: result.text.scored,
    digital: result.digital,
    recoded: { nll: recoded.nll, perplexity: recoded.perplexity, kl: recoded.kl, top1: recoded.top1 },
    metrics: Object.fromEntries(measured),
    yield: result.yield,
    clipRate: clipRateOf(result),
    cost: costsOf(result.cost),
    projection: costsOf(result.projection),
    stop: stop && { reached: stop.reached, advisedChips: { ...stop.advisedChips } },
    units: { seeds: [...seeds], scored: [...scored], sums: Object.fromEntries(copied(sums)) },
  };
}

const copied = (sums: Readonly<Record<string, readonly (readonly number[])[]>>) =>
  Object.entries(sums).map(([name, chips]) => [name, chips.map((chip) => [...chip])] as const);

/** Mean over chips; null without converters. */
function clipRateOf({ chips }: RunResult): number | null {
  const rates = chips.flatMap(({ clipRate }) => clipRate ?? []);
  return rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}

function costsOf(cost: CostReport): Costs {
  const byName = (lines: CostReport['energyJ']) =>
    Object.fromEntries(lines.map(({ name, value }) => [name, value]));
  const { perTokenJ, areaMm2 } = cost.bands;
  return {
    shape: cost.shape.name,
    energyPerTokenJ: cost.perTokenJ,
    energyBandJ: [perTokenJ.low, perTokenJ.high],
    areaMm2: cost.areaMm2,
    areaBandMm2: [areaMm2.low, areaMm2.high],
    tokensPerSecondPerUser: cost.tokensPerSecondPerUser,
    energyJ: byName(cost.energyJ),
    areaLinesMm2: byName(cost.areaLinesMm2),
  };
}
