/**
 * YAML files whose complaints name file, line and column, all of them at once: for files that people write by hand and
 * that are long.
 */
import { isMap, isScalar, type Node } from 'yaml';
import type { z } from 'zod';
import { type Complaint, complaintsOf, parseYamlDocument } from './config.ts';
import { OnefetError } from './error.ts';
import { readTextFile } from './files.ts';

const MAX_BYTES = 1 << 20;
/** Complaints that are said; the rest is counted. */
const MOST_COMPLAINTS = 20;

export interface PlacedYaml {
  readonly where: string;
  readonly text: string;
  readonly data: unknown;
  /** "file:line:column" of the value at a path, of `key` in the mapping there, or of the nearest thing around it. */
  placeOf(path: readonly PropertyKey[], key?: string): string;
}

/** Something wrong at a place of a file. */
export type PlacedComplaint = Pick<Complaint, 'path' | 'unknownKey' | 'message' | 'hint'>;

/** Reads a YAML file; errors: FILE_UNREADABLE, TEXT_... (input); CONFIG_YAML, CONFIG_SIZE (usage). */
export function readPlacedYaml(path: string, what: string): PlacedYaml {
  return placedYaml(readTextFile(path, what, { mostBytes: MAX_BYTES }), path);
}

export function placedYaml(text: string, where: string): PlacedYaml {
  const { data, document, lineCounter } = parseYamlDocument(text, where);
  const at = (node: Node | null | undefined): string | undefined => {
    const start = node?.range?.[0];
    if (start === undefined) return undefined;
    const { line, col } = lineCounter.linePos(start);
    return `${where}:${line}:${col}`;
  };
  return {
    where,
    text,
    data,
    placeOf(path, key) {
      if (key !== undefined) {
        const group = path.length === 0 ? document.contents : document.getIn(path, true);
        const pair = isMap(group)
          ? group.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
          : undefined;
        const place = at(pair?.key as Node | undefined);
        if (place !== undefined) return place;
      }
      for (let length = path.length; length > 0; length--) {
        const place = at(document.getIn(path.slice(0, length), true) as Node | undefined);
        if (place !== undefined) return place;
      }
      return `${where}:1:1`;
    },
  };
}

/** Validates a file against a schema. Error: CONFIG_FILE (usage) with every complaint, a line each. */
export function validatePlaced<S extends z.ZodType>(schema: S, file: PlacedYaml): z.output<S> {
  const result = schema.safeParse(file.data);
  if (result.success) return result.data;
  throw placedError(file, complaintsOf(schema, result.error.issues));
}

/** One error of all complaints about a file, in the order of its lines. */
export function placedError(file: PlacedYaml, complaints: readonly PlacedComplaint[]): OnefetError {
  const lines = complaints.map(({ path, unknownKey, message, hint }) => {
    const place = file.placeOf(path, unknownKey);
    const [line, column] = place
      .slice(file.where.length + 1)
      .split(':')
      .map(Number);
    return { line, column, text: `${place}: ${message}${hint === undefined ? '' : ` (${hint})`}` };
  });
  lines.sort((a, b) => a.line - b.line || a.column - b.column);
  const said = lines.slice(0, MOST_COMPLAINTS).map(({ text }) => text);
  if (lines.length > said.length) said.push(`and ${lines.length - said.length} more`);
  return new OnefetError('usage', 'CONFIG_FILE', said.join('\n'));
}
