/**
 * Removing what can be made again: the caches below .onefet/cache, and, if asked for, run folders. Fetched models stay. What
 * another process is working in is left alone.
 */
import { existsSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { runFolders } from '../experiment/run-folder.ts';
import { reasonOf } from '../files.ts';
import { takeLock } from '../lock.ts';

const CACHE = join('.onefet', 'cache');

export interface CleanOptions {
  /** Folder of the runs; undefined: they stay. */
  readonly runs?: string | undefined;
  /** Only say what would be removed. */
  readonly dryRun: boolean;
}

export interface Cleaned {
  readonly path: string;
  readonly bytes: number;
  /** false: it stays, and why. */
  readonly removed: boolean;
  readonly reason?: string;
}

/** Removes caches and runs, one line of the result each. Errors: CLEAN (input) where a folder cannot be removed. */
export function clean({ runs, dryRun }: CleanOptions): Cleaned[] {
  const caches = existsSync(CACHE) ? readdirSync(CACHE).map((name) => join(CACHE, name)) : [];
  return [
    ...caches.map((path) => remove(path, dryRun)),
    ...(runs === undefined ? [] : runFolders(runs).map((path) => removeRun(path, dryRun))),
  ];
}

function removeRun(path: string, dryRun: boolean): Cleaned {
  if (dryRun) return remove(path, true);
  let unlock: () => void;
  try {
    unlock = takeLock(join(path, 'lock'), `the run folder ${path}`);
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind === 'internal') throw error;
    return { path, bytes: bytesOf(path), removed: false, reason: error.message };
  }
  try {
    return remove(path, false);
  } finally {
    unlock();
  }
}

function remove(path: string, dryRun: boolean): Cleaned {
  const bytes = bytesOf(path);
  if (!dryRun) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch (cause) {
      throw new OnefetError('input', 'CLEAN', `cannot remove ${path}: ${reasonOf(cause)}`, { cause });
    }
  }
  return { path, bytes, removed: !dryRun };
}

/** Of a file or of all files below a folder; links are not followed. */
function bytesOf(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}
