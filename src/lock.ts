/**
 * A lock that a process holds on a folder, as a file of JSON: who holds it, where, since when.
 *
 *   taken     a complete private file is linked into place: the name exists whole or not at all, and only once
 *   refused   the holder lives, is this process itself, or belongs to another host and has given a sign of life
 *   taken over  the holder's process is gone from this host (a number that was given again has another start time), or it
 *             belongs to another host and has given no sign of life for LEASE_S (heartbeat.ts gives one every BEAT_S)
 *   released  only with the own nonce
 *   lost      a holder that was stopped for longer than the lease finds another in its place: `check` says so before it writes
 *
 * Two processes that find the same dead holder must not both remove it, the second removing the first one's new lock.
 * So a lock is taken away only under a guard that bears the dead holder's nonce, a lock of the same kind, and only if
 * that nonce still stands in the file.
 */
import { randomBytes } from 'node:crypto';
import { linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { pid as ownPid } from 'node:process';
import { OnefetError } from './error.ts';
import { isProcessAlive, reasonOf } from './files.ts';
import { keepFresh } from './heartbeat.ts';

export const LOCK_SCHEMA = 'onefet.lock/1';

export interface LockOwner {
  readonly schema: typeof LOCK_SCHEMA;
  readonly host: string;
  readonly pid: number;
  /** Of the process, in the system's own count, to tell it from a later one of the same number; null where unknown. */
  readonly startTime: string | null;
  readonly nonce: string;
  /** ISO 8601, for people. */
  readonly since: string;
}

/** A lock of another host without a sign of life for so long is taken over: twenty signs that did not come. */
export const LEASE_S = 600;

export interface Lock {
  release(): void;
  /** Throws OnefetError('input', 'LOCK_LOST') where another holder has taken it over. */
  check(): void;
}

/** Longest wait for a lock that is half written (no hard links) or just being taken over, ms. */
const PATIENCE_MS = 200;

/**
 * Takes the lock at `path` and returns what releases it; `what` it protects stands in the errors.
 * Errors: BUSY (usage) where another process, another host or this process holds it; LOCK_UNREADABLE (input);
 * FILE_UNWRITABLE (input) where the folder cannot be written.
 */
export function takeLock(path: string, what: string): () => void {
  return holdLock(path, what).release;
}

/** As takeLock, for a holder that asks before it writes whether it still is one. */
export function holdLock(path: string, what: string): Lock {
  const own = ownerHere();
  const deadline = Date.now() + PATIENCE_MS;
  while (!place(path, own, what)) {
    const holder = readOwner(path);
    if (holder === 'gone') continue;
    if (holder === 'unreadable') {
      if (Date.now() < deadline) pause();
      else throw unreadable(path, what);
    } else if (isDead(holder, own, path)) {
      if (!takeAway(path, holder, what) && Date.now() > deadline) throw busy(path, what, holder, own);
    } else throw busy(path, what, holder, own);
  }
  const rest = keepFresh(path);
  const isOwn = () => {
    const holder = readOwner(path);
    return typeof holder === 'object' && holder.nonce === own.nonce;
  };
  return {
    release() {
      rest();
      if (isOwn()) rmSync(path, { force: true });
    },
    check() {
      if (isOwn()) return;
      throw new OnefetError('input', 'LOCK_LOST', `another process has taken over ${what}`, {
        hint: `this one gave no sign of life for ${LEASE_S} s; run it again when the other has ended`,
      });
    },
  };
}

function ownerHere(): LockOwner {
  return {
    schema: LOCK_SCHEMA,
    host: hostname(),
    pid: ownPid,
    startTime: startTimeOf(ownPid),
    nonce: randomBytes(12).toString('hex'),
    since: new Date().toISOString(),
  };
}

/** Puts the whole lock in its place; false where there is one already. */
function place(path: string, own: LockOwner, what: string): boolean {
  const text = `${JSON.stringify(own)}\n`;
  const whole = `${path}.${own.nonce}.part`;
  try {
    writeFileSync(whole, text, { flag: 'wx' });
    try {
      linkSync(whole, path);
    } catch (cause) {
      if (!NO_LINKS.has(codeOf(cause))) throw cause;
      // A file system without hard links: exclusive, but for a moment empty.
      writeFileSync(path, text, { flag: 'wx' });
    } finally {
      rmSync(whole, { force: true });
    }
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return false;
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot lock ${what}: ${reasonOf(cause)}`, {
      cause,
      hint: 'choose a folder that can be written with --out',
    });
  }
}

const NO_LINKS = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK']);

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? '';

function readOwner(path: string): LockOwner | 'gone' | 'unreadable' {
  try {
    const owner = JSON.parse(readFileSync(path, 'utf8')) as LockOwner;
    const fits = owner?.schema === LOCK_SCHEMA && typeof owner.nonce === 'string';
    return fits && typeof owner.host === 'string' && Number.isInteger(owner.pid) ? owner : 'unreadable';
  } catch (cause) {
    return codeOf(cause) === 'ENOENT' ? 'gone' : 'unreadable';
  }
}

function isDead(holder: LockOwner, own: LockOwner, path: string): boolean {
  if (holder.host !== own.host) return silentS(path, own) > LEASE_S;
  if (!isProcessAlive(holder.pid)) return true;
  const now = startTimeOf(holder.pid);
  return now !== null && holder.startTime !== null && now !== holder.startTime;
}

/** Seconds since the last sign of life, by the clock of the file system: hosts' own clocks differ. */
function silentS(path: string, own: LockOwner): number {
  const probe = `${path}.${own.nonce}.now`;
  try {
    writeFileSync(probe, '');
    return (statSync(probe).mtimeMs - statSync(path).mtimeMs) / 1e3;
  } catch {
    // Gone in between, or a folder that cannot be written: nothing is known.
    return 0;
  } finally {
    rmSync(probe, { force: true });
  }
}

/** Removes a dead holder's lock; false where another process is just about it. */
function takeAway(path: string, dead: LockOwner, what: string): boolean {
  let release: () => void;
  try {
    release = takeLock(`${path}.${dead.nonce}`, what);
  } catch (error) {
    if (!(error instanceof OnefetError) || error.code !== 'BUSY') throw error;
    pause();
    return false;
  }
  try {
    const holder = readOwner(path);
    if (typeof holder === 'object' && holder.nonce === dead.nonce) rmSync(path, { force: true });
  } finally {
    release();
  }
  return true;
}

/** Field 22 of /proc/<pid>/stat, clock ticks since boot; the name in field 2 may hold blanks and brackets. */
function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
}

function busy(path: string, what: string, holder: LockOwner, own: LockOwner): OnefetError {
  if (holder.host !== own.host) {
    return new OnefetError(
      'usage',
      'BUSY',
      `process ${holder.pid} on host ${holder.host} is working in ${what} since ${holder.since}`,
      {
        hint: `wait for it; if that process is gone, its lock is taken over ${LEASE_S} s after its last sign of life, or remove ${path}: this host (${own.host}) cannot know`,
      },
    );
  }
  if (holder.pid === own.pid) {
    return new OnefetError('usage', 'BUSY', `this process is already working in ${what}`, {
      hint: 'wait for the first run to end, or give the second another folder',
    });
  }
  return new OnefetError('usage', 'BUSY', `process ${holder.pid} is working in ${what}`, {
    hint: 'wait for it, or choose another folder with --out',
  });
}

function unreadable(path: string, what: string): OnefetError {
  return new OnefetError('input', 'LOCK_UNREADABLE', `${path} is not a lock that this version wrote`, {
    hint: `if nothing is working in ${what}, remove it`,
  });
}
