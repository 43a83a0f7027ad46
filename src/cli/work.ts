/**
 * What the commands `start`, `run` and `report` do: plan, execute, report, with progress on stderr.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { calibrate } from '../cell/calibrate.ts';
import type { Calibration } from '../cell/calibration.ts';
import { loadCalibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import { planRun, type RunOptions, type RunPlan } from '../experiment/plan.ts';
import { RESULT_SCHEMA, type RunResult } from '../experiment/result.ts';
import { executeRun } from '../experiment/run.ts';
import { loadDesign } from '../fabric/design.ts';
import { readTextFile } from '../files.ts';
import type { Progress } from '../progress.ts';
import { writeReport } from '../report/report.ts';

export interface StartHooks {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly command: readonly string[];
  /** Write report.html. */
  readonly report: boolean;
}

export interface FinishedRun {
  readonly result: RunResult;
  readonly folder: string;
  readonly reportPath: string | undefined;
}

/** Calibrates the design's cell from SPICE, not from the file, and runs with that. */
export async function startRun(options: RunOptions, hooks: StartHooks): Promise<FinishedRun> {
  const { design } = loadDesign(options.design, options.settings);
  const { progress } = hooks;
  let calibration: Calibration;
  try {
    calibration = await calibrate({
      process: design.process,
      cell: design.cell,
      threads: options.threads,
      signal: hooks.signal,
      onProgress: ({ done, total, label }) => progress.update(done, total, `SPICE calibration: ${label}`),
    });
  } finally {
    progress.finish();
  }
  return runToFolder(planRun({ ...options, calibration }), hooks);
}

export async function runToFolder(plan: RunPlan, hooks: StartHooks): Promise<FinishedRun> {
  const { progress } = hooks;
  let result: RunResult;
  try {
    result = await executeRun(plan, {
      signal: hooks.signal,
      command: hooks.command,
      onProgress: (done, total, label) =>
        progress.update(done, total, `${plan.design.design.name}: ${label}`),
    });
  } finally {
    progress.finish();
  }
  let reportPath: string | undefined;
  if (hooks.report) {
    reportPath = join(plan.folder, 'report.html');
    await writeReport(reportPath, result, plan.calibration);
  }
  return { result, folder: plan.folder, reportPath };
}

/** What `--dry-run` prints. */
export function describePlan(plan: RunPlan): Record<string, string | number> {
  const jobs = [...plan.digitalJobs, plan.rangeJob, ...plan.dependentJobs];
  return {
    model: plan.modelInfo.name,
    design: plan.design.design.name,
    jobs: jobs.length,
    chips: plan.chipSeeds.length,
    windows: plan.digitalJobs.length,
    scoredTokens: plan.text.scored,
    computedTokens: jobs.reduce(
      (sum, job) => sum + job.windows.reduce((n, window) => n + window.scoreTo, 0),
      0,
    ),
    memoryBytes: Math.round(plan.memoryBytes),
    kernel: plan.kernelReason ? `${plan.kernel} (${plan.kernelReason})` : plan.kernel,
    folder: plan.folder,
  };
}

/** Writes the report of a finished run again, with the calibration that is on file now. */
export async function reportOfFolder(folder: string): Promise<string> {
  const path = join(folder, 'result.json');
  if (!existsSync(path)) {
    throw new OnefetError('input', 'RESULT_MISSING', `${folder} holds no result.json`, {
      hint: 'name a run folder, as in onefet report runs/log-domain-0123456789ab',
    });
  }
  let result: RunResult;
  try {
    result = JSON.parse(readTextFile(path, 'result')) as RunResult;
  } catch (cause) {
    throw new OnefetError('input', 'RESULT_INVALID', `${path} is not valid JSON`, { cause });
  }
  if (result.schema !== RESULT_SCHEMA) {
    throw new OnefetError(
      'input',
      'RESULT_SCHEMA',
      `${path} has schema ${result.schema}, expected ${RESULT_SCHEMA}`,
    );
  }
  const reportPath = join(folder, 'report.html');
  await writeReport(reportPath, result, loadCalibration(result.calibration.process, result.calibration.cell));
  return reportPath;
}
