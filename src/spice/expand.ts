/**
 * A netlist with everything that it includes in place, as ngspice would read it, each line with the file and line it is from.
 *
 * Only what the netlist reaches is read: the section that a `.lib` line names, not the others, and of the subcircuits those
 * that an instance needs. Names of files: in quotes where they hold blanks; `~` and `$NAME` stand for the environment's;
 * a backslash may part folders; relative to the file that names them, then to the folders given. A file must lie below the
 * folder of the netlist, the folders given, the working folder, the package or $PDK_ROOT, and a link below those is followed.
 */
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, relative, resolve } from 'node:path';
import { cwd, env } from 'node:process';
import { nearestName } from '../error.ts';
import { packageRoot, readTextFile } from '../files.ts';
import { type LogicalLine, logicalLines, outerSubcircuits, plainText } from './netlist-text.ts';
import { ENGINE_PREFIX, engineCardText } from './pdk.ts';
import { SpiceError } from './spice-error.ts';

const MAX_INCLUDE_DEPTH = 32;
/** Files that a netlist reaches; the typical corner of SKY130 has about 200. */
const MAX_FILES = 1024;
const MAX_CHARS = 128 << 20;

/** Origin of a line of an expanded netlist. */
export interface Origin {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

export interface Expanded {
  /** Line by line; the first is the title. */
  readonly text: string;
  /** [lines of text] */
  readonly origins: readonly Origin[];
  /** Absolute paths of all files, the netlist first; cards of the simulator (engine:) are not among them. */
  readonly sources: readonly string[];
}

export interface ExpandOptions {
  /** Looked through after the folder of the file that includes. */
  readonly folders: readonly string[];
  /** Fills slots and the like, before the text is looked at. */
  readonly fill: (text: string, file: string) => string;
}

/** A file as text with its lines and library sections. */
interface Source {
  readonly file: string;
  readonly text: string;
  /** [physical lines] */
  readonly raw: readonly string[];
  readonly lines: readonly LogicalLine[];
  /** Lower-case name -> indices into lines of what lies between .lib and .endl. */
  readonly sections: ReadonlyMap<
    string,
    { readonly name: string; readonly first: number; readonly end: number }
  >;
}

/** Reads a netlist and all that it reaches. Errors: SPICE_INCLUDE_*, SPICE_SECTION_*, FILE_*, ENGINE_CARD_*. */
export function expandNetlist(text: string, path: string, options: ExpandOptions): Expanded {
  const loaded = new Map<string, Source>();
  const sources = [path];
  const roots = [dirname(path), ...options.folders, cwd(), packageRoot];
  const pdk = env.PDK_ROOT;
  if (pdk !== undefined && isAbsolute(pdk)) roots.push(pdk);
  const out: string[] = [];
  const origins: Origin[] = [];
  let chars = 0;

  const load = (file: string, from: Origin): Source => {
    const known = loaded.get(file);
    if (known !== undefined) return known;
    if (loaded.size > MAX_FILES) {
      throw new SpiceError('SPICE_INCLUDE_DEPTH', `${at(from)}: more than ${MAX_FILES} included files`);
    }
    const card = file.startsWith(ENGINE_PREFIX);
    if (!card) sources.push(file);
    const content = card
      ? engineCardText(file.slice(ENGINE_PREFIX.length))
      : readTextFile(file, 'included file', { orLatin1: true });
    const source = parseSource(options.fill(plainText(content), file), file, false);
    loaded.set(file, source);
    return source;
  };

  const emit = (source: Source, { line, start, end }: LogicalLine) => {
    const count = source.text.slice(start, end).split('\n').length;
    for (let k = 0; k < count; k++) {
      const raw = source.raw[line - 1 + k];
      chars += raw.length + 1;
      out.push(raw);
      origins.push({ file: source.file, line: line + k });
    }
    if (chars > MAX_CHARS) {
      throw new SpiceError('SPICE_INCLUDE_DEPTH', `${path}: more than ${MAX_CHARS >> 20} MiB of netlist`);
    }
  };

  const walk = (source: Source, first: number, end: number, open: readonly string[]): void => {
    for (let i = first; i < end; i++) {
      const line = source.lines[i];
      const from = { file: source.file, line: line.line };
      const include = line.control ? undefined : includeOf(line.text, from);
      if (include === undefined) {
        // The end of an included file is not that of the netlist.
        if (open.length === 0 || !/^\s*\.(?:end|endl)\b(?!\w)/i.test(line.text)) emit(source, line);
        continue;
      }
      if (include.file === undefined) {
        // A section that nobody asked for.
        const skipped = [...source.sections.values()].find((section) => section.first === i + 1);
        if (skipped !== undefined) i = skipped.end;
        continue;
      }
      const file = findInclude(include.file, include.section, from, roots, options.folders);
      const key = `${file}\n${include.section?.toLowerCase() ?? ''}`;
      if (open.includes(key)) {
        throw new SpiceError('SPICE_INCLUDE_DEPTH', `${at(from)}: ${include.file} includes itself`);
      }
      if (open.length === MAX_INCLUDE_DEPTH) {
        throw new SpiceError(
          'SPICE_INCLUDE_DEPTH',
          `${at(from)}: includes are nested deeper than ${MAX_INCLUDE_DEPTH}`,
        );
      }
      const target = load(file, from);
      const range =
        include.section === undefined
          ? { first: 0, end: target.lines.length }
          : sectionOf(target, include.section, include.file, from);
      walk(target, range.first, range.end, [...open, key]);
    }
  };

  const top = parseSource(options.fill(plainText(text), path), path, true);
  out.push(top.raw[0] ?? '');
  origins.push({ file: path, line: 1 });
  walk(top, 0, top.lines.length, []);
  return withoutUnused({ text: out.join('\n'), origins, sources });
}

/** Writes an origin for a message. */
export const at = ({ file, line }: Origin): string => `${file}:${line}`;

function parseSource(text: string, file: string, title: boolean): Source {
  const lines = logicalLines(text, title);
  const sections = new Map<string, { name: string; first: number; end: number }>();
  for (let i = 0; i < lines.length; i++) {
    const name = lines[i].control ? undefined : sectionName(lines[i].text);
    if (name === undefined) continue;
    let end = i + 1;
    while (end < lines.length && !/^\s*\.endl\b/i.test(lines[end].text)) {
      if (sectionName(lines[end].text) !== undefined) break;
      end++;
    }
    if (end === lines.length || sectionName(lines[end].text) !== undefined) {
      throw new SpiceError(
        'SPICE_SECTION_OPEN',
        `${file}:${lines[i].line}: the section ${name} has no .endl`,
        { hint: `write .endl ${name} after its last line` },
      );
    }
    if (!sections.has(name.toLowerCase())) sections.set(name.toLowerCase(), { name, first: i + 1, end });
    i = end;
  }
  return { file, text, raw: text.split('\n'), lines, sections };
}

const NAME = String.raw`(?:"([^"]*)"|'([^']*)'|([^\s"']+))`;
const SECTION = new RegExp(String.raw`^\s*\.lib\s+${NAME}\s*$`, 'i');
const INCLUDE = new RegExp(String.raw`^\s*\.inc\w*\s+${NAME}\s*$`, 'i');
const LIBRARY = new RegExp(String.raw`^\s*\.lib\s+${NAME}\s+${NAME}\s*$`, 'i');

/** Name of the section that a line opens: `.lib` with one name. */
function sectionName(text: string): string | undefined {
  const match = text.match(SECTION);
  return match === null ? undefined : (match[1] ?? match[2] ?? match[3]);
}

/** Returns what a line includes; without a file it opens a section. Error: SPICE_INCLUDE_NAME. */
function includeOf(text: string, from: Origin): { file?: string; section?: string } | undefined {
  if (!/^\s*\.(?:inc|lib)/i.test(text)) return undefined;
  if (SECTION.test(text)) return {};
  const [, ...included] = text.match(INCLUDE) ?? [];
  const file = included.find((part) => part !== undefined);
  if (file !== undefined) return { file };
  const [, ...library] = text.match(LIBRARY) ?? [];
  if (library.length > 0) {
    return {
      file: library.slice(0, 3).find((part) => part !== undefined)!,
      section: library.slice(3).find((part) => part !== undefined)!,
    };
  }
  throw new SpiceError('SPICE_INCLUDE_NAME', `${at(from)}: not an include: ${text.trim().slice(0, 120)}`, {
    hint: 'write .include "file" or .lib "file" section; a name with blanks stands in quotes',
  });
}

function sectionOf(library: Source, section: string, file: string, from: Origin) {
  const found = library.sections.get(section.toLowerCase());
  if (found !== undefined) return found;
  const names = [...library.sections.values()].map(({ name }) => name);
  const nearest = nearestName(section, names);
  throw new SpiceError('SPICE_SECTION_MISSING', `${at(from)}: no section ${section} in ${file}`, {
    hint: nearest
      ? `did you mean ${nearest}?`
      : names.length === 0
        ? `${file} has no sections: write .include "${file}"`
        : `sections are ${names.slice(0, 20).join(', ')}`,
  });
}

/** Puts the environment into a name. Error: SPICE_INCLUDE_MISSING. */
function expandName(name: string, from: Origin): string {
  const home = name.replace(/^~(?=[\\/])/, homedir());
  return home.replace(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced?: string, bare?: string) => {
    const variable = braced ?? bare!;
    const value = env[variable];
    if (value !== undefined && value !== '') return value;
    throw new SpiceError('SPICE_INCLUDE_MISSING', `${at(from)}: ${name}: $${variable} is not set`, {
      hint: `set ${variable} in the environment, or write the path out`,
    });
  });
}

/** Absolute path of an included file, or the card of the simulator. Errors: SPICE_INCLUDE_MISSING, SPICE_INCLUDE_OUTSIDE. */
function findInclude(
  name: string,
  section: string | undefined,
  from: Origin,
  roots: readonly string[],
  folders: readonly string[],
): string {
  if (name.startsWith(ENGINE_PREFIX)) return name;
  // Inside a card a plain name is the card itself or another one.
  if (from.file.startsWith(ENGINE_PREFIX)) return `${ENGINE_PREFIX}${name}`;
  const expanded = expandName(name, from);
  const spellings = [...new Set([expanded, expanded.replaceAll('\\', '/')])];
  const looked = [...new Set([dirname(from.file), ...folders])];
  // A user's cell.inc stands in for the package's, whichever of the two folders the deck came from.
  const candidates = looked
    .flatMap((root) => spellings.map((spelling) => resolve(root, spelling)))
    .flatMap((path) => {
      const below = relative(packageRoot, path);
      return below.startsWith('..') || isAbsolute(below) ? [path] : [resolve(cwd(), below), path];
    });
  const inside = candidates.filter((path) => roots.some((root) => isBelow(path, root)));
  const found = inside.find((path) => existsSync(path) && statSync(path).isFile());
  if (found !== undefined) return found;
  if (inside.length === 0) {
    throw new SpiceError(
      'SPICE_INCLUDE_OUTSIDE',
      `${at(from)}: ${name} lies outside the folders that a netlist may include from`,
      {
        hint: `these are the working folder, the folder of the netlist and, where it is set, $PDK_ROOT; copy the file there, or set PDK_ROOT to the folder of the library`,
      },
    );
  }
  throw new SpiceError(
    'SPICE_INCLUDE_MISSING',
    `${at(from)}: included file not found: ${name}${section === undefined ? '' : ` (for its section ${section})`}`,
    { hint: isAbsolute(expanded) ? `looked for ${expanded}` : `looked in ${looked.join(', ')}` },
  );
}

function isBelow(path: string, root: string): boolean {
  const below = relative(root, path);
  return below !== '' && !below.startsWith('..') && !isAbsolute(below);
}

/**
 * Leaves out the subcircuits that no instance needs, with the models in them: ngspice would read and expand megabytes of a
 * binned library for one transistor.
 */
function withoutUnused(expanded: Expanded): Expanded {
  const lines = logicalLines(expanded.text, true);
  const all = outerSubcircuits(lines);
  if (all.length === 0) return expanded;
  const names = new Set(all.map(({ name }) => name));
  const scope = new Map<number, string>();
  for (const { name, first, last } of all) for (let i = first; i <= last; i++) scope.set(i, name);
  // Whom the text of a subcircuit names, '' being what lies in none.
  const needs = new Map<string, Set<string>>();
  lines.forEach(({ text }, i) => {
    if (!/^\s*x/i.test(text)) return;
    const inside = scope.get(i) ?? '';
    const named = needs.get(inside) ?? new Set<string>();
    for (const word of text.toLowerCase().split(/[\s={}'"(),]+/)) if (names.has(word)) named.add(word);
    needs.set(inside, named);
  });
  const used = new Set<string>();
  const visit = (name: string): void => {
    for (const next of needs.get(name) ?? []) {
      if (used.has(next)) continue;
      used.add(next);
      visit(next);
    }
  };
  visit('');
  const drop = new Set<number>();
  for (const { name, first, last } of all) {
    if (used.has(name)) continue;
    const end = last + 1 < lines.length ? lines[last + 1].line : expanded.origins.length + 1;
    for (let line = lines[first].line; line < end; line++) drop.add(line - 1);
  }
  if (drop.size === 0) return expanded;
  const keep = <T>(values: readonly T[]) => values.filter((_, i) => !drop.has(i));
  return {
    text: keep(expanded.text.split('\n')).join('\n'),
    origins: keep(expanded.origins),
    sources: expanded.sources,
  };
}

/** Name of a file for a message to those who know their own folders. */
export const shortName = ({ file, line }: Origin): string => `${basename(file)}:${line}`;
