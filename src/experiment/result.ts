/**
 * The result of `onefet run`: what `--json` prints, the run folder keeps and the report shows. Versioned by
 * `schema`; units in the key names; NLL and KL in nats per token.
 */

import type { CostReport } from '../cost/report.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';
import type { ColumnCounts } from '../fabric/column-currents.ts';
import type { CorrectionErrors } from './job.ts';
import type { MappingReport } from './mapping-report.ts';
import type { SampleSize } from './sample-size.ts';

export const RESULT_SCHEMA = 'onefet.run/7';

export interface Accuracy {
  nll: number;
  perplexity: number;
  /** KL(digital || this), mean over the scored positions. */
  kl: number;
  /** Share of scored positions at which the most likely token is the digital model's. */
  top1: number;
}

export interface Interval {
  mean: number;
  /**
   * 95 % interval of the mean over chips on this text, Student t; null with fewer than two chips. It says nothing about
   * other texts. Of a perplexity: of the NLL, and `mean` is exp of the NLL's mean.
   */
  ci95: [number, number] | null;
}

/**
 * What `summary` would be on other texts of the kind: 95 % intervals of a bootstrap over windows (documents with
 * --score all) x chips; null where there is one window.
 */
export interface TextIntervals {
  windows: number;
  chips: number;
  resamples: number;
  nll: Interval;
  perplexity: Interval;
  kl: Interval;
  top1: Interval;
  /** NLL of the chips less that of the digital model on the same windows. */
  nllDifference: Interval;
  /** What would tell a difference of so many nats from nothing, by the spread of `nllDifference`; null with one window. */
  resolve: SampleSize | null;
}

/** Of KL(digital || this) over positions, nats; of chips, over the positions of all of them. */
export interface KlSpread {
  median: number;
  p90: number;
  p99: number;
  max: number;
  /** Share of the positions below each of `histogramEdgesNats` and above the one before; the last is above all. */
  histogram: number[];
}

export interface VariantPositions {
  kl: KlSpread;
  /**
   * 95 % interval of the share of positions with the digital model's top token (Clopper and Pearson, over the positions as
   * independent draws); of chips, of their mean, over the positions of one of them.
   */
  top1Ci95: [number, number];
  /** Standard error of the perplexity over positions, as llama.cpp prints it behind +/-; of chips, of their mean NLL. */
  perplexityError: number;
}

export interface PositionStatistics {
  positions: number;
  histogramEdgesNats: number[];
  digital: { perplexityError: number };
  recoded: VariantPositions;
  chips: VariantPositions;
  /** Mean NLL of consecutive stretches of the scored positions, nats; chips: mean over chips. */
  alongText: {
    /** Positions up to the end of each stretch. */
    ends: number[];
    digitalNll: number[];
    recodedNll: number[];
    chipsNll: number[];
  };
}

export interface ChipResult extends Accuracy {
  seed: number;
  /** Share of ADC conversions that clipped; null for a fabric without converters. */
  clipRate: number | null;
  /** null where it ran on the model's image as it is. */
  correction: CorrectionErrors | null;
}

/** One source of error alone: means over chips with their intervals. */
export interface AttributionResult {
  source: string;
  description: string;
  /** Chips that ran. */
  chips: number;
  /** Nothing is drawn: one chip ran, and its value is that of every chip. */
  sameOnEveryChip: boolean;
  /** kl less that of the recoded weights alone: what this source adds to the coding loss. */
  excessKl: Interval;
  kl: Interval;
  nll: Interval;
  perplexity: Interval;
  top1: Interval;
}

/** Signal-to-noise ratio of the residual stream behind each block against the digital model's, dB. */
export interface BlockSnr {
  /** Positions over which the squares were summed. */
  positions: number;
  /** null where nothing differs. */
  recodedDb: (number | null)[];
  chipDb: (Interval | null)[];
}

/** Signal-to-noise ratio of what a matrix gives against the digital model's, dB; null where nothing differs. */
export interface MatrixSnr {
  /** On the inputs that the digital model's matrix reads: its own error alone. */
  localDb: number | null;
  /** On what the matrices before it made: with all of their errors. */
  streamDb: number | null;
}

/** Where chips are worst: the matrix, and the layer by the mean of its matrices' errors over signals. */
export interface LowestSnr {
  matrix: { layer: number; tensor: string; snrDb: number };
  layer: { layer: number; snrDb: number };
}

/** See layer-error.ts. */
export interface LayerSnr {
  /** Positions over which the squares were summed: the last scored ones of the first job (a window, a document, some questions). */
  positions: number;
  /** Of the blocks, in the order of the data flow; chips: energies of all of them. Without those that give nothing. */
  matrices: { layer: number; tensor: string; recoded: MatrixSnr; chips: MatrixSnr }[];
  /** Of the chips; null where nothing differs. */
  lowest: { local: LowestSnr | null; stream: LowestSnr | null };
}

/** Means over questions, and over chips where there are several, with 95 % intervals over questions x chips. */
export interface TaskAccuracy {
  /** Share of the questions of which the likeliest choice is right. */
  acc: Interval;
  /** The same by likelihood per byte of the choice. */
  accNorm: Interval;
  /** -ln likelihood of the right choice, nats per question. */
  answerNll: Interval;
}

/** Differences question by question, on each chip. */
export type TaskDifference = TaskAccuracy;

/** Questions that just one of two gets right, and the two-sided p of McNemar's exact test. */
export interface Discordance {
  onlyDigital: number;
  onlyThis: number;
  p: number;
}

export interface TaskResult {
  file: string;
  /** mcq, completion or blimp. */
  kind: string;
  questions: number;
  /** Share that guessing gets right. */
  chance: number;
  /** Choices whose context lost tokens from the left to fit the window. */
  cut: number;
  digital: TaskAccuracy;
  recoded: TaskAccuracy;
  chips: TaskAccuracy;
  eachChip: { seed: number; acc: number; accNorm: number; answerNll: number; mcnemar: Discordance }[];
  recodedLessDigital: TaskDifference & { mcnemar: Discordance };
  chipsLessDigital: TaskDifference;
}

export interface PredictedLoss {
  /** Error over signal of the residual stream behind the last block, power, mean over chips. */
  error: number;
  predictedKl: number;
  /** What was measured. */
  kl: number;
  /** null where the prediction is 0. */
  measuredOverPredicted: number | null;
  /** The error lies in the range in which proportion was found to hold. */
  linear: boolean;
}

/** KL in proportion to the stream's error, with the constant of the mapped weights: loss-prediction.ts. */
export interface LossPrediction {
  kind: 'prediction';
  /** Nats per unit of error over signal, from the mapped weights. */
  klPerError: number;
  recodedError: number;
  chips: PredictedLoss;
  sources: ({ source: string } & PredictedLoss)[];
}

export interface RunResult {
  schema: typeof RESULT_SCHEMA;
  model: {
    file: string;
    sha256: string;
    name: string;
    architecture: string;
    parameters: number;
    fileType: string;
    synthetic: boolean;
  };
  design: {
    name: string;
    sha256: string;
    process: string;
    /** Changes to the design's file, by key. */
    overrides: Record<string, unknown>;
    /** With every default filled in. */
    resolved: Record<string, unknown>;
  };
  fabric: {
    /** Word of the design: `log-domain`, ... */
    kind: string;
    /** False: nothing is drawn, and one chip ran in place of all. */
    chipsDiffer: boolean;
    /** Name of what a chip loses beyond the coding of its weights. */
    loss: string;
  };
  text: {
    file: string;
    sha256: string;
    /** Tokens in the text, and positions that were scored. */
    tokens: number;
    scored: number;
    /** `choices`: of the questions of a task; scored are the tokens of all choices. */
    scoring: 'window' | 'all' | 'choices';
    contextTokens: number;
    /** The text that set the converters' ranges; null for a fabric without converters. */
    rangeFile: string | null;
    rangeTokens: number;
  };
  seed: number;
  digital: { nll: number; perplexity: number };
  recoded: Accuracy;
  chips: ChipResult[];
  summary: { nll: Interval; perplexity: Interval; kl: Interval; top1: Interval };
  overText: TextIntervals;
  /** Where questions with choices were scored; null for a text. */
  task: TaskResult | null;
  /** Spread over the scored positions. */
  positions: PositionStatistics;
  /** Share of chips whose perplexity is at most `perplexityRatio` times the digital model's. */
  yield: {
    perplexityRatio: number;
    share: number;
    /** 95 % interval of the share, Clopper and Pearson (1934); null where every chip is the same. */
    ci95: [number, number] | null;
  };
  /** Each source of error alone on the first chips, all others off: what limits the accuracy. */
  attribution: AttributionResult[];
  coding: CodingLoss[];
  /** Mapping of the weights: of the chip image; null where they were rounded on the fly. */
  mapping: MappingReport | null;
  /** null: jobs of this folder were done before it was measured. */
  blocks: BlockSnr | null;
  layerSnr: LayerSnr;
  /** null where the mapped weights lose nothing. */
  prediction: LossPrediction | null;
  /** Columns of the nominal chip on the range text by |value| over full scale, bins of column-currents.ts; null without. */
  columns: ColumnCounts | null;
  /** Of the cell; null for a fabric without one. */
  calibration: {
    process: string;
    cell: string;
    sha256: string;
    /** Of the separable response; with several weight formats the largest of theirs. */
    rank: number;
    /** Largest |residual| of the separable response, as a share of full scale. */
    separableResidual: number;
    driver: string;
  } | null;
  /** The circuit beside the cell that a fabric rests on (selector, mask ROM); absent without one. */
  circuit?: { process: string; circuit: string; sha256: string };
  energy: { perTokenJ: number; breakdownJ: Record<string, number> };
  area: { mm2: number; breakdownMm2: Record<string, number> };
  throughput: { tokensPerSecondPerUser: number };
  /** Every line of the three above with formula, source and tag, for the model that ran. */
  cost: CostReport;
  /** Of the run that computed the chips; a command that finds them finished keeps it. */
  emulation: {
    /** Of the chips; 0 where none was computed. */
    tokensPerSecond: number;
    seconds: number;
    peakRssBytes: number;
    /** Backend that ran: wasm, scalar or reference; and how finely it computed the chips: fast or exact. */
    engine: string;
    precision: string;
    threads: number;
    command: string[];
    /** When it ended, UTC. */
    date: string;
    cpu: string;
    /** Of the checkout, "+" with changes; null where the program was installed from a package. */
    commit: string | null;
  };
  /** The same cost, scaled from the activity of this run to the Llama 3.1 8B shape. */
  projection: CostReport;
  verdict: string[];
  /** Warnings to read before trusting a number above. */
  warnings: string[];
  /** ngspice: of the calibration; null without one. */
  provenance: { onefet: string; node: string; ngspice: string | null };
}
