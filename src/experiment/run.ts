/**
 * `onefet run`: the digital model, the recoded weights and N chips over one text, then what it costs.
 *
 *   digital windows + range calibration  ->  recoded and chip windows  ->  metrics, intervals, cost  ->  result.json
 *
 * Every finished job is in the run's folder at once; a run that was interrupted takes up where it stopped.
 */

import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { costOf } from '../cost/chip.ts';
import { priceLogDomain } from '../cost/log-domain.ts';
import { logDomainCostDesign } from '../cost/log-domain-design.ts';
import { projectActivity } from '../cost/project.ts';
import type { CostReport } from '../cost/report.ts';
import { OnefetError } from '../error.ts';
import type { Activity, TileActivity as LayerActivity } from '../fabric/activity.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { loadFabric } from '../fabric/registry.ts';
import { displayPath, packageVersion, writeFileAtomic } from '../files.ts';
import { LLAMA_3_1_8B, type NamedShape } from '../model/shapes.ts';
import { ERROR_SOURCES, type ErrorSource, sameOnEveryChip } from '../tile/error-sources.ts';
import { tilePhysics } from '../tile/physics.ts';
import { attributionSeeds } from './attribution.ts';
import { addBlockErrors, blockSnrDb, stateStride } from './block-error.ts';
import type { ExecutorOptions } from './execute.ts';
import { createFastCrew } from './fast.ts';
import { type BlockErrorSums, type Job, type JobResult, jobKey, RELATIVE_COST } from './job.ts';
import type { MetricSums } from './metrics.ts';
import type { RunPlan } from './plan.ts';
import {
  type Accuracy,
  type AttributionResult,
  type BlockSnr,
  RESULT_SCHEMA,
  type RunResult,
} from './result.ts';
import { createCrew } from './schedule.ts';
import { meanInterval, shareInterval } from './statistics.ts';
import { openRunFolder, type RunFolder } from './store.ts';
import type { Variant } from './variant.ts';
import { verdictOf } from './verdict.ts';

export interface RunHooks {
  readonly onProgress?: (done: number, total: number, label: string) => void;
  readonly signal?: AbortSignal;
  readonly command?: readonly string[];
}

export async function executeRun(plan: RunPlan, hooks: RunHooks = {}): Promise<RunResult> {
  const { options } = plan;
  const folder = openRunFolder(plan.folder, plan.manifest, stringify(plan.design.design));
  const baselinePath = join(plan.folder, 'baseline.f32');
  const statesPath = join(plan.folder, 'states.f32');
  const executor: ExecutorOptions = {
    modelPath: options.model,
    design: plan.design.design,
    calibration: plan.calibration,
    kernel: plan.kernel === 'fast' ? 'baked' : plan.kernel,
    contextTokens: plan.contextTokens,
    baselinePath,
    statesPath,
    modelSha256: plan.modelInfo.sha256,
    stateStride: stateStride(plan.modelInfo.shape, plan.text.scored),
  };
  const jobs = plan.digitalJobs.length + plan.dependentJobs.length;
  const progress = progressOf(plan, folder, hooks);
  const crew =
    plan.kernel === 'fast'
      ? createFastCrew(options.threads, executor, hooks.signal, (key, share, loading) =>
          progress.partial(key, share, loading),
        )
      : createCrew(Math.min(options.threads, jobs), executor, hooks.signal);
  const started = performance.now();
  try {
    for (const path of [baselinePath, statesPath]) closeSync(openSync(path, 'a'));
    const unfinished = (jobs: readonly Job[]) => jobs.filter((job) => !folder.finished.has(job.key));
    const finish = (result: JobResult) => {
      folder.append(result);
      progress.finished(result.key);
    };
    progress.finished('digital');
    await crew.run(unfinished([...plan.digitalJobs, plan.rangeJob]), undefined, finish);
    const ranges = folder.finished.get(plan.rangeJob.key)?.ranges;
    const chipsStarted = performance.now();
    const chipJobs = unfinished(plan.dependentJobs);
    await crew.run(chipJobs, ranges, finish);
    const seconds = (performance.now() - chipsStarted) / 1e3;
    const tokens = chipJobs.reduce((sum, job) => sum + folder.finished.get(job.key)!.tokens, 0);
    const result = assemble(plan, folder, {
      tokensPerSecond: tokens > 0 ? tokens / seconds : 0,
      seconds: (performance.now() - started) / 1e3,
      command: [...(hooks.command ?? [])],
    });
    writeFileAtomic(join(plan.folder, 'result.json'), `${JSON.stringify(result, null, 2)}\n`);
    return result;
  } finally {
    await crew.close();
    folder.close();
  }
}

/** Work is counted in tokens of the digital model. */
function progressOf(
  plan: RunPlan,
  folder: RunFolder,
  hooks: RunHooks,
): { finished(key: string): void; partial(key: string, share: number, loading: boolean): void } {
  const work = new Map<string, number>();
  for (const job of [...plan.digitalJobs, plan.rangeJob, ...plan.dependentJobs]) {
    const tokens = job.windows.reduce((sum, window) => sum + window.scoreTo, 0);
    work.set(job.key, tokens * RELATIVE_COST[job.variant.kind]);
  }
  const total = [...work.values()].reduce((sum, x) => sum + x, 0);
  let done = [...folder.finished.keys()].reduce((sum, key) => sum + (work.get(key) ?? 0), 0);
  const seen = new Set(folder.finished.keys());
  const nameOf = (key: string) => key.replace(/-?\d*\/.*$/, '');
  return {
    finished(key) {
      if (!seen.has(key)) {
        seen.add(key);
        done += work.get(key) ?? 0;
      }
      hooks.onProgress?.(done, total, nameOf(key));
    },
    partial(key, share, loading) {
      const label = loading ? `${nameOf(key)}: weights ${Math.floor(100 * share)} %` : nameOf(key);
      hooks.onProgress?.(done + (loading ? 0 : share * (work.get(key) ?? 0)), total, label);
    },
  };
}

function assemble(
  plan: RunPlan,
  folder: RunFolder,
  timing: { tokensPerSecond: number; seconds: number; command: string[] },
): RunResult {
  const { options, calibration } = plan;
  const { design } = plan.design;
  const fabric = loadFabric(design, calibration);
  const windows = plan.digitalJobs.map((job) => job.windows[0].window);
  const sumsOf = (variant: Variant): MetricSums => {
    const sums: MetricSums = { scored: 0, nll: 0, kl: 0, top1: 0 };
    for (const window of windows) {
      const { metrics } = finishedJob(folder, jobKey(variant, window));
      for (const key of ['scored', 'nll', 'kl', 'top1'] as const) sums[key] += metrics![key];
    }
    return sums;
  };
  const digital = accuracyOf(sumsOf({ kind: 'digital' }));
  const recoded = accuracyOf(sumsOf({ kind: 'recoded' }));
  const activities: LayerActivity[][] = [];
  const chips = plan.chipSeeds.map((seed) => {
    const variant: Variant = { kind: 'chip', seed };
    const activity = sumActivity(
      windows.map((window) => finishedJob(folder, jobKey(variant, window)).activity!),
    );
    activities.push(activity);
    const conversions = activity.reduce((sum, layer) => sum + layer.adcConversions, 0);
    const clipped = activity.reduce((sum, layer) => sum + layer.adcClipped, 0);
    return { seed, ...accuracyOf(sumsOf(variant)), clipRate: conversions > 0 ? clipped / conversions : 0 };
  });
  const range = finishedJob(folder, plan.rangeJob.key);
  const cost = costsOf(plan, { layers: sumActivity(activities) }, range.ranges!);
  const { responses } = tilePhysics(calibration, design);
  const separable = cost.run.weights.map(({ taps }) => responses.get(taps!)!.separable);
  const within = chips.filter((chip) => chip.perplexity <= options.yieldRatio * digital.perplexity).length;
  const partial: Omit<RunResult, 'verdict'> = {
    schema: RESULT_SCHEMA,
    model: {
      file: displayPath(options.model),
      sha256: plan.modelInfo.sha256,
      name: plan.modelInfo.name,
      architecture: 'llama',
      parameters: plan.modelInfo.parameters,
      fileType: plan.modelInfo.fileType,
      synthetic: plan.modelInfo.synthetic,
    },
    design: { name: design.name, sha256: plan.design.sha256, resolved: design },
    fabric: { kind: fabric.kind, chipsDiffer: fabric.chipsDiffer, loss: fabric.wording.loss },
    text: {
      file: plan.text.path,
      sha256: plan.text.sha256,
      tokens: plan.text.tokens,
      scored: plan.text.scored,
      scoring: options.scoring,
      contextTokens: plan.contextTokens,
      rangeFile: plan.rangeText.path,
      rangeTokens: plan.rangeText.tokens,
    },
    seed: options.seed,
    digital: { nll: digital.nll, perplexity: digital.perplexity },
    recoded,
    chips,
    summary: {
      nll: meanInterval(chips.map((chip) => chip.nll)),
      perplexity: meanInterval(chips.map((chip) => chip.perplexity)),
      kl: meanInterval(chips.map((chip) => chip.kl)),
      top1: meanInterval(chips.map((chip) => chip.top1)),
    },
    yield: {
      perplexityRatio: options.yieldRatio,
      share: within / chips.length,
      ci95: shareInterval(within, chips.length),
    },
    attribution: attributionOf(plan, recoded, (source, seed) =>
      accuracyOf(sumsOf({ kind: 'source', source, seed })),
    ),
    coding: range.coding!,
    blocks: blockSnrOf(plan, folder, windows),
    calibration: {
      process: calibration.process,
      cell: calibration.cell,
      sha256: plan.calibrationSha256,
      rank: Math.max(...separable.map(({ rank }) => rank)),
      separableResidual: Math.max(...separable.map(({ residual }) => residual)),
      driver: calibration.driver,
    },
    energy: { perTokenJ: cost.run.perTokenJ, breakdownJ: breakdown(cost.run.energyJ) },
    area: { mm2: cost.run.areaMm2, breakdownMm2: breakdown(cost.run.areaLinesMm2) },
    throughput: { tokensPerSecondPerUser: cost.run.tokensPerSecondPerUser },
    cost: cost.run,
    emulation: {
      ...timing,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      kernel: plan.kernel,
      threads: options.threads,
    },
    projection: cost.projection,
    warnings: [...plan.warnings, ...cost.projection.warnings],
    provenance: { onefet: packageVersion(), node: process.version, ngspice: calibration.engine },
  };
  return { ...partial, verdict: verdictOf(partial, fabric.wording.remark) };
}

/** null when a job has no sums: done by an older version, in a folder that is continued. */
function blockSnrOf(plan: RunPlan, folder: RunFolder, windows: readonly number[]): BlockSnr | null {
  const sumsOf = (variant: Variant): BlockErrorSums | null => {
    const parts = windows.map((window) => finishedJob(folder, jobKey(variant, window)).blocks);
    return parts.every((part) => part !== undefined) ? addBlockErrors(parts) : null;
  };
  const recoded = sumsOf({ kind: 'recoded' });
  const chips = plan.chipSeeds.map((seed) => sumsOf({ kind: 'chip', seed }));
  if (recoded === null || !chips.every((chip) => chip !== null)) return null;
  const chipDb = chips.map(blockSnrDb);
  return {
    positions: recoded.positions,
    recodedDb: blockSnrDb(recoded),
    // A chip without any error in a block has an infinite ratio: left out of the mean.
    chipDb: recoded.signal.map((_, block) => {
      const finite = chipDb.map((snr) => snr[block]).filter((snr) => snr !== null);
      return finite.length > 0 ? meanInterval(finite) : null;
    }),
  };
}

function attributionOf(
  { chipSeeds, options }: RunPlan,
  recoded: Accuracy,
  accuracy: (source: ErrorSource, seed: number) => Accuracy,
): AttributionResult[] {
  if (options.attributionChips === 0) return [];
  return (Object.keys(ERROR_SOURCES) as ErrorSource[]).map((source) => {
    const chips = attributionSeeds(source, chipSeeds, options.attributionChips).map((seed) =>
      accuracy(source, seed),
    );
    const over = (of: (chip: Accuracy) => number) => meanInterval(chips.map(of));
    return {
      source,
      description: ERROR_SOURCES[source],
      chips: chips.length,
      sameOnEveryChip: sameOnEveryChip(source),
      excessKl: over((chip) => chip.kl - recoded.kl),
      kl: over((chip) => chip.kl),
      nll: over((chip) => chip.nll),
      perplexity: over((chip) => chip.perplexity),
      top1: over((chip) => chip.top1),
    };
  });
}

function finishedJob(folder: RunFolder, key: string): JobResult {
  const result = folder.finished.get(key);
  if (!result) throw new OnefetError('internal', 'JOB_MISSING', `job ${key} has no result in ${folder.path}`);
  return result;
}

function accuracyOf(sums: MetricSums): Accuracy {
  const nll = sums.nll / sums.scored;
  return { nll, perplexity: Math.exp(nll), kl: sums.kl / sums.scored, top1: sums.top1 / sums.scored };
}

/** Adds the counts of the same layers over windows or chips, in the order given. */
function sumActivity(parts: readonly (readonly LayerActivity[])[]): LayerActivity[] {
  return parts[0].map((first, i) => {
    const sum = { ...first };
    for (const part of parts.slice(1)) {
      sum.tokens += part[i].tokens;
      sum.sumCurrentA += part[i].sumCurrentA;
      sum.sumActiveRows += part[i].sumActiveRows;
      sum.dacConversions += part[i].dacConversions;
      sum.adcConversions += part[i].adcConversions;
      sum.adcClipped += part[i].adcClipped;
    }
    return sum;
  });
}

function breakdown(lines: readonly { name: string; value: number }[]): Record<string, number> {
  return Object.fromEntries(lines.map(({ name, value }) => [name, value]));
}

/** Cost of the model that ran, and of Llama 3.1 8B at the same activity per cell. */
function costsOf(
  plan: RunPlan,
  activity: Activity<LayerActivity>,
  ranges: RangeTable,
): { run: CostReport; projection: CostReport } {
  const { design } = plan.design;
  const { calibration } = plan;
  const { shape, name } = plan.modelInfo;
  const costDesign = logDomainCostDesign(design, calibration, ranges);
  const from: NamedShape = { ...shape, name };
  const contextTokens = plan.contextTokens;
  return {
    run: costOf(priceLogDomain(activity, costDesign), from, plan.costConstants, { contextTokens }),
    projection: costOf(
      priceLogDomain(projectActivity(activity, from, LLAMA_3_1_8B), costDesign),
      LLAMA_3_1_8B,
      plan.costConstants,
      {
        contextTokens: PROJECTION_CONTEXT_TOKENS,
      },
    ),
  };
}

/** Context of the 8B projection: the middle of the vendors' 1k in / 1k out benchmarks. */
const PROJECTION_CONTEXT_TOKENS = 1024;
