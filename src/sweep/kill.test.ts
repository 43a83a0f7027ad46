/**
 * A sweep that is killed at random moments and started again: it comes to what the uninterrupted one came to, no job is lost
 * and none is computed twice. ONEFET_KILLS=10 (npm run campaign) kills it ten times.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/** So many jobs that as many processes as are killed have something to do each. */
const EXPERIMENT = `schema: onefet.experiment/1
kind: accuracy
name: killed
base: { model: model.gguf, contextTokens: 16, maxWindows: 2, chips: ${Math.ceil(1.5 * KILLS)}, engine: scalar, mapping.method: round }
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

/** Whole lines of the run folders, each a finished job: its seconds are other ones where it was computed again. */
function finishedJobs(own: string): string[] {
  const runs = join(own, 'runs');
  const files = (existsSync(runs) ? readdirSync(runs) : [])
    .filter((name) => name.startsWith('log-domain'))
    .map((name) => join(runs, name, 'results.jsonl'))
    .filter((path) => existsSync(path));
  return files.flatMap((path) => readFileSync(path, 'utf8').split('\n').slice(0, -1));
}

function resultsIn(own: string) {
  const sweep = join(own, 'runs', readdirSync(join(own, 'runs')).find((name) => name.startsWith('sweep-'))!);
  const files = ['results.csv', 'results.jsonl', 'results.parquet'];
  const lines = finishedJobs(own);
  return {
    files: files.map((file) => readFileSync(join(sweep, file), 'latin1')),
    lines,
    // Two run folders have jobs of one name.
    keys: lines.map((line) => JSON.parse(line).key as string).sort(),
    leftOver: readdirSync(sweep).filter((name) => /part|lock/.test(name)),
  };
}

const posix = needs(platform === 'win32' ? 'Windows has no signals' : undefined);

async function timed({ start }: ReturnType<typeof sweepIn>): Promise<number> {
  const startedMs = performance.now();
  expect((await start().ended).code).toBe(0);
  return performance.now() - startedMs;
}

test(`killed ${KILLS} times, a sweep is the same`, posix, async () => {
  const whole = sweepIn('whole-');
  const wholeMs = await timed(whole);
  const expected = resultsIn(whole.own);
  // A second time nothing is left to do: that is how long it takes to start.
  const startMs = await timed(whole);
  expect(resultsIn(whole.own)).toEqual(expected);
  const killed = sweepIn('killed-');
  const kept = new Set<string>();
  let landed = 0;
  for (let i = 0; i < KILLS; i++) {
    const { child, ended } = killed.start();
    // On average a share of the work, and the first ones of all moments while it starts.
    const workMs = (2 * Math.max(200, wholeMs - startMs) * uniform(streamKey(7), i)) / KILLS;
    const timer = setTimeout(() => child.kill('SIGKILL'), startMs * uniform(streamKey(8), i) + workMs);
    if ((await ended).signal === 'SIGKILL') landed++;
    clearTimeout(timer);
    for (const line of finishedJobs(killed.own)) kept.add(line);
  }
  expect(landed).toBeGreaterThanOrEqual(KILLS / 2);
  expect((await killed.start().ended).code).toBe(0);
  const found = resultsIn(killed.own);
  expect(found.files).toEqual(expected.files);
  expect(found.leftOver).toEqual([]);
  expect(found.keys).toEqual(expected.keys);
  // What was finished at any kill is there as it was written then: neither lost nor computed again.
  expect([...kept].filter((line) => !found.lines.includes(line))).toEqual([]);
  if (KILLS > 2) expect(kept.size).toBeGreaterThan(0);
});
