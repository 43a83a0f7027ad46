/**
 * Plans a sweep: every point is checked before any work. A point that cannot be (a temperature outside the calibration, an
 * engine that does not take the design) is refused by name and the others go on; what is wrong with the files that points
 * name ends the sweep before it starts, all of it at once.
 */
import { join } from 'node:path';
import { type Calibration, loadCalibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import { openInputs, type RunInputs } from '../experiment/inputs.ts';
import {
  DESIGN_DEFAULTS,
  type DesignOptions,
  INPUT_DEFAULTS,
  type InputOptions,
} from '../experiment/options.ts';
import { planDesign, type RunPlan } from '../experiment/plan.ts';
import { loadDesign } from '../fabric/design.ts';
import { calibratedCell } from '../fabric/registry.ts';
import { findDataFile, sha256 } from '../files.ts';
import type { Experiment } from './experiment.ts';
import { isRunKey, type Settings, settingsText } from './keys.ts';
import { pointStatus, reasonText } from './point-error.ts';
import type { Shard } from './shard.ts';
import type { TaskName } from './task.ts';
import { type PointWork, pointWork } from './work.ts';

export interface SweepOptions {
  readonly threads: number;
  /** Folder in which run folders and the sweep's folder are made. */
  readonly out: string;
  readonly shard: Shard;
}

/** A point, and what its run will be. */
export interface PlannedPoint {
  readonly index: number;
  /** What it sets beside the base. */
  readonly settings: Settings;
  readonly label: string;
  /** Of the run, for other points with the same. */
  readonly run: PointRun | undefined;
  /** Why it cannot be. */
  readonly refused: string | undefined;
}

export interface PointRun {
  readonly folder: string;
  readonly task: TaskName;
  readonly memoryBytes: number;
  readonly engine: string;
  /** Of the model. */
  readonly parameters: number;
  readonly work: PointWork;
  /** Makes the run's plan (again): a thousand of them would not fit memory. */
  plan(): RunPlan;
}

export interface SweepPlan {
  readonly experiment: Experiment;
  readonly options: SweepOptions;
  readonly points: readonly PlannedPoint[];
  /** Numbers of the points that this shard does, those of equal runs together. */
  readonly own: readonly number[];
  /** Hash of what decides the results. */
  readonly key: string;
  readonly folder: string;
}

/** Settings of a run, defaults filled in: those of `onefet run`, on the embedded model. */
type RunSettings = InputOptions &
  Omit<DesignOptions, 'settings' | 'overrides' | 'threads' | 'out' | 'calibration'> & {
    readonly task: TaskName;
  };

/** Plans every point. Error: SWEEP_POINTS (input) with all that is wrong with files. */
export function planSweep(experiment: Experiment, options: SweepOptions): SweepPlan {
  const openers = newOpeners();
  const wrong: string[] = [];
  const points = experiment.points.map((settings, index): PlannedPoint => {
    const label = settingsText(settings);
    const all = { ...experiment.base, ...settings };
    const point = { index, settings, label, run: undefined, refused: undefined };
    try {
      return { ...point, run: planPoint(all, experiment, options, openers) };
    } catch (error) {
      if (!(error instanceof OnefetError)) throw error;
      const reason = reasonText(error);
      if (pointStatus(error) === 'refused') return { ...point, refused: reason };
      if (error.kind !== 'input') throw error;
      wrong.push(`${experiment.file}: point ${index + 1}${label ? ` (${label})` : ''}: ${reason}`);
      return point;
    }
  });
  if (wrong.length > 0) throw new OnefetError('input', 'SWEEP_POINTS', summarise(wrong));
  const key = keyOf(experiment, points);
  return {
    experiment,
    options,
    points,
    own: ownPoints(points, options.shard),
    key,
    folder: join(options.out, `sweep-${experiment.name}-${key.slice(0, 12)}`),
  };
}

const MOST_LINES = 20;

function summarise(lines: readonly string[]): string {
  const more = lines.length > MOST_LINES ? [`and ${lines.length - MOST_LINES} more`] : [];
  return [...lines.slice(0, MOST_LINES), ...more].join('\n');
}

/** What points share: inputs by what was asked, calibrations by cell. */
interface Openers {
  inputs(settings: RunSettings): RunInputs;
  calibration(design: string, overrides: Settings): Calibration | undefined;
}

function newOpeners(): Openers {
  const inputs = new Map<string, RunInputs>();
  const calibrations = new Map<string, Calibration>();
  const kept = <T>(map: Map<string, T>, key: string, open: () => T): T => {
    const found = map.get(key) ?? open();
    map.set(key, found);
    return found;
  };
  return {
    inputs: ({ model, text, rangeText, contextTokens, scoring, maxWindows }) => {
      const asked = { model, text, rangeText, contextTokens, scoring, maxWindows };
      return kept(inputs, JSON.stringify(asked), () => openInputs(asked));
    },
    calibration: (design, overrides) => {
      const cell = calibratedCell(loadDesign(design, [], overrides).design);
      if (cell === undefined) return undefined;
      return kept(calibrations, `${cell.process}/${cell.cell}`, () =>
        loadCalibration(cell.process, cell.cell),
      );
    },
  };
}

function planPoint(
  all: Settings,
  { stop }: Experiment,
  { threads, out }: SweepOptions,
  openers: Openers,
): PointRun {
  const run = runSettings(all);
  const overrides = Object.fromEntries(Object.entries(all).filter(([key]) => !isRunKey(key)));
  const design: DesignOptions = {
    ...run,
    ...(stop ? { chips: Math.max(run.chips, stop.minChips) } : {}),
    settings: [],
    overrides,
    threads,
    out,
  };
  const open = (): RunPlan => {
    const calibration = openers.calibration(run.design, overrides);
    return planDesign(openers.inputs(run), { ...design, ...(calibration ? { calibration } : {}) });
  };
  const plan = open();
  return {
    folder: plan.folder,
    task: run.task,
    memoryBytes: plan.memoryBytes,
    engine: plan.engine,
    parameters: plan.inputs.model.parameters,
    work: pointWork(plan),
    plan: open,
  };
}

function runSettings(all: Settings): RunSettings {
  const own = Object.fromEntries(Object.entries(all).filter(([key]) => isRunKey(key)));
  const { settings: _, threads: _threads, out: _out, ...design } = DESIGN_DEFAULTS;
  const run: RunSettings = { ...INPUT_DEFAULTS, ...design, task: 'perplexity', ...own };
  return {
    ...run,
    attributionChips: Math.min(run.attributionChips, run.chips),
    // Files of the package go by the same names as those of the working folder.
    model: findDataFile(run.model) ?? run.model,
    text: findDataFile(run.text) ?? run.text,
  };
}

/** The points' runs, their chips and the stop rule decide all results. */
function keyOf(
  { kind, name, reference, stop, points: settings }: Experiment,
  points: readonly PlannedPoint[],
): string {
  const runs = points.map(({ run, refused }) => run?.work.identity ?? refused);
  return sha256(JSON.stringify({ kind, name, reference, stop, settings, runs }));
}

/** Points of a shard; points with the same run folder belong to the same one. */
function ownPoints(points: readonly PlannedPoint[], { index, count }: Shard): number[] {
  const first = new Map<string, number>();
  return points.flatMap((point) => {
    const { folder } = point.run ?? { folder: `refused ${point.index}` };
    const representative = first.get(folder) ?? point.index;
    first.set(folder, representative);
    return representative % count === index ? [point.index] : [];
  });
}
