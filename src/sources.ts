/**
 * Results that name the hash of every file that they were made from, and are refused when one of them has changed, or when
 * they themselves are not what was written.
 */
import { existsSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';
import { cwd, env } from 'node:process';
import type { z } from 'zod';
import { parseYaml, validate } from './config.ts';
import { type ErrorKind, OnefetError } from './error.ts';
import {
  findDataFile,
  packageRoot,
  readBytes,
  readTextFile,
  reasonOf,
  requireDataFile,
  sha256,
  toJson,
} from './files.ts';

/** A source that is part of a YAML file: `file#part,part`, a part being a key or `key.name`. */
const PARTS = /^(.*\.ya?ml)#([\w.,-]+)$/;

/**
 * Names those parts of a YAML file that a result uses, as a source: the result stays valid when other parts, comments or
 * the layout of the file change. A part that is not there counts as well: adding it is a change.
 */
export const partsOf = (path: string, parts: readonly string[]): string =>
  `${path}#${[...parts].sort().join()}`;

/** Name of the folder of foundry libraries in the environment and, with a dollar, at the start of a source's key. */
const PDK_ROOT = 'PDK_ROOT';

/**
 * Gives a source file's path as it is stored: below the working folder, the package or $PDK_ROOT, with forward slashes.
 * Error: SOURCE_OUTSIDE.
 */
function sourceKey(path: string): string {
  const pdk = env[PDK_ROOT];
  for (const root of [cwd(), packageRoot, ...(pdk !== undefined && isAbsolute(pdk) ? [pdk] : [])]) {
    const below = relative(root, path);
    if (below.startsWith('..') || isAbsolute(below) || !existsSync(join(root, below))) continue;
    const key = below.split(/[\\/]/).join('/');
    return root === pdk ? `$${PDK_ROOT}/${key}` : key;
  }
  throw new OnefetError(
    'input',
    'SOURCE_OUTSIDE',
    `${path} is neither below the working folder nor the package nor $PDK_ROOT`,
    {
      hint: 'copy included files into netlists/ or spice/ so that the calibration can be checked later',
    },
  );
}

/** SHA-256 of a file, or of the named parts of a YAML file in a form that does not depend on order, layout and comments. */
function hashFile(path: string, what: string, parts: string | undefined): string {
  if (parts === undefined) return sha256(readBytes(path, what));
  const text = readTextFile(path, what);
  let document: unknown;
  try {
    document = parseYaml(text, path);
  } catch {
    // Not YAML any more: it has changed, whatever it was.
    return sha256(text);
  }
  const within = (value: unknown, key: string): unknown =>
    typeof value === 'object' && value !== null && Object.hasOwn(value, key)
      ? (value as Record<string, unknown>)[key]
      : undefined;
  const used = parts.split(',').map((part) => [part, part.split('.').reduce(within, document) ?? null]);
  return sha256(JSON.stringify(used, sortedKeys));
}

function sortedKeys(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Hashes files, and the parts of files that `partsOf` names: path below the working folder or the package -> SHA-256, sorted.
 * Errors: SOURCE_OUTSIDE, FILE_UNREADABLE.
 */
export function hashSources(paths: Iterable<string>): Record<string, string> {
  return Object.fromEntries(
    [...paths]
      .map((source) => {
        const [, path = source, parts] = source.match(PARTS) ?? [];
        const hash = hashFile(path, 'calibration source', parts);
        return [parts === undefined ? sourceKey(path) : `${sourceKey(path)}#${parts}`, hash] as const;
      })
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Where a source lies now, or undefined. */
function findSource(key: string): string | undefined {
  if (!key.startsWith(`$${PDK_ROOT}/`)) return findDataFile(key);
  const pdk = env[PDK_ROOT];
  const path = pdk === undefined ? undefined : join(pdk, key.slice(PDK_ROOT.length + 2));
  return path !== undefined && existsSync(path) ? path : undefined;
}

/** Says what has changed since the sources had these hashes, or undefined when nothing has. */
export function changedSource(sources: Readonly<Record<string, string>>, kind: string): string | undefined {
  for (const [source, hash] of Object.entries(sources)) {
    const [, path = source, parts] = source.match(PARTS) ?? [];
    const found = findSource(path);
    if (found === undefined) return `${path}, which it was made from, is gone`;
    if (hashFile(found, `source of the ${kind}`, parts) === hash) continue;
    return `${path} has changed since${parts === undefined ? '' : ', in what it uses of it'}`;
  }
  return undefined;
}

/** Writes a result with the SHA-256 of all before it as its last key, on one line or indented. Error: NOT_FINITE. */
export function encodeResult(
  result: object,
  what: string,
  { kind = 'simulation', indent = 0 }: { readonly kind?: ErrorKind; readonly indent?: number } = {},
): string {
  const sealed = { ...result, sha256: sha256(toJson(result, what, kind)) };
  return `${JSON.stringify(sealed, null, indent)}\n`;
}

/** Reads what encodeResult wrote, without its hash; undefined where it is not what was written. Throws SyntaxError. */
export const decodeResult = (text: string): unknown => unsealed(JSON.parse(text));

/** What was sealed, without its hash; undefined where it does not hold. */
export function unsealed(value: unknown): object | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'sha256')) return undefined;
  const { sha256: hash, ...body } = value as { sha256: unknown };
  return hash === sha256(JSON.stringify(body)) ? body : undefined;
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
  const { kind, code, hint } = file;
  const path = requireDataFile(file.relative, `${kind} of ${file.name}`);
  const text = readTextFile(path, kind);
  const known = decoded.get(file.schema)?.get(text) as z.output<T> | undefined;
  const result = known ?? decodeFile(file, text, path);
  keepDecoded(file.schema, text, result);
  const stale = (what: string) => new OnefetError('input', `${code}_STALE`, `${path}: ${what}`, { hint });
  const changed = changedSource(result.sources, kind) ?? file.changed?.(result);
  if (changed !== undefined) throw stale(changed);
  return result;
}

/** Error: <code>_INVALID. */
function decodeFile<T extends z.ZodType<{ sources: Record<string, string> }>>(
  { schema, code, hint }: ResultFile<T>,
  text: string,
  path: string,
): z.output<T> {
  let value: unknown;
  try {
    value = decodeResult(text);
  } catch (cause) {
    throw new OnefetError('input', `${code}_INVALID`, `${path}: ${reasonOf(cause)}`, { hint, cause });
  }
  if (value === undefined) {
    const message = `${path}: is not what was written: its SHA-256 is missing or does not hold`;
    throw new OnefetError('input', `${code}_INVALID`, message, { hint });
  }
  return validate(schema, value, path, { kind: 'input', code: `${code}_INVALID` });
}

/** Results by their text, the last used at the end: the points of a sweep share their cell. Nobody changes what is loaded. */
const decoded = new WeakMap<z.ZodType, Map<string, unknown>>();
const MOST_DECODED = 16;

function keepDecoded(schema: z.ZodType, text: string, result: unknown): void {
  const kept = decoded.get(schema) ?? new Map<string, unknown>();
  decoded.set(schema, kept);
  kept.delete(text);
  if (kept.size >= MOST_DECODED) kept.delete(kept.keys().next().value!);
  kept.set(text, result);
}
