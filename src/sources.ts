/**
 * Results that name the hash of every file that they were made from, and are refused when one of them has changed.
 */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { cwd } from 'node:process';
import type { z } from 'zod';
import { validate } from './config.ts';
import { OnefetError } from './error.ts';
import {
  findDataFile,
  packageRoot,
  readBytes,
  readTextFile,
  reasonOf,
  requireDataFile,
  sha256,
} from './files.ts';

/** Gives a source file's path as it is stored: below the working folder or the package, with forward slashes. Error: SOURCE_OUTSIDE. */
function sourceKey(path: string): string {
  for (const root of [cwd(), packageRoot]) {
    const below = relative(root, path);
    if (!below.startsWith('..') && existsSync(join(root, below))) return below.split(/[\\/]/).join('/');
  }
  throw new OnefetError(
    'input',
    'SOURCE_OUTSIDE',
    `${path} is neither below the working folder nor the package`,
    {
      hint: 'copy included files into netlists/ or spice/ so that the calibration can be checked later',
    },
  );
}

/** Hashes files: path below the working folder or the package -> SHA-256, sorted. Errors: SOURCE_OUTSIDE, FILE_UNREADABLE. */
export function hashSources(paths: Iterable<string>): Record<string, string> {
  return Object.fromEntries(
    [...paths]
      .map((path) => [sourceKey(path), sha256(readBytes(path, 'calibration source'))] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** A kind of result: its place, its schema, and the way to make it again. */
export interface ResultFile<T extends z.ZodType<{ sources: Record<string, string> }>> {
  /** Below the working folder or the package. */
  readonly relative: string;
  /** In messages: 'calibration', 'noise study', 'circuit'. */
  readonly kind: string;
  /** In messages: 'planar32lp/t1'. */
  readonly name: string;
  readonly schema: T;
  /** Error codes are <code>_INVALID and <code>_STALE. */
  readonly code: string;
  readonly hint: string;
  /** Says what else has changed since it was made; undefined: nothing. */
  readonly changed?: (result: z.output<T>) => string | undefined;
}

/**
 * Finds a result (working folder first), validates it and refuses one whose sources have changed since it was made.
 * Errors: FILE_MISSING, <code>_INVALID, <code>_STALE.
 */
export function loadResult<T extends z.ZodType<{ sources: Record<string, string> }>>(
  file: ResultFile<T>,
): z.output<T> {
  const { kind, schema, code, hint } = file;
  const path = requireDataFile(file.relative, `${kind} of ${file.name}`);
  let value: unknown;
  try {
    value = JSON.parse(readTextFile(path, kind));
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', `${code}_INVALID`, `${path}: ${reasonOf(cause)}`, { hint, cause });
  }
  const result = validate(schema, value, path, { kind: 'input', code: `${code}_INVALID` });
  const stale = (what: string) => new OnefetError('input', `${code}_STALE`, `${path}: ${what}`, { hint });
  for (const [source, hash] of Object.entries(result.sources)) {
    const found = findDataFile(source);
    if (found === undefined) throw stale(`${source}, which it was made from, is gone`);
    if (sha256(readBytes(found, `source of the ${kind}`)) !== hash) {
      throw stale(`${source} has changed since`);
    }
  }
  const changed = file.changed?.(result);
  if (changed !== undefined) throw stale(changed);
  return result;
}
