/**
 * A sweep that is killed at random moments and started again: it comes to what the uninterrupted one came to, no job is lost
 * and none is computed twice. ONEFET_KILLS=10 kills it ten times.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env, platform } from 'node:process';
import { afterAll, expect, test } from 'vitest';
import { streamKey, uniform } from '../random.ts';
import { launch } from '../testing/launcher.ts';
import { writeFixture } from '../testing/models.ts';
import { needs } from '../testing/needs.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-kill-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const KILLS = Number(env.ONEFET_KILLS ?? 2);

const EXPERIMENT = `schema: onefet.experiment/1
kind: accuracy
name: killed
base: { model: model.gguf, contextTokens: 16, maxWindows: 2, chips: 3, engine: scalar, mapping.method: round }
grid: { adc.bits: [5, 6, 8] }
`;

/** Another working folder, so that no cache is shared. */
function sweepIn(name: string) {
  const own = mkdtempSync(join(folder, name));
  writeFixture(join(own, 'model.gguf'), { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 });
  writeFileSync(join(own, 'killed.yaml'), EXPERIMENT);
  return {
    own,
    start: () => launch({ folder: own }, 'sweep', 'killed.yaml', '--threads', '1', '--no-report', '--quiet'),
  };
}

function resultsIn(own: string) {
  const runs = join(own, 'runs');
  const names = readdirSync(runs);
  const sweep = names.find((name) => name.startsWith('sweep-'))!;
  const jobs = names
    .filter((name) => name.startsWith('log-domain'))
    .map((name) => {
      const lines = readFileSync(join(runs, name, 'results.jsonl'), 'utf8')
        .trim()
        .split('\n');
      return lines.map((line) => JSON.parse(line).key as string);
    });
  const files = ['results.csv', 'results.jsonl', 'results.parquet'].map((file) =>
    readFileSync(join(runs, sweep, file), 'latin1'),
  );
  return { files, jobs, leftOver: readdirSync(join(runs, sweep)).filter((name) => /part|lock/.test(name)) };
}

const posix = needs(platform === 'win32' ? 'Windows has no signals' : undefined);

test(`killed ${KILLS} times, a sweep is the same`, posix, async () => {
  const whole = sweepIn('whole-');
  const startedMs = performance.now();
  expect((await whole.start().ended).code).toBe(0);
  const wholeMs = performance.now() - startedMs;
  const killed = sweepIn('killed-');
  let landed = 0;
  for (let i = 0; i < KILLS; i++) {
    const { child, ended } = killed.start();
    const timer = setTimeout(() => child.kill('SIGKILL'), wholeMs * (0.3 + 0.6 * uniform(streamKey(7), i)));
    if ((await ended).signal === 'SIGKILL') landed++;
    clearTimeout(timer);
  }
  expect(landed).toBeGreaterThan(0);
  expect((await killed.start().ended).code).toBe(0);
  const [expected, found] = [resultsIn(whole.own), resultsIn(killed.own)];
  expect(found.files).toEqual(expected.files);
  expect(found.leftOver).toEqual([]);
  for (const keys of found.jobs) expect(new Set(keys).size).toBe(keys.length);
  expect(found.jobs.map((keys) => [...keys].sort())).toEqual(expected.jobs.map((keys) => [...keys].sort()));
});
