/**
 * What a run counted, kept beside its result (activity.json): enough to price its design at other shapes, contexts and
 * constants without computing a token. The shipped designs have one each below experiments/activity.
 */
import { z } from 'zod';
import { validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { readTextFile, reasonOf, sha256, toJson, writeFileAtomic } from '../files.ts';
import { ARCHITECTURES } from '../model/architecture.ts';
import type { ModelShape } from '../model/shape.ts';
import type { NamedShape } from '../model/shapes.ts';
import { decodeResult } from '../sources.ts';

export const ACTIVITY_FILE = 'activity.json';
export const ACTIVITY_SCHEMA = 'onefet.activity/2';

const number = z.number();
const nonNegative = z.number().nonnegative();

const layerSchema = z.looseObject({
  layer: z.int().min(-1),
  tensor: z.string(),
  outputs: z.int().positive(),
  inputs: z.int().positive(),
  weightBits: z.int().positive(),
  tiles: z.int().positive(),
  tileRows: z.int().positive(),
  tokens: z.int().positive(),
});

const activitySchema = z.strictObject({
  schema: z.literal(ACTIVITY_SCHEMA),
  onefet: z.string(),
  /** Arguments of the command that counted it. */
  command: z.array(z.string()),
  design: z.strictObject({
    name: z.string(),
    sha256: z.string(),
    process: z.string(),
    overrides: z.record(z.string(), z.unknown()),
    /** With every default filled in. */
    resolved: z.record(z.string(), z.unknown()),
  }),
  model: z.strictObject({
    name: z.string(),
    file: z.string(),
    parameters: number,
    synthetic: z.boolean(),
    /** The architecture by its name. */
    shape: z.looseObject({ architecture: z.string() }),
  }),
  /** What was seen of the accuracy; perplexities say nothing where the weights are synthetic. */
  accuracy: z.strictObject({
    predictions: z.int().positive(),
    chips: z.int().positive(),
    digitalPerplexity: number.positive(),
    perplexity: number.positive(),
    /** Of the mapped weights alone. */
    recodedKl: nonNegative,
    kl: nonNegative,
    top1: z.number().min(0).max(1),
    /** Error of the codes over the weights, squares summed over the matrices by their weights; null: none were coded. */
    codingVariance: nonNegative.nullable(),
  }),
  mapping: z
    .strictObject({
      centred: z.boolean(),
      rotatedOnline: z.boolean(),
      residualRotated: z.boolean(),
      side: nonNegative,
      principal: nonNegative,
    })
    .nullable(),
  ranges: z.record(z.string(), z.array(z.array(number))),
  layers: z.array(layerSchema),
});

export type StoredActivity = z.infer<typeof activitySchema>;

/** Writes the file: a line for each layer, and the SHA-256 of it all as sources.ts has it. */
export function writeActivity(path: string, activity: StoredActivity): void {
  const { layers, ...rest } = activity;
  const seal = sha256(toJson({ ...rest, layers }, 'the activity', 'internal'));
  const head = toJson(rest, 'the activity', 'internal', 1).replace(/\n}$/, '');
  const lines = layers.map((layer) => `  ${toJson(layer, 'the activity', 'internal')}`);
  writeFileAtomic(path, `${head},\n "layers": [\n${lines.join(',\n')}\n ],\n "sha256": "${seal}"\n}\n`);
}

/** Reads the file. Errors: ACTIVITY_INVALID (input). */
export function readActivity(path: string): StoredActivity {
  let value: unknown;
  try {
    value = decodeResult(readTextFile(path, 'activity'));
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'ACTIVITY_INVALID', `${path} is not valid JSON: ${reasonOf(cause)}`, {
      cause,
    });
  }
  if (value === undefined) {
    const message = `${path} is not what was written: its SHA-256 is missing or does not hold`;
    throw new OnefetError('input', 'ACTIVITY_INVALID', message, { hint: "give the run's command again" });
  }
  return validate(activitySchema, value, path, { kind: 'input', code: 'ACTIVITY_INVALID' });
}

/** The shape of the model that was run. Errors: ACTIVITY_INVALID for an architecture that there is not. */
export function shapeOfActivity({ model }: StoredActivity, path: string): NamedShape {
  const { architecture: name, ...rest } = model.shape;
  const architecture = ARCHITECTURES.get(name);
  if (architecture === undefined) {
    throw new OnefetError('input', 'ACTIVITY_INVALID', `${path}: no architecture "${name}"`);
  }
  return {
    ...(rest as unknown as ModelShape),
    biases: (rest.biases as string[]) ?? [],
    architecture,
    name: model.name,
  };
}
