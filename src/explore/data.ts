/**
 * What a page of the explorer holds: the model's script, every file that it reads, the measured accuracy, and the controls of each
 * design at each node. The files are those that the script itself asked for when it was taken once through all controls.
 */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { runInThisContext } from 'node:vm';
import type { OnefetError } from '../error.ts';
import { readyCell } from '../experiment/ready-cell.ts';
import { loadDesign } from '../fabric/design.ts';
import { findDataFile, listDataFolder, readTextFile } from '../files.ts';
import { designAtNode, loadNode, nodeNames } from '../power/nodes.ts';
import type { AccuracyPoint } from './accuracy.ts';
import type { FileSource } from './browser/files.ts';
import { BUNDLE_NAME, explorerBundle } from './bundle.ts';
import { CONTEXTS, CONTROLS, ownStop, type Stop, USERS } from './controls.ts';
import type { createExplorer, Explorer, ExplorerState } from './model.ts';
import { EMBEDDED, folderPoints, galleryPoints } from './points.ts';

/** A control of one design at one node. */
export interface PlacedControl {
  readonly id: string;
  readonly label: string;
  readonly stops: readonly (Stop & { /** Why it cannot be priced. */ readonly refused?: string })[];
  /** The stop of the design as it is. */
  readonly own: number;
}

export interface PlacedDesign {
  readonly name: string;
  /** By node: its controls, or why it has no form there. */
  readonly nodes: Readonly<Record<string, readonly PlacedControl[] | string>>;
}

export interface ExplorerData {
  readonly bundle: string;
  /** Texts by path below the page's root. */
  readonly files: Readonly<Record<string, string>>;
  readonly accuracy: readonly AccuracyPoint[];
  readonly models: readonly string[];
  readonly nodes: readonly string[];
  readonly designs: readonly PlacedDesign[];
  readonly contexts: readonly number[];
  readonly users: readonly number[];
  readonly start: ExplorerState;
  /** Folder of runs inside the page. */
  readonly runs: string;
}

/** Names that the page's script gives: browser/entry.ts. */
export interface ExplorerScript {
  readonly createExplorer: typeof createExplorer;
  readonly setFiles: (files: FileSource) => void;
  readonly filesOf: (texts: Readonly<Record<string, string>>) => FileSource;
}

/** Runs the script in this process. */
export const runScript = (bundle: string): ExplorerScript =>
  runInThisContext(`(() => {${bundle};return ${BUNDLE_NAME}})()`) as ExplorerScript;

const RUNS = '/runs';
const START: ExplorerState = {
  design: 'log-domain',
  node: 'mixed',
  settings: {},
  contextTokens: 1024,
  users: 1,
  model: EMBEDDED,
};

export interface ExploreOptions {
  /** Runs and sweeps whose counts and accuracy are shown beside the shipped ones. */
  readonly folders?: readonly string[];
  /** Of the page; the first is where it starts. Default: all that have a form at the mixed nodes. */
  readonly designs?: readonly string[] | undefined;
}

export interface ExploreHooks {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, label: string) => void;
}

/**
 * Gathers it. Gates of the controls that were not calibrated yet are, in SPICE. Errors: those of reading the folders and of
 * calibrating; NODE_DESIGN; EXPLORER_BUNDLE.
 */
export async function explorerData(
  { folders = [], designs: asked }: ExploreOptions = {},
  { signal, onProgress }: ExploreHooks = {},
): Promise<ExplorerData> {
  const named = folders.map(folderPoints);
  const accuracy = [...named.flatMap(({ points }) => points), ...galleryPoints()];
  const names = asked ?? [...loadNode(START.node).designs.keys()];
  for (const name of names) designAtNode(loadNode(START.node), name);
  if (names.includes(START.design))
    await readyGates({ ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) });
  const bundle = await explorerBundle();
  const files: Record<string, string> = {};
  const script = runScript(bundle);
  script.setFiles(
    recordingFiles(files, new Map(named.flatMap(({ runs }) => runs).map((run) => [runName(run), run]))),
  );
  const explorer = script.createExplorer({ accuracy, runs: RUNS });
  const nodes = nodeNames().sort((a, b) => Number(b === START.node) - Number(a === START.node));
  const designs = names.map((name, i) => {
    onProgress?.(i, names.length, `controls of ${name}`);
    const placed = nodes.map(
      (node) => [node, placeControls(explorer, { ...START, design: name, node })] as const,
    );
    return { name, nodes: Object.fromEntries(placed) };
  });
  onProgress?.(names.length, names.length, 'controls');
  return {
    ...{
      bundle,
      files,
      accuracy,
      nodes,
      designs,
      contexts: CONTEXTS,
      users: USERS,
      start: { ...START, design: names[0] },
      runs: RUNS,
    },
    models: [...new Set([EMBEDDED, ...accuracy.map(({ model }) => model)])],
  };
}

/** Calibrates the gates of the controls that were not yet, at every node that has them. */
async function readyGates({ signal, onProgress }: ExploreHooks): Promise<void> {
  const { stops } = CONTROLS.find(({ id }) => id === 'gate')!;
  for (const { settings } of stops) {
    const { design } = loadDesign(START.design, [], settings);
    await readyCell(design, {
      ...(signal ? { signal } : {}),
      onProgress: ({ done, total, label }) => onProgress?.(done, total, `SPICE calibration: ${label}`),
    });
  }
}

/** The controls of a design, each stop tried by itself; a text: why the design has no form there. */
function placeControls(explorer: Explorer, state: ExplorerState): PlacedControl[] | string {
  const own = refusalOf(() => explorer.answer(state));
  if (typeof own === 'string') return own;
  const { design } = own;
  return CONTROLS.filter(({ fabrics }) => fabrics.includes(String(design.fabric))).flatMap(
    ({ id, label, stops }): PlacedControl[] => {
      const at = ownStop({ stops }, design);
      if (at < 0) return [];
      const tried = stops.map((stop, i): PlacedControl['stops'][number] => {
        const answer =
          i === at ? own : refusalOf(() => explorer.answer({ ...state, settings: stop.settings }));
        return typeof answer === 'string' ? { ...stop, refused: answer } : stop;
      });
      return tried.filter(({ refused }) => refused === undefined).length > 1
        ? [{ id, label, stops: tried, own: at }]
        : [];
    },
  );
}

/** A refusal is an answer as well; other errors are not. */
function refusalOf<T>(ask: () => T): T | string {
  try {
    return ask();
  } catch (error) {
    // The script has an error class of its own.
    const { kind, message } = error as OnefetError;
    if (typeof kind !== 'string' || kind === 'internal') throw error;
    return message;
  }
}

/** A run's name in the page: its own, not that of the link `latest`. It ends in a hash of what was run. */
const runName = (run: string): string => basename(realpathSync(run));

/** Files of the working folder and the package, as findDataFile has them, and of the named runs; what is read is kept in `kept`. */
function recordingFiles(kept: Record<string, string>, runs: ReadonlyMap<string, string>): FileSource {
  const placeOf = (path: string): string | undefined => {
    const relative = path.slice(1);
    const [top, run, ...rest] = relative.split('/');
    if (`/${top}` !== RUNS) return findDataFile(relative);
    const folder = run === undefined ? undefined : runs.get(run);
    const place = folder === undefined ? undefined : resolve(join(folder, ...rest));
    return place !== undefined && existsSync(place) ? place : undefined;
  };
  return {
    read: (path) => {
      if (Object.hasOwn(kept, path)) return kept[path];
      const place = placeOf(path);
      if (place === undefined || !statSync(place).isFile()) return undefined;
      const text = readTextFile(place, 'file');
      kept[path] = text;
      return text;
    },
    list: (path) => {
      if (path === RUNS) return runs.size > 0 ? [...runs.keys()] : undefined;
      const place = placeOf(path);
      if (place === undefined || !statSync(place).isDirectory()) return undefined;
      return path.startsWith(`${RUNS}/`) ? readdirSync(place) : listDataFolder(path.slice(1));
    },
  };
}
