/**
 * From a netlist file with named slots to a job's netlist and the files that it includes.
 *
 * `{{name}}` is a slot. `.include file` and `.lib file section` are resolved in the netlist's own folder, then in
 * the folders given; the simulator sees each file under a flat name. What ngspice would answer with a hang or with
 * another circuit's numbers (a missing include, `quit`, a deck without elements, an unbounded exponential) is refused here.
 * `engine:name` is a card inside the simulator package, and random functions become nominal values: see pdk.ts.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, relative, resolve } from 'node:path';
import { cwd } from 'node:process';
import { nearestName, OnefetError } from '../error.ts';
import { packageRoot, readTextFile } from '../files.ts';
import { ENGINE_PREFIX, engineCardText, nominalStatistics } from './pdk.ts';
import { SpiceError } from './spice-error.ts';

export interface Deck {
  readonly netlist: string;
  /** Flat name in the simulator's file system -> text. */
  readonly files: Readonly<Record<string, string>>;
  /** Absolute paths of all source files, netlist first; cards of the simulator (engine:) are not among them. */
  readonly sources: readonly string[];
}

const MAX_INCLUDE_DEPTH = 16;
const MAX_FILES = 256;

/** Fills the `{{slots}}` of one text and notes them in `used`; an unknown or non-finite one is an error. */
export function fillSlots(
  template: string,
  slots: Readonly<Record<string, string | number>>,
  name: string,
  used: Set<string> = new Set(),
): string {
  return template.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (_, slot: string) => {
    const value = Object.hasOwn(slots, slot) ? slots[slot] : undefined;
    if (value === undefined) {
      const nearest = nearestName(slot, Object.keys(slots));
      throw new OnefetError('input', 'NETLIST_SLOT_UNKNOWN', `${name}: nothing fills the slot {{${slot}}}`, {
        hint: nearest ? `did you mean {{${nearest}}}?` : `slots are ${Object.keys(slots).join(', ')}`,
      });
    }
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new OnefetError('input', 'NETLIST_SLOT_VALUE', `${name}: slot {{${slot}}} is ${value}`);
    }
    used.add(slot);
    return String(value);
  });
}

/**
 * Reads, fills and checks a netlist file with all its includes. Every slot given must be used, in the netlist or in
 * a file that it includes: a netlist that ignores the drain voltage would be calibrated at the wrong one.
 */
export function assembleDeck(
  path: string,
  slots: Readonly<Record<string, string | number>>,
  includeFolders: readonly string[] = [],
): Deck {
  return assembleText(readTextFile(path, 'netlist', { orLatin1: true }), path, slots, includeFolders);
}

/** The same for a netlist that is in memory; `path` says where it comes from and where includes start. */
export function assembleText(
  text: string,
  path: string,
  slots: Readonly<Record<string, string | number>> = {},
  includeFolders: readonly string[] = [],
  /** Rewrites the text of the netlist and of every file that it includes. */
  rewrite: (text: string) => string = nominalStatistics,
): Deck {
  const files: Record<string, string> = {};
  const flatNames = new Map<string, string>();
  const sources = [path];
  const used = new Set<string>();
  const sections: { flat: string; section: string; file: string; from: string }[] = [];
  const flatten = (template: string, from: string, depth: number): string => {
    if (depth > MAX_INCLUDE_DEPTH) {
      throw new SpiceError(
        'SPICE_INCLUDE_DEPTH',
        `${from}: includes are nested deeper than ${MAX_INCLUDE_DEPTH}`,
      );
    }
    return rewrite(fillSlots(template, slots, from, used))
      .split('\n')
      .map((line) => {
        // A comment may follow; a quoted name may hold spaces.
        const match = line.match(
          /^(\s*\.(?:include|inc|lib)\s+)(?:"([^"]+)"|'([^']+)'|([^\s"';$]+))(\s+[^\s;$]+)?\s*(?:[;$].*)?$/i,
        );
        if (!match) return line;
        const [, command, doubleQuoted, singleQuoted, bare, section = ''] = match;
        const file = doubleQuoted ?? singleQuoted ?? bare;
        // `.lib section` without a file opens a section inside a library: not an include.
        // The comment goes: ngspice takes it for part of the name and then never returns.
        if (/lib/i.test(command) && section === '') return `${command}${file}`;
        const card = file.startsWith(ENGINE_PREFIX) ? file : undefined;
        // Inside a card a plain name is the card itself or another one.
        const inCard = from.startsWith(ENGINE_PREFIX) ? `${ENGINE_PREFIX}${file}` : undefined;
        const found = card ?? inCard ?? findInclude(file, dirname(from), includeFolders);
        if (found === undefined) {
          throw new SpiceError('SPICE_INCLUDE_MISSING', `${from}: included file not found: ${file}`, {
            hint: `looked in ${[dirname(from), ...includeFolders].join(', ')}`,
          });
        }
        let flat = flatNames.get(found);
        if (flat === undefined) {
          if (flatNames.size === MAX_FILES) {
            throw new SpiceError('SPICE_INCLUDE_DEPTH', `${from}: more than ${MAX_FILES} included files`);
          }
          flat = `f${flatNames.size}_${basename(found).replace(/[^A-Za-z0-9._-]/g, '_')}`.toLowerCase();
          flatNames.set(found, flat);
          let included: string;
          if (found.startsWith(ENGINE_PREFIX)) included = engineCardText(found.slice(ENGINE_PREFIX.length));
          else {
            sources.push(found);
            included = readTextFile(found, 'included file', { orLatin1: true });
          }
          files[flat] = flatten(included, found, depth + 1);
        }
        if (section !== '') sections.push({ flat, section: section.trim(), file, from });
        return `${command}${flat}${section}`;
      })
      .join('\n');
  };
  const netlist = flatten(text, path, 0);
  const missing = Object.keys(slots).filter((slot) => !used.has(slot));
  if (missing.length > 0) {
    throw new OnefetError(
      'input',
      'NETLIST_SLOT_MISSING',
      `${path}: no slot {{${missing[0]}}} in the netlist`,
      {
        hint: `the netlist must use ${missing.map((slot) => `{{${slot}}}`).join(', ')}; see netlists/README.md`,
      },
    );
  }
  for (const reference of sections) checkSection(files[reference.flat], reference);
  checkNetlist(netlist, path);
  return { netlist, files, sources };
}

function findInclude(file: string, folder: string, folders: readonly string[]): string | undefined {
  // A user's cell.inc stands in for the package's, whichever of the two folders the deck came from.
  return [folder, ...folders]
    .map((root) => resolve(root, file))
    .flatMap((path) => {
      const below = relative(packageRoot, path);
      return below.startsWith('..') || isAbsolute(below) ? [path] : [resolve(cwd(), below), path];
    })
    .find((path) => existsSync(path));
}

/** ngspice does not return from a section that its library does not have. */
function checkSection(library: string, at: { section: string; file: string; from: string }): void {
  const names = [...library.matchAll(/^[ \t]*\.lib[ \t]+([^\s'"]+)[ \t]*\r?$/gim)].map(([, name]) => name);
  if (names.some((name) => name.toLowerCase() === at.section.toLowerCase())) return;
  const nearest = nearestName(at.section, names);
  throw new SpiceError('SPICE_SECTION_MISSING', `${at.from}: no section ${at.section} in ${at.file}`, {
    hint: nearest ? `did you mean ${nearest}?` : `sections are ${names.slice(0, 20).join(', ')}`,
  });
}

/**
 * Refuses what ngspice does not report:
 *  - a deck without a single element (it would run the previous circuit);
 *  - `quit` or `exit` (the engine never answers again);
 *  - exp() of a node voltage or a branch current in a behavioural source, unless the argument is bounded by min():
 *    beyond exp(227.9) ngspice returns 1e99 without a word. Results above 1e30 are refused as well (pool.ts), but a
 *    later logarithm or a limiter could hide the overflow, so the expression itself is refused.
 */
export function checkNetlist(netlist: string, name: string): void {
  // The first line is the title; a line that starts with + continues the one before.
  const lines = netlist
    .replace(/\r/g, '')
    .replace(/\n[ \t]*\+/g, ' ')
    .split('\n')
    .slice(1)
    .map((line) => line.trim());
  let inControl = false;
  let elements = 0;
  for (const line of lines) {
    if (/^\.control\b/i.test(line)) inControl = true;
    else if (/^\.endc\b/i.test(line)) inControl = false;
    else if (inControl && /^(quit|exit)\b/i.test(line)) {
      throw new SpiceError('SPICE_QUIT', `${name}: "${line}" would end the simulator`, {
        hint: 'remove the line; the simulator is shut down by onefet',
      });
    } else if (!inControl && /^[a-z]/i.test(line)) {
      elements++;
      if (/^[begfh]/i.test(line)) refuseUnboundedExponential(line, name);
    } else if (/^\.include\b|^\.lib\b/i.test(line)) {
      // Elements may come from the included file.
      if (/^\.include\b/i.test(line)) elements++;
    }
    if (/^\.end$/i.test(line)) break;
  }
  if (elements === 0) {
    throw new SpiceError('SPICE_DECK_EMPTY', `${name}: no element in the netlist`, {
      hint: 'the first line of a netlist is its title, not an element',
    });
  }
}

function refuseUnboundedExponential(line: string, name: string): void {
  for (const match of line.matchAll(/\bexp\s*\(/gi)) {
    const argument = balanced(line, match.index + match[0].length);
    if (!/\b[vi]\s*\(/i.test(argument) || /^\s*min\s*\(/i.test(argument)) continue;
    throw new SpiceError(
      'SPICE_EXP_UNBOUNDED',
      `${name}: exp(${argument.trim()}) in "${line.slice(0, 80)}" may overflow`,
      {
        hint: 'ngspice returns 1e99 without a warning; write exp(min(..., 100))',
      },
    );
  }
}

/** Text from `start` to the closing bracket. */
function balanced(text: string, start: number): string {
  let depth = 1;
  for (let at = start; at < text.length; at++) {
    if (text[at] === '(') depth++;
    else if (text[at] === ')' && --depth === 0) return text.slice(start, at);
  }
  return text.slice(start);
}

/** Writes a number with 12 digits: ngspice reads them without loss that matters, more only bloats the netlist. */
export const spiceNumber = (value: number): string => Number(value.toPrecision(12)).toString();
