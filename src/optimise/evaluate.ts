/**
 * Scores of candidates, by sweeps: each rung is an accuracy sweep whose points are the candidates, so that they are planned,
 * refused, run and resumed as any other, and jobs are shared with every run of the same content. Keys that change the price alone
 * are not run again: every level of theirs is priced at the jobs of the one run.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { projectEconomics } from '../cost/economics.ts';
import type { CostReport } from '../cost/report.ts';
import { projectJobs } from '../experiment/assemble.ts';
import type { MappingReport } from '../experiment/mapping-report.ts';
import type { RunPlan } from '../experiment/plan.ts';
import { readResult } from '../experiment/read-result.ts';
import { readFinished } from '../experiment/store.ts';
import type { FinishedJobs } from '../experiment/unit-sums.ts';
import { readyCells } from '../sweep/accuracy/cells.ts';
import { planAccuracy } from '../sweep/accuracy/plan.ts';
import type { Experiment } from '../sweep/experiment.ts';
import { type FinishedSweep, readSweep } from '../sweep/finish.ts';
import type { Settings } from '../sweep/keys.ts';
import { type AccuracyOutcome, isAccuracy } from '../sweep/outcome.ts';
import type { SweepOptions } from '../sweep/plan.ts';
import { pointsOf } from '../sweep/points.ts';
import type { SweepHooks } from '../sweep/runner.ts';
import { WHOLE } from '../sweep/shard.ts';
import { openSweep } from '../sweep/sweep.ts';
import { type Axis, PRICED_ONLY } from './axes.ts';

/** What a candidate costs, of the projected 8B. */
export interface Prices {
  readonly energyJ: number;
  readonly areaMm2: number;
  /** 5th to 95th percentile over the constants of cost; null where they were not drawn. */
  readonly energyBandJ: readonly [number, number] | null;
  readonly areaBandMm2: readonly [number, number] | null;
  /** Silicon, masks and electricity for a million tokens of a full pipeline, the middle of the band. */
  readonly usdPerMtoken: number;
  readonly tokensPerSecondPerUser: number;
  readonly dies: number;
}

/** One setting of all keys, with the price that it has. */
export interface Variant {
  readonly settings: Settings;
  readonly prices: Prices;
}

export interface Evaluated {
  readonly outcome: AccuracyOutcome;
  /** One for each setting of the keys that change the price alone. */
  readonly variants: readonly Variant[];
}

export interface Evaluator {
  readonly options: Omit<SweepOptions, 'shard'>;
  readonly hooks: SweepHooks;
  readonly pricedAxes: readonly Axis[];
  /** Draw the bands of the prices as well. */
  readonly bands: boolean;
}

/** Runs the points on the base's text; undefined for those that cannot be, with the reason in `refused`. */
export async function evaluatePoints(
  { options, hooks, pricedAxes, bands }: Evaluator,
  name: string,
  base: Settings,
  points: readonly Settings[],
): Promise<{ evaluated: (Evaluated | undefined)[]; refused: (string | undefined)[] }> {
  const experiment = pointsExperiment(name, base, points);
  const sweep = await finishedSweep(experiment, options, hooks);
  const variants = priceVariants(sweep.outcomes.filter(isAccuracy), {
    base,
    points,
    options,
    pricedAxes,
    bands,
  });
  return {
    evaluated: sweep.outcomes.map((outcome) =>
      isAccuracy(outcome) ? { outcome, variants: variants.get(outcome.point) ?? [] } : undefined,
    ),
    refused: sweep.outcomes.map((outcome) => (outcome.status === 'done' ? undefined : outcome.reason)),
  };
}

const pointsExperiment = (name: string, base: Settings, points: readonly Settings[]): Experiment => ({
  kind: 'accuracy',
  name,
  question: '',
  base,
  points,
  varied: [...new Set(points.flatMap((point) => Object.keys(point)))],
  reference: undefined,
  stop: undefined,
  file: 'optimise',
  text: '',
});

/** Runs what is not finished of a sweep. */
async function finishedSweep(
  experiment: Experiment,
  options: Evaluator['options'],
  hooks: SweepHooks,
): Promise<FinishedSweep> {
  await readyCells(experiment, options.threads, hooks);
  const open = openSweep(experiment, { ...options, shard: WHOLE });
  const before = existsSync(open.plan.folder) ? readSweep(open.plan.folder) : undefined;
  if (before) return before;
  const run = await open.run(hooks);
  return run.sweep ?? readSweep(run.folder)!;
}

/** Every setting of the priced keys at the jobs of each outcome's run, by number of the point. */
function priceVariants(
  outcomes: readonly AccuracyOutcome[],
  {
    base,
    points,
    options,
    pricedAxes,
    bands,
  }: Pick<Evaluator, 'options' | 'pricedAxes' | 'bands'> & {
    readonly base: Settings;
    readonly points: readonly Settings[];
  },
): Map<number, Variant[]> {
  const priced = pointsOf({ grid: Object.fromEntries(pricedAxes.map(({ name, levels }) => [name, levels])) });
  const all = outcomes.flatMap((outcome) => priced.map((settings) => ({ outcome, settings })));
  // One plan of all, so that model and texts are opened once.
  const experiment = pointsExperiment(
    'priced',
    base,
    all.map(({ outcome, settings }) => ({ ...points[outcome.point], ...settings })),
  );
  const { points: planned } = planAccuracy(experiment, { ...options, shard: WHOLE });
  const found = new Map<number, Variant[]>();
  let jobs: { of: AccuracyOutcome; finished: FinishedJobs; mapping: MappingReport | null } | undefined;
  all.forEach(({ outcome, settings }, i) => {
    if (jobs?.of !== outcome) {
      const folder = join(options.out, basename(outcome.runFolder));
      jobs = { of: outcome, finished: readFinished(folder), mapping: readResult(folder).mapping };
    }
    const plan = planned[i].run?.plan();
    if (plan === undefined) return;
    const draws = bands ? undefined : 1;
    const prices = pricesOf(projectJobs(plan, jobs.finished, jobs.mapping, draws), plan, bands);
    found.set(outcome.point, [...(found.get(outcome.point) ?? []), { settings, prices }]);
  });
  return found;
}

function pricesOf(cost: CostReport, { costConstants }: RunPlan, bands: boolean): Prices {
  const { perTokenJ, areaMm2 } = cost.bands;
  return {
    energyJ: cost.perTokenJ,
    areaMm2: cost.areaMm2,
    energyBandJ: bands ? [perTokenJ.low, perTokenJ.high] : null,
    areaBandMm2: bands ? [areaMm2.low, areaMm2.high] : null,
    usdPerMtoken: projectEconomics(cost, costConstants).mid.usdPerMtoken,
    tokensPerSecondPerUser: cost.tokensPerSecondPerUser,
    dies: cost.dies,
  };
}

export const isPricedOnly = ({ name }: Axis): boolean => PRICED_ONLY.includes(name);
