/**
 * Runs and generated texts in one process, one after the other: memory that is held, after a collection, and what keeps the
 * process alive stay where they are. More of them:
 *   ONEFET_LEAKS=200 npx vitest run src/testing/campaign/leaks
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd, env, getActiveResourcesInfo, memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from '../../experiment/generate.ts';
import { planRun } from '../../experiment/plan.ts';
import { executeRun } from '../../experiment/run.ts';
import { packageRoot } from '../../files.ts';
import { fixtureModel } from '../models.ts';

const runs = Number(env.ONEFET_LEAKS ?? 6);
/** A context of 512 tokens holds so many behind a prompt. */
const TOKENS_A_TEXT = 400;
const texts = Math.ceil((25 * runs) / TOKENS_A_TEXT);

const home = cwd();
const folder = mkdtempSync(join(tmpdir(), 'onefet-leaks-'));
beforeAll(() => chdir(folder));
afterAll(() => {
  chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Held {
  readonly mib: number;
  readonly resources: number;
  readonly files: number;
}

/** Memory that is in use after a collection, MiB, open files, and what keeps the process alive. */
async function held(): Promise<Held> {
  // Buffers of ended threads go with a turn of the event loop.
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { heapUsed, arrayBuffers } = memoryUsage();
  let files = 0;
  try {
    files = readdirSync('/proc/self/fd').length;
  } catch {
    // Linux only.
  }
  return { mib: (heapUsed + arrayBuffers) / 2 ** 20, resources: getActiveResourcesInfo().length, files };
}

/** Does the work so many times; what is held after a third of them and at the end. */
async function repeat(count: number, work: (i: number) => Promise<void>): Promise<[Held, Held]> {
  let first: Held | undefined;
  for (let i = 0; i < count; i++) {
    await work(i);
    if (i + 1 === Math.ceil(count / 3)) first = await held();
  }
  const last = await held();
  if (env.ONEFET_LEAKS)
    console.info(`${count} times: ${JSON.stringify([first, last, memoryUsage.rss() >> 20])}`);
  return [first!, last];
}

function expectNoGrowth([first, last]: [Held, Held]): void {
  expect(last.mib).toBeLessThan(1.05 * first.mib + 2);
  expect(last.resources).toBeLessThanOrEqual(first.resources + 1);
  expect(last.files).toBeLessThanOrEqual(first.files + 1);
}

test(`${runs} runs, each of another chip`, { timeout: 3600e3 }, async () => {
  expectNoGrowth(
    await repeat(runs, async (seed) => {
      const plan = planRun({
        model: fixtureModel('tiny'),
        text: join(packageRoot, 'experiments/texts/stories.txt'),
        rangeText: join(packageRoot, 'experiments/texts/range.txt'),
        ...{ contextTokens: 32, maxWindows: 1, chips: 1, seed, threads: 1, out: 'runs' },
        overrides: { 'mapping.method': 'round' },
      });
      const result = await executeRun(plan);
      expect(result.chips).toHaveLength(1);
      rmSync(plan.folder, { recursive: true });
    }),
  );
});

test(`${texts} texts of ${TOKENS_A_TEXT} tokens on a chip`, { timeout: 3600e3 }, async () => {
  expectNoGrowth(
    await repeat(Math.max(3, texts), async (seed) => {
      const tokens = env.ONEFET_LEAKS ? TOKENS_A_TEXT : 20;
      const { texts: made } = await generate({
        model: fixtureModel('tiny'),
        rangeText: join(packageRoot, 'experiments/texts/range.txt'),
        ...{ prompt: 'Once upon a time', tokens, chips: 1, seed, temperature: 1, threads: 1 },
      });
      expect(made).toHaveLength(3);
    }),
  );
});
