/**
 * The result of a run, assembled from its plan and its finished jobs: a pure function, which reads and writes no file.
 *
 *   sums over windows -> accuracy of each variant -> intervals over chips, attribution, SNR by block, cost, verdict
 */
import { version as nodeVersion } from 'node:process';
import type { CostReport } from '../cost/report.ts';
import { type Activity, addActivity, type LayerActivity } from '../fabric/activity.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';
import { wantedCorrection } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { Origin } from '../machine.ts';
import { blockWeights } from '../model/shape.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { attributionSeeds } from './attribution.ts';
import { addBlockErrors, blockSnrDb } from './block-error.ts';
import { bootstrapMean, RESAMPLES } from './bootstrap.ts';
import { type BlockErrorSums, jobKey } from './job.ts';
import { layerSnr } from './layer-snr.ts';
import {
  codingVariance,
  estimatePerplexity,
  type PerplexityEstimate,
  predictLoss,
} from './loss-prediction.ts';
import { type MappingReport, mappingWork } from './mapping-report.ts';
import type { MetricSums } from './metrics.ts';
import { RESOLVED_NATS } from './options.ts';
import type { RunPlan } from './plan.ts';
import { readingSeconds } from './planned-mapping.ts';
import { positionStatistics } from './position-statistics.ts';
import { type CountedRun, priceRun, tileWarnings } from './price.ts';
import {
  type Accuracy,
  type AttributionResult,
  type BlockSnr,
  type ChipResult,
  RESULT_SCHEMA,
  type RunResult,
  type TextIntervals,
} from './result.ts';
import { sampleSize, varianceParts } from './sample-size.ts';
import {
  meanDivergenceInterval,
  meanInterval,
  meanShareInterval,
  perplexityInterval,
  shareInterval,
} from './statistics.ts';
import { taskResult } from './task-result.ts';
import { type FinishedJobs, finishedJob, unitSums } from './unit-sums.ts';
import type { Variant } from './variant.ts';
import { judge } from './verdict.ts';
import { fileWeightBits, weightBitsWarning } from './weight-bits.ts';

/** Measurement of the run that computed the chips: the jobs do not know it. */
export interface RunTiming extends Origin {
  /** Of the chips; 0 where none was computed. */
  readonly tokensPerSecond: number;
  readonly seconds: number;
  readonly peakRssBytes: number;
  readonly threads: number;
  readonly command: readonly string[];
}

/** Assembles the result of all chips of the plan. Errors: JOB_MISSING (internal) where a job of it is not finished. */
export function assembleResult(
  plan: RunPlan,
  finished: FinishedJobs,
  timing: RunTiming,
  report: MappingReport | null = null,
): RunResult {
  const { options, fabric, inputs } = plan;
  const windows = inputs.groups.map((_, number) => number);
  const accuracy = (variant: Variant) => finishMetrics(sumMetrics(finished, variant, windows));
  const digital = accuracy({ kind: 'digital' });
  const recoded = accuracy({ kind: 'recoded' });
  const { chips, activity } = chipsOf(plan, finished);
  const range = plan.rangeJob && finishedJob(finished, plan.rangeJob.key);
  const coding = range?.coding ?? finishedJob(finished, jobKey({ kind: 'recoded' }, windows[0])).coding!;
  const ranges = range?.ranges ?? plan.imageRanges?.table ?? {};
  const mapping = report && { ...report, correction: correctionOf(plan, ranges) };
  const cost = summariseCosts(plan, activity, ranges, mapping);
  const nll = meanInterval(chips.map((chip) => chip.nll));
  const kl = meanDivergenceInterval(chips.map((chip) => chip.kl));
  const attribution = attributionOf(plan, recoded, (source, seed) =>
    accuracy({ kind: 'source', source, seed }),
  );
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
      nll,
      perplexity: perplexityInterval(nll),
      kl,
      top1: meanShareInterval(chips.map((chip) => chip.top1)),
    },
    overText: overTextOf(plan, finished),
    positions: positionStatistics(plan, finished),
    task: inputs.task ? taskResult(plan, inputs.task, finished) : null,
    yield: {
      perplexityRatio: options.yieldRatio,
      share: within / chips.length,
      ci95: fabric.chipsDiffer ? shareInterval(within, chips.length) : null,
    },
    attribution,
    mapping,
    coding,
    columns: range?.columns ?? null,
    blocks: blockSnrOf(plan, finished, windows),
    layerSnr: layerSnr(plan, finished),
    prediction: predictionOf(plan, finished, recoded.kl, kl.mean, attribution),
    calibration: calibrationOf(plan, coding),
    ...circuitOf(plan),
    energy: { perTokenJ: cost.run.perTokenJ, breakdownJ: breakdown(cost.run.energyJ) },
    area: { mm2: cost.run.areaMm2, breakdownMm2: breakdown(cost.run.areaLinesMm2) },
    throughput: { tokensPerSecondPerUser: cost.run.tokensPerSecondPerUser },
    cost: cost.run,
    emulation: {
      ...timing,
      command: [...timing.command],
      engine: plan.engine,
      precision: plan.precision,
    },
    projection: cost.projection,
    warnings: [...tileWarnings({ activity }), ...warningsOf(plan, cost.projection)],
    provenance: {
      onefet: plan.version,
      node: nodeVersion,
      ngspice: fabric.cell?.engine ?? fabric.circuit?.engine ?? null,
    },
  };
  return { ...partial, verdict: judge(partial, fabric.wording.remark, estimateOf(plan, partial)) };
}

/** Of made-up weights there is no accuracy, and the 8B itself needs no estimate. */
function estimateOf(
  { comparators, inputs }: RunPlan,
  { coding, recoded, summary, model }: Omit<RunResult, 'verdict'>,
): PerplexityEstimate | undefined {
  if (model.synthetic || blockWeights(inputs.model.shape) >= blockWeights(LLAMA_3_1_8B)) return undefined;
  const seen = { codingVariance: codingVariance(coding), recodedKl: recoded.kl, kl: summary.kl.mean };
  return estimatePerplexity(seen, comparators);
}

function correctionOf({ fabric }: RunPlan, ranges: RangeTable): MappingReport['correction'] {
  const correction = wantedCorrection(fabric.design);
  if (!correction) return null;
  return { rank: correction.rank, reads: correction.reads, readingS: readingSeconds(fabric, ranges) };
}

/** Describes the inputs: model, design and texts. */
function sourcesOf({
  inputs,
  loaded,
  fabric,
  imageRanges,
}: RunPlan): Pick<RunResult, 'model' | 'design' | 'text'> {
  const { model, text, rangeText } = inputs;
  const measured = fabric.measuresRanges ? rangeText : { file: null, tokens: 0 };
  const taken = imageRanges?.about.text;
  return {
    model: {
      file: model.file,
      sha256: model.sha256,
      name: model.name,
      architecture: model.shape.architecture.name,
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
      rangeFile: taken?.name ?? measured.file,
      rangeTokens: taken?.tokens ?? measured.tokens,
    },
  };
}

/** Intervals over windows and chips together. */
function overTextOf({ chipSeeds, inputs, options }: RunPlan, finished: FinishedJobs): TextIntervals {
  const metricsOf = (variant: Variant) => unitSums(inputs, finished, variant);
  const digital = metricsOf({ kind: 'digital' });
  const scored = digital.map((window) => window.scored);
  const chips = chipSeeds.map((seed) => metricsOf({ kind: 'chip', seed }));
  const over = (of: (chip: MetricSums, window: number) => number) =>
    bootstrapMean(
      chips.map((chip) => chip.map(of)),
      scored,
    );
  const above = ({ nll }: MetricSums, window: number) => nll - digital[window].nll;
  const nll = over((chip) => chip.nll);
  const parts = varianceParts(chips.map((chip) => chip.map((sums, w) => above(sums, w) / scored[w])));
  const perWindow = scored.reduce((sum, count) => sum + count, 0) / scored.length;
  return {
    windows: scored.length,
    chips: chips.length,
    resamples: RESAMPLES,
    nll,
    perplexity: perplexityInterval(nll),
    kl: over(({ kl }) => kl),
    top1: over(({ top1 }) => top1),
    nllDifference: over(above),
    resolve: parts ? sampleSize(parts, options.resolveNats ?? RESOLVED_NATS, perWindow) : null,
  };
}

/** Accuracy and clip rate of every chip, and the activity of all together. */
export function chipsOf(plan: RunPlan, finished: FinishedJobs): { chips: ChipResult[]; activity: Activity } {
  const { fabric, inputs } = plan;
  const windows = inputs.groups.map((_, number) => number);
  const { counters } = fabric;
  const activities: LayerActivity[][] = [];
  const chips = plan.chipSeeds.map((seed) => {
    const variant: Variant = { kind: 'chip', seed };
    const activity = addActivity(
      windows.map((window) => finishedJob(finished, jobKey(variant, window)).activity!),
      counters,
    );
    activities.push(activity);
    return {
      seed,
      ...finishMetrics(sumMetrics(finished, variant, windows)),
      clipRate: fabric.clipRate(activity),
      correction: finishedJob(finished, jobKey(variant, windows[0])).correction ?? null,
    };
  });
  return { chips, activity: { layers: addActivity(activities, counters) } };
}

function circuitOf({ fabric: { circuit } }: RunPlan): Pick<RunResult, 'circuit'> {
  if (!circuit) return {};
  const { process, circuit: name, sha256 } = circuit;
  return { circuit: { process, circuit: name, sha256 } };
}

/** The calibration behind the chips; rank and residual are the largest of the weight formats in use. */
function calibrationOf(
  { fabric: { cell } }: RunPlan,
  coding: readonly CodingLoss[],
): RunResult['calibration'] {
  if (!cell) return null;
  const separable = coding.map(({ bits }) => cell.response(bits));
  return {
    process: cell.process,
    cell: cell.cell,
    sha256: cell.sha256,
    rank: Math.max(...separable.map(({ rank }) => rank)),
    separableResidual: Math.max(...separable.map(({ residual }) => residual)),
    driver: cell.driver,
  };
}

/** Collects the warnings: of the inputs (all about the range text), of the chips, and of the cost. */
function warningsOf({ fabric, inputs, mapping, options }: RunPlan, cost: CostReport): string[] {
  const cut = inputs.task?.cut ?? 0;
  return [
    ...(fabric.measuresRanges ? inputs.warnings : []),
    ...(cut > 0
      ? [
          `${cut} choices are longer than ${inputs.contextTokens} tokens: their contexts were cut from the left.`,
        ]
      : []),
    ...(mapping?.warning ? [mapping.warning] : []),
    ...fileBitsWarnings(fabric, inputs),
    ...(fabric.chipsDiffer || options.chips < 2
      ? []
      : [
          `Every chip of this fabric computes the same: one ran in place of ${options.chips}, and no interval over chips exists.`,
        ]),
    ...cost.warnings,
  ];
}

/** Merged adapters are not in the file that a GPU would hold: its bits are then not those of the merged one. */
function fileBitsWarnings({ design }: Fabric, { model }: RunPlan['inputs']): string[] {
  if (design.fabric !== 'gpu' || model.adapted) return [];
  const warning = weightBitsWarning(design, fileWeightBits(model.shape, model.codecs));
  return warning === undefined ? [] : [warning];
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

/** The KL that the errors of the streams predict, beside the measured one. */
function predictionOf(
  { chipSeeds, fabric, inputs, options }: RunPlan,
  finished: FinishedJobs,
  recodedKl: number,
  chipsKl: number,
  attribution: readonly AttributionResult[],
): RunResult['prediction'] {
  /** Error over signal behind the last block, over all windows; the mean of the variants. */
  const errorOf = (variants: readonly Variant[]): number => {
    const errors = variants.map((variant) => {
      const parts = inputs.groups.map((_, number) => finishedJob(finished, jobKey(variant, number)).blocks!);
      const { signal, error } = addBlockErrors(parts);
      return error[error.length - 1] / signal[signal.length - 1];
    });
    return errors.reduce((sum, error) => sum + error, 0) / errors.length;
  };
  return predictLoss(
    { error: errorOf([{ kind: 'recoded' }]), kl: recodedKl },
    { error: errorOf(chipSeeds.map((seed) => ({ kind: 'chip', seed }))), kl: chipsKl },
    attribution.map(({ source: name, kl }) => {
      const source = fabric.errorSources.find((known) => known.name === name)!;
      const seeds = attributionSeeds(source, chipSeeds, options.attributionChips);
      return {
        source: name,
        error: errorOf(seeds.map((seed) => ({ kind: 'source', source: name, seed }))),
        kl: kl.mean,
      };
    }),
  );
}

function attributionOf(
  { chipSeeds, fabric, options }: RunPlan,
  recoded: Accuracy,
  accuracy: (source: string, seed: number) => Accuracy,
): AttributionResult[] {
  if (options.attributionChips === 0) return [];
  return fabric.errorSources.map((source) => {
    const chips = attributionSeeds(source, chipSeeds, options.attributionChips).map((seed) =>
      accuracy(source.name, seed),
    );
    const over = (of: (chip: Accuracy) => number) => meanInterval(chips.map(of));
    return {
      source: source.name,
      description: source.description,
      chips: chips.length,
      sameOnEveryChip: source.sameOnEveryChip,
      excessKl: over((chip) => chip.kl - recoded.kl),
      kl: over((chip) => chip.kl),
      nll: over((chip) => chip.nll),
      perplexity: perplexityInterval(over((chip) => chip.nll)),
      top1: meanShareInterval(chips.map((chip) => chip.top1)),
    };
  });
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

function finishMetrics(sums: MetricSums): Accuracy {
  const nll = sums.nll / sums.scored;
  return { nll, perplexity: Math.exp(nll), kl: sums.kl / sums.scored, top1: sums.top1 / sums.scored };
}

function breakdown(lines: readonly { name: string; value: number }[]): Record<string, number> {
  return Object.fromEntries(lines.map(({ name, value }) => [name, value]));
}

/**
 * Prices the 8B of a plan at what finished jobs counted, without the rest of the result: for a plan that differs from the jobs'
 * own in nothing that chips compute. `draws`: of the bands.
 */
export function projectJobs(
  plan: RunPlan,
  finished: FinishedJobs,
  report: MappingReport | null,
  draws?: number,
): CostReport {
  const { activity } = chipsOf(plan, finished);
  const ranges = plan.rangeJob && finishedJob(finished, plan.rangeJob.key).ranges;
  return priceRun(countedRun(plan, activity, ranges ?? {}, report), LLAMA_3_1_8B, plan.costConstants, {
    contextTokens: plan.options.costContextTokens,
    ...(draws === undefined ? {} : { draws }),
  });
}

/** Cost of the model that ran, and of Llama 3.1 8B at the same activity per cell. */
function summariseCosts(
  plan: RunPlan,
  activity: Activity,
  ranges: RangeTable,
  report: MappingReport | null,
): { run: CostReport; projection: CostReport } {
  const { costConstants, inputs, options } = plan;
  const run = countedRun(plan, activity, ranges, report);
  return {
    run: priceRun(run, run.shape, costConstants, { contextTokens: inputs.contextTokens }),
    projection: priceRun(run, LLAMA_3_1_8B, costConstants, { contextTokens: options.costContextTokens }),
  };
}

function countedRun(
  { fabric, inputs }: RunPlan,
  activity: Activity,
  ranges: RangeTable,
  report: MappingReport | null,
): CountedRun {
  const { shape, name } = inputs.model;
  return { fabric, activity, ranges, mapping: report && mappingWork(report), shape: { ...shape, name } };
}
