/** A job: one variant over one window, and what came of it. The unit of scheduling, progress and resumption. */

import type { LayerActivity } from '../fabric/activity.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';
import type { ColumnCounts } from '../fabric/column-currents.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { ScoringWindow } from '../model/scoring.ts';
import type { MetricSums } from './metrics.ts';
import type { PositionRecord } from './positions.ts';
import { type Variant, variantKey } from './variant.ts';

export interface Job {
  readonly key: string;
  readonly variant: Variant;
  /** Which of its variant's jobs. */
  readonly number: number | 'all';
  /** One window of a text; the choices of some questions of a task; for `range`, all windows of the range text. */
  readonly windows: readonly ScoringWindow[];
  /** First scored position of the window in baseline.f32. */
  readonly baselineRow: number;
}

/** Squares summed over positions and elements, one entry per transformer block (block-error.ts). */
export interface BlockErrorSums {
  readonly positions: number;
  readonly signal: number[];
  readonly error: number[];
}

/** Squares summed over positions and outputs, by block and matrix of it (layer-error.ts). */
export interface LayerErrorSums {
  readonly positions: number;
  readonly signal: number[][];
  /** Of what it gives on the inputs of the digital model, and on its own. */
  readonly local: number[][];
  readonly stream: number[][];
}

/** Relative errors of the outputs of a chip, means over its matrices: as it was read, with gains, with its side path. */
export interface CorrectionErrors {
  readonly read: number;
  readonly gains: number;
  readonly side: number;
}

/** The outcome of a job. */
export interface JobResult {
  readonly key: string;
  /** Tokens that were computed. */
  readonly tokens: number;
  readonly seconds: number;
  /** Absent for `range`. */
  readonly metrics?: MetricSums;
  /** Where there are metrics: what they are the sums of. */
  readonly positions?: PositionRecord;
  /** Of a chip that was corrected. */
  readonly correction?: CorrectionErrors;
  /** Of a chip's analog layers. */
  readonly activity?: LayerActivity[];
  /** Of `range`. */
  readonly ranges?: RangeTable;
  /** Of `range`: how far columns were driven; null or absent where it was not counted. */
  readonly columns?: ColumnCounts | null;
  /** Of `range`, and of `recoded` where there is no range job. */
  readonly coding?: CodingLoss[];
  /** Of all but `range`: the residual stream behind each block against the digital model's. */
  readonly blocks?: BlockErrorSums;
  /** Of the first job of the recoded weights and of each chip: what each matrix gives against the digital model's. */
  readonly layers?: LayerErrorSums;
}

export const JOB_SCHEMA = 'onefet.job/5';

/** A finished job as results.jsonl keeps it: what it was, as data, and what came of it. */
export interface FinishedJob extends JobResult {
  readonly schema: typeof JOB_SCHEMA;
  readonly variant: Variant;
  /** Which of its variant's jobs. */
  readonly window: number | 'all';
  /** Of `digital`: what its rows of the baseline's files are known by. */
  readonly rows?: RowHashes;
}

/** SHA-256 of a job's rows of baseline.f32 and of states.f32; of the first job also of layers.f32. */
export interface RowHashes {
  readonly baselineSha256: string;
  readonly statesSha256: string;
  readonly layersSha256?: string;
}

export function finishJob(job: Job, result: JobResult, rows?: RowHashes): FinishedJob {
  return {
    schema: JOB_SCHEMA,
    variant: job.variant,
    window: job.number,
    ...result,
    ...(rows === undefined ? {} : { rows }),
  };
}

/** Names a job's storage; nothing is read back out of it. */
export function jobKey(variant: Variant, window: number | 'all'): string {
  return `${variantKey(variant)}/${window}`;
}

/** Time of a token relative to the digital model's, for progress: measured on the embedded model. */
export const RELATIVE_COST: Record<Variant['kind'], number> = {
  digital: 1,
  recoded: 1,
  range: 2,
  chip: 3,
  source: 3,
};
