/**
 * The folder of a sweep, <out>/sweep-<name>-<hash>/:
 *   plan.json        the experiment and its points; the same from every shard; sealed with its own hash, as are
 *   outcomes/<n>.json  what came of a point, whole or not there (outcome.ts)
 *   lock-<i>-of-<n>  who works on a shard (lock.ts)
 *   sweep.json       what was found and how it was made; results.csv, results.parquet and results.jsonl one line a point; report.html
 *
 * The last line's are made of the first two alone, by whoever writes the last outcome or by `onefet merge`: shards that ran
 * anywhere come to the same as one process.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { makeFolder, readTextFile, reasonOf, writeFileAtomic } from '../files.ts';
import { decodeResult, encodeResult } from '../sources.ts';
import { type Experiment, KINDS } from './experiment.ts';
import { type Outcome, outcomeSchema } from './outcome.ts';

export const PLAN_SCHEMA = 'onefet.sweep-plan/2';

const settings = z.record(z.string(), z.unknown());

const planSchema = z.strictObject({
  schema: z.literal(PLAN_SCHEMA),
  key: z.string(),
  onefet: z.string(),
  kind: z.enum(KINDS),
  name: z.string(),
  question: z.string(),
  file: z.string(),
  text: z.string(),
  base: settings,
  varied: z.array(z.string()),
  points: z.array(settings).min(1),
  reference: z.int().nullable(),
  stop: z
    .looseObject({ halfWidth: z.record(z.string(), z.number()), minChips: z.int(), maxChips: z.int() })
    .nullable(),
});

/** What was planned, as data: all that tables need beside the outcomes. */
export type SweepDescription = z.infer<typeof planSchema>;

export function describeSweep(experiment: Experiment, key: string, version: string): SweepDescription {
  const { kind, name, question, file, text, base, varied, points, reference, stop } = experiment;
  return {
    schema: PLAN_SCHEMA,
    ...{ key, onefet: version, kind, name, question, file, text },
    base: { ...base },
    varied: [...varied],
    points: points.map((point) => ({ ...point })),
    reference: reference ?? null,
    stop: stop ? { ...stop, halfWidth: { ...stop.halfWidth } as Record<string, number> } : null,
  };
}

export function writeDescription(folder: string, description: SweepDescription): void {
  makeFolder(join(folder, 'outcomes'));
  const text = encodeResult(description, 'the plan of the sweep', { kind: 'usage', indent: 2 });
  writeFileAtomic(join(folder, 'plan.json'), text);
}

/** Errors: SWEEP_MISSING, SWEEP_INVALID (input). */
export function readDescription(folder: string): SweepDescription {
  const path = join(folder, 'plan.json');
  if (!existsSync(path)) {
    throw new OnefetError('input', 'SWEEP_MISSING', `${folder} has no plan.json`, {
      hint: 'name the folder of a sweep, as in onefet merge runs/sweep-adc-bits-0123456789ab',
    });
  }
  return readJson(path, planSchema);
}

const outcomePath = (folder: string, point: number): string =>
  join(folder, 'outcomes', `${String(point + 1).padStart(6, '0')}.json`);

export function writeOutcome(folder: string, outcome: Outcome): void {
  writeFileAtomic(outcomePath(folder, outcome.point), encodeResult(outcome, `point ${outcome.point + 1}`));
}

/** Outcomes of a folder by number of the point; an incomplete sweep has fewer than points. */
export function readOutcomes(folder: string): Map<number, Outcome> {
  const outcomes = new Map<number, Outcome>();
  const below = join(folder, 'outcomes');
  for (const name of existsSync(below) ? readdirSync(below).sort() : []) {
    if (!/^\d+\.json$/.test(name)) continue;
    const outcome = readJson(join(below, name), outcomeSchema);
    outcomes.set(outcome.point, outcome);
  }
  return outcomes;
}

/** Throws OnefetError('input', 'SWEEP_INVALID') for what is not as it was written. */
function readJson<S extends z.ZodType>(path: string, schema: S): z.output<S> {
  const hint = 'run the sweep again, of shards the one that wrote it: finished jobs are kept';
  let value: unknown;
  try {
    value = decodeResult(readTextFile(path, 'part of a sweep'));
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'SWEEP_INVALID', `${path} is not valid JSON: ${reasonOf(cause)}`, {
      cause,
      hint,
    });
  }
  if (value === undefined) {
    const message = `${path} is not what was written: its SHA-256 is missing or does not hold`;
    throw new OnefetError('input', 'SWEEP_INVALID', message, { hint });
  }
  return validate(schema, value, path, { kind: 'input', code: 'SWEEP_INVALID' });
}
