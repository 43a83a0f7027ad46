/**
 * A device in its SPICE testbench: the simulators, what all decks of the device are filled with, and the one way in
 * which a deck is filled and run.
 */
import { dirname, join } from 'node:path';
import type { Calibration } from '../cell/calibration.ts';
import type { CellDescription, Corner, Process } from '../cell/technology.ts';
import { loadMultiplier } from '../cell/topology.ts';
import { interrupted, OnefetError } from '../error.ts';
import { findDataFile, requireDataFile } from '../files.ts';
import { DEFAULT_CACHE_FOLDER } from '../spice/cache.ts';
import { assembleDeck, spiceNumber } from '../spice/deck.ts';
import type { ExpectedOutput } from '../spice/job.ts';
import { createSpicePool, type SpicePool } from '../spice/pool.ts';
import type { RawPlot } from '../spice/raw-file.ts';

/** Input codes and ladder taps of the products by which cells are judged. */
export const CODES = 63;
export const TAPS = 7;

/** Simulators of a measurement. */
export interface SimulatorOptions {
  /** Folder of the simulation cache; null for none. Default .onefet/cache/spice in the working folder. */
  readonly cacheFolder?: string | null;
  /** Simulator threads, default 2. */
  readonly threads?: number;
  /** Wall-clock limit of each simulation, s; default that of the deck, 60 or more. */
  readonly timeoutS?: number;
  readonly signal?: AbortSignal;
  /** Simulators to use instead of starting some; they are left running. */
  readonly pool?: SpicePool;
}

/** A device (cell or circuit) in its testbench: what every deck of it has in common. */
export interface Testbench {
  readonly process: Process;
  /** The cell's or circuit's name. */
  readonly device: string;
  /** Folder below netlists/ that decks come from unless a request names another. */
  readonly folder: string;
  /** Fills slots of every deck. */
  readonly slots: Readonly<Record<string, string>>;
  /** Includes are looked for beside the deck, in the process's folder, then here. */
  readonly includeFolders: readonly string[];
  readonly pool: SpicePool;
  readonly signal: AbortSignal | undefined;
  /** Absolute paths of all files that went into a simulation; grows. */
  readonly sources: Set<string>;
  /** Called after each run. */
  readonly onRun: (label: string) => void;
}

export interface CellTestbench extends Testbench {
  readonly cell: CellDescription;
}

/** With the cell's calibration: studies compare the behavioural model with SPICE. */
export interface CalibratedTestbench extends CellTestbench {
  readonly cal: Calibration;
  /** Folder below netlists/ whose decks characterise the cell's transistor. */
  readonly transistor: string;
}

/** A deck to run: slots besides those of the testbench, and the outputs that must come back. */
export interface DeckRequest {
  readonly file: string;
  readonly corner: Corner;
  /** Before those of the testbench. */
  readonly slots: Readonly<Record<string, string | number>>;
  readonly outputs: readonly ExpectedOutput[];
  /** Folder below netlists/. Default: the testbench's. */
  readonly folder?: string;
  readonly timeoutS?: number;
  /** More folders in which includes are looked for. */
  readonly includeFolders?: readonly string[];
  /** The deck brings its models itself, through a slot of its own. */
  readonly withoutLibrary?: boolean;
}

/** Writes a temperature as ngspice takes it. */
export const celsius = (tempK: number): string => spiceNumber(tempK - 273.15);

/** Writes a wire's resistance: ngspice takes none of zero; one milliohm under nanoamperes is a picovolt. */
export const wireOhm = (ohm: number): string => spiceNumber(Math.max(ohm, 1e-3));

/** Fills and runs netlists/<folder>/<file>; `.lib` finds the process's models. Errors: CORNER_UNKNOWN, FILE_MISSING, NETLIST_*, SPICE_*. */
export async function runDeck(testbench: Testbench, request: DeckRequest): Promise<readonly RawPlot[]> {
  const { process, device } = testbench;
  const { file, corner, folder = testbench.folder } = request;
  const { models, name } = process.technology;
  const section = models.corners[corner];
  if (section === undefined) {
    throw new OnefetError('usage', 'CORNER_UNKNOWN', `${process.path}: no corner ${corner}`);
  }
  const deck = assembleDeck(
    requireDataFile(join('netlists', folder, file), `netlist of ${name}/${device}`),
    {
      ...(request.withoutLibrary ? {} : { models: models.file, corner: section }),
      ...testbench.slots,
      ...withDigits(request.slots),
    },
    {
      includeFolders: [process.folder, ...testbench.includeFolders, ...(request.includeFolders ?? [])],
      ...(models.scaleM === undefined ? {} : { scaleM: models.scaleM }),
    },
  );
  for (const source of deck.sources) testbench.sources.add(source);
  const deckName = file.replace(/\.cir$/, '');
  const label = `${name}/${device} ${folder === testbench.folder ? deckName : `${folder}/${deckName}`} ${corner}`;
  const { netlist, locate } = deck;
  const { outputs, timeoutS } = request;
  const job = { label, netlist, locate, commands: [], outputs };
  const { plots } = await testbench.pool.run(
    timeoutS === undefined ? job : { ...job, timeoutS },
    testbench.signal,
  );
  testbench.onRun(label);
  return plots;
}

/** Writes the numbers among slots; one that is not finite stays, for its refusal. */
function withDigits(slots: DeckRequest['slots']): DeckRequest['slots'] {
  return Object.fromEntries(
    Object.entries(slots).map(([name, value]) => [
      name,
      typeof value === 'number' && Number.isFinite(value) ? spiceNumber(value) : value,
    ]),
  );
}

/** Parts of a testbench besides its device. */
export interface TestbenchParts {
  readonly pool: SpicePool;
  readonly signal?: AbortSignal | undefined;
  readonly sources?: Iterable<string>;
  readonly onRun?: (label: string) => void;
}

/** Puts a cell into its testbench; decks come from its topology's folder. */
export function cellTestbench(
  process: Process,
  device: string,
  cell: CellDescription,
  { pool, signal, sources = [], onRun = () => {} }: TestbenchParts,
): CellTestbench {
  return {
    process,
    device,
    cell,
    folder: cell.topology,
    slots: cellSlots(process, cell),
    includeFolders: [],
    pool,
    signal,
    sources: new Set(sources),
    onRun,
  };
}

/** Puts a calibrated cell into its testbench, where `.include cell.inc` of any deck finds the topology's cell. */
export function calibratedTestbench(
  testbench: CellTestbench,
  cal: Calibration,
  transistor: string,
): CalibratedTestbench {
  return { ...testbench, includeFolders: [dirname(cellFile(testbench.cell.topology))], cal, transistor };
}

/** Fills the slots that a cell's size and model decide. */
export function cellSlots(process: Process, cell: CellDescription): Record<string, string> {
  const { junctionLengthM } = process.technology;
  return {
    model: cell.model,
    width_m: spiceNumber(cell.widthM),
    length_m: spiceNumber(cell.lengthM),
    drain_area_m2: spiceNumber(cell.widthM * junctionLengthM.value),
    drain_perimeter_m: spiceNumber(cell.widthM + 2 * junctionLengthM.value),
  };
}

/** The topology's own cell.inc, or that of the transistor it is made of. */
function cellFile(topology: string): string {
  const own = findDataFile(join('netlists', topology, 'cell.inc'));
  if (own !== undefined) return own;
  const loaded = loadMultiplier(topology).topology;
  const folder = loaded.kind === 'multiplier' ? loaded.transistor : topology;
  return requireDataFile(join('netlists', folder, 'cell.inc'), `topology ${topology}`);
}

/**
 * Runs `work` with simulators and closes those that it started. What fails after the signal fired is INTERRUPTED;
 * `what` names the work in that error.
 */
export async function withSimulators<T>(
  { pool: given, threads = 2, timeoutS, cacheFolder = DEFAULT_CACHE_FOLDER, signal }: SimulatorOptions,
  what: string,
  work: (pool: SpicePool) => Promise<T>,
): Promise<T> {
  const pool =
    given ??
    createSpicePool({
      threads,
      ...(cacheFolder === null ? {} : { cacheFolder }),
      ...(timeoutS === undefined ? {} : { timeoutS }),
    });
  try {
    return await work(pool);
  } catch (error) {
    throw signal?.aborted ? interrupted(`${what} interrupted`, { cause: error }) : error;
  } finally {
    if (given === undefined) await pool.close();
  }
}
