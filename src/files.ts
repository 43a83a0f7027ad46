/**
 * Finding data files and writing results.
 *
 * Netlists, processes, calibrations, designs, models and texts are looked up in the working folder first, then
 * in the package, so that a user adds their own without touching the installation. Output goes to the working
 * folder only, and a file appears whole or not at all.
 */

import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
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

/** Largest text file, bytes, where its reader gives no limit of its own. */
const MOST_TEXT_BYTES = 64 << 20;

export interface TextFileOptions {
  /** Default MOST_TEXT_BYTES. */
  readonly mostBytes?: number;
  /** Take text that is not UTF-8 as Latin-1: netlists, whose only such characters stand in comments. Default false. */
  readonly orLatin1?: boolean;
}

/**
 * Reads a whole text file: UTF-8 without or with its byte order mark, which is not part of the text. Every text of the
 * program comes through here. Errors (input): FILE_UNREADABLE; TEXT_SIZE before more than the limit is read; TEXT_ENCODING
 * with the place, for UTF-16, Latin-1, other bytes that are not UTF-8, and NUL.
 */
export function readTextFile(path: string, what: string, options: TextFileOptions = {}): string {
  return decodeText(readBytes(path, what, options.mostBytes), `${what} ${path}`, options);
}

/**
 * Reads the bytes of a file, or of a pipe that someone writes to; devices and folders are refused. Errors (input):
 * FILE_UNREADABLE, TEXT_SIZE before more than the limit is read.
 */
export function readBytes(path: string, what: string, mostBytes = MOST_TEXT_BYTES): Buffer {
  const unreadable = (reason: string, cause?: unknown) =>
    new OnefetError('input', 'FILE_UNREADABLE', `cannot read ${what} ${path}: ${reason}`, { cause });
  const tooLarge = () =>
    new OnefetError('input', 'TEXT_SIZE', `${what} ${path} is larger than the limit of ${mostBytes} bytes`);
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw unreadable('it is a folder');
    if (!stat.isFile() && !stat.isFIFO()) throw unreadable('it is a device or a socket, not a file');
    if (stat.size > mostBytes) throw tooLarge();
    const bytes = readAtMost(path, mostBytes + 1, stat);
    if (bytes.length > mostBytes) throw tooLarge();
    return bytes;
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw unreadable(reasonOf(cause), cause);
  }
}

/** A pipe that nobody has written to for so long is given up: a wait in a read would not see Ctrl-C. */
const PIPE_WAIT_MS = 10_000;

function readAtMost(path: string, most: number, stat: Stats): Buffer {
  const isPipe = stat.isFIFO();
  const handle = openSync(path, isPipe ? constants.O_RDONLY | constants.O_NONBLOCK : 'r');
  try {
    const parts: Buffer[] = [];
    // A file's size and the byte that shows its end; a larger part for each small file has the collector at work all the time.
    let part = Buffer.allocUnsafe(
      Math.min(most, Math.max(LEAST_READ_BYTES, Math.min(READ_BYTES, stat.size + 1))),
    );
    let used = 0;
    let lastMs = performance.now();
    for (let total = 0; total < most; ) {
      if (used === part.length) {
        parts.push(part);
        part = Buffer.allocUnsafe(Math.min(READ_BYTES, most - total));
        used = 0;
      }
      const rest = part.subarray(used);
      const count = isPipe ? readPipe(handle, rest) : readSync(handle, rest, 0, rest.length, null);
      if (count > 0) {
        used += count;
        total += count;
        lastMs = performance.now();
      } else if (!isPipe || (count === 0 && total > 0)) break;
      else if (performance.now() - lastMs > PIPE_WAIT_MS) {
        throw new Error(`nobody writes to the pipe: nothing came in ${PIPE_WAIT_MS / 1e3} s`);
      } else sleepMs(10);
    }
    return Buffer.concat([...parts, part.subarray(0, used)]);
  } finally {
    closeSync(handle);
  }
}

const sleepMs = (time: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, time);

/** Bytes that were there; 0 where every writer has closed or none has opened, -1 where one has nothing yet. */
function readPipe(handle: number, part: Buffer): number {
  try {
    return readSync(handle, part, 0, part.length, null);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EAGAIN') return -1;
    throw cause;
  }
}

const READ_BYTES = 1 << 22;
const LEAST_READ_BYTES = 1 << 12;

/** Decodes the bytes of a text file; `where` names it in errors. Error: TEXT_ENCODING. */
export function decodeText(bytes: Buffer, where: string, { orLatin1 = false }: TextFileOptions = {}): string {
  const refuse = (what: string, from: string) =>
    new OnefetError('input', 'TEXT_ENCODING', `${where} ${what}`, {
      hint: `convert it to UTF-8: iconv -f ${from} -t utf-8 FILE > NEW`,
    });
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw refuse('is UTF-16, as PowerShell and Notepad write it, and not UTF-8', 'utf-16');
  }
  const nul = bytes.indexOf(0);
  if (nul >= 0) {
    const wide = bytes.length % 2 === 0 && nul < 2 && bytes[nul + 2] === 0;
    throw wide
      ? refuse('is UTF-16 without a mark, and not UTF-8', nul === 1 ? 'utf-16le' : 'utf-16be')
      : new OnefetError('input', 'TEXT_ENCODING', `${where} has a NUL at ${placeOf(bytes, nul)}`, {
          hint: 'it is not a text file, or it is damaged',
        });
  }
  const text = bytes.subarray(bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0);
  if (isUtf8(text)) return text.toString('utf8');
  if (orLatin1) return text.toString('latin1');
  const at = firstInvalid(bytes);
  const byte = `0x${bytes[at].toString(16).toUpperCase().padStart(2, '0')}`;
  throw refuse(`is not UTF-8: byte ${byte} at ${placeOf(bytes, at)}; it may be Latin-1`, 'latin1');
}

/** "byte 17, line 2". */
function placeOf(bytes: Buffer, at: number): string {
  let line = 1;
  for (let i = bytes.indexOf(10); i >= 0 && i < at; i = bytes.indexOf(10, i + 1)) line++;
  return `byte ${at}, line ${line}`;
}

/** Finds the first byte that is not UTF-8: the largest prefix that is valid is found by halving. */
function firstInvalid(bytes: Buffer): number {
  let [low, high] = [0, bytes.length];
  // The prefix of `low` bytes is valid, but for a character that is cut; that of `high` is not.
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (isUtf8(bytes.subarray(0, wholeCharacters(bytes, middle)))) low = middle;
    else high = middle;
  }
  return wholeCharacters(bytes, low);
}

/** `end`, or where the character begins that it cuts. */
function wholeCharacters(bytes: Buffer, end: number): number {
  for (let back = 1; back <= 3 && back <= end; back++) {
    const byte = bytes[end - back];
    if (byte < 0x80) break;
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? end - back : end;
  }
  return end;
}

/**
 * Makes a folder and those above it. Node's own way, `recursive`, never returns where a file system refuses a name as if
 * something above it were missing: /proc/x.
 */
export function makeFolder(path: string): void {
  const make = (): boolean => {
    try {
      mkdirSync(path);
      return true;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
      if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return true;
      throw cause;
    }
  };
  if (make()) return;
  const above = dirname(path);
  if (above !== path) makeFolder(above);
  if (!make()) throw new Error(`ENOENT: a folder cannot be made here, mkdir '${path}'`);
}

/** Writes through a temporary name in the same folder and renames: whole or not at all. */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  const temporary = `${path}.${pid}.part`;
  try {
    makeFolder(dirname(path));
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
    removeFile(temporary);
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
export function toJson(value: unknown, what: string, kind: ErrorKind = 'input', indent = 0): string {
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

/** Removes a file if it is there and that is possible. */
export function removeFile(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A file in the place of its folder, or a folder that cannot be written: there is nothing to remove, or no way.
  }
}

/** Writes a file of a cache: without room or permission there is none, which is no reason to fail. */
export function keepFile(path: string, data: string | Uint8Array): void {
  try {
    writeFileAtomic(path, data);
  } catch (cause) {
    if (!(cause instanceof OnefetError)) throw cause;
  }
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
