/**
 * What the studies of columns, statistics, noise and transients share: a cell on the bench, decks of a study's own folder
 * below netlists/ around the topology's cell, and what their result files have in common.
 */
import { dirname, join } from 'node:path';
import type { z } from 'zod';
import { type Calibration, loadCalibration } from '../../cell/calibration.ts';
import { BOLTZMANN_OVER_CHARGE, REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import { biasPoint, type OperatingPoint } from '../../cell/operating-point.ts';
import { type CellDescription, type Corner, cellOf, checkName, loadProcess } from '../../cell/technology.ts';
import { loadMultiplier } from '../../cell/topology.ts';
import { OnefetError } from '../../error.ts';
import { findDataFile, requireDataFile, sha256, writeFileAtomic } from '../../files.ts';
import { DEFAULT_CACHE_FOLDER } from '../../spice/cache.ts';
import { assembleDeck } from '../../spice/deck.ts';
import type { ExpectedOutput } from '../../spice/job.ts';
import { createSpicePool, type SpicePool } from '../../spice/pool.ts';
import type { RawPlot } from '../../spice/raw-file.ts';
import { type Bench, spiceNumber } from '../sweeps.ts';
import { loadResult } from '../../sources.ts';

export interface StudyOptions {
  readonly process: string;
  readonly cell: string;
  /** Folder of the simulation cache; null for none. Default .onefet/cache/spice in the working folder. */
  readonly cacheFolder?: string | null;
  /** Simulator threads, default 2. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Called after each simulation. */
  readonly onRun?: (label: string) => void;
  /** Simulators to use instead of starting some; they are left running. */
  readonly pool?: SpicePool;
}

/** A bench with the cell's calibration: studies hold the behavioural model against SPICE. */
export interface StudyBench extends Bench {
  readonly cal: Calibration;
  /** Folder below netlists/ whose decks characterise the cell's transistor. */
  readonly transistor: string;
}

/**
 * Folder of the decks of a cell's transistor. The studies describe cells whose gate stands on a ladder tap at a voltage that
 * a row drives, and whose sources share one line; a cell of another kind is refused with what it is instead.
 * Errors: CELL_UNKNOWN, TOPOLOGY_*, STUDY_TOPOLOGY.
 */
export function studiedTransistor(process: string, cell: string): string {
  const loaded = loadProcess(process);
  const { topology } = loadMultiplier(cellOf(loaded, cell).topology);
  const instead =
    topology.ladder === 'rail'
      ? 'its weight is a source rail, so its sources do not share a line'
      : topology.ladder === 'none'
        ? 'its weight is a number of fingers'
        : topology.input === 'current'
          ? 'its row is driven by a current, so gate levels depend on the row'
          : topology.area.resistors > 0
            ? 'resistors lie between its gate and the row'
            : undefined;
  if (instead === undefined) return topology.kind === 'exponentiator' ? topology.name : topology.transistor;
  const others = Object.entries(loaded.technology.cells)
    .filter(([, other]) => loadMultiplier(other.topology).topology.kind === 'exponentiator')
    .map(([name]) => name);
  throw new OnefetError(
    'usage',
    'STUDY_TOPOLOGY',
    `${process}/${cell}: no studies of topology ${topology.name}: ${instead}`,
    {
      hint: `studies are of a gate on a tap that a row drives${others.length > 0 ? `; of this process: ${others.join(', ')}` : ''}`,
    },
  );
}

/** Loads process, cell and calibration, runs `work`, and closes the simulators that it started. */
export async function withBench<T>(
  options: StudyOptions,
  work: (bench: StudyBench) => Promise<T>,
): Promise<T> {
  const process = loadProcess(options.process);
  const cell = cellOf(process, options.cell);
  const transistor = studiedTransistor(options.process, options.cell);
  const cal = loadCalibration(options.process, options.cell);
  const pool =
    options.pool ??
    createSpicePool({
      threads: options.threads ?? 2,
      ...(options.cacheFolder === null ? {} : { cacheFolder: options.cacheFolder ?? DEFAULT_CACHE_FOLDER }),
    });
  const bench: StudyBench = {
    process,
    cellName: options.cell,
    cell,
    cal,
    transistor,
    pool,
    signal: options.signal,
    sources: new Set([process.path]),
    onRun: (label) => options.onRun?.(label),
  };
  try {
    return await work(bench);
  } catch (error) {
    if (options.signal?.aborted) {
      throw new OnefetError('interrupted', 'INTERRUPTED', 'study interrupted', { cause: error });
    }
    throw error;
  } finally {
    if (options.pool === undefined) await pool.close();
  }
}

/** What a deck of a study is filled with besides its own slots. */
export interface DeckRequest {
  /** Folder below netlists/. */
  readonly folder: string;
  readonly file: string;
  readonly corner: Corner;
  readonly slots: Readonly<Record<string, string | number>>;
  readonly outputs: readonly ExpectedOutput[];
  readonly timeoutS?: number;
  /** Device other than the calibrated one, e.g. another area. */
  readonly cell?: CellDescription;
  /** More folders in which includes are looked for. */
  readonly folders?: readonly string[];
  /** The deck brings its models itself, through a slot of its own. */
  readonly withoutLibrary?: boolean;
}

/** Runs netlists/<folder>/<file>; `.include cell.inc` finds the topology's cell, `.lib` the process's models. */
export async function runStudyDeck(bench: Bench, request: DeckRequest): Promise<readonly RawPlot[]> {
  const { process, pool } = bench;
  const cell = request.cell ?? bench.cell;
  const { models, junctionLengthM } = process.technology;
  const section = models.corners[request.corner];
  if (section === undefined) {
    throw new OnefetError('usage', 'CORNER_UNKNOWN', `${process.path}: no corner ${request.corner}`);
  }
  const cellFile = cellFileOf(cell.topology);
  const deck = assembleDeck(
    requireDataFile(join('netlists', request.folder, request.file), 'netlist'),
    {
      ...(request.withoutLibrary ? {} : { models: models.file, corner: section }),
      model: cell.model,
      width_m: spiceNumber(cell.widthM),
      length_m: spiceNumber(cell.lengthM),
      drain_area_m2: spiceNumber(cell.widthM * junctionLengthM.value),
      drain_perimeter_m: spiceNumber(cell.widthM + 2 * junctionLengthM.value),
      ...request.slots,
    },
    [process.folder, dirname(cellFile), ...(request.folders ?? [])],
  );
  for (const source of deck.sources) bench.sources.add(source);
  const label = `${process.technology.name}/${bench.cellName} ${request.folder}/${request.file.replace(/\.cir$/, '')} ${request.corner}`;
  const { plots } = await pool.run(
    {
      label,
      netlist: deck.netlist,
      files: deck.files,
      commands: [],
      outputs: request.outputs,
      ...(request.timeoutS === undefined ? {} : { timeoutS: request.timeoutS }),
    },
    bench.signal,
  );
  bench.onRun(label);
  return plots;
}

/** The topology's own cell.inc, or that of the transistor it is made of. */
function cellFileOf(topology: string): string {
  const own = findDataFile(join('netlists', topology, 'cell.inc'));
  if (own !== undefined) return own;
  const loaded = loadMultiplier(topology).topology;
  const folder = loaded.kind === 'multiplier' ? loaded.transistor : topology;
  return requireDataFile(join('netlists', folder, 'cell.inc'), `topology ${topology}`);
}

/** ngspice takes no resistor of zero; one milliohm under nanoamperes is a picovolt. */
export const wireOhm = (ohm: number): string => spiceNumber(Math.max(ohm, 1e-3));

/** The operating point of the calibration at a corner and temperature. */
export function operatingPoint(cal: Calibration, corner: Corner, tempK: number): OperatingPoint {
  return { corner, tempK, vdsV: cal.nominal.vdsV, fullScaleA: cal.nominal.fullScaleA };
}

/** TT, 27 C. */
export const nominalPoint = ({ cal }: StudyBench): OperatingPoint =>
  operatingPoint(cal, 'TT', REFERENCE_TEMP_K);

/** Gate voltage of an ideal product under replica bias and a PTAT ladder. */
export function gateVoltage(cal: Calibration, op: OperatingPoint): (product: number) => number {
  const { fullScaleVgsV, ladderSlopeV } = biasPoint(cal, op);
  return (product) => fullScaleVgsV + ladderSlopeV * Math.log(product);
}

export const thermalVoltageV = (tempK: number): number => BOLTZMANN_OVER_CHARGE * tempK;

/** Hash of the parts of a calibration that a study is held against: its fit, not its plots. */
export function calibrationFingerprint({ nominal, corners, mismatch }: Calibration): string {
  const coefficients = Object.entries(corners).map(([corner, entry]) => [corner, entry.coefficients]);
  const { sigmaVtV, sigmaBeta, thresholdGain } = mismatch;
  return sha256(JSON.stringify([nominal, coefficients, sigmaVtV, sigmaBeta, thresholdGain]));
}

/**
 * Finds and validates calibration/<process>/<cell>.<study>.json (working folder first); refuses one whose netlists, models
 * or calibration have changed since. Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE.
 */
export function loadStudy<
  T extends z.ZodType<{ sources: Record<string, string>; calibrationSha256: string }>,
>(schema: T, process: string, cell: string, study: string): z.infer<T> {
  return loadResult<T>({
    relative: studyPath(process, cell, study),
    kind: `${study} study`,
    name: `${process}/${cell}`,
    schema,
    code: 'STUDY',
    hint: `run: onefet calibrate --process ${process} --cell ${cell} --studies`,
    changed: ({ calibrationSha256 }) =>
      calibrationFingerprint(loadCalibration(process, cell)) === calibrationSha256
        ? undefined
        : 'the calibration has changed since',
  });
}

export function studyPath(process: string, cell: string, study: string): string {
  checkName(process, 'process');
  checkName(cell, 'cell');
  return join('calibration', process, `${cell}.${study}.json`);
}

/** Writes a study's result below the working folder; returns the path. */
export function writeStudy(result: { process: string; cell: string }, study: string): string {
  const path = studyPath(result.process, result.cell, study);
  writeFileAtomic(path, `${JSON.stringify(result)}\n`);
  return path;
}
