/** What `onefet doctor` finds when something is missing, and that it says what to do. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chdir, cwd } from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { packageRoot } from '../files.ts';
import { SpiceError } from '../spice/spice-error.ts';
import { onefet } from '../testing/cli.ts';
import type { Check } from './check.ts';
import { diagnosisLines, requireHealth } from './doctor.ts';
import { checkDisk, checkMemory, checkNode, checkPrograms } from './machine.ts';
import { checkCalibrations, checkSimulator } from './parts.ts';

const home = cwd();
const folder = mkdtempSync(join(tmpdir(), 'onefet-doctor-'));
beforeAll(() => chdir(folder));
afterAll(() => {
  chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

const states = (checks: readonly Check[]) =>
  Object.fromEntries(checks.map(({ name, state }) => [name, state]));

test('a whole installation passes, as JSON and as lines; every note has its remedy', async () => {
  const { code, stdout } = await onefet(folder, 'doctor', '--json');
  expect(code).toBe(0);
  const diagnosis = JSON.parse(stdout);
  expect(diagnosis.schema).toBe('onefet.doctor/1');
  expect(states(diagnosis.checks)).toMatchObject({
    node: 'ok',
    engine: 'ok',
    simulator: 'ok',
    'calibration of planar32lp': 'ok',
    'embedded model': 'ok',
  });
  for (const check of diagnosis.checks as Check[]) if (check.state !== 'ok') expect(check.hint).toBeTruthy();
  expect(diagnosisLines(diagnosis).at(-1)).toBe('nothing stands in the way');
});

test('an old Node, little memory, a folder that is not there', () => {
  expect(checkNode('18.19.0')).toMatchObject({ state: 'fail', kind: 'usage' });
  expect(checkNode('20.11.0')).toMatchObject({ state: 'note' });
  expect(checkMemory(2 ** 29)).toMatchObject({ state: 'fail', kind: 'usage' });
  expect(checkMemory(2 ** 32)).toMatchObject({ state: 'note' });
  const gone = checkDisk(join(folder, 'gone'));
  expect(gone).toMatchObject({ state: 'fail', kind: 'input' });
  expect(gone.found).toContain('ENOENT');
  expect(checkPrograms().map(({ name }) => name)).toEqual(['native ngspice', 'chromium']);
});

test('a simulator that does not start, or computes something else', async () => {
  const pool = (run: () => Promise<never>) => () => ({ run, threadsStarted: 0, close: async () => {} });
  const dead = await checkSimulator(
    pool(async () => {
      throw new SpiceError('SPICE_ENGINE_START', 'the simulator did not start: no memory');
    }),
  );
  expect(dead).toMatchObject({
    state: 'fail',
    kind: 'simulation',
    hint: expect.stringContaining('npm install'),
  });
  const wrong = { plots: [{ real: new Map([['v(out)', [1.5]]]) }] } as never;
  expect(await checkSimulator(pool(async () => wrong))).toMatchObject({
    state: 'fail',
    found: expect.stringContaining('1.5 V for 1 V'),
  });
});

test('a stale calibration fails with the command that mends it; a missing one is noted', () => {
  cpSync(join(packageRoot, 'spice/planar130'), join(folder, 'spice/planar130'), { recursive: true });
  const technology = join(folder, 'spice/planar130/technology.yaml');
  const text = readFileSync(technology, 'utf8');
  writeFileSync(
    technology,
    text.replace(
      /^ {2}t1:/m,
      '  fresh: { topology: t1, model: nch, widthM: 1.0e-6, lengthM: 1.0e-6, fullScaleA: 3.0e-9, source: x, tag: assumed }\n  t1:',
    ),
  );
  const of = (process: string) =>
    checkCalibrations().find(({ name }) => name === `calibration of ${process}`);
  expect(of('planar130')).toMatchObject({
    state: 'note',
    hint: 'onefet calibrate --process planar130 --cell fresh',
  });
  writeFileSync(join(folder, 'spice/planar130/mos.inc'), '* changed\n');
  const stale = of('planar130')!;
  expect(stale).toMatchObject({ state: 'fail', kind: 'input' });
  expect(stale.hint).toMatch(/onefet calibrate --process planar130 --cell/);
  expect(stale.found).toMatch(/mos\.inc has changed/);
  mkdirSync(join(folder, 'spice/broken'));
  writeFileSync(join(folder, 'spice/broken/technology.yaml'), 'schema: x\n');
  expect(of('broken')).toMatchObject({ state: 'fail' });
});

test('a failure decides the exit code', () => {
  const checks: Check[] = [
    { name: 'memory', state: 'ok', found: '8 GiB' },
    { name: 'simulator', state: 'fail', kind: 'simulation', found: 'gone', hint: 'npm install' },
    { name: 'disk', state: 'fail', kind: 'input', found: 'full', hint: 'free some' },
  ];
  const diagnosis = { schema: 'onefet.doctor/1', version: '0', checks } as const;
  let thrown: unknown;
  try {
    requireHealth(diagnosis);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(OnefetError);
  expect(thrown).toMatchObject({ exitCode: 4, message: '2 of 3 checks fail: simulator, disk' });
  expect(diagnosisLines(diagnosis).at(-1)).toBe('2 in the way');
});
