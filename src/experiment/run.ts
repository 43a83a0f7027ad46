/**
 * `onefet run`: the digital model, the mapped weights and N chips over one text, then what it costs.
 *
 *   digital windows + range calibration  ->  mapped and chip windows  ->  assemble.ts  ->  result.json
 *
 * Every finished job is in the run's folder at once; a run that was interrupted takes up where it stopped. A result never
 * shrinks: chips and sources of error that the folder has are in it, however few are asked for.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { emitWarning, resourceUsage } from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import { stringify } from 'yaml';
import { OnefetError } from '../error.ts';
import { wantedCorrection } from '../fabric/common-design.ts';
import { loadDesign } from '../fabric/design.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { originNow } from '../machine.ts';
import { openImage } from '../mapping/image.ts';
import { openModel } from '../model/model.ts';
import { computedTokens } from '../model/scoring.ts';
import { ACTIVITY_FILE, writeActivity } from './activity-file.ts';
import { assembleResult, type RunTiming } from './assemble.ts';
import { attributionSeeds } from './attribution.ts';
import { type DigitalFiles, digitalFiles, hashRows, makeWritable, rowsHold, syncFiles } from './baseline.ts';
import { openPassCache, type PassCache } from './cache.ts';
import { correctVariant, isCorrected } from './correction.ts';
import { activityOfRun } from './count-activity.ts';
import type { ExecutorOptions } from './execute.ts';
import { takenNotice } from './image-ranges.ts';
import { finishJob, type Job, type JobResult, jobKey, RELATIVE_COST } from './job.ts';
import { DESIGN_DEFAULTS, type RunOptions, withDefaults } from './options.ts';
import { chipSeed, planRun, type RunPlan, withChips } from './plan.ts';
import { readResult, writeResult } from './read-result.ts';
import { readyCell } from './ready-cell.ts';
import type { RunResult } from './result.ts';
import { type ReadyImage, readyImage } from './run-mapping.ts';
import { type RunningPerplexity, runningPerplexity } from './running-perplexity.ts';
import { byVariant, createRunner } from './schedule.ts';
import { openRunFolder, type RunFolder } from './store.ts';
import type { FinishedJobs } from './unit-sums.ts';
import type { Variant } from './variant.ts';

export interface RunHooks {
  readonly onProgress?: (done: number, total: number, label: string) => void;
  /** Notices for people: damage that was found, chips that were kept. */
  readonly onNotice?: (text: string) => void;
  /** In place of `onNotice`: the folder has more chips than were asked for, and its result keeps them. */
  readonly onKept?: (text: string) => void;
  /** Each job as it is finished, whether it was computed or taken from the cache, and the seconds that it took now. */
  readonly onJob?: (job: Job, from: 'computed' | 'cache', seconds: number) => void;
  /** A window of the digital model, the recoded weights or a chip is done, with what its variant's text has come to. */
  readonly onWindow?: (label: string, running: () => RunningPerplexity | undefined) => void;
  /** Folder in which the digital pass and the ranges are kept for other runs (cache.ts). */
  readonly cacheFolder?: string;
  /** Where chip images are kept. */
  readonly imagesFolder?: string;
  readonly signal?: AbortSignal;
  readonly command?: readonly string[];
}

/** Everything that the stages of a run share. */
interface Run {
  readonly plan: RunPlan;
  readonly folder: RunFolder;
  readonly files: DigitalFiles;
  readonly cache: PassCache;
  readonly image: ReadyImage | undefined;
  readonly hooks: RunHooks;
  readonly notice: (text: string) => void;
}

/**
 * Runs a model on chips of a design, in one call; what is not said is as on the command line (options.ts).
 *
 *     const { summary } = await run({ overrides: { 'adc.bits': 7 }, chips: 2 });
 *
 * Errors: those of planRun; `interrupted` by `hooks.signal`.
 */
export async function run(options: Partial<RunOptions> = {}, hooks: RunHooks = {}): Promise<RunResult> {
  const asked = withDefaults(DESIGN_DEFAULTS, options);
  if (!asked.calibration) {
    const { design } = loadDesign(asked.design, asked.settings, asked.overrides);
    await readyCell(design, { threads: asked.threads, signal: hooks.signal });
  }
  return executeRun(planRun(options), hooks);
}

/** Does the jobs of the plan that are not finished yet and writes result.json. */
export async function executeRun(plan: RunPlan, hooks: RunHooks = {}): Promise<RunResult> {
  const started = performance.now();
  await turn(); // from here on there is something to keep: signals are heard before it is begun
  const notice = hooks.onNotice ?? (() => {});
  // A script without hooks is told too: the slow engine takes twelve times as long, and its numbers differ a little.
  if (plan.engineReason)
    (hooks.onNotice ?? ((text) => emitWarning(text, 'OnefetWarning')))(
      `the ${plan.engine} engine runs this: ${plan.engineReason}`,
    );
  const folder = openRunFolder(plan.folder, plan.manifest, stringify(plan.loaded.design));
  let image: ReadyImage | undefined;
  try {
    if (folder.damagedLines > 0) {
      const lines = folder.damagedLines === 1 ? '1 line' : `${folder.damagedLines} lines`;
      notice(
        `${lines} of ${join(folder.path, 'results.jsonl')} ${folder.damagedLines === 1 ? 'was' : 'were'} cut off or changed: what stood there is done again`,
      );
    }
    image = await readyImage(plan, hooks, notice);
    if (plan.imageRanges) notice(takenNotice(plan.imageRanges));
    const earlier = resultOnFile(folder, notice);
    const run: Run = {
      plan: keepLarger(plan, folder, earlier, hooks.onKept ?? notice),
      folder,
      files: digitalFiles(folder.path, plan.inputs.model.shape, plan.inputs.text.scored),
      cache: openPassCache(plan, notice, hooks.cacheFolder),
      image,
      hooks,
      notice,
    };
    checkRows(run);
    takeFromCache(run);
    const tokensPerSecond = await executeJobs(run);
    const measured = {
      tokensPerSecond,
      seconds: (performance.now() - started) / 1e3,
      peakRssBytes: resourceUsage().maxRSS * 1024,
      threads: plan.options.threads,
      ...originNow(),
    };
    const timing = {
      ...(tokensPerSecond === 0 && earlier ? earlierTiming(earlier) : measured),
      command: hooks.command ?? [],
    };
    const result = assembleResult(run.plan, folder.finished, timing, image?.report ?? null);
    writeResult(folder.path, result);
    writeActivity(join(folder.path, ACTIVITY_FILE), activityOfRun(run.plan, folder.finished, result));
    return result;
  } finally {
    image?.discard();
    rmSync(chipImages(plan), { recursive: true, force: true });
    folder.close();
  }
}

/** The plan with all chips and attribution that the folder has, where it has more than was asked for. */
function keepLarger(
  plan: RunPlan,
  folder: RunFolder,
  earlier: RunResult | undefined,
  notice: (text: string) => void,
): RunPlan {
  const asked = plan.options;
  const had = sizeOfResult(earlier);
  const chips = Math.max(asked.chips, had.chips, finishedChips(plan, folder.finished));
  const sourceChips = Math.max(
    asked.attributionChips,
    had.attributionChips,
    finishedAttribution(plan, folder.finished, chips),
  );
  const kept = [
    chips > asked.chips ? `${chips} chips (${asked.chips} asked for)` : '',
    sourceChips > asked.attributionChips
      ? `attribution on ${sourceChips} of them (${asked.attributionChips || 'none'} asked for)`
      : '',
  ].filter((text) => text !== '');
  if (kept.length === 0) return plan;
  notice(`${folder.path} has ${kept.join(' and ')}: its result keeps them`);
  return withChips(plan, chips, sourceChips);
}

/** The folder's result, where it has one of this version that is what was written. */
function resultOnFile({ path }: RunFolder, notice: (text: string) => void): RunResult | undefined {
  try {
    return readResult(path);
  } catch (error) {
    if (!(error instanceof OnefetError)) throw error;
    if (error.code === 'RESULT_INVALID') notice(`${error.message}: it is made again from the finished jobs`);
    return undefined;
  }
}

/** Chips and attribution of a result. */
function sizeOfResult(result: RunResult | undefined): { chips: number; attributionChips: number } {
  if (!result) return { chips: 0, attributionChips: 0 };
  const { chips, attribution } = result;
  const attributionChips = Math.max(0, ...attribution.map((source) => source.chips));
  return { chips: chips.length, attributionChips: Math.min(attributionChips, chips.length) };
}

/** The measurement of the run that computed the chips, kept where none was computed now. */
function earlierTiming({ emulation }: RunResult): Omit<RunTiming, 'command'> {
  const { tokensPerSecond, seconds, peakRssBytes, threads, date, cpu, commit } = emulation;
  return { tokensPerSecond, seconds, peakRssBytes, threads, date, cpu, commit };
}

/** Chips from the first on that are finished in every window. */
function finishedChips(plan: RunPlan, finished: FinishedJobs): number {
  let chips = 0;
  while (isFinished(plan, finished, { kind: 'chip', seed: chipSeed(plan.options.seed, chips) })) chips++;
  return chips;
}

/** Chips from the first on, at most `chips`, on which every source of error is finished. */
function finishedAttribution(plan: RunPlan, finished: FinishedJobs, chips: number): number {
  const { errorSources, chipsDiffer } = plan.fabric;
  if (errorSources.length === 0) return 0;
  const length = chipsDiffer ? chips : Math.min(1, chips);
  const seeds = Array.from({ length }, (_, chip) => chipSeed(plan.options.seed, chip));
  const complete = (count: number) =>
    errorSources.every((source) =>
      attributionSeeds(source, seeds, count).every((seed) =>
        isFinished(plan, finished, { kind: 'source', source: source.name, seed }),
      ),
    );
  let count = 0;
  while (count < length && complete(count + 1)) count++;
  return count;
}

const isFinished = ({ inputs }: RunPlan, finished: FinishedJobs, variant: Variant): boolean =>
  inputs.groups.every((_, number) => finished.has(jobKey(variant, number)));

/** The range job, where the fabric has converters. */
const rangeJobs = ({ rangeJob }: RunPlan): Job[] => (rangeJob ? [rangeJob] : []);

const unfinished = ({ folder }: Run, jobs: readonly Job[]): Job[] =>
  jobs.filter((job) => !folder.finished.has(job.key));

/** Finished digital jobs whose rows are not what they were are done again. */
function checkRows({ plan, folder, files, notice }: Run): void {
  for (const job of plan.digitalJobs) {
    const done = folder.finished.get(job.key);
    if (!done || rowsHold(files, job, done.rows)) continue;
    notice(
      `the digital baseline of window ${done.window} in ${folder.path} is damaged: it is computed again`,
    );
    folder.forget(job.key);
  }
}

/** The digital pass and the ranges of an earlier run on the same model and texts. */
function takeFromCache(run: Run): void {
  const { plan, folder, files, cache, hooks } = run;
  const missing = unfinished(run, plan.digitalJobs);
  const baseline = missing.length > 0 ? cache.takeBaseline(files) : undefined;
  for (const job of baseline ? missing : []) {
    folder.append(baseline!.find(({ key }) => key === job.key)!);
    hooks.onJob?.(job, 'cache', 0);
  }
  const [rangeJob] = unfinished(run, rangeJobs(plan));
  const ranges = rangeJob && cache.takeRanges();
  if (ranges) {
    folder.append(ranges);
    hooks.onJob?.(rangeJob, 'cache', 0);
  }
}

/** Computes what is missing: the digital pass and the ranges, then all that needs them. Returns tokens per second of the latter. */
async function executeJobs(run: Run): Promise<number> {
  const { plan, folder, files, cache } = run;
  const first = unfinished(run, [...plan.digitalJobs, ...rangeJobs(plan)]);
  const second = unfinished(run, plan.dependentJobs);
  const progress = reportProgress(run);
  if (first.some(({ variant }) => variant.kind === 'digital')) makeWritable(files);
  if (first.length + second.length === 0) return 0;
  progress.start();
  const runner = createRunner(executorOptions(run), first.length + second.length, {
    signal: run.hooks.signal,
    onShare: progress.partial,
  });
  const jobs = new Map([...first, ...second].map((job) => [job.key, job]));
  const finish = (result: JobResult) => {
    const job = jobs.get(result.key)!;
    if (job.variant.kind === 'digital') syncFiles(files);
    const rows = job.variant.kind === 'digital' ? hashRows(files, job) : undefined;
    folder.append(finishJob(job, result, rows));
    run.hooks.onJob?.(job, 'computed', result.seconds);
    tellWindow(run, job);
    progress.finished(job);
  };
  try {
    await runner.run(first, undefined, finish);
    if (first.length > 0) {
      cache.keepBaseline(
        files,
        plan.digitalJobs.map(({ key }) => folder.finished.get(key)!),
      );
      for (const { key } of rangeJobs(plan)) cache.keepRanges(folder.finished.get(key)!);
    }
    const started = performance.now();
    const ranges = plan.rangeJob ? folder.finished.get(plan.rangeJob.key)?.ranges : plan.imageRanges?.table;
    if (ranges) await correctChips(run, second, ranges);
    await runner.run(second, ranges, finish);
    const seconds = (performance.now() - started) / 1e3;
    const tokens = second.reduce((sum, job) => sum + folder.finished.get(job.key)!.tokens, 0);
    return tokens > 0 ? tokens / seconds : 0;
  } finally {
    await runner.close();
  }
}

/** Makes the images of the chips of jobs, where the design corrects them. */
async function correctChips(
  { plan, image, hooks }: Run,
  jobs: readonly Job[],
  ranges: RangeTable,
): Promise<void> {
  if (!image || !wantedCorrection(plan.fabric.design)) return;
  const variants = [...byVariant(jobs).values()].map(([{ variant }]) => variant).filter(isCorrected);
  const model = openModel(plan.inputs.model.path);
  const reader = openImage(image.path);
  try {
    for (const variant of variants) {
      const label = `reading ${labelOf(plan, variant)}`;
      await correctVariant(model, reader, plan.fabric, variant, ranges, chipImages(plan), {
        onProgress: (share) => hooks.onProgress?.(share, 1, label),
        signal: hooks.signal,
      });
    }
  } finally {
    reader.close();
    model.close();
  }
}

/** Images of single chips: they are there while their jobs run. */
const chipImages = ({ folder }: RunPlan): string => join(folder, 'chips');

const executorOptions = ({ plan, files, image }: Run): ExecutorOptions => ({
  imagePath: image?.path,
  chipImages: image && wantedCorrection(plan.fabric.design) ? chipImages(plan) : undefined,
  modelPath: plan.inputs.model.path,
  measuresRanges: plan.rangeJob !== undefined,
  fabric: plan.fabric.parts,
  backend: plan.engine,
  precision: plan.precision,
  threads: plan.options.threads,
  contextTokens: plan.inputs.contextTokens,
  baselinePath: files.baseline,
  statesPath: files.states,
  layersPath: files.layers,
  modelSha256: plan.inputs.model.sha256,
  stateStride: files.stride,
});

/** Work is counted in tokens of the digital model. */
function reportProgress({ plan, folder, hooks }: Run) {
  const all = [...plan.digitalJobs, ...rangeJobs(plan), ...plan.dependentJobs];
  const work = new Map(
    all.map((job) => {
      const tokens = computedTokens(job.windows);
      return [job.key, { cost: tokens * RELATIVE_COST[job.variant.kind], label: labelOf(plan, job.variant) }];
    }),
  );
  let total = 0;
  let done = 0;
  /** Work done of the jobs in progress, of which several threads have one each. */
  const begun = new Map<string, number>();
  for (const [key, { cost }] of work) {
    total += cost;
    if (folder.finished.has(key)) done += cost;
  }
  return {
    start: () => hooks.onProgress?.(done, total, 'digital'),
    finished(job: Job) {
      const { cost, label } = work.get(job.key)!;
      begun.delete(job.key);
      done += cost;
      hooks.onProgress?.(done, total, label);
    },
    partial(key: string, share: number, loading: boolean) {
      const { cost, label } = work.get(key)!;
      const what = loading ? `${label}: weights ${Math.floor(100 * share)} %` : label;
      begun.set(key, loading ? 0 : share * cost);
      hooks.onProgress?.(done + [...begun.values()].reduce((sum, x) => sum + x, 0), total, what);
    },
  };
}

function tellWindow({ plan, folder, hooks }: Run, { variant }: Job): void {
  if (variant.kind === 'range' || variant.kind === 'source' || plan.inputs.task) return;
  hooks.onWindow?.(labelOf(plan, variant), () => runningPerplexity(plan, folder.finished, variant));
}

/** A variant as people read it: chips by their number, from 1. */
function labelOf({ chipSeeds }: RunPlan, variant: Variant): string {
  switch (variant.kind) {
    case 'chip':
      return `chip ${chipSeeds.indexOf(variant.seed) + 1} of ${chipSeeds.length}`;
    case 'source':
      return `${variant.source} alone, chip ${chipSeeds.indexOf(variant.seed) + 1}`;
    default:
      return variant.kind;
  }
}
