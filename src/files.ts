/**
 * Finding data files and writing results.
 *
 * Netlists, processes, calibrations, designs, models and texts are looked up in the working folder first, then
 * in the package, so that a user adds their own without touching the installation. Output goes to the working
 * folder only, and a file appears whole or not at all.
 */

import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { cwd, kill, pid } from 'node:process';
import { fileURLToPath } from 'node:url';
import { type ErrorKind, nearestName, OnefetError } from './error.ts';

/** The folder that holds package.json, netlists/, spice/ and the rest, in a checkout as in an installed package. */
export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** `.ts` in a checkout, `.js` in the compiled package: how a worker's own file name must end. */
export const sourceExtension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

/** First existing of ./relative and <package>/relative, or undefined. */
export function findDataFile(relative: string): string | undefined {
  for (const root of [cwd(), packageRoot]) {
    const path = resolve(root, relative);
    if (existsSync(path)) return path;
  }
  return undefined;
}

/** As findDataFile, but a missing file is an input error that lists what there is. */
export function requireDataFile(relative: string, what: string): string {
  const path = findDataFile(relative);
  if (path !== undefined) return path;
  const known = listDataFolder(dirname(relative));
  const nearest = nearestName(basename(relative), known);
  throw new OnefetError('input', 'FILE_MISSING', `${what} not found: ${relative}`, {
    hint: nearest
      ? `did you mean ${join(dirname(relative), nearest)}?`
      : `looked in ${[...new Set([cwd(), packageRoot])].join(' and ')}${known.length ? `; there is ${known.join(', ')}` : ''}`,
  });
}

/** A path as people know it: relative to the working folder or the package where it lies below one of them. */
export function displayPath(path: string): string {
  for (const root of [cwd(), packageRoot]) {
    const below = relative(root, resolve(path));
    if (below !== '' && !below.startsWith('..') && !isAbsolute(below)) return below.split(/[\\/]/).join('/');
  }
  return path;
}

/** Names in a data folder, working folder and package together, sorted. */
export function listDataFolder(relative: string): string[] {
  const names = new Set<string>();
  for (const root of [cwd(), packageRoot]) {
    const folder = resolve(root, relative);
    if (!existsSync(folder)) continue;
    try {
      for (const name of readdirSync(folder)) names.add(name);
    } catch {
      // Not a folder: it has no names to offer.
    }
  }
  return [...names].sort();
}

/**
 * Reads a whole text file, at most `mostBytes` of it. Errors (input): FILE_UNREADABLE; TEXT_SIZE, found by size where the
 * file has one and else while it is read, so that a device or a pipe without an end is refused too.
 */
export function readTextFile(path: string, what: string, mostBytes = Number.POSITIVE_INFINITY): string {
  const tooLarge = () =>
    new OnefetError('input', 'TEXT_SIZE', `${what} ${path} is larger than the limit of ${mostBytes} bytes`);
  let bytes: Buffer;
  try {
    if (mostBytes === Number.POSITIVE_INFINITY) return readFileSync(path, 'utf8');
    if (statSync(path).size > mostBytes) throw tooLarge();
    bytes = readAtMost(path, mostBytes + 1);
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'FILE_UNREADABLE', `cannot read ${what} ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  if (bytes.length > mostBytes) throw tooLarge();
  return bytes.toString('utf8');
}

function readAtMost(path: string, most: number): Buffer {
  const handle = openSync(path, 'r');
  try {
    const parts: Buffer[] = [];
    for (let total = 0; total < most; ) {
      const part = Buffer.allocUnsafe(Math.min(READ_BYTES, most - total));
      const count = readSync(handle, part, 0, part.length, null);
      if (count === 0) break;
      parts.push(part.subarray(0, count));
      total += count;
    }
    return Buffer.concat(parts);
  } finally {
    closeSync(handle);
  }
}

const READ_BYTES = 1 << 22;

/** Writes through a temporary name in the same folder and renames: whole or not at all. */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  const temporary = `${path}.${pid}.part`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    const handle = openSync(temporary, 'w');
    try {
      const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : data;
      for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'free disk space or choose another output folder with --out',
    });
  }
}

/**
 * JSON of plain data in which every number is finite: JSON.stringify would write null for the others, which no reader could
 * tell from "not measured". Throws OnefetError(kind, 'NOT_FINITE') with the path of the first that is not.
 */
export function jsonOf(value: unknown, what: string, kind: ErrorKind = 'input', indent = 0): string {
  const path: string[] = [];
  const look = (item: unknown): void => {
    if (typeof item === 'number' && !Number.isFinite(item)) {
      throw new OnefetError(kind, 'NOT_FINITE', `${what}: ${path.join('.') || 'the value'} is ${item}`, {
        hint: 'the numbers that it was computed from are damaged or too large: nothing is written',
      });
    }
    if (typeof item !== 'object' || item === null) return;
    for (const [key, inner] of Object.entries(item)) {
      path.push(key);
      look(inner);
      path.pop();
    }
  };
  look(value);
  return JSON.stringify(value, null, indent);
}

/** Takes what an operating-system or parser error says, on one line. */
export function reasonOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0];
}

/** Fills `bytes` from place `at` of an open file; false where the file ends before. */
export function readAt(handle: number, bytes: Uint8Array, at: number): boolean {
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(handle, bytes, done, bytes.length - done, at + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}

/** Writes all of `bytes` to place `at` of an open file of a run; `what` it is stands in the error. */
export function writeAt(handle: number, bytes: Uint8Array, at: number, what: string): void {
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(handle, bytes, done, bytes.length - done, at + done);
    }
  } catch (cause) {
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${what}: ${reasonOf(cause)}`, {
      cause,
      hint: 'free disk space and run the same command again: finished jobs are kept',
    });
  }
}

/** Is there a process of this number (this one included)? */
export function isProcessAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** SHA-256 in hex. */
export function sha256(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** The version in package.json. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version;
}
