/** `sweep`, `merge` and `schema`: many points from one experiment file. */
import { join } from 'node:path';
import { stdout } from 'node:process';
import type { Command } from 'commander';
import { OnefetError } from '../error.ts';
import { DESIGN_DEFAULTS } from '../experiment/options.ts';
import { formatSi, plain } from '../format.ts';
import { formatSeconds } from '../progress.ts';
import type { SweepRun } from '../sweep/execute.ts';
import type { Experiment } from '../sweep/experiment.ts';
import type { SweepEstimate } from '../sweep/runner.ts';
import { parseShard, WHOLE } from '../sweep/shard.ts';
import type { Row } from '../sweep/table.ts';
import { type CliContext, collect, integer, jsonOption, threadsOption } from './options.ts';
import { printJson, printLines } from './print.ts';

export interface SweepFlags {
  threads: number;
  out: string;
  shard?: string;
  dryRun?: boolean;
  /** Shards. */
  slurm?: number;
  slurmOption?: string[];
  report: boolean;
  json?: boolean;
}

export function addSweepCommands(root: Command, context: CliContext): void {
  root
    .command('sweep')
    .description('run every point of an experiment file; resumes, and never repeats a finished job')
    .argument('<file>', 'experiment, as in experiments/gallery/adc-bits-tile-rows.yaml')
    .addOption(threadsOption())
    .option('--out <folder>', 'where run folders and the sweep are made', DESIGN_DEFAULTS.out)
    .option('--shard <i/n>', 'only every n-th point from the i-th on; onefet merge puts them together')
    .option('--dry-run', 'check every point, print jobs, time and memory, and stop')
    .option(
      '--slurm <shards>',
      'as an array of Slurm jobs on a shared file system: writes the scripts, submits and waits where there is sbatch',
      integer(1, 100_000),
    )
    .option(
      '--slurm-option <option>',
      'line for sbatch, as in --slurm-option=--partition=long (repeatable)',
      collect,
      [],
    )
    .option('--no-report', 'do not write report.html')
    .addOption(jsonOption())
    .action(async (file: string, flags: SweepFlags) => {
      const { loadExperiment } = await import('../sweep/experiment.ts');
      const experiment = loadExperiment(file);
      if (flags.slurm === undefined || flags.dryRun) await sweepExperiment(experiment, flags, context);
      else await sweepOnSlurm(file, experiment, flags.slurm, flags, context);
    });

  root
    .command('merge')
    .description('put the shards of a sweep together: one table and report, as from one process')
    .argument('<folders...>', 'folder of the sweep; more where the shards ran on machines of their own')
    .option('--no-report', 'do not write report.html')
    .addOption(jsonOption())
    .action(async (folders: string[], flags: Pick<SweepFlags, 'report' | 'json'>) => {
      const { mergeSweep } = await import('../sweep/finish.ts');
      const started = performance.now();
      const sweep = mergeSweep(folders, {
        seconds: (performance.now() - started) / 1e3,
        command: context.argv,
      });
      await endSweep({ folder: sweep.folder, sweep, refused: 0, failed: 0 }, flags);
    });

  root
    .command('schema')
    .description('print a JSON Schema, for editors that complete and check as you type')
    .argument('<what>', 'experiment')
    .action(async (what: string) => {
      const { schemaText } = await import('../sweep/schema.ts');
      stdout.write(schemaText(what));
    });
}

/** Plans and runs an experiment, from a file or from `run --set key=value,value`. */
export async function sweepExperiment(
  experiment: Experiment,
  flags: SweepFlags,
  { signal, argv, progress, notice }: CliContext,
): Promise<void> {
  const shard = flags.shard === undefined ? WHOLE : parseShard(flags.shard);
  const { openSweep } = await import('../sweep/sweep.ts');
  const { readyCells } = await import('../sweep/accuracy/cells.ts');
  const ready = progress();
  try {
    await readyCells(experiment, flags.threads, { signal, onProgress: ready.update });
  } finally {
    ready.finish();
  }
  const sweep = openSweep(experiment, { threads: flags.threads, out: flags.out, shard });
  const { plan, estimate } = sweep;
  if (flags.dryRun) {
    const refused = plan.points.flatMap(({ index, label, refused: reason }) =>
      reason === undefined ? [] : [{ point: index + 1, settings: label, reason }],
    );
    if (flags.json) printJson({ folder: plan.folder, ...estimate, refusedPoints: refused });
    else printLines([...estimateLines(plan.folder, estimate), ...refusedLines(refused)]);
    return;
  }
  const bar = progress();
  try {
    const run = await sweep.run({
      signal,
      command: argv,
      onNotice: notice,
      onProgress: (done, total, label, leftS) => bar.update(done, total, label, leftS),
    });
    bar.finish();
    await endSweep(run, flags);
  } finally {
    bar.finish();
  }
}

/** Writes the scripts of the shards and, where there is a Slurm, runs them there. */
async function sweepOnSlurm(
  file: string,
  experiment: Experiment,
  shards: number,
  flags: SweepFlags,
  { signal, notice }: CliContext,
): Promise<void> {
  if (flags.shard !== undefined) {
    throw new OnefetError('usage', 'SHARD', '--slurm makes the shards itself: leave --shard out');
  }
  const { openSweep } = await import('../sweep/sweep.ts');
  const { hasSlurm, submitSlurm, writeSlurmScripts } = await import('../sweep/slurm.ts');
  const { plan, estimate } = openSweep(experiment, { threads: flags.threads, out: flags.out, shard: WHOLE });
  const scripts = writeSlurmScripts({
    ...{ file, folder: plan.folder, out: flags.out, shards, threads: flags.threads },
    memoryBytes: estimate.memoryBytes,
    options: flags.slurmOption ?? [],
  });
  if (!hasSlurm()) {
    const lines = [`sbatch ${scripts.array}`, `sbatch --dependency=afterany:ID ${scripts.merge}`];
    if (flags.json) printJson({ folder: plan.folder, ...scripts, submitted: false });
    else printLines(['there is no sbatch here; where there is one:', ...lines.map((line) => `  ${line}`)]);
    return;
  }
  notice(`${shards} shards are submitted; their output is in ${join(plan.folder, 'slurm')}`);
  await submitSlurm(scripts, signal);
  const { readSweep } = await import('../sweep/finish.ts');
  await endSweep({ folder: plan.folder, sweep: readSweep(plan.folder), refused: 0, failed: 0 }, flags);
}

function estimateLines(folder: string, estimate: SweepEstimate): string[] {
  const { points, ownPoints, refused, jobs, finishedJobs, seconds, memoryBytes } = estimate;
  return [
    `points        ${ownPoints === points ? points : `${ownPoints} of ${points}`}${refused > 0 ? `, ${refused} refused` : ''}`,
    `jobs          ${jobs}, ${finishedJobs} of them done`,
    `time          about ${formatSeconds(seconds)}`,
    `memory        ${formatSi(memoryBytes, 'B')}`,
    `folder        ${folder}`,
  ];
}

const refusedLines = (refused: readonly { point: number; settings: string; reason: string }[]): string[] =>
  refused.map(({ point, settings, reason }) => `refused       point ${point} (${settings}): ${reason}`);

/** Prints the table, writes the report, and turns points without a result into an exit code. */
async function endSweep(
  { folder, sweep, refused, failed }: SweepRun,
  flags: Pick<SweepFlags, 'json' | 'report'>,
): Promise<void> {
  if (sweep === undefined) {
    if (flags.json) printJson({ folder, rows: null });
    else printLines([`shard done; when all are: onefet merge ${folder}`]);
    requireComplete(refused, failed, 'points of this shard', join(folder, 'outcomes'));
    return;
  }
  const { rows, outcomes, description } = sweep;
  const report = flags.report
    ? (await import('../report/sweep/sweep.ts')).writeSweepReport(sweep)
    : undefined;
  const csv = join(folder, 'results.csv');
  if (flags.json) printJson({ folder, rows });
  else {
    printLines([...tableLines(rows, description.varied), '', `results  ${csv}`]);
    if (report) printLines([`report   ${report}`]);
  }
  const count = (word: string) => outcomes.filter(({ status }) => status === word).length;
  requireComplete(count('refused'), count('failed'), `of ${outcomes.length} points`, csv);
}

/** Throws OnefetError('incomplete') where points have no result. */
function requireComplete(refused: number, failed: number, points: string, where: string): void {
  const parts = [
    refused > 0 ? `${refused} ${points} refused` : '',
    failed > 0 ? `${failed} ${points} failed` : '',
  ].filter((part) => part !== '');
  if (parts.length === 0) return;
  throw new OnefetError('incomplete', 'SWEEP_INCOMPLETE', `${parts.join(', ')}: the reasons are in ${where}`);
}

/** Columns of the table on the terminal, where the sweep has them. */
const SHOWN = [
  ['chips', 'chips'],
  ['perplexity', 'perplexity'],
  ['kl_nats', 'KL, nats'],
  ['top1_share', 'same top'],
  ['yield_share', 'yield'],
  ['projected_energy_per_token_j', '8B J/token'],
  ['projected_area_mm2', '8B mm2'],
  ['ladder_slope_factor', 'n'],
  ['exponential_range_decades', 'decades'],
  ['sigma_current', 'sigma ln I'],
  ['fit_rms', 'fit RMS'],
  ['off_current_a', 'off, A'],
  ['settling_1pc_s', 'settling, s'],
] as const;

function tableLines(rows: readonly Row[], varied: readonly string[]): string[] {
  const columns: (readonly [string, string])[] = [
    ['point', 'point'],
    ...varied.map((key) => [key, key] as const),
    ...SHOWN.filter(([name]) => rows.some((row) => row[name] !== undefined)),
  ];
  const cells = rows.map((row) =>
    columns.map(([name]) => {
      const value = row[name];
      if (name === 'kl_nats' && typeof value === 'number') return withInterval(row);
      return typeof value === 'number' ? plain(value, 4) : String(value ?? '');
    }),
  );
  const table = [columns.map(([, title]) => title), ...cells];
  const widths = columns.map((_, i) => Math.max(...table.map((line) => line[i].length)));
  return table.map((line, i) => {
    const text = line.map((cell, j) => cell.padStart(widths[j])).join('  ');
    const reason = i > 0 ? rows[i - 1].reason : null;
    return reason ? `${text}  ${rows[i - 1].status}: ${reason}` : text;
  });
}

function withInterval(row: Row): string {
  const [mean, low, high] = ['', '_ci95_chips_low', '_ci95_chips_high'].map((end) => row[`kl_nats${end}`]);
  const text = plain(mean as number, 3);
  return typeof low === 'number' ? `${text} (${plain(low, 3)} to ${plain(high as number, 3)})` : text;
}
