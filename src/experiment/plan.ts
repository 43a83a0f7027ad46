/**
 * What a run will do, before it does it: inputs, design, jobs, memory and the folder. `--dry-run` stops here.
 *
 *   openInputs    model and texts, once for any number of designs (inputs.ts)
 *   bindDesign    a design with its calibration and its cost data, checked
 *   planDesign    the two together: jobs, backend, memory, manifest, folder
 */
import { join } from 'node:path';
import type { Calibration } from '../cell/calibration.ts';
import { loadCalibration } from '../cell/calibration.ts';
import type { Overrides } from '../config.ts';
import { type CostConstants, loadCostConstants } from '../cost/constants.ts';
import { logDomainCostDesign } from '../cost/log-domain-design.ts';
import { checkMemory, chooseKernel, type KernelChoice, scalarMemoryBytes } from '../engine/create.ts';
import { OnefetError } from '../error.ts';
import { checkOverrides } from '../fabric/common-design.ts';
import { type LoadedDesign, loadLogDomainDesign } from '../fabric/design.ts';
import type { LogDomainDesign } from '../fabric/log-domain.ts';
import { packageVersion, sha256 } from '../files.ts';
import { tensorNames } from '../model/architecture.ts';
import type { ScoringWindow } from '../model/scoring.ts';
import { bits32, streamKey } from '../random.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { ERROR_SOURCES, type ErrorSource } from '../tile/error-sources.ts';
import { type TilePhysics, tilePhysics } from '../tile/physics.ts';
import { attributionSeeds } from './attribution.ts';
import { type InputOptions, openInputs, type RunInputs } from './inputs.ts';
import { type Job, jobKey } from './job.ts';

/** What is tried on the inputs. */
export interface DesignOptions {
  readonly design: string;
  /** Changes to the design as the command line has them: `adc.bits=7`. */
  readonly settings: readonly string[];
  /** Changes to the design as data, made after `settings`: `{ 'adc.bits': 7 }` or `{ adc: { bits: 7 } }`. */
  readonly overrides?: Overrides;
  readonly chips: number;
  readonly seed: number;
  readonly threads: number;
  readonly kernel: KernelChoice;
  /** Chips on which each source of error also runs alone; 0 = none, at most `chips`. */
  readonly attributionChips: number;
  readonly yieldRatio: number;
  /** Folder in which the run's folder is made. */
  readonly out: string;
  /** A calibration that was just made; undefined = the one on file, refused if stale. */
  readonly calibration?: Calibration;
}

export type RunOptions = InputOptions & DesignOptions;

/** A design with everything that its chips and their cost need. */
export interface BoundDesign {
  readonly loaded: LoadedDesign<LogDomainDesign>;
  readonly calibration: Calibration;
  readonly calibrationSha256: string;
  readonly physics: TilePhysics;
  readonly costConstants: CostConstants;
}

export interface RunPlan extends BoundDesign {
  readonly options: DesignOptions;
  readonly inputs: RunInputs;
  readonly chipSeeds: readonly number[];
  readonly digitalJobs: readonly Job[];
  readonly rangeJob: Job;
  /** Everything that needs the digital baseline and the ranges. */
  readonly dependentJobs: readonly Job[];
  readonly memoryBytes: number;
  /** What will execute the jobs, and why it is not the fast engine where it is not. */
  readonly kernel: TileKernel | 'fast';
  readonly kernelReason: string | undefined;
  readonly folder: string;
  readonly manifest: Record<string, unknown>;
  /** Of onefet, for the result. */
  readonly version: string;
}

/** Seeds of the chips: a chip's seed depends on the run's seed and its number, not on how many chips there are. */
export function chipSeed(seed: number, chip: number): number {
  return bits32(streamKey(seed, 0x63686970), chip);
}

/** Plans a run of one design; the design is checked before the model is read. */
export function planRun(options: RunOptions): RunPlan {
  const bound = bindDesign(options);
  return planOf(openInputs(options), bound, options);
}

/** Plans a run of a design on inputs that are open already. */
export function planDesign(inputs: RunInputs, options: DesignOptions): RunPlan {
  return planOf(inputs, bindDesign(options), options);
}

/**
 * Loads a design with its calibration and its cost data, and checks them against each other: whatever a run would end in
 * must be possible before its work begins. Errors: FABRIC, FLOAT_CONVERTER, COST_DESIGN, OUT_OF_RANGE (usage) and others.
 */
function bindDesign(options: DesignOptions): BoundDesign {
  const loaded = loadLogDomainDesign(options.design, options.settings, options.overrides);
  const { design } = loaded;
  checkConverter(design.input.bits, 'input.bits');
  checkConverter(design.adc.bits, 'adc.bits');
  const calibration = options.calibration ?? loadCalibration(design.process, design.cell);
  const costConstants = loadCostConstants(design.process);
  checkCost(loaded, calibration);
  return {
    loaded,
    calibration,
    calibrationSha256: sha256(JSON.stringify(calibration)),
    physics: tilePhysics(calibration, design),
    costConstants,
  };
}

/** A run ends in a cost, and a real-valued converter has none: refused before the work and not after it. */
function checkConverter(bits: number | 'float', key: string): void {
  if (bits !== 'float') return;
  throw new OnefetError(
    'usage',
    'FLOAT_CONVERTER',
    `${key} is float: a run needs a converter that can be built`,
    { hint: `set ${key} to a number of bits` },
  );
}

/** Refuses a design that cannot be priced: COST_DESIGN, OUT_OF_RANGE. No full scale is known yet, so none is priced. */
function checkCost({ design }: LoadedDesign<LogDomainDesign>, calibration: Calibration): void {
  logDomainCostDesign(design, calibration, {});
}

function planOf(inputs: RunInputs, bound: BoundDesign, options: DesignOptions): RunPlan {
  const { design } = bound.loaded;
  const { shape } = inputs.model;
  checkOverrides(design, tensorNames(shape.architecture));
  const kernel = chooseKernel({
    kernel: options.kernel,
    shape,
    design,
    calibration: bound.calibration,
    threads: options.threads,
    contextTokens: inputs.contextTokens,
  });
  const banks = design.tile.sign === 'paired-rows' ? 2 : 1;
  const memoryBytes = kernel.memoryBytes ?? scalarMemoryBytes({ shape }, options.threads, banks);
  checkMemory(memoryBytes, options.threads);
  const version = packageVersion();
  const manifest = manifestOf(inputs, bound, options.seed, kernel.kernel, version);
  return {
    ...bound,
    options,
    inputs,
    ...planChips(inputs, options.seed, options.chips, options.attributionChips),
    memoryBytes,
    kernel: kernel.kernel,
    kernelReason: kernel.reason,
    folder: join(options.out, `${design.name}-${identityOf(manifest).slice(0, 12)}`),
    // How the design came about is recorded, but what it has become decides the results.
    manifest: { ...manifest, overrides: bound.loaded.overrides },
    version,
  };
}

function manifestOf(
  inputs: RunInputs,
  { loaded, calibration, calibrationSha256 }: BoundDesign,
  seed: number,
  kernel: string,
  version: string,
) {
  const { model, text, rangeText, scoring, contextTokens } = inputs;
  return {
    schema: 'onefet.manifest/2',
    onefet: version,
    model: { file: model.file, sha256: model.sha256 },
    text: { file: text.file, sha256: text.sha256, scoring, contextTokens },
    rangeText: { file: rangeText.file, sha256: rangeText.sha256 },
    windows: inputs.windows.length,
    design: { name: loaded.design.name, sha256: loaded.sha256 },
    calibration: { process: calibration.process, cell: calibration.cell, sha256: calibrationSha256 },
    seed,
    kernel,
  };
}

/** Hash of what decides a job's outcome: contents, not the names of files. */
function identityOf(manifest: ReturnType<typeof manifestOf>): string {
  return sha256(
    JSON.stringify({
      ...manifest,
      model: manifest.model.sha256,
      text: { ...manifest.text, file: '' },
      rangeText: manifest.rangeText.sha256,
    }),
  );
}

/** The plan with another number of chips: of the same folder, as chips are numbered from the first. */
export function withChips(plan: RunPlan, chips: number, attributionChips: number): RunPlan {
  return {
    ...plan,
    options: { ...plan.options, chips, attributionChips },
    ...planChips(plan.inputs, plan.options.seed, chips, attributionChips),
  };
}

function planChips(
  { windows, rangeWindows }: RunInputs,
  seed: number,
  chips: number,
  attributionChips: number,
): Pick<RunPlan, 'chipSeeds' | 'digitalJobs' | 'rangeJob' | 'dependentJobs'> {
  const chipSeeds = Array.from({ length: chips }, (_, chip) => chipSeed(seed, chip));
  return { chipSeeds, ...planJobs(windows, rangeWindows, chipSeeds, attributionChips) };
}

function planJobs(
  windows: readonly ScoringWindow[],
  rangeWindows: readonly ScoringWindow[],
  chipSeeds: readonly number[],
  attributionChips: number,
): Pick<RunPlan, 'digitalJobs' | 'rangeJob' | 'dependentJobs'> {
  const rows: number[] = [];
  let row = 0;
  for (const window of windows) {
    rows.push(row);
    row += window.scoreTo - window.scoreFrom;
  }
  const over = (variant: Job['variant']): Job[] =>
    windows.map((window, i) => ({
      key: jobKey(variant, window.window),
      variant,
      windows: [window],
      baselineRow: rows[i],
    }));
  const sources = Object.keys(ERROR_SOURCES) as ErrorSource[];
  return {
    digitalJobs: over({ kind: 'digital' }),
    rangeJob: {
      key: jobKey({ kind: 'range' }, 'all'),
      variant: { kind: 'range' },
      windows: rangeWindows,
      baselineRow: 0,
    },
    dependentJobs: [
      ...chipSeeds.flatMap((seed) => over({ kind: 'chip', seed })),
      ...sources.flatMap((source) =>
        attributionSeeds(source, chipSeeds, attributionChips).flatMap((seed) =>
          over({ kind: 'source', source, seed }),
        ),
      ),
      ...over({ kind: 'recoded' }),
    ],
  };
}
