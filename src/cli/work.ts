/**
 * The work of the commands `start` and `run`: plan, execute, report, with progress on stderr.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { calibrate } from '../calibrate/calibrate.ts';
import type { Calibration } from '../cell/calibration.ts';
import { gateChanges } from '../cell/sized-calibration.ts';
import { keptImagePath } from '../experiment/map.ts';
import { mappingSeconds } from '../experiment/mapping-time.ts';
import type { RunOptions } from '../experiment/options.ts';
import { planRun, type RunPlan } from '../experiment/plan.ts';
import { readyCell } from '../experiment/ready-cell.ts';
import type { RunResult } from '../experiment/result.ts';
import { executeRun, type RunHooks } from '../experiment/run.ts';
import { markLatest } from '../experiment/run-folder.ts';
import { perplexityText } from '../experiment/running-perplexity.ts';
import { loadDesign } from '../fabric/design.ts';
import { calibratedCell } from '../fabric/registry.ts';
import { formatSeconds, type Progress } from '../progress.ts';
import { writeReport } from '../report/report.ts';

export interface StartHooks {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly command: readonly string[];
  /** Write report.html. */
  readonly report: boolean;
  /** Notices for people, a line each. */
  readonly notice: (text: string) => void;
}

export interface FinishedRun {
  readonly result: RunResult;
  readonly folder: string;
  readonly reportPath: string | undefined;
}

/** Calibrates the design's cell from SPICE, not from the file, and runs with that; a fabric without a cell just runs. */
export async function startRun(options: RunOptions, hooks: StartHooks): Promise<FinishedRun> {
  const { design } = loadDesign(options.design, options.settings, options.overrides);
  const cell = calibratedCell(design);
  if (cell === undefined) return runToFolder(planRun(options), hooks);
  const { progress } = hooks;
  let calibration: Calibration;
  try {
    calibration = await calibrate({
      process: cell.process,
      cell: cell.cell,
      changes: gateChanges(cell),
      threads: options.threads,
      signal: hooks.signal,
      onProgress: ({ done, total, label }) => progress.update(done, total, `SPICE calibration: ${label}`),
    });
  } finally {
    progress.finish();
  }
  return runToFolder(planRun({ ...options, calibration }), hooks);
}

/** Plans a run; a gate of the design that was not calibrated yet is calibrated first. */
export async function planReadyRun(
  options: RunOptions,
  { progress, signal }: Pick<StartHooks, 'progress' | 'signal'>,
): Promise<RunPlan> {
  const { design } = loadDesign(options.design, options.settings, options.overrides);
  try {
    await readyCell(design, {
      threads: options.threads,
      signal,
      onProgress: ({ done, total, label }) => progress.update(done, total, `SPICE calibration: ${label}`),
    });
  } finally {
    progress.finish();
  }
  return planRun(options);
}

export async function runToFolder(plan: RunPlan, hooks: StartHooks): Promise<FinishedRun> {
  const { progress } = hooks;
  let result: RunResult;
  try {
    result = await executeRun(plan, {
      signal: hooks.signal,
      command: hooks.command,
      onNotice: hooks.notice,
      onProgress: (done, total, label) =>
        progress.update(done, total, `${plan.loaded.design.name}: ${label}`),
      onWindow: sayPerplexity(progress),
    });
  } finally {
    progress.finish();
  }
  markLatest(plan.folder);
  let reportPath: string | undefined;
  if (hooks.report) {
    reportPath = join(plan.folder, 'report.html');
    writeReport(reportPath, result, plan.fabric.parts.calibration ?? null);
  }
  return { result, folder: plan.folder, reportPath };
}

/** Between two lines of a text that is still being scored. */
const PARTIAL_LINE_MS = 10_000;

/** A line for each text that is scored to its end, and one now and then on the way. */
function sayPerplexity(progress: Progress): NonNullable<RunHooks['onWindow']> {
  let last = performance.now();
  return (label, running) => {
    const now = performance.now();
    const state = running();
    if (!state) return;
    if (!state.complete && now - last < PARTIAL_LINE_MS) return;
    last = now;
    progress.say(`${label}: ${perplexityText(state)}`);
  };
}

/** Returns the text that `--dry-run` prints. */
export async function describePlan(plan: RunPlan): Promise<Record<string, string | number>> {
  const jobs = [...plan.digitalJobs, ...(plan.rangeJob ? [plan.rangeJob] : []), ...plan.dependentJobs];
  return {
    model: plan.inputs.model.name,
    design: plan.loaded.design.name,
    jobs: jobs.length,
    chips: plan.chipSeeds.length,
    windows: plan.digitalJobs.length,
    scoredTokens: plan.inputs.text.scored,
    computedTokens: jobs.reduce(
      (sum, job) => sum + job.windows.reduce((n, window) => n + window.scoreTo, 0),
      0,
    ),
    memoryBytes: Math.round(plan.memoryBytes),
    ...(plan.mapping
      ? {
          mapping: plan.mapping.path ?? plan.mapping.plan!.settings.method,
          image: plan.mapping.key,
          ...(await timeOfMapping(plan)),
        }
      : {}),
    engine: plan.engineReason ? `${plan.engine} (${plan.engineReason})` : plan.engine,
    folder: plan.folder,
  };
}

/** Whether the image is there, or how long it will take. */
async function timeOfMapping({
  mapping,
  inputs,
  options: { threads },
}: RunPlan): Promise<{ imageIs?: string }> {
  if (!mapping?.plan) return {};
  if (existsSync(keptImagePath(mapping.plan))) return { imageIs: 'kept from an earlier run' };
  const seconds = await mappingSeconds(inputs.model.shape, mapping.plan, threads);
  return { imageIs: `made first, once: about ${formatSeconds(seconds)}` };
}
