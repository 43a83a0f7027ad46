/** The points of an accuracy experiment as plans of runs. */
import type { Calibration } from '../../cell/calibration.ts';
import { loadSized } from '../../cell/sized-calibration.ts';
import { openInputs, type RunInputs } from '../../experiment/inputs.ts';
import {
  DESIGN_DEFAULTS,
  type DesignOptions,
  INPUT_DEFAULTS,
  type InputOptions,
} from '../../experiment/options.ts';
import { planDesign, type RunPlan } from '../../experiment/plan.ts';
import { loadDesign } from '../../fabric/design.ts';
import { calibratedCell } from '../../fabric/registry.ts';
import { findDataFile, sha256 } from '../../files.ts';
import type { Experiment } from '../experiment.ts';
import { isRunKey, type Settings } from '../keys.ts';
import { type PointRun, planPoints, type SweepOptions, type SweepPlan } from '../plan.ts';
import { type TaskName, taskOf } from '../task.ts';
import { type PointWork, pointWork } from './work.ts';

export interface AccuracyRun extends PointRun {
  readonly task: TaskName;
  readonly memoryBytes: number;
  readonly engine: string;
  /** Of the model. */
  readonly parameters: number;
  readonly work: PointWork;
  /** Makes the run's plan (again): a thousand of them would not fit memory. */
  plan(): RunPlan;
}

/** Plans every point. Error: SWEEP_POINTS (input). */
export function planAccuracy(experiment: Experiment, options: SweepOptions): SweepPlan<AccuracyRun> {
  const openers = newOpeners();
  return planPoints(experiment, options, (all) => planPoint(all, experiment, options, openers));
}

/** Settings of a run, defaults filled in: those of `onefet run`, on the embedded model. */
type RunSettings = InputOptions &
  Omit<DesignOptions, 'settings' | 'overrides' | 'threads' | 'out' | 'calibration'> & {
    /** `perplexity`, or a file. */
    readonly task: string;
  };

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
    inputs: ({
      model,
      text,
      rangeText,
      contextTokens,
      scoring,
      maxWindows,
      task,
      taskKind,
      maxQuestions,
    }) => {
      const questions = taskOf(task) === 'choices' ? { task, taskKind, maxQuestions } : {};
      const asked = { model, text, rangeText, contextTokens, scoring, maxWindows, ...questions };
      return kept(inputs, JSON.stringify(asked), () => openInputs(asked));
    },
    calibration: (design, overrides) => {
      const cell = calibratedCell(loadDesign(design, [], overrides).design);
      if (cell === undefined) return undefined;
      return kept(calibrations, JSON.stringify(cell), () => loadSized(cell));
    },
  };
}

function planPoint(
  all: Settings,
  { stop }: Experiment,
  { threads, out }: SweepOptions,
  openers: Openers,
): AccuracyRun {
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
  const work = pointWork(plan);
  return {
    identity: sha256(work.identity, taskOf(run.task)),
    shared: plan.folder,
    task: taskOf(run.task),
    memoryBytes: plan.memoryBytes,
    engine: plan.engine,
    parameters: plan.inputs.model.parameters,
    work,
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
