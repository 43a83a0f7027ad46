/** Locks under contention, of dead and of foreign processes. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath, pid } from 'node:process';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { packageRoot } from './files.ts';
import { keepFresh } from './heartbeat.ts';
import { holdLock, LEASE_S, LOCK_SCHEMA, type LockOwner, takeLock } from './lock.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'onefet-lock-'));
  path = join(folder, 'lock');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A process number that no process has. */
const DEAD_PID = 2 ** 22 + 1;

const ownerOf = (change: Partial<LockOwner>): LockOwner => ({
  schema: LOCK_SCHEMA,
  host: hostname(),
  pid: DEAD_PID,
  startTime: '1',
  nonce: 'abc',
  since: '2026-01-01T00:00:00.000Z',
  ...change,
});
const write = (owner: LockOwner) => writeFileSync(path, JSON.stringify(owner));

it('names its holder, refuses the same process a second time, and is released once', () => {
  const release = takeLock(path, 'the run');
  expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ host: hostname(), pid });
  expect(() => takeLock(path, 'the run')).toThrow(/this process is already working in the run/);
  release();
  expect(readdirSync(folder)).toEqual([]);
  const next = takeLock(path, 'the run');
  // A holder that was released does not release the next one.
  release();
  expect(readdirSync(folder)).toEqual(['lock']);
  next();
});

it('is taken over from a process that is gone, also where its number was given again', () => {
  for (const owner of [ownerOf({}), ownerOf({ pid, startTime: 'before' })]) {
    write(owner);
    takeLock(path, 'the run')();
    expect(readdirSync(folder)).toEqual([]);
  }
});

it('of another host is refused with host, process and what to do', () => {
  write(ownerOf({ host: 'far-away', pid: 77 }));
  try {
    takeLock(path, 'the run');
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({
      kind: 'usage',
      code: 'BUSY',
      message: expect.stringContaining('process 77 on host far-away'),
      hint: expect.stringContaining(`remove ${path}`),
    });
  }
});

/** Sets the last sign of life to so many seconds ago. */
const silentFor = (seconds: number) => {
  const then = new Date(Date.now() - 1e3 * seconds);
  utimesSync(path, then, then);
};

it('of another host is taken over after its lease and not before', () => {
  write(ownerOf({ host: 'far-away' }));
  silentFor(LEASE_S - 30);
  expect(() => takeLock(path, 'the run')).toThrow(/host far-away/);
  silentFor(LEASE_S + 30);
  takeLock(path, 'the run')();
  expect(readdirSync(folder)).toEqual([]);
});

it('is kept fresh while it is held, and stays what it was', async () => {
  const lock = holdLock(path, 'the run');
  const text = readFileSync(path, 'utf8');
  silentFor(1000);
  const rest = keepFresh(path, { startMs: 0, beatS: 0.05 });
  await expect.poll(() => Date.now() - statSync(path).mtimeMs, { timeout: 20_000 }).toBeLessThan(500_000);
  rest();
  expect(readFileSync(path, 'utf8')).toBe(text);
  lock.check();
  lock.release();
});

it('that was taken over is noticed by its holder, which leaves the next one alone', () => {
  const lock = holdLock(path, 'the run');
  write(ownerOf({ host: 'far-away' }));
  expect(() => lock.check()).toThrow(/another process has taken over the run/);
  lock.release();
  expect(readdirSync(folder)).toEqual(['lock']);
});

it('that is empty or of another kind is never believed dead', () => {
  for (const text of ['', '123', '{}', '[']) {
    writeFileSync(path, text);
    expect(() => takeLock(path, 'the run')).toThrow(/is not a lock that this version wrote/);
    expect(readFileSync(path, 'utf8')).toBe(text);
  }
});

it('in a folder that is gone is an error of its own', () => {
  expect(() => takeLock(join(folder, 'none', 'lock'), 'the run')).toThrow(/cannot lock the run: ENOENT/);
});

it('has one holder at a time when four processes fight for it and die with it', async () => {
  const script = `
    import { openSync, closeSync, rmSync, renameSync, writeFileSync } from 'node:fs';
    import { takeLock } from ${JSON.stringify(pathToFileURL(join(packageRoot, 'src/lock.ts')).href)};
    const [path, name] = process.argv.slice(-2);
    const held = path + '.held';
    let taken = 0;
    for (let round = 0; round < 120; round++) {
      let release;
      try { release = takeLock(path, 'x'); } catch (error) { if (error.code !== 'BUSY') throw error; continue; }
      taken++;
      closeSync(openSync(held, 'wx')); // throws where another process is inside
      rmSync(held);
      if (round % 2) release();
      else {
        // As if this process had died: its lock stays, of a process that is gone.
        writeFileSync(path + name, JSON.stringify({ ...${JSON.stringify(ownerOf({}))}, nonce: name + round }));
        renameSync(path + name, path);
      }
    }
    console.log(taken);`;
  const child = (name: string) =>
    new Promise<number>((resolve, reject) => {
      execFile(execPath, ['--input-type=module', '--eval', script, path, name], (error, stdout, stderr) =>
        error ? reject(new Error(stderr)) : resolve(Number(stdout)),
      );
    });
  const taken = await Promise.all(['a', 'b', 'c', 'd'].map(child));
  expect(taken.every((count) => count > 0)).toBe(true);
});
