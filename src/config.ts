/**
 * YAML configuration: parsed, overridden by key, validated against a zod schema. Every complaint is
 * one line that names the file, the key and, for a name that nearly fits, what was probably meant.
 */
import { type Document, isScalar, LineCounter, parse, parseDocument, type Scalar, visit } from 'yaml';
import type { z } from 'zod';
import { nearestName, OnefetError } from './error.ts';
import { readTextFile, reasonOf } from './files.ts';

/** No configuration file of ours is near this; a larger one is a mistake or an attack. */
const MAX_CONFIG_BYTES = 1 << 20;

/** Class of a complaint: a design is the user's own wish, a data file is input. */
export interface ConfigErrors {
  readonly kind: 'usage' | 'input';
  /** Code of all complaints; by default CONFIG_SIZE, CONFIG_YAML, CONFIG_KEY or CONFIG_VALUE. */
  readonly code?: string;
}

const AS_USAGE: ConfigErrors = { kind: 'usage' };

/** Reads a YAML file into plain data. */
export function readYaml(path: string, what: string, as: ConfigErrors = AS_USAGE): unknown {
  return parseYaml(readTextFile(path, what, { mostBytes: MAX_CONFIG_BYTES }), path, as);
}

/** Parses YAML text into plain data; anchors may expand to at most 100 aliases. `where` names the file in errors. */
export function parseYaml(text: string, where: string, as: ConfigErrors = AS_USAGE): unknown {
  return structuredClone(parsedOnce(text, where, as));
}

/**
 * Files by their text, parsed, the last used at the end: one design after the other reads the same ones, and parsing takes a
 * hundred times as long as a copy or as validation, which copies what it returns.
 */
const parsed = new Map<string, unknown>();
const MOST_PARSED = 32;

/** As `parseYaml`; what it returns is shared and must not be changed. */
function parsedOnce(text: string, where: string, as: ConfigErrors): unknown {
  const data = parsed.has(text) ? parsed.get(text) : parseYamlDocument(text, where, as).data;
  parsed.delete(text);
  if (parsed.size >= MOST_PARSED) parsed.delete(parsed.keys().next().value!);
  parsed.set(text, data);
  return data;
}

/** YAML text as data and as what it was parsed from, which knows where each value stands. */
export interface ParsedYaml {
  readonly data: unknown;
  readonly document: Document;
  readonly lineCounter: LineCounter;
}

/** As `parseYaml`, with the places of all values. */
export function parseYamlDocument(text: string, where: string, as: ConfigErrors = AS_USAGE): ParsedYaml {
  const fail = (code: string, message: string, cause?: unknown) =>
    new OnefetError(as.kind, as.code ?? code, message, { cause });
  if (text.length > MAX_CONFIG_BYTES) {
    throw fail('CONFIG_SIZE', `${where} has ${text.length} characters, the limit is ${MAX_CONFIG_BYTES}`);
  }
  const lineCounter = new LineCounter();
  try {
    const document = parseDocument(text, { uniqueKeys: false, lineCounter });
    const problem = document.errors[0];
    if (problem) {
      const [start] = problem.linePos ?? [];
      const place = start ? `:${start.line}:${start.col}` : '';
      throw fail(
        'CONFIG_YAML',
        `${where}${place}: ${reasonOf(problem).replace(/ at line \d+.*$/, '')}`,
        problem,
      );
    }
    const twice = repeatedKey(document);
    if (twice) {
      const { line, col } = lineCounter.linePos(twice.range?.[0] ?? 0);
      throw fail(
        'CONFIG_YAML',
        `${where}:${line}:${col}: key ${String(twice.value).slice(0, 80)} stands twice`,
      );
    }
    return { data: document.toJS({ maxAliasCount: 100 }), document, lineCounter };
  } catch (cause) {
    // The parser recurses: what is nested deeper than its stack is a RangeError.
    throw cause instanceof OnefetError ? cause : fail('CONFIG_YAML', `${where}: ${reasonOf(cause)}`, cause);
  }
}

/** A key that its mapping has already. The parser's own look at all keys for each takes 87 s for 20,000. */
function repeatedKey(document: Document): Scalar | undefined {
  let found: Scalar | undefined;
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) {
          found = key;
          return visit.BREAK;
        }
        seen.add(key.value);
      }
      return undefined;
    },
  });
  return found;
}

/** Validates plain data; `where` names in errors the file, or what else gave the value or key of a path with dots. */
export function validate<S extends z.ZodType>(
  schema: S,
  data: unknown,
  where: string | ((path: string) => string),
  as: ConfigErrors = AS_USAGE,
): z.output<S> {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const complaints = complaintsOf(schema, result.error.issues);
  // A misspelt key is often also a missing one: the misspelling is the better message.
  const first = complaints.find(({ unknownKey }) => unknownKey !== undefined) ?? complaints[0];
  const more =
    first.unknownKey === undefined && complaints.length > 1 ? ` (and ${complaints.length - 1} more)` : '';
  const path = [...first.path, ...(first.unknownKey === undefined ? [] : [first.unknownKey])];
  const named = typeof where === 'string' ? where : where(path.map(String).join('.'));
  throw new OnefetError(
    as.kind,
    as.code ?? (first.unknownKey === undefined ? 'CONFIG_VALUE' : 'CONFIG_KEY'),
    `${named}: ${first.message}${more}`,
    first.hint === undefined ? {} : { hint: first.hint },
  );
}

/** What is wrong with one value or key. */
export interface Complaint {
  /** Of the value; of the group that has the key. */
  readonly path: readonly PropertyKey[];
  readonly unknownKey?: string;
  /** Names the key. */
  readonly message: string;
  readonly hint?: string;
}

/** Puts zod's issues into words, one for each value or key. */
export function complaintsOf(schema: z.ZodType, issues: readonly z.core.$ZodIssue[]): Complaint[] {
  return issues.flatMap((issue): Complaint[] => {
    const { path } = issue;
    const names = path.map(String);
    if (issue.code === 'unrecognized_keys') {
      const known = keysAt(schema, names);
      return issue.keys.map((key) => {
        const nearest = nearestName(key, known);
        const hint = nearest
          ? `did you mean ${[...names, nearest].join('.')}?`
          : known.length > 0
            ? `known keys: ${known.join(', ')}`
            : 'remove it';
        return { path, unknownKey: key, message: `unknown key ${[...names, key].join('.')}`, hint };
      });
    }
    const what = issue.code === 'invalid_union' ? `expected ${allowedBy(issue)}` : issue.message;
    return [{ path, message: `${names.join('.') || 'the file'}: ${what}` }];
  });
}

/** What the members of a union take, in words: "3, 4, 6" or "a whole number from 3 to 14, float". */
function allowedBy({ errors }: z.core.$ZodIssueInvalidUnion): string {
  const words = errors.map((issues) => {
    const [issue] = issues;
    if (issue === undefined) return 'another value';
    if (issue.path.length > 0) return `${issue.path.join('.')}: ${issue.message}`;
    switch (issue.code) {
      case 'invalid_value':
        return issue.values.map(String).join(', ');
      case 'too_small':
        return `at least ${issue.minimum}`;
      case 'too_big':
        return `at most ${issue.maximum}`;
      case 'invalid_type':
        return issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`;
      default:
        return issue.message;
    }
  });
  const unique = [...new Set(words)];
  return unique.length > 1 ? `${unique.slice(0, -1).join(', ')} or ${unique.at(-1)}` : unique.join();
}

/** Reads and validates a YAML data file; `code` is that of every complaint but FILE_UNREADABLE, `where` names it in them. */
export function loadYaml<S extends z.ZodType>(
  path: string,
  what: string,
  schema: S,
  code: string,
  where = path,
): z.output<S> {
  const as: ConfigErrors = { kind: 'input', code };
  const text = readTextFile(path, what, { mostBytes: MAX_CONFIG_BYTES });
  return validate(schema, parsedOnce(text, where, as), where, as);
}

/**
 * Changes to plain data by key: paths with dots, groups of keys, or both. `{ 'adc.bits': 7 }` and `{ adc: { bits: 7 } }`
 * are the same; a list is a value.
 */
export interface Overrides {
  readonly [key: string]: unknown;
}

/**
 * The changes that `a.b=value` strings (value in YAML syntax, as --set has them) and then overrides ask for: one value by
 * path, in the order in which they are to be made. A group in `overrides` changes the keys that it has; a mapping in a
 * string is a value, which replaces what is there.
 */
export function listChanges(settings: readonly string[], overrides: Overrides = {}): Overrides {
  const changes = new Map<string, unknown>();
  for (const [key, value] of [...settings.map(parseSetting), ...leaves(overrides, [])]) {
    // What is set last is made last.
    changes.delete(key);
    changes.set(key, value);
  }
  return Object.fromEntries(changes);
}

/**
 * Values of `a=1,2,3`, which asks for a sweep; undefined for a single value. A comma inside brackets, braces or quotes is part
 * of a value.
 */
export function settingValues(setting: string): { key: string; values: unknown[] } | undefined {
  const equals = setting.indexOf('=');
  const parts = equals < 1 ? [] : splitOutside(setting.slice(equals + 1));
  if (parts.length < 2) return undefined;
  const key = setting.slice(0, equals);
  return { key, values: parts.map((part) => parseSetting(`${key}=${part}`)[1]) };
}

/** Splits at commas outside brackets, braces and quotes. */
function splitOutside(text: string): string[] {
  const parts = [''];
  let depth = 0;
  let quote = '';
  for (const character of text) {
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if ('[{'.includes(character)) depth++;
    else if (']}'.includes(character)) depth--;
    else if (character === ',' && depth === 0) {
      parts.push('');
      continue;
    }
    parts[parts.length - 1] += character;
  }
  return parts;
}

function parseSetting(setting: string): [string, unknown] {
  const equals = setting.indexOf('=');
  if (equals < 1) {
    throw new OnefetError('usage', 'SET_SYNTAX', `--set ${setting}: expected key=value`, {
      hint: 'for example --set adc.bits=6',
    });
  }
  const key = setting.slice(0, equals);
  checkKeys(key.split('.'));
  try {
    return [key, parse(setting.slice(equals + 1))];
  } catch (cause) {
    throw new OnefetError('usage', 'SET_SYNTAX', `--set ${setting}: ${reasonOf(cause)}`, { cause });
  }
}

function leaves(group: Overrides, below: readonly string[]): [string, unknown][] {
  return Object.entries(group).flatMap(([key, value]): [string, unknown][] => {
    const path = [...below, ...key.split('.')];
    checkKeys(path);
    return isGroup(value) ? leaves(value, path) : [[path.join('.'), value]];
  });
}

/** Makes `listChanges` in a copy of plain data that came from a YAML mapping. Errors: SET_PATH. */
export function applyChanges(data: unknown, changes: Overrides): unknown {
  const root = structuredClone(data) as Record<string, unknown>;
  for (const [key, value] of Object.entries(changes)) {
    const path = key.split('.');
    let at = root;
    for (const step of path.slice(0, -1)) {
      const next = at[step];
      if (next === undefined || next === null) at[step] = {};
      else if (typeof next !== 'object') {
        throw new OnefetError('usage', 'SET_PATH', `${key}: ${step} is a value, not a group of keys`);
      }
      at = at[step] as Record<string, unknown>;
    }
    at[path[path.length - 1]] = value;
  }
  return root;
}

function isGroup(value: unknown): value is Overrides {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value as object).length > 0
  );
}

function checkKeys(path: readonly string[]): void {
  for (const key of path) {
    if (key === '__proto__' || key === 'constructor' || key === 'prototype' || key === '') {
      throw new OnefetError('usage', 'SET_PATH', `override ${path.join('.')}: bad key "${key}"`);
    }
  }
}

interface SchemaNode {
  shape?: Record<string, SchemaNode>;
  def?: { innerType?: SchemaNode; element?: SchemaNode; valueType?: SchemaNode };
}

/** Keys that an object schema knows at a path, seen through defaults, options, arrays and records. */
function keysAt(schema: z.ZodType, path: readonly string[]): string[] {
  let node: SchemaNode | undefined = unwrap(schema as unknown as SchemaNode);
  for (const key of path)
    node = unwrap(node?.shape ? node.shape[key] : (node?.def?.element ?? node?.def?.valueType));
  return Object.keys(node?.shape ?? {});
}

function unwrap(node: SchemaNode | undefined): SchemaNode | undefined {
  let inner = node;
  while (inner && !inner.shape && inner.def?.innerType) inner = inner.def.innerType;
  return inner;
}
