/**
 * The result of a run, assembled from its plan and its finished jobs: a pure function, which reads and writes no file.
 *
 *   sums over windows -> accuracy of each variant -> intervals over chips, attribution, SNR by block, cost, verdict
 */
import { version as nodeVersion } from 'node:process';
import { costOf } from '../cost/chip.ts';
import { priceLogDomain } from '../cost/log-domain.ts';
import { logDomainCostDesign } from '../cost/log-domain-design.ts';
import { projectActivity } from '../cost/project.ts';
import type { CostReport } from '../cost/report.ts';
import { OnefetError } from '../error.ts';
import type { Activity, TileActivity as LayerActivity } from '../fabric/activity.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA_3_1_8B, type NamedShape } from '../model/shapes.ts';
import { ERROR_SOURCES, type ErrorSource, sameOnEveryChip } from '../tile/error-sources.ts';
import { attributionSeeds } from './attribution.ts';
import { addBlockErrors, blockSnrDb } from './block-error.ts';
import { type BlockErrorSums, type FinishedJob, jobKey } from './job.ts';
import type { MetricSums } from './metrics.ts';
import type { RunPlan } from './plan.ts';
import {
  type Accuracy,
  type AttributionResult,
  type BlockSnr,
  type ChipResult,
  RESULT_SCHEMA,
  type RunResult,
} from './result.ts';
import { meanInterval, shareInterval } from './statistics.ts';
import type { Variant } from './variant.ts';
import { verdictOf } from './verdict.ts';

/** Finished jobs by key. */
export type FinishedJobs = ReadonlyMap<string, FinishedJob>;

/** How the run went, which the jobs do not know. */
export interface RunTiming {
  /** Of the chips; 0 where none was computed. */
  readonly tokensPerSecond: number;
  readonly seconds: number;
  readonly peakRssBytes: number;
  readonly command: readonly string[];
}

/** Assembles the result of all chips of the plan. Errors: JOB_MISSING (internal) where a job of it is not finished. */
export function assembleResult(plan: RunPlan, finished: FinishedJobs, timing: RunTiming): RunResult {
  const { options, calibration, inputs } = plan;
  const fabric = loadFabric(plan.loaded.design, calibration);
  const windows = inputs.windows.map(({ window }) => window);
  const accuracy = (variant: Variant) => accuracyOf(sumMetrics(finished, variant, windows));
  const digital = accuracy({ kind: 'digital' });
  const recoded = accuracy({ kind: 'recoded' });
  const { chips, activity } = chipsOf(plan, finished, windows);
  const range = finishedJob(finished, plan.rangeJob.key);
  const cost = costsOf(plan, activity, range.ranges!);
  const within = chips.filter((chip) => chip.perplexity <= options.yieldRatio * digital.perplexity).length;
  const partial: Omit<RunResult, 'verdict'> = {
    schema: RESULT_SCHEMA,
    ...sourcesOf(plan),
    fabric: { kind: fabric.kind, chipsDiffer: fabric.chipsDiffer, loss: fabric.wording.loss },
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
    attribution: attributionOf(plan, recoded, (source, seed) => accuracy({ kind: 'source', source, seed })),
    coding: range.coding!,
    blocks: blockSnrOf(plan, finished, windows),
    calibration: calibrationOf(plan, cost.run),
    energy: { perTokenJ: cost.run.perTokenJ, breakdownJ: breakdown(cost.run.energyJ) },
    area: { mm2: cost.run.areaMm2, breakdownMm2: breakdown(cost.run.areaLinesMm2) },
    throughput: { tokensPerSecondPerUser: cost.run.tokensPerSecondPerUser },
    cost: cost.run,
    emulation: {
      ...timing,
      command: [...timing.command],
      kernel: plan.kernel,
      threads: options.threads,
    },
    projection: cost.projection,
    warnings: [...inputs.warnings, ...cost.projection.warnings],
    provenance: { onefet: plan.version, node: nodeVersion, ngspice: calibration.engine },
  };
  return { ...partial, verdict: verdictOf(partial, fabric.wording.remark) };
}

/** What went in: model, design and texts. */
function sourcesOf({ inputs, loaded }: RunPlan): Pick<RunResult, 'model' | 'design' | 'text'> {
  const { model, text, rangeText } = inputs;
  return {
    model: {
      file: model.file,
      sha256: model.sha256,
      name: model.name,
      architecture: 'llama',
      parameters: model.parameters,
      fileType: model.fileType,
      synthetic: model.synthetic,
    },
    design: {
      name: loaded.design.name,
      sha256: loaded.sha256,
      process: loaded.design.process,
      overrides: loaded.overrides,
      resolved: loaded.design,
    },
    text: {
      file: text.file,
      sha256: text.sha256,
      tokens: text.tokens,
      scored: text.scored,
      scoring: inputs.scoring,
      contextTokens: inputs.contextTokens,
      rangeFile: rangeText.file,
      rangeTokens: rangeText.tokens,
    },
  };
}

/** Accuracy and clip rate of every chip, and the activity of all together. */
function chipsOf(
  plan: RunPlan,
  finished: FinishedJobs,
  windows: readonly number[],
): { chips: ChipResult[]; activity: Activity<LayerActivity> } {
  const activities: LayerActivity[][] = [];
  const chips = plan.chipSeeds.map((seed) => {
    const variant: Variant = { kind: 'chip', seed };
    const activity = sumActivity(
      windows.map((window) => finishedJob(finished, jobKey(variant, window)).activity!),
    );
    activities.push(activity);
    const conversions = activity.reduce((sum, layer) => sum + layer.adcConversions, 0);
    const clipped = activity.reduce((sum, layer) => sum + layer.adcClipped, 0);
    return {
      seed,
      ...accuracyOf(sumMetrics(finished, variant, windows)),
      clipRate: conversions > 0 ? clipped / conversions : 0,
    };
  });
  return { chips, activity: { layers: sumActivity(activities) } };
}

/** The calibration behind the chips; rank and residual are the largest of the weight formats in use. */
function calibrationOf(
  { calibration, calibrationSha256, physics }: RunPlan,
  cost: CostReport,
): RunResult['calibration'] {
  const separable = cost.weights.map(({ taps }) => physics.responses.get(taps!)!.separable);
  return {
    process: calibration.process,
    cell: calibration.cell,
    sha256: calibrationSha256,
    rank: Math.max(...separable.map(({ rank }) => rank)),
    separableResidual: Math.max(...separable.map(({ residual }) => residual)),
    driver: calibration.driver,
  };
}

/** null when a job has no sums: done by an older version, in a folder that is continued. */
function blockSnrOf(plan: RunPlan, finished: FinishedJobs, windows: readonly number[]): BlockSnr | null {
  const sumsOf = (variant: Variant): BlockErrorSums | null => {
    const parts = windows.map((window) => finishedJob(finished, jobKey(variant, window)).blocks);
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

function finishedJob(finished: FinishedJobs, key: string): FinishedJob {
  const result = finished.get(key);
  if (!result) throw new OnefetError('internal', 'JOB_MISSING', `job ${key} has no result`);
  return result;
}

/** Sums of a variant over all windows, in their order. */
function sumMetrics(finished: FinishedJobs, variant: Variant, windows: readonly number[]): MetricSums {
  const sums: MetricSums = { scored: 0, nll: 0, kl: 0, top1: 0 };
  for (const window of windows) {
    const { metrics } = finishedJob(finished, jobKey(variant, window));
    for (const key of ['scored', 'nll', 'kl', 'top1'] as const) sums[key] += metrics![key];
  }
  return sums;
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
  const { calibration } = plan;
  const { design } = plan.loaded;
  const { shape, name } = plan.inputs.model;
  const costDesign = logDomainCostDesign(design, calibration, ranges);
  const from: NamedShape = { ...shape, name };
  const { contextTokens } = plan.inputs;
  return {
    run: costOf(priceLogDomain(activity, costDesign), from, plan.costConstants, { contextTokens }),
    projection: costOf(
      priceLogDomain(projectActivity(activity, from, LLAMA_3_1_8B), costDesign),
      LLAMA_3_1_8B,
      plan.costConstants,
      { contextTokens: PROJECTION_CONTEXT_TOKENS },
    ),
  };
}

/** Context of the 8B projection: the middle of the vendors' 1k in / 1k out benchmarks. */
const PROJECTION_CONTEXT_TOKENS = 1024;
