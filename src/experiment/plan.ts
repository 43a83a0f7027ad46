/**
 * What a run will do, before it does it: model, texts, windows, jobs, memory and the folder. `--dry-run` stops here.
 */

import { join } from 'node:path';
import type { Calibration } from '../cell/calibration.ts';
import { loadCalibration } from '../cell/calibration.ts';
import { type CostConstants, loadCostConstants } from '../cost/constants.ts';
import { logDomainCostDesign } from '../cost/log-domain-design.ts';
import { checkMemory, chooseKernel, type KernelChoice, scalarMemoryBytes } from '../engine/create.ts';
import { OnefetError } from '../error.ts';
import { checkOverrides } from '../fabric/common-design.ts';
import { type LoadedDesign, loadLogDomainDesign } from '../fabric/design.ts';
import type { LogDomainDesign } from '../fabric/log-domain.ts';
import { displayPath, packageVersion, readTextFile, requireDataFile, sha256 } from '../files.ts';
import { tensorNames } from '../model/architecture.ts';
import { type LlamaModel, openModel } from '../model/model.ts';
import { documentWindows, type ScoringWindow, scoringWindows } from '../model/scoring.ts';
import { bits32, streamKey } from '../random.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { ERROR_SOURCES, type ErrorSource } from '../tile/error-sources.ts';
import { tilePhysics } from '../tile/physics.ts';
import { attributionSeeds } from './attribution.ts';
import { type Job, jobKey } from './job.ts';
import { checkRangeText } from './overlap.ts';

export interface RunOptions {
  readonly model: string;
  readonly text: string;
  /** Text that sets the converters' ranges; disjoint from `text`. */
  readonly rangeText: string;
  readonly design: string;
  readonly settings: readonly string[];
  readonly chips: number;
  readonly seed: number;
  readonly threads: number;
  /** Window length; undefined = 512 or the model's context, whichever is less. */
  readonly contextTokens: number | undefined;
  readonly scoring: 'window' | 'all';
  /** Score only the first windows. */
  readonly maxWindows: number | undefined;
  readonly kernel: KernelChoice;
  /** Chips on which each source of error also runs alone; 0 = none, at most `chips`. */
  readonly attributionChips: number;
  readonly yieldRatio: number;
  /** Folder in which the run's folder is made. */
  readonly out: string;
  /** A calibration that was just made; undefined = the one on file, refused if stale. */
  readonly calibration?: Calibration;
}

export interface RunPlan {
  readonly options: RunOptions;
  readonly design: LoadedDesign<LogDomainDesign>;
  readonly calibration: Calibration;
  readonly calibrationSha256: string;
  readonly modelInfo: {
    readonly name: string;
    readonly sha256: string;
    readonly parameters: number;
    readonly fileType: string;
    readonly synthetic: boolean;
    readonly shape: LlamaModel['shape'];
  };
  readonly contextTokens: number;
  readonly costConstants: CostConstants;
  readonly converters: { readonly dacBits: number; readonly adcBits: number };
  readonly text: {
    readonly path: string;
    readonly sha256: string;
    readonly tokens: number;
    readonly scored: number;
  };
  readonly rangeText: { readonly path: string; readonly sha256: string; readonly tokens: number };
  readonly chipSeeds: readonly number[];
  readonly digitalJobs: readonly Job[];
  readonly rangeJob: Job;
  /** Everything that needs the digital baseline and the ranges. */
  readonly dependentJobs: readonly Job[];
  /** What a reader of the result must know. */
  readonly warnings: readonly string[];
  readonly memoryBytes: number;
  /** What will execute the jobs, and why it is not the fast engine where it is not. */
  readonly kernel: TileKernel | 'fast';
  readonly kernelReason: string | undefined;
  readonly folder: string;
  readonly manifest: Record<string, unknown>;
}

/** llama.cpp's default window of its perplexity tool. */
const DEFAULT_CONTEXT_TOKENS = 512;
/** Enough |D| values (tokens times columns) for a 99.95 % quantile of every tile. */
const RANGE_TOKENS = 512;
/** Texts are tokenised in memory; 256 MiB is a hundred times WikiText-2. */
const MAX_TEXT_BYTES = 256 << 20;

/** Seeds of the chips: a chip's seed depends on the run's seed and its number, not on how many chips there are. */
export function chipSeed(seed: number, chip: number): number {
  return bits32(streamKey(seed, 0x63686970), chip);
}

export function planRun(options: RunOptions): RunPlan {
  const design = loadLogDomainDesign(options.design, options.settings);
  const converters = {
    dacBits: converterBits(design.design.input.bits, 'input.bits'),
    adcBits: converterBits(design.design.adc.bits, 'adc.bits'),
  };
  const calibration = options.calibration ?? loadCalibration(design.design.process, design.design.cell);
  // A run ends in a cost: what that lacks or cannot mean is refused before the work and not after it.
  const costConstants = loadCostConstants(design.design.process);
  logDomainCostDesign(design.design, calibration, {});
  tilePhysics(calibration, design.design);
  const calibrationSha256 = sha256(JSON.stringify(calibration));
  const model = openModel(options.model);
  try {
    checkOverrides(design.design, tensorNames(model.shape.architecture));
    const contextTokens =
      options.contextTokens ?? Math.min(DEFAULT_CONTEXT_TOKENS, model.shape.contextTokens);
    checkContext(contextTokens, model);
    const text = boundedText(options.text, 'text');
    const bos = model.tokenizer.addBos ? model.tokenizer.bosId : undefined;
    const tokens = model.tokenizer.encode(text);
    const all =
      options.scoring === 'all'
        ? documentWindows(text, model.tokenizer, { contextTokens })
        : scoringWindows(tokens, { contextTokens, bos });
    const windows = all.slice(0, options.maxWindows ?? all.length);
    const rangePath = requireDataFile(options.rangeText, 'range text');
    const rangeText = boundedText(rangePath, 'range text');
    const rangeTokens = model.tokenizer.encode(rangeText).subarray(0, RANGE_TOKENS);
    // Windows have BOS in place of their first token, which would cut a passage; documents are as they are.
    const scored =
      options.scoring === 'all'
        ? documentTokens(windows)
        : tokens.subarray(0, windows.length * contextTokens);
    const rangeWarning = checkRangeText(rangeTokens, scored);
    const rangeWindows = rangeWindowsOf(rangeTokens, contextTokens, bos);
    const chipSeeds = Array.from({ length: options.chips }, (_, chip) => chipSeed(options.seed, chip));
    const kernel = chooseKernel({
      kernel: options.kernel,
      shape: model.shape,
      design: design.design,
      calibration,
      threads: options.threads,
      contextTokens,
    });
    const jobs = planJobs(windows, rangeWindows, chipSeeds, options);
    const modelSha256 = model.sha256();
    const manifest = {
      schema: 'onefet.manifest/1',
      onefet: packageVersion(),
      model: { file: displayPath(options.model), sha256: modelSha256 },
      text: {
        file: displayPath(options.text),
        sha256: sha256(text),
        scoring: options.scoring,
        contextTokens,
      },
      rangeText: { file: displayPath(options.rangeText), sha256: sha256(rangeText) },
      windows: windows.length,
      design: { name: design.design.name, sha256: design.sha256 },
      calibration: { process: calibration.process, cell: calibration.cell, sha256: calibrationSha256 },
      seed: options.seed,
      kernel: kernel.kernel,
    };
    const identity = sha256(
      JSON.stringify({
        ...manifest,
        model: modelSha256,
        text: { ...manifest.text, file: '' },
        rangeText: manifest.rangeText.sha256,
      }),
    );
    const banks = design.design.tile.sign === 'paired-rows' ? 2 : 1;
    const memoryBytes = kernel.memoryBytes ?? scalarMemoryBytes(model, options.threads, banks);
    checkMemory(memoryBytes, options.threads);
    return {
      options,
      design,
      calibration,
      calibrationSha256,
      modelInfo: {
        name: model.name,
        sha256: modelSha256,
        parameters: model.parameterCount,
        fileType: model.fileType,
        synthetic: model.synthetic,
        shape: model.shape,
      },
      contextTokens,
      converters,
      costConstants,
      text: {
        path: displayPath(options.text),
        sha256: sha256(text),
        tokens: tokens.length,
        scored: windows.reduce((sum, window) => sum + window.scoreTo - window.scoreFrom, 0),
      },
      rangeText: {
        path: displayPath(options.rangeText),
        sha256: sha256(rangeText),
        tokens: rangeWindows.reduce((sum, window) => sum + window.scoreTo, 0),
      },
      chipSeeds,
      ...jobs,
      warnings: rangeWarning === null ? [] : [rangeWarning],
      memoryBytes,
      kernel: kernel.kernel,
      kernelReason: kernel.reason,
      folder: join(options.out, `${design.design.name}-${identity.slice(0, 12)}`),
      manifest,
    };
  } finally {
    model.close();
  }
}

function boundedText(path: string, what: string): string {
  const text = readTextFile(path, what);
  if (text.length > MAX_TEXT_BYTES) {
    throw new OnefetError(
      'input',
      'TEXT_SIZE',
      `${what} ${path} has ${text.length} characters, the limit is ${MAX_TEXT_BYTES}`,
    );
  }
  if (text.trim() === '') throw new OnefetError('input', 'TEXT_EMPTY', `${what} ${path} is empty`);
  return text;
}

function checkContext(contextTokens: number, model: LlamaModel): void {
  const most = model.shape.contextTokens;
  if (!Number.isInteger(contextTokens) || contextTokens < 4 || contextTokens > most) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a context of ${contextTokens} tokens is impossible: ${model.name} takes 4 to ${most}`,
    );
  }
}

/** What the documents hold, one after the other. */
function documentTokens(windows: readonly ScoringWindow[]): Int32Array {
  const all = new Int32Array(windows.reduce((sum, { ids }) => sum + ids.length, 0));
  let at = 0;
  for (const { ids } of windows) {
    all.set(ids, at);
    at += ids.length;
  }
  return all;
}

/** The range text in windows of the context. */
function rangeWindowsOf(tokens: Int32Array, contextTokens: number, bos: number | undefined): ScoringWindow[] {
  const windows: ScoringWindow[] = [];
  for (let start = 0; start < tokens.length; start += contextTokens) {
    const ids = tokens.slice(start, start + contextTokens);
    if (bos !== undefined) ids[0] = bos;
    // All positions but the last predict a token that is known, so all of them can be run.
    if (ids.length >= 2) windows.push({ window: windows.length, ids, scoreFrom: 0, scoreTo: ids.length - 1 });
  }
  if (windows.length === 0)
    throw new OnefetError('input', 'TEXT_EMPTY', 'the range text has fewer than two tokens');
  return windows;
}

function planJobs(
  windows: readonly ScoringWindow[],
  rangeWindows: readonly ScoringWindow[],
  chipSeeds: readonly number[],
  options: RunOptions,
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
        attributionSeeds(source, chipSeeds, options.attributionChips).flatMap((seed) =>
          over({ kind: 'source', source, seed }),
        ),
      ),
      ...over({ kind: 'recoded' }),
    ],
  };
}

/** A run ends in a cost, and a real-valued converter has none: refused before the work and not after it. */
function converterBits(bits: number | 'float', key: string): number {
  if (bits !== 'float') return bits;
  throw new OnefetError(
    'usage',
    'FLOAT_CONVERTER',
    `${key} is float: a run needs a converter that can be built`,
    {
      hint: `set ${key} to a number of bits`,
    },
  );
}
