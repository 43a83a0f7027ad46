/**
 * The Node that the launcher fetches where the running one is too old, with a program in place of npm: fetched once and whole,
 * by one or by two at a time, and nothing left of a fetch that fails or is killed.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { env, execPath, platform } from 'node:process';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { packageRoot } from './files.ts';

const DRIVER = `import(${JSON.stringify(join(packageRoot, 'src/another-node.js'))})
  .then(async (node) => console.log(node.fetchedNode() ?? (await node.fetchNode())))`;

let folder: string;
let cache: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onefet-another-node-'));
  cache = join(folder, 'cache');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program called npm that runs these lines of shell; $3 and $4 are --prefix and the folder. */
function fakeNpm(lines: string): void {
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(join(folder, 'bin', 'npm'), `#!/bin/sh\n${lines}\n`);
  chmodSync(join(folder, 'bin', 'npm'), 0o755);
}

/** Makes what the package has: a program that says its version. */
const BRINGS = `name=\${2%@*}; to="$4/node_modules/$name/bin"; mkdir -p "$to"
printf '#!/bin/sh\\necho v24.99.0\\n' > "$to/node"; chmod +x "$to/node"`;

function fetchNode(environment: Record<string, string> = {}) {
  const child = spawn(execPath, ['--input-type=module', '-e', DRIVER], {
    env: {
      ...env,
      PATH: `${join(folder, 'bin')}${delimiter}${env.PATH}`,
      XDG_CACHE_HOME: cache,
      ONEFET_NO_FETCH: '',
      ...environment,
    },
  });
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      printed[name] += chunk;
    });
  }
  const ended = new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>(
    (resolve) => child.on('close', (code, signal) => resolve({ code, signal, ...printed })),
  );
  return { child, ended };
}

const kept = () => readdirSync(join(cache, 'onefet'));

/** Waits until the folder in which a Node is made is there. */
async function making(): Promise<void> {
  for (let i = 0; i < 200; i++) {
    try {
      if (kept().some((name) => name.endsWith('.making'))) return;
    } catch {
      // Not yet.
    }
    await wait(25);
  }
  throw new Error('no fetch began');
}

describe.skipIf(platform === 'win32')('a Node is fetched', () => {
  test('once: said, kept whole, and found by the next start without npm', async () => {
    fakeNpm(BRINGS);
    const first = await fetchNode().ended;
    expect(first).toMatchObject({ code: 0 });
    expect(first.stderr).toMatch(
      /^onefet: this is Node v\d+\S*: fetching Node 24 \(node-\S+ from npm, about 60 MB\), once, into /,
    );
    expect(first.stdout.trim().startsWith(join(cache, 'onefet', 'node-24-'))).toBe(true);
    expect(kept()).toEqual([expect.stringMatching(/^node-24-[a-z0-9]+-[a-z0-9]+$/)]);
    fakeNpm('exit 9');
    expect(await fetchNode().ended).toMatchObject({ code: 0, stdout: first.stdout, stderr: '' });
  });

  test('by two at a time: both have one that is whole, and one is kept', async () => {
    fakeNpm(`${BRINGS}\nsleep 1`);
    const both = await Promise.all([fetchNode().ended, fetchNode().ended]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both[0].stdout).toBe(both[1].stdout);
    expect(kept()).toHaveLength(1);
  });

  test.each([
    ['npm fails', 'exit 7', 'npm ended with 7'],
    ['npm brings nothing', 'exit 0', 'brought none that runs'],
    ['what it brings does not run', `${BRINGS}\necho 'exit 1' > "$to/node"`, 'brought none that runs'],
    ['what it brings is older', `${BRINGS}\necho 'echo v22.1.0' > "$to/node"`, 'brought none that runs'],
  ])('or an error says why, and nothing is kept: %s', async (_what, lines, reason) => {
    fakeNpm(lines);
    const { code, stdout, stderr } = await fetchNode().ended;
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(
      /onefet: error: needs Node 24 or newer, this is v\S+, and one could not be fetched: /,
    );
    expect(stderr).toContain(reason);
    expect(stderr).toMatch(/ {2}hint: install Node 24, or put one beside onefet: npm install node-\S+@24\n$/);
    expect(kept()).toEqual([]);
  });

  test('not where it is forbidden, where there is no npm or no cache can be made', async () => {
    fakeNpm(BRINGS);
    const forbidden = await fetchNode({ ONEFET_NO_FETCH: '1' }).ended;
    expect(forbidden).toMatchObject({ code: 2, stdout: '' });
    expect(forbidden.stderr).toMatch(/and ONEFET_NO_FETCH forbids to fetch one\n {2}hint: install Node 24/);
    const without = await fetchNode({ PATH: join(folder, 'nothing') }).ended;
    expect(without).toMatchObject({ code: 2, stdout: '' });
    expect(without.stderr).toContain('there is no npm');
    writeFileSync(join(folder, 'file'), '');
    const nowhere = await fetchNode({ XDG_CACHE_HOME: join(folder, 'file') }).ended;
    expect(nowhere).toMatchObject({ code: 2, stdout: '' });
    expect(nowhere.stderr).toMatch(/one could not be fetched: (ENOTDIR|EEXIST)/);
  });

  test('a signal ends the fetch and this process, and leaves nothing', async () => {
    fakeNpm(`${BRINGS}\nexec sleep 60`);
    const { child, ended } = fetchNode();
    await making();
    await wait(200);
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: null, signal: 'SIGTERM', stdout: '' });
    expect(kept()).toEqual([]);
  });

  test('what a killed fetch left is never taken, and removed by the next', async () => {
    fakeNpm(`${BRINGS}\nexec sleep 2`);
    const { child, ended } = fetchNode();
    await making();
    child.kill('SIGKILL');
    await ended;
    expect(kept()).toEqual([expect.stringMatching(/\.making$/)]);
    fakeNpm(BRINGS);
    expect(await fetchNode().ended).toMatchObject({ code: 0 });
    expect(kept()).toEqual([expect.stringMatching(/^node-24-[a-z0-9]+-[a-z0-9]+$/)]);
  });
});
