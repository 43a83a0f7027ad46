/**
 * Names of run folders: <design>-<what was changed>-<hash>. The hash is of what decides the results and is what a folder is
 * found by; the words before it are for people. `latest` beside them leads to the run that finished last.
 */
import { existsSync, lstatSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pid } from 'node:process';
import type { Overrides } from '../config.ts';

const HASH_DIGITS = 12;
/** Characters of what was changed: a folder's name stays readable, and far below what file systems take. */
const MOST_WORDS = 48;

/**
 * Finds the folder of a run in `out`, or names it. A run that exists keeps its name, however the command that leads to it
 * was written.
 */
export function runFolderPath(out: string, design: string, changes: Overrides, identity: string): string {
  const hash = identity.slice(0, HASH_DIGITS);
  const known = namesIn(out).find((name) => name.endsWith(`-${hash}`));
  return join(out, known ?? [design, ...changeWords(changes), hash].join('-'));
}

/** Folders in a folder; none where it cannot be read, which whoever writes there will find out. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

/** `{ 'adc.bits': 7, 'tile.rows': 128 }` in words: adc7, rows128; as many as fit. */
export function changeWords(changes: Overrides): string[] {
  const words: string[] = [];
  let length = 0;
  for (const [key, value] of Object.entries(changes)) {
    const steps = key.split('.');
    // Everything has bits: what has them says more.
    const name = steps.at(-1) === 'bits' ? steps.slice(-2)[0] : steps.at(-1)!;
    const word = `${name}${typeof value === 'object' ? '' : value}`.toLowerCase().replace(/[^a-z0-9.]+/g, '');
    length += word.length + 1;
    if (length > MOST_WORDS) break;
    if (word !== '') words.push(word);
  }
  return words;
}

/** Leads `latest` beside a run folder to it. Where links cannot be made, or somebody's own file stands there, nothing happens. */
export function markLatest(folder: string): void {
  const link = join(dirname(folder), 'latest');
  const made = `${link}.${pid}.part`;
  try {
    if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() === false) return;
    symlinkSync(basename(folder), made, 'dir');
    renameSync(made, link);
  } catch {
    rmSync(made, { force: true });
  }
}

/** Folders of runs, the newest first. `latest`, a link to one of them, is none. */
export function runFolders(runs: string): string[] {
  if (!existsSync(runs)) return [];
  return readdirSync(runs, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(runs, name))
    .filter((folder) => existsSync(join(folder, 'manifest.json')))
    .map((folder) => ({ folder, changedMs: statSync(join(folder, 'manifest.json')).mtimeMs }))
    .sort((a, b) => b.changedMs - a.changedMs)
    .map(({ folder }) => folder);
}
