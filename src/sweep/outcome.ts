/**
 * What came of a point, as plain data: everything that tables, comparisons and reports are made of. Kept as
 * outcomes/<point>.json of the sweep's folder, so that shards of a sweep are put together from files. It holds no time and no
 * host: the same point has the same outcome wherever it ran.
 */
import { z } from 'zod';

export const OUTCOME_SCHEMA = 'onefet.point/2';

const number = z.number();
const pair = z.tuple([number, number]);
const settings = z.record(z.string(), z.unknown());

const common = {
  schema: z.literal(OUTCOME_SCHEMA),
  /** Number of the point, from 0. */
  point: z.int().min(0),
  /** What it sets beside the base. */
  settings,
};

/** Why there is no result: it cannot be (refused), or it went wrong (failed). */
const without = z.strictObject({ ...common, status: z.enum(['refused', 'failed']), reason: z.string() });

const measured = z.strictObject({
  mean: number,
  chipsCi95: pair.nullable(),
  textAndChipsCi95: pair.nullable(),
});

const costs = z.strictObject({
  shape: z.string(),
  energyPerTokenJ: number,
  /** Low and high of the constants' bands. */
  energyBandJ: pair,
  areaMm2: number,
  areaBandMm2: pair,
  tokensPerSecondPerUser: number,
  energyJ: z.record(z.string(), number),
  areaLinesMm2: z.record(z.string(), number),
});

const accuracy = z.strictObject({
  ...common,
  status: z.literal('done'),
  kind: z.literal('accuracy'),
  /** Beside the sweep's folder. */
  runFolder: z.string(),
  task: z.string(),
  design: z.strictObject({ name: z.string(), sha256: z.string() }),
  engine: z.string(),
  /** Points of the same model and windows can be compared. */
  textKey: z.string(),
  chips: z.int(),
  /** False: every chip computes the same, and one ran. */
  chipsDiffer: z.boolean(),
  windows: z.int(),
  scored: z.int(),
  digital: z.strictObject({ nll: number, perplexity: number }),
  recoded: z.strictObject({ nll: number, perplexity: number, kl: number, top1: number }),
  metrics: z.record(z.string(), measured),
  yield: z.strictObject({ perplexityRatio: number, share: number, ci95: pair.nullable() }),
  clipRate: number.nullable(),
  cost: costs,
  projection: costs,
  /** Of an experiment with a stop rule. */
  stop: z
    .strictObject({
      reached: z.boolean(),
      /** Chips that the spread so far asks for, by metric. */
      advisedChips: z.record(z.string(), z.int()),
    })
    .nullable(),
  units: z.strictObject({
    seeds: z.array(number),
    scored: z.array(number),
    /** By metric: [chip][window]. */
    sums: z.record(z.string(), z.array(z.array(number))),
  }),
});

const calibrated = z.strictObject({
  ...common,
  status: z.literal('done'),
  kind: z.literal('calibration'),
  process: z.string(),
  cell: z.string(),
  corner: z.string(),
  tempK: number,
  /** Fitted quantities by column of the table; null where the calibration has none. */
  quantities: z.record(z.string(), number.nullable()),
  /** SPICE beside the fit. */
  curves: z.array(
    z.strictObject({
      vdsV: number,
      vgsV: z.array(number),
      spiceA: z.array(number),
      fitVgsV: z.array(number),
      fitA: z.array(number),
    }),
  ),
});

export const outcomeSchema = z.union([without, accuracy, calibrated]);

export type Outcome = z.infer<typeof outcomeSchema>;
export type AccuracyOutcome = z.infer<typeof accuracy>;
export type CalibrationOutcome = z.infer<typeof calibrated>;
export type MissingOutcome = z.infer<typeof without>;
export type Costs = z.infer<typeof costs>;

export const isAccuracy = (outcome: Outcome): outcome is AccuracyOutcome =>
  outcome.status === 'done' && outcome.kind === 'accuracy';

export const isCalibration = (outcome: Outcome): outcome is CalibrationOutcome =>
  outcome.status === 'done' && outcome.kind === 'calibration';
