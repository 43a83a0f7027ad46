/** What can be asked of a run, and what is done where nothing is said: on the command line and in the library alike. */
import type { Overrides } from '../config.ts';
import type { EngineChoice, PrecisionChoice } from '../engine/names.ts';
import type { FabricParts } from '../fabric/fabric.ts';
import type { AdapterChoice } from '../model/adapter-choice.ts';
import type { SampleOptions } from '../model/sample.ts';

/** Forms of a task's questions: task-file.ts. */
export const TASK_KINDS = ['mcq', 'completion', 'blimp'] as const;
export type TaskKind = (typeof TASK_KINDS)[number];

/** The model and the texts. */
export interface InputOptions {
  readonly model: string;
  /** LoRA adapters in llama.cpp's GGUF format. */
  readonly adapters?: readonly AdapterChoice[] | undefined;
  readonly text: string;
  /**
   * Text that sets the converters' ranges, disjoint from `text`; undefined: those in the chip image that was given, else
   * RANGE_TEXT.
   */
  readonly rangeText: string | undefined;
  /** Window length; undefined = 512 or the model's context, whichever is less. */
  readonly contextTokens: number | undefined;
  /** llama.cpp's windows, or every token; default: see `defaultScoring`. */
  readonly scoring: 'window' | 'all';
  /** Score only the first windows. */
  readonly maxWindows: number | undefined;
  /** File of questions with choices, scored in place of `text`. */
  readonly task?: string | undefined;
  /** Default: as the file's lines are. */
  readonly taskKind?: TaskKind | undefined;
  /** Only the first questions. */
  readonly maxQuestions?: number | undefined;
}

/** A design and how it is tried on the inputs. */
export interface DesignOptions {
  readonly design: string;
  /** Changes to the design as the command line has them: `adc.bits=7`. */
  readonly settings: readonly string[];
  /** Changes to the design as data, made after `settings`: `{ 'adc.bits': 7 }` or `{ adc: { bits: 7 } }`. */
  readonly overrides?: Overrides;
  readonly chips: number;
  readonly seed: number;
  readonly threads: number;
  readonly engine: EngineChoice;
  /** How finely chips are computed; default: auto. */
  readonly precision?: PrecisionChoice;
  /** Chips on which each source of error also runs alone; 0 = none, at most `chips`. */
  readonly attributionChips: number;
  readonly yieldRatio: number;
  /** Say how much text and how many chips would tell a difference of so many nats from nothing; default RESOLVED_NATS. */
  readonly resolveNats?: number;
  /** Context of the projection to the 8B, tokens. */
  readonly costContextTokens: number;
  /** A chip image that `onefet map` made, in place of one of the design's own mapping. */
  readonly image?: string | undefined;
  /** Folder in which the run's folder is made. */
  readonly out: string;
  /** A calibration that was just made; undefined = the one on file, refused if stale. */
  readonly calibration?: FabricParts['calibration'];
}

export type RunOptions = InputOptions & DesignOptions;

/** A prompt that a model and its chips continue. */
export interface GenerateOptions extends SampleOptions {
  readonly model: string;
  readonly adapters?: readonly AdapterChoice[] | undefined;
  readonly prompt: string;
  /** The prompt is what a user says, in the model's chat template. */
  readonly chat?: boolean;
  readonly design: string;
  readonly settings: readonly string[];
  /** Changes to the design as data, made after `settings`. */
  readonly overrides?: Overrides;
  /** Undefined: the ranges in the chip image that was given, else RANGE_TEXT. */
  readonly rangeText?: string | undefined;
  /** A chip image that `onefet map` made, in place of one of the design's own mapping. */
  readonly image?: string | undefined;
  readonly tokens: number;
  readonly chips: number;
  readonly seed: number;
  readonly engine: EngineChoice;
  /** How finely chips are computed; default: auto. */
  readonly precision?: PrecisionChoice;
  readonly threads: number;
  readonly calibration?: FabricParts['calibration'];
}

/** The embedded model and its texts: data files, found in the working folder or in the package. */
export const EMBEDDED_MODEL = 'experiments/models/onefet-stories-f16.gguf';
export const EMBEDDED_TEXT = 'experiments/texts/stories.txt';
export const RANGE_TEXT = 'experiments/texts/range.txt';

export const INPUT_DEFAULTS: InputOptions = {
  model: EMBEDDED_MODEL,
  text: EMBEDDED_TEXT,
  rangeText: undefined,
  contextTokens: undefined,
  scoring: 'window',
  maxWindows: undefined,
};

/** All of the embedded text, which is short, and llama.cpp's windows of any other. */
export const defaultScoring = ({
  text,
  task,
}: Partial<Pick<InputOptions, 'text' | 'task'>>): InputOptions['scoring'] =>
  text === undefined && task === undefined ? 'all' : 'window';

/** A hundredth of a nat: 1 % of perplexity. */
export const RESOLVED_NATS = 0.01;

export const DESIGN_DEFAULTS: DesignOptions = {
  design: 'log-domain',
  settings: [],
  chips: 10,
  seed: 1,
  threads: 2,
  engine: 'auto',
  attributionChips: 0,
  yieldRatio: 1.1,
  // The middle of the vendors' 1k in / 1k out benchmarks.
  costContextTokens: 1024,
  out: 'runs',
};

export const GENERATE_DEFAULTS: Omit<GenerateOptions, 'prompt'> = {
  model: EMBEDDED_MODEL,
  design: DESIGN_DEFAULTS.design,
  settings: [],
  tokens: 60,
  chips: 2,
  seed: DESIGN_DEFAULTS.seed,
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
  engine: DESIGN_DEFAULTS.engine,
  threads: DESIGN_DEFAULTS.threads,
};

/** The options with what they do not say, or say as undefined, from `defaults`. */
export function withDefaults<T extends object>(defaults: T, options: Partial<T>): T {
  const said = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...defaults, ...said };
}
