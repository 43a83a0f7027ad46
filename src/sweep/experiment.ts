/**
 * Experiment files, `experiments/<name>.yaml`: what is varied, around what, and when there are enough chips. Validated as a
 * whole: every complaint names file, line, column and key. The same schemas are published as JSON Schema for editors
 * (`onefet schema experiment`).
 */
import { z } from 'zod';
import { validate } from '../config.ts';
import { nearestName, OnefetError } from '../error.ts';
import { displayPath, findDataFile } from '../files.ts';
import {
  type PlacedComplaint,
  type PlacedYaml,
  placedError,
  readPlacedYaml,
  validatePlaced,
} from '../placed-yaml.ts';
import { CALIBRATION_KEYS } from './calibration/keys.ts';
import { ACCURACY_KEYS, type Settings, settingsText } from './keys.ts';
import {
  countPoints,
  type DesignOfExperiment,
  type DrawnDesign,
  type KeyRange,
  MOST_POINTS,
  pointsOf,
} from './points.ts';

export const EXPERIMENT_SCHEMA = 'onefet.experiment/1';
export const KINDS = ['accuracy', 'calibration'] as const;
export type Kind = (typeof KINDS)[number];

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and dashes');

const range = z.strictObject({
  from: z.number(),
  to: z.number(),
  scale: z.enum(['linear', 'log']).default('linear'),
  integer: z.boolean().default(false),
});

/** The part of the schema that depends on the keys. */
function formOf(keys: Readonly<Record<string, z.ZodType>>) {
  const of = (each: (key: z.ZodType) => z.ZodType) =>
    z.strictObject(
      Object.fromEntries(Object.entries(keys).map(([key, schema]) => [key, each(schema).optional()])),
    ) as unknown as z.ZodType<Settings>;
  const settings = of((key) => key);
  const drawn = z.strictObject({
    points: z.int().min(1).max(MOST_POINTS),
    seed: z
      .int()
      .min(0)
      .max(2 ** 48)
      .default(1),
    keys: of((key) => z.union([z.array(key).min(1), range])),
  });
  return {
    schema: z.literal(EXPERIMENT_SCHEMA),
    name,
    /** What is to be found out: a sentence or two for the report. */
    question: z.string().max(2000).default(''),
    /** What all points have in common. */
    base: settings.prefault({}),
    /** Every combination of the values. */
    grid: of((key) => z.array(key).min(1)).optional(),
    /** Points one by one. */
    list: z.array(settings).min(1).optional(),
    random: drawn.optional(),
    latinHypercube: drawn.optional(),
    /** What the point sets that the others are compared with. */
    reference: settings.optional(),
  };
}

const stopShape = z.strictObject({
  /** Half the width of the 95 % interval over chips that is enough, by metric. */
  halfWidth: z.strictObject({
    kl: z.number().positive().optional(),
    nll: z.number().positive().optional(),
    top1: z.number().positive().optional(),
  }),
  /** Chips before the first look: fewer say too little of their spread. */
  minChips: z.int().min(3).max(100_000).default(5),
  maxChips: z.int().min(3).max(100_000),
});

export type StopRule = z.infer<typeof stopShape>;

const accuracySchema = z.strictObject({
  kind: z.literal('accuracy'),
  ...formOf(ACCURACY_KEYS),
  /** Adds chips to each point until the interval is narrow enough. */
  stop: stopShape.optional(),
});

const calibrationSchema = z.strictObject({
  kind: z.literal('calibration'),
  ...formOf(CALIBRATION_KEYS),
});

const SCHEMAS = { accuracy: accuracySchema, calibration: calibrationSchema };

/** Both kinds, for editors. */
const experimentSchema = z.discriminatedUnion('kind', [accuracySchema, calibrationSchema]);

export interface Experiment {
  readonly kind: Kind;
  readonly name: string;
  readonly question: string;
  readonly base: Settings;
  /** What each point sets beside the base. */
  readonly points: readonly Settings[];
  /** Keys that points set, in the order of the file. */
  readonly varied: readonly string[];
  /** Number of the point that the others are compared with. */
  readonly reference: number | undefined;
  readonly stop: StopRule | undefined;
  /** As people know it. */
  readonly file: string;
  readonly text: string;
}

type Form = DesignOfExperiment & {
  readonly kind: Kind;
  readonly name: string;
  readonly question: string;
  readonly base: Settings;
  readonly reference?: Settings | undefined;
  readonly stop?: StopRule | undefined;
};

/** Reads an experiment of the working folder or the package. Error: CONFIG_FILE (usage) with every complaint at its place. */
export const loadExperiment = (path: string): Experiment =>
  parseExperiment(readPlacedYaml(findDataFile(path) ?? path, 'experiment'));

export function parseExperiment(file: PlacedYaml): Experiment {
  const kind = kindOf(file);
  const form = inOrderOf(validatePlaced(SCHEMAS[kind], file), file.data) as Form;
  const complaints = [...designComplaints(form), ...(form.stop ? stopComplaints(form.stop) : [])];
  if (complaints.length > 0) throw placedError(file, complaints);
  return experimentOf(form, file);
}

/** Validated data with its keys in the order of the file, which is that of a grid: validation has the schema's. */
function inOrderOf(value: unknown, source: unknown): unknown {
  if (Array.isArray(value)) return value.map((item, i) => inOrderOf(item, (source as unknown[])?.[i]));
  if (typeof value !== 'object' || value === null) return value;
  const from = (source ?? {}) as Record<string, unknown>;
  const keys = new Set([...Object.keys(from), ...Object.keys(value)]);
  return Object.fromEntries(
    [...keys]
      .filter((key) => Object.hasOwn(value, key))
      .map((key) => [key, inOrderOf((value as Record<string, unknown>)[key], from[key])]),
  );
}

/** The kind first: the other keys depend on it. */
function kindOf(file: PlacedYaml): Kind {
  const { kind } = (file.data ?? {}) as { kind?: unknown };
  const found = KINDS.find((known) => known === kind);
  if (found) return found;
  const nearest = typeof kind === 'string' ? nearestName(kind, KINDS) : undefined;
  const message = kind === undefined ? 'kind is missing' : `kind: ${JSON.stringify(kind)} is none`;
  throw placedError(file, [
    { path: ['kind'], message, hint: nearest ? `did you mean ${nearest}?` : `kinds are ${KINDS.join(', ')}` },
  ]);
}

const DESIGNS = ['grid', 'list', 'random', 'latinHypercube'] as const;

function designComplaints(form: Form): PlacedComplaint[] {
  const given = DESIGNS.filter((word) => form[word] !== undefined);
  if (given.length !== 1) {
    const what = given.length === 0 ? 'nothing is varied' : `both ${given.slice(0, 2).join(' and ')}`;
    return [
      { path: given.length > 1 ? [given[1]] : [], message: `${what}: give one of ${DESIGNS.join(', ')}` },
    ];
  }
  const count = countPoints(form);
  if (count > MOST_POINTS) {
    return [{ path: given, message: `${given[0]}: ${count} points are more than ${MOST_POINTS}` }];
  }
  const drawn = form.random ?? form.latinHypercube;
  return drawn ? drawnComplaints(form.kind, drawn, given[0]) : [];
}

/** Ranges, and the values that were drawn from them. */
function drawnComplaints(kind: Kind, drawn: DrawnDesign, word: string): PlacedComplaint[] {
  const schemas: Readonly<Record<string, z.ZodType>> = kind === 'accuracy' ? ACCURACY_KEYS : CALIBRATION_KEYS;
  const wrongRange = (range: KeyRange): string | undefined => {
    if (range.from > range.to) return `from ${range.from} is above to ${range.to}`;
    if (range.scale === 'log' && range.from <= 0) return `a log scale starts above 0, not at ${range.from}`;
    if (range.integer && !(Number.isInteger(range.from) && Number.isInteger(range.to)))
      return 'the ends of a range of whole numbers are whole';
    return undefined;
  };
  const ranges = Object.entries(drawn.keys).filter(([, from]) => !Array.isArray(from)) as [
    string,
    KeyRange,
  ][];
  const wrong = ranges.flatMap(([key, range]): PlacedComplaint[] => {
    const message = wrongRange(range);
    return message === undefined ? [] : [{ path: [word, 'keys', key], message: `${key}: ${message}` }];
  });
  if (wrong.length > 0) return wrong;
  const points = pointsOf({ [word]: drawn });
  return ranges.flatMap(([key]): PlacedComplaint[] => {
    for (const point of points) {
      const taken = schemas[key].safeParse(point[key]);
      if (taken.success) continue;
      const message = `${key}: ${point[key]} lies in the range and is none of its values: ${taken.error.issues[0].message}`;
      const whole = schemas[key].safeParse(Math.round(point[key] as number)).success;
      return [{ path: [word, 'keys', key], message, ...(whole ? { hint: 'add integer: true' } : {}) }];
    }
    return [];
  });
}

function stopComplaints({ halfWidth, minChips, maxChips }: StopRule): PlacedComplaint[] {
  const complaints: PlacedComplaint[] = [];
  if (Object.keys(halfWidth).length === 0)
    complaints.push({ path: ['stop', 'halfWidth'], message: 'stop.halfWidth names no metric' });
  if (maxChips < minChips)
    complaints.push({
      path: ['stop', 'maxChips'],
      message: `stop.maxChips ${maxChips} is below minChips ${minChips}`,
    });
  return complaints;
}

function experimentOf(form: Form, file: PlacedYaml): Experiment {
  const points = pointsOf(form);
  const varied = [...new Set(points.flatMap((point) => Object.keys(point)))];
  return {
    kind: form.kind,
    name: form.name,
    question: form.question.trim(),
    base: form.base,
    points,
    varied,
    reference: form.reference && referenceOf(form, form.reference, points, file),
    stop: form.stop,
    file: displayPath(file.where),
    text: file.text,
  };
}

/** The one point that has all of the reference's settings. */
function referenceOf(form: Form, reference: Settings, points: readonly Settings[], file: PlacedYaml): number {
  const has = (point: Settings) =>
    Object.entries(reference).every(
      ([key, value]) => JSON.stringify(point[key] ?? form.base[key]) === JSON.stringify(value),
    );
  const found = points.flatMap((point, i) => (has(point) ? [i] : []));
  if (found.length === 1) return found[0];
  throw placedError(file, [
    {
      path: ['reference'],
      message: `reference: ${found.length === 0 ? 'no point has' : `${found.length} points have`} ${settingsText(reference)}`,
      hint: 'name the varied keys of one point',
    },
  ]);
}

/**
 * The experiment of `--set key=value,value`: a grid. Errors: CONFIG_KEY, CONFIG_VALUE (usage) for a key that no design has
 * and values that it does not take.
 */
export function gridExperiment(
  keys: readonly string[],
  base: Settings,
  grid: Readonly<Record<string, readonly unknown[]>>,
): Experiment {
  for (const [key, values] of Object.entries(grid)) for (const value of values) requireValue(key, value);
  if (countPoints({ grid }) > MOST_POINTS) {
    throw new OnefetError('usage', 'SWEEP_POINTS', `--set: more than ${MOST_POINTS} points`);
  }
  return {
    kind: 'accuracy',
    name: ['set', ...keys]
      .join('-')
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .slice(0, 64),
    question: '',
    base,
    points: pointsOf({ grid }),
    varied: keys,
    reference: undefined,
    stop: undefined,
    file: '--set',
    text: '',
  };
}

/** One value of a list, with the words of a single `--set`. */
function requireValue(key: string, value: unknown): void {
  const { grid } = accuracySchema.shape;
  try {
    validate(grid.unwrap(), { [key]: [value] }, `--set ${key}=${value}`);
  } catch (error) {
    if (!(error instanceof OnefetError)) throw error;
    throw new OnefetError(error.kind, error.code, error.message.replace(`: ${key}.0: `, `: ${key}: `), {
      hint: error.hint ?? `what it means: onefet show design ${key}`,
      cause: error,
    });
  }
}

/** JSON Schema (2020-12) of experiment files. */
export function experimentJsonSchema(): object {
  const { $schema, ...rest } = z.toJSONSchema(experimentSchema, { io: 'input', reused: 'ref' }) as Record<
    string,
    unknown
  >;
  return { $schema, title: 'onefet experiment', description: EXPERIMENT_SCHEMA, ...rest };
}
