/**
 * Keys that an experiment may set and vary: those of a run (model, text, chips, ...) and every key of a design by its path
 * (`adc.bits`), each with its zod schema. One namespace, as run and design share no name.
 */
import { z } from 'zod';
import { ENGINE_CHOICES, PRECISION_CHOICES } from '../engine/names.ts';
import { DESIGN_DEFAULTS, type RunOptions, TASK_KINDS } from '../experiment/options.ts';
import { type LoadedDesign, loadDesign } from '../fabric/design.ts';
import { FABRIC_WORDS, fabricModule } from '../fabric/registry.ts';

/** Settings of a point by key. */
export type Settings = Readonly<Record<string, unknown>>;

const path = z.string().min(1);

/** Options of a run that an experiment may set; the others are those of a command. */
type RunOption = Exclude<
  keyof RunOptions,
  'settings' | 'overrides' | 'threads' | 'out' | 'calibration' | 'adapters'
>;

/** Keys of a run, without defaults: those are in plan.ts. */
export const RUN_KEYS = {
  /** A name below experiments/designs, or a file. */
  design: path,
  model: path,
  text: path,
  /** Sets the converters' ranges; disjoint from `text`. */
  rangeText: path,
  /** Chip image in place of the design's own mapping. */
  image: path,
  /** `perplexity`, or a file of questions with choices that are scored in place of `text`. */
  task: path,
  taskKind: z.enum(TASK_KINDS),
  /** Only the first questions of a task. */
  maxQuestions: z
    .int()
    .min(1)
    .max(2 ** 30),
  chips: z.int().min(1).max(100_000),
  seed: z
    .int()
    .min(0)
    .max(2 ** 48),
  contextTokens: z
    .int()
    .min(4)
    .max(2 ** 20),
  /** Score only the first windows. */
  maxWindows: z
    .int()
    .min(1)
    .max(2 ** 30),
  scoring: z.enum(['window', 'all']),
  engine: z.enum(ENGINE_CHOICES),
  /** How finely chips are computed. */
  precision: z.enum(PRECISION_CHOICES),
  /** A chip passes with at most this many times the digital perplexity. */
  yieldRatio: z.number().min(1).max(1000),
  /** Context at which the projection to the 8B is priced. */
  costContextTokens: z
    .int()
    .min(1)
    .max(2 ** 24),
  /** A difference of NLL of which each run says how much text would tell it from nothing. */
  resolveNats: z.number().min(1e-5).max(10),
  /** Chips on which each source of error also runs alone. */
  attributionChips: z.int().min(0).max(100_000),
} as const satisfies Record<RunOption, z.ZodType>;

export type RunKey = keyof typeof RUN_KEYS;

export const isRunKey = (key: string): key is RunKey => Object.hasOwn(RUN_KEYS, key);

/** What a design is known by, not what it is: experiments say these in a design of their own. */
const NOT_VARIED = new Set(['name', 'description', 'sources', 'fabric']);

interface ZodNode {
  readonly shape?: Record<string, z.ZodType>;
  readonly def: { readonly type: string; readonly innerType?: z.ZodType };
}

/** A schema without its default: a key that is not set stays so. */
function withoutDefault(schema: z.ZodType): z.ZodType {
  const { def } = schema as unknown as ZodNode;
  const wraps = def.type === 'default' || def.type === 'prefault' || def.type === 'optional';
  return wraps && def.innerType ? withoutDefault(def.innerType) : schema;
}

function leavesOf(schema: z.ZodType, below: readonly string[]): [string, z.ZodType][] {
  const inner = withoutDefault(schema);
  const { shape, def } = inner as unknown as ZodNode;
  // What a fabric fills in itself cannot be said.
  if (def.type === 'pipe') return [];
  if (shape === undefined) return [[below.join('.'), inner]];
  return Object.entries(shape)
    .filter(([key]) => below.length > 0 || !NOT_VARIED.has(key))
    .flatMap(([key, value]) => leavesOf(value, [...below, key]));
}

/** Every key of every fabric's designs; one that two fabrics take differently takes what either does. */
function designKeys(): Record<string, z.ZodType> {
  const schemas = new Map<string, z.ZodType[]>();
  for (const word of FABRIC_WORDS) {
    for (const [key, leaf] of leavesOf(fabricModule(word, 'an experiment').schema, [])) {
      const known = schemas.get(key) ?? [];
      const text = JSON.stringify(z.toJSONSchema(leaf, { io: 'input' }));
      if (!known.some((other) => JSON.stringify(z.toJSONSchema(other, { io: 'input' })) === text))
        known.push(leaf);
      schemas.set(key, known);
    }
  }
  return Object.fromEntries(
    [...schemas].map(([key, [first, ...others]]) => [
      key,
      others.length === 0 ? first : z.union([first, ...others]),
    ]),
  );
}

/** All keys of an experiment about accuracy. */
export const ACCURACY_KEYS: Readonly<Record<string, z.ZodType>> = { ...RUN_KEYS, ...designKeys() };

/** Settings of a point as a person reads them: "adc.bits=6, tile.rows=64". */
export const settingsText = (settings: Settings): string =>
  Object.entries(settings)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');

/** The design of settings of run and design together. Errors: those of loadDesign. */
export function loadDesignOf(all: Settings): LoadedDesign {
  const overrides = Object.fromEntries(Object.entries(all).filter(([key]) => !isRunKey(key)));
  return loadDesign(String(all.design ?? DESIGN_DEFAULTS.design), [], overrides);
}
