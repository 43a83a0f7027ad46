/**
 * A sweep as an array of Slurm jobs, one a shard, and a last job that merges. Shards work in the same folder, so the cluster's
 * nodes share a file system; what they do is what `--shard` does, there is nothing more to it.
 *
 *   <sweep>/slurm/array.sh   one shard; `sbatch --array=1-n array.sh`
 *   <sweep>/slurm/merge.sh   when all have ended
 *   <sweep>/slurm/*.log      what each printed
 */
import { spawn, spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { argv, cwd, execPath } from 'node:process';
import { interrupted, OnefetError } from '../error.ts';
import { makeFolder, writeFileAtomic } from '../files.ts';

export interface SlurmOptions {
  /** File of the experiment. */
  readonly file: string;
  /** Of the sweep. */
  readonly folder: string;
  readonly out: string;
  readonly shards: number;
  readonly threads: number;
  readonly memoryBytes: number;
  /** Lines for sbatch, as in `--partition=long`. */
  readonly options: readonly string[];
  readonly signal?: AbortSignal;
}

export interface SlurmScripts {
  readonly array: string;
  readonly merge: string;
}

/** Quotes a word for a shell. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** Room for the program beside what a plan counts. */
const SPARE_BYTES = 500e6;

/** Texts of the two scripts. Error: SLURM_OPTION (usage) for an option that is none. */
export function slurmScripts(options: SlurmOptions): SlurmScripts {
  const { file, folder, out, shards, threads, memoryBytes } = options;
  for (const option of options.options) {
    if (/^--[a-z][\w-]*(=[^\n]*)?$/.test(option)) continue;
    throw new OnefetError(
      'usage',
      'SLURM_OPTION',
      `--slurm-option ${JSON.stringify(option)}: expected --name=value`,
      {
        hint: 'for example --slurm-option=--partition=long',
      },
    );
  }
  const onefet = [execPath, resolve(argv[1])].map(quoted).join(' ');
  const logs = resolve(folder, 'slurm');
  const head = (lines: readonly string[]) => [
    '#!/bin/sh',
    ...[...lines, ...options.options].map((line) => `#SBATCH ${line}`),
    'set -eu',
    `cd ${quoted(cwd())}`,
    '',
  ];
  const memoryMb = Math.ceil((memoryBytes + SPARE_BYTES) / 1e6);
  const array = [
    ...head([
      '--job-name=onefet',
      `--array=1-${shards}`,
      `--cpus-per-task=${threads}`,
      `--mem=${memoryMb}M`,
      `--output=${logs}/shard-%a.log`,
    ]),
    `# 6: points were refused, which the table says.`,
    `${onefet} sweep ${quoted(resolve(file))} --out ${quoted(resolve(out))} --threads ${threads} --shard "$SLURM_ARRAY_TASK_ID/${shards}" --no-report || [ $? -eq 6 ]`,
    '',
  ].join('\n');
  const merge = [
    ...head(['--job-name=onefet-merge', '--ntasks=1', `--output=${logs}/merge.log`]),
    `${onefet} merge ${quoted(resolve(folder))} || [ $? -eq 6 ]`,
    '',
  ].join('\n');
  return { array, merge };
}

/** Writes the scripts and returns their paths. */
export function writeSlurmScripts(options: SlurmOptions): SlurmScripts {
  const scripts = slurmScripts(options);
  const folder = resolve(options.folder, 'slurm');
  makeFolder(folder);
  const paths = { array: resolve(folder, 'array.sh'), merge: resolve(folder, 'merge.sh') };
  writeFileAtomic(paths.array, scripts.array);
  writeFileAtomic(paths.merge, scripts.merge);
  return paths;
}

/** Is there a Slurm here? */
export const hasSlurm = (): boolean => spawnSync('sbatch', ['--version']).status === 0;

/**
 * Submits the array and, behind it, the merge, and waits for that. A shard that fails leaves the others running and the merge
 * says which points are missing. Ctrl-C cancels both. Errors: SLURM (input).
 */
export async function submitSlurm(scripts: SlurmScripts, signal: AbortSignal | undefined): Promise<void> {
  const array = submit(['--parsable', scripts.array]);
  const cancel = () => spawnSync('scancel', [array]);
  signal?.addEventListener('abort', cancel);
  try {
    const code = await waitFor(['--wait', `--dependency=afterany:${array}`, scripts.merge], signal);
    if (signal?.aborted) {
      throw interrupted('interrupted: the jobs are cancelled', {
        hint: 'run the same command again to resume: finished jobs are kept',
      });
    }
    if (code !== 0)
      throw failed(`the merge ended with ${code}`, scripts.merge.replace(/merge\.sh$/, '*.log'));
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** The id of the job. */
function submit(words: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('sbatch', words, { encoding: 'utf8' });
  if (status !== 0) throw failed(`sbatch: ${stderr.trim().split('\n')[0]}`);
  return stdout.trim().split(';')[0];
}

function waitFor(words: readonly string[], signal: AbortSignal | undefined): Promise<number> {
  const child = spawn('sbatch', words, { stdio: ['ignore', 'ignore', 'inherit'] });
  const end = () => child.kill();
  signal?.addEventListener('abort', end);
  return new Promise((resolvePromise, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      signal?.removeEventListener('abort', end);
      resolvePromise(code ?? 1);
    });
  });
}

const failed = (what: string, logs?: string) =>
  new OnefetError(
    'input',
    'SLURM',
    what,
    logs === undefined ? {} : { hint: `what the jobs printed is in ${logs}` },
  );
