/**
 * From a netlist file with named slots to a job's netlist: slots filled, includes in place (expand.ts), random functions
 * without spread (statistics.ts), and what ngspice would answer with a hang or with another circuit's numbers refused
 * (refuse.ts).
 */
import { nearestName, OnefetError } from '../error.ts';
import { readTextFile } from '../files.ts';
import { at, expandNetlist } from './expand.ts';
import { logicalLines } from './netlist-text.ts';
import { checkNetlist } from './refuse.ts';
import { nominalStatistics } from './statistics.ts';

export interface Deck {
  readonly netlist: string;
  /** Absolute paths of all source files, netlist first; cards of the simulator (engine:) are not among them. */
  readonly sources: readonly string[];
  /** Says where a line of the netlist is from, as file:line. */
  readonly locate: (line: number) => string | undefined;
}

export interface AssembleOptions {
  /** Includes are looked for beside the file that names them, then here. */
  readonly includeFolders?: readonly string[];
  /** Edit of the netlist with all that it includes; line by line. Default: random functions lose their spread. */
  readonly rewrite?: (netlist: string) => string;
  /** Unit of length of the models, m: their `.option scale`. Slots named ..._m and ..._m2 are written in it. Default 1. */
  readonly scaleM?: number;
}

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
 * a file that it includes: a netlist that ignores the drain voltage would be calibrated at the wrong one. What only a bare
 * transistor can be told (OPTIONAL_SLOTS) may be left out. Errors: FILE_*, NETLIST_*, SPICE_*.
 */
export function assembleDeck(
  path: string,
  slots: Readonly<Record<string, string | number>>,
  options: AssembleOptions = {},
): Deck {
  return assembleText(readTextFile(path, 'netlist', { orLatin1: true }), path, slots, options);
}

/** Areas and perimeters of junctions: a foundry's subcircuit may compute them itself. */
const OPTIONAL_SLOTS = new Set(['drain_area_m2', 'drain_perimeter_m']);

/** The same for a netlist that is in memory; `path` says where it comes from and where includes start. */
export function assembleText(
  text: string,
  path: string,
  slots: Readonly<Record<string, string | number>> = {},
  { includeFolders = [], rewrite = (whole) => nominalStatistics(whole, true), scaleM }: AssembleOptions = {},
): Deck {
  const used = new Set<string>();
  const scaled = scaleM === undefined ? slots : inUnits(slots, scaleM);
  const expanded = expandNetlist(text, path, {
    folders: includeFolders,
    fill: (part, file) => fillSlots(part, scaled, file, used),
  });
  const missing = Object.keys(slots).filter((slot) => !used.has(slot) && !OPTIONAL_SLOTS.has(slot));
  if (missing.length > 0) {
    throw new OnefetError(
      'input',
      'NETLIST_SLOT_MISSING',
      `${path}: no slot {{${missing[0]}}} in the netlist or what it includes`,
      {
        hint: `${missing.map((slot) => `{{${slot}}}`).join(', ')} must be used there; see netlists/README.md`,
      },
    );
  }
  const { origins, sources } = expanded;
  const netlist = rewrite(expanded.text);
  const lines = logicalLines(netlist, true);
  checkNetlist(lines, origins, path, scaleM === undefined ? {} : { scaleM });
  return {
    netlist: `${netlist}\n`,
    sources,
    locate: (line) => (origins[line - 1] === undefined ? undefined : at(origins[line - 1])),
  };
}

/** Writes the lengths and areas among the slots, by the ends of their names, in the models' unit of length. */
function inUnits(
  slots: Readonly<Record<string, string | number>>,
  scaleM: number,
): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(slots).map(([name, value]) => {
      const power = name.endsWith('_m2') ? 2 : name.endsWith('_m') ? 1 : 0;
      return [name, power === 0 ? value : spiceNumber(Number(value) / scaleM ** power)];
    }),
  );
}

/** Writes a number with 12 digits: ngspice reads them without loss that matters, more only bloats the netlist. */
export const spiceNumber = (value: number): string => Number(value.toPrecision(12)).toString();
