/** The program opens no connection: system calls on the network, counted by strace over whole commands. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { afterAll, expect, test } from 'vitest';
import { launch } from './testing/launcher.ts';
import { fixtureModel } from './testing/models.ts';
import { needs } from './testing/needs.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-network-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const log = join(folder, 'calls');
const STRACE = ['strace', '-f', '-qq', '-e', 'trace=network', '-o', log];

/** Calls on internet sockets; sockets between processes of this machine are not meant. */
const calls = () =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.includes('AF_INET'));

const traced = spawnSync(STRACE[0], [...STRACE.slice(1), 'true']);
const traceable = needs(traced.status === 0 ? undefined : 'no strace that may trace here');

test('what is looked for is seen where it happens', traceable, () => {
  const connects = "require('node:net').connect(9, '127.0.0.1').on('error', () => {})";
  spawnSync(STRACE[0], [...STRACE.slice(1), execPath, '-e', connects]);
  expect(calls().join('\n')).toContain('connect(');
});

test.each([
  ['run', '--model', fixtureModel('tiny'), '--context', '32', '--max-windows', '1', '--chips', '1'],
  ['doctor'],
])('onefet %s', traceable, async (...args) => {
  const { code } = await launch({ folder, under: STRACE }, ...args, '--json').ended;
  expect(code).toBe(0);
  expect(calls()).toEqual([]);
});
