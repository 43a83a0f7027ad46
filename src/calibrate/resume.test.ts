/**
 * A calibration that is interrupted or killed goes on where it was, and one that is repeated does nothing twice.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { Calibration } from '../cell/calibration.ts';
import { packageRoot } from '../files.ts';
import { createSpicePool } from '../spice/pool.ts';
import { countingPool } from '../testing/spice.ts';
import { calibrate } from './calibrate.ts';

const cell = { process: 'planar32lp', cell: 't1' };

const counted = () => {
  const { pool, jobs } = countingPool(createSpicePool({ threads: 2, cacheFolder }));
  const counts = () => ({
    simulated: jobs.filter(({ fromCache }) => !fromCache).length,
    cached: jobs.filter(({ fromCache }) => fromCache).length,
  });
  return { pool, counts };
};

const cacheFolder = mkdtempSync(join(tmpdir(), 'onefet-resume-'));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));
let whole: Calibration;

test('aborted in the middle, killed in the middle, resumed: no finished simulation runs again', async () => {
  // 1. An abort after three steps, as Ctrl-C does it.
  const first = counted();
  const controller = new AbortController();
  await expect(
    calibrate({
      ...cell,
      pool: first.pool,
      signal: controller.signal,
      onProgress: ({ done }) => {
        if (done === 3) controller.abort();
      },
    }),
  ).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 });
  await first.pool.close();
  expect(first.counts().simulated).toBeGreaterThanOrEqual(3);
  const afterAbort = entries(cacheFolder);
  expect(afterAbort).toBeGreaterThanOrEqual(3);

  // 2. SIGKILL after some more: nothing is cleaned up, nothing is said.
  const module = pathToFileURL(join(packageRoot, 'src', 'calibrate', 'calibrate.ts')).href;
  const script = join(cacheFolder, 'run.mjs');
  writeFileSync(
    script,
    `import { calibrate } from ${JSON.stringify(module)};
await calibrate({ process: 'planar32lp', cell: 't1', cacheFolder: ${JSON.stringify(cacheFolder)}, onProgress: ({ done, total, label }) => process.stdout.write(done + ' ' + total + ' ' + label + '\\n') });`,
  );
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'ignore'], cwd: packageRoot });
  const total = await new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      // All five sweeps are there and the first fit has been made.
      const line = text.match(/^\d+ (\d+) .*fit TT$/m);
      if (line) {
        child.kill('SIGKILL');
        resolve(Number(line[1]));
      }
    });
    child.on('exit', (status) => status !== null && reject(new Error(`ended by itself with ${status}`)));
  });
  expect(entries(cacheFolder)).toBeGreaterThan(afterAbort);

  // 3. The third attempt finishes and simulates only what is missing.
  const third = counted();
  const resumed = await calibrate({ ...cell, pool: third.pool });
  await third.pool.close();
  expect(third.counts().cached).toBeGreaterThanOrEqual(5);
  expect(third.counts().simulated).toBeGreaterThan(0);
  // Jobs and fits together are the steps that the progress announces.
  expect(third.counts().cached + third.counts().simulated + 5).toBe(total);

  // 4. Repeated: no simulation starts and no fit is written, the same file.
  const before = fits().map((path) => [path, statSync(path).mtimeMs]);
  const fourth = counted();
  whole = await calibrate({ ...cell, pool: fourth.pool });
  expect(fourth.pool.threadsStarted).toBe(0);
  await fourth.pool.close();
  expect(fourth.counts()).toEqual({ simulated: 0, cached: total - 5 });
  expect(fits().map((path) => [path, statSync(path).mtimeMs])).toEqual(before);
  expect(whole).toEqual(resumed);
});

test('a damaged fit in the cache is made again', async () => {
  expect(fits()).toHaveLength(5);
  for (const path of fits()) {
    // One digit of one coefficient: valid JSON, wrong sum.
    writeFileSync(
      path,
      readFileSync(path, 'utf8').replace(/\[-?\d\d\.\d/, (text) => `${text.slice(0, -1)}9`),
    );
  }
  const { pool } = counted();
  expect(await calibrate({ ...cell, pool })).toEqual(whole);
  await pool.close();
});

const fits = () =>
  readdirSync(join(cacheFolder, 'fit'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json'))
    .map((name) => join(cacheFolder, 'fit', name))
    .sort();

function entries(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.raw'))
    .length;
}
