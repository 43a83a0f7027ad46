/** Slurm's scripts, and how they are submitted; experiments/cluster/slurm.sh runs them on a real one. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, platform } from 'node:process';
import { afterAll, expect, test } from 'vitest';
import { needs } from '../testing/needs.ts';
import { slurmScripts, submitSlurm } from './slurm.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-slurm-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = {
  file: 'experiments/mine.yaml',
  folder: 'runs/sweep-mine-0123',
  out: 'runs',
  shards: 4,
  threads: 2,
  memoryBytes: 1.5e9,
  options: ['--partition=long', '--exclusive'],
};

test('an array of shards with the memory and cores of the plan, and a merge', () => {
  const { array, merge } = slurmScripts(options);
  const lines = array.split('\n');
  expect(lines[0]).toBe('#!/bin/sh');
  for (const line of ['--array=1-4', '--cpus-per-task=2', '--mem=2000M', '--partition=long', '--exclusive'])
    expect(lines).toContain(`#SBATCH ${line}`);
  expect(array).toMatch(
    / sweep \S+mine\.yaml --out \S+runs --threads 2 --shard "\$SLURM_ARRAY_TASK_ID\/4" --no-report/,
  );
  expect(merge).toMatch(/ merge \S+sweep-mine-0123/);
  // A folder with a quote and a blank stays one word.
  expect(slurmScripts({ ...options, out: "it's mine" }).array).toMatch(/--out '\S*it'\\''s mine' --threads/);
  for (const option of ['partition=long', '--x\nrm -rf', '-p'])
    expect(() => slurmScripts({ ...options, options: [option] })).toThrow(/expected --name=value/);
});

const posix = needs(platform === 'win32' ? 'the stand-in for sbatch is a shell script' : undefined);

test('the merge waits for the array; a failure says where its output is', posix, async () => {
  const bin = join(folder, 'bin');
  const log = join(folder, 'log');
  mkdirSync(bin);
  const script = (body: string) => {
    writeFileSync(join(bin, 'sbatch'), `#!/bin/sh\necho "$@" >> ${log}\n${body}\n`);
    chmodSync(join(bin, 'sbatch'), 0o755);
  };
  const path = env.PATH;
  env.PATH = `${bin}:${path}`;
  try {
    script('case "$1" in --parsable) echo "42;cluster";; esac');
    const scripts = { array: 'slurm/array.sh', merge: 'slurm/merge.sh' };
    await submitSlurm(scripts, undefined);
    expect(readFileSync(log, 'utf8').trim().split('\n')).toEqual([
      '--parsable slurm/array.sh',
      '--wait --dependency=afterany:42 slurm/merge.sh',
    ]);
    script('case "$1" in --parsable) echo 43;; *) exit 3;; esac');
    await expect(submitSlurm(scripts, undefined)).rejects.toMatchObject({
      code: 'SLURM',
      hint: expect.stringContaining('slurm/*.log'),
    });
    script('echo "sbatch: error: no partition" >&2; exit 1');
    await expect(submitSlurm(scripts, undefined)).rejects.toThrow(/no partition/);
  } finally {
    env.PATH = path;
  }
  expect(existsSync(log)).toBe(true);
});
