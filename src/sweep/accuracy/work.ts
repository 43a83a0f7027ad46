/**
 * The work of a sweep and how long it takes. Work is counted in tokens by kind of job; how long a token of each kind takes is
 * measured while it goes, so that the estimate follows the machine: before the first job of a kind ends, its ratio to the
 * others is that of earlier sweeps of the same model here, or a typical one.
 */
import { join } from 'node:path';
import { baselineKey, keptPasses, rangesKey } from '../../experiment/cache.ts';
import { type Job, RELATIVE_COST } from '../../experiment/job.ts';
import type { RunPlan } from '../../experiment/plan.ts';
import { readFinished } from '../../experiment/store.ts';
import type { Variant } from '../../experiment/variant.ts';
import { keepFile, readTextFile, sha256 } from '../../files.ts';

/** `image`: the mapping of the weights, in tokens of its calibration text. */
export type WorkKind = Variant['kind'] | 'image';

/** Tokens by kind. */
export type Tokens = Readonly<Partial<Record<WorkKind, number>>>;

export interface PointWork {
  /** What decides the result: the run, and what is asked of it. */
  readonly identity: string;
  readonly jobs: number;
  readonly finished: number;
  /** To be computed, the passes that a cache or an earlier point has left out. */
  readonly left: Tokens;
  readonly passes: { readonly baseline: string; readonly ranges: string | undefined };
  readonly image: string | undefined;
  /** Of one more chip. */
  readonly chipTokens: number;
  /** By which times are known from one sweep to the next. */
  readonly ratesKey: string;
}

/** Counts what a run has left to do. */
export function pointWork(plan: RunPlan): PointWork {
  const finished = readFinished(plan.folder);
  const all = [...plan.digitalJobs, ...(plan.rangeJob ? [plan.rangeJob] : []), ...plan.dependentJobs];
  const kept = keptPasses(plan);
  const missing = all.filter(({ key, variant }) => {
    if (finished.has(key)) return false;
    if (variant.kind === 'digital') return !kept.baseline;
    return variant.kind !== 'range' || !kept.ranges;
  });
  const { chips, attributionChips, yieldRatio, costContextTokens, resolveNats, threads } = plan.options;
  const asked = { chips, attributionChips, yieldRatio, costContextTokens, resolveNats };
  const image = plan.mapping?.plan;
  const left = tokensOf(missing);
  return {
    identity: sha256(JSON.stringify([{ ...plan.manifest, overrides: undefined }, asked])),
    jobs: all.length,
    finished: all.length - missing.length,
    left: image && missing.length > 0 ? { ...left, image: image.text.tokens } : left,
    passes: { baseline: baselineKey(plan), ranges: plan.rangeJob && rangesKey(plan) },
    image: image?.key,
    chipTokens: plan.digitalJobs.reduce((sum, job) => sum + jobTokens(job), 0),
    ratesKey: `${plan.inputs.model.sha256.slice(0, 16)} ${plan.engine} ${threads}`,
  };
}

const jobTokens = (job: Job): number => job.windows.reduce((sum, { scoreTo }) => sum + scoreTo, 0);

function tokensOf(jobs: readonly Job[]): Tokens {
  const tokens: Partial<Record<WorkKind, number>> = {};
  for (const job of jobs) {
    tokens[job.variant.kind] = (tokens[job.variant.kind] ?? 0) + jobTokens(job);
  }
  return tokens;
}

/** What the points have left to do in their order: a pass or an image that two share is done once. */
export function sharedWork(works: readonly PointWork[]): Tokens[] {
  const seen = new Set<string>();
  const first = (key: string | undefined): boolean => {
    if (key === undefined || seen.has(key)) return false;
    seen.add(key);
    return true;
  };
  return works.map(({ identity, left, passes, image }) => {
    if (!first(identity)) return {};
    const { digital, range, image: mapped, ...rest } = left;
    return {
      ...rest,
      ...(digital && first(passes.baseline) ? { digital } : {}),
      ...(range && first(passes.ranges) ? { range } : {}),
      ...(mapped && first(image) ? { image: mapped } : {}),
    };
  });
}

/** Seconds per token by kind. */
export type Rates = Partial<Record<WorkKind, number>>;

const RATES_FILE = join('.onefet', 'cache', 'rates.json');

/** Measured in earlier sweeps on this machine; {} where there is none. */
export function readRates(key: string, path = RATES_FILE): Rates {
  try {
    const rates = (JSON.parse(readTextFile(path, 'rates')) as Record<string, Rates>)[key] ?? {};
    const usable = Object.entries(rates).filter(([, value]) => Number.isFinite(value) && value > 0);
    return Object.fromEntries(usable);
  } catch {
    return {};
  }
}

/** Keeps what was measured, for the next estimate. */
export function keepRates(key: string, rates: Rates, path = RATES_FILE): void {
  let all: Record<string, Rates> = {};
  try {
    all = JSON.parse(readTextFile(path, 'rates')) as Record<string, Rates>;
  } catch {
    // The first.
  }
  keepFile(path, `${JSON.stringify({ ...all, [key]: { ...all[key], ...rates } })}\n`);
}

/** Of the digital pass on two cores of an AMD EPYC (Zen 4), for a machine that has not been measured: s per token, s per token and parameter. */
const TYPICAL_TOKEN_S = 4e-4;
const TYPICAL_S = 1.1e-11;
/** Planning, opening and pricing a run, s. */
export const TYPICAL_POINT_S = 1;
/** A token through the mapping of the weights, in tokens of the digital pass: measured on the embedded model. */
const IMAGE_COST = 8;

/** Rates before anything was measured; `parameters` of the model. */
export function typicalRates(parameters: number): Required<Rates> {
  const digital = TYPICAL_TOKEN_S + TYPICAL_S * parameters;
  const kinds = Object.entries(RELATIVE_COST).map(([kind, cost]) => [kind, cost * digital]);
  return { ...Object.fromEntries(kinds), image: IMAGE_COST * digital } as Required<Rates>;
}

export interface Estimate {
  /** A job ended, which took `seconds` of its thread. */
  finished(kind: WorkKind, tokens: number, seconds: number): void;
  /** Wall-clock seconds that `tokens` will take, given what the work so far took; undefined before anything was measured. */
  left(tokens: Tokens, elapsedS: number): number | undefined;
  /** Wall-clock seconds by the rates alone. */
  expected(tokens: Tokens): number;
  measured(): Rates;
}

/** `prior`: rates that are believed until the first job of their kind ends. */
export function newEstimate(prior: Required<Rates>): Estimate {
  const sums = new Map<WorkKind, { tokens: number; seconds: number }>();
  const rateOf = (kind: WorkKind): number => {
    const own = sums.get(kind);
    if (own) return own.seconds / own.tokens;
    // What was not measured keeps its ratio to what was.
    let [expected, took] = [0, 0];
    for (const [other, { tokens, seconds }] of sums) {
      expected += tokens * prior[other];
      took += seconds;
    }
    return expected > 0 ? (prior[kind] * took) / expected : prior[kind];
  };
  const expected = (tokens: Tokens): number =>
    Object.entries(tokens).reduce((sum, [kind, count]) => sum + count * rateOf(kind as WorkKind), 0);
  return {
    finished(kind, tokens, seconds) {
      const own = sums.get(kind) ?? { tokens: 0, seconds: 0 };
      sums.set(kind, { tokens: own.tokens + tokens, seconds: own.seconds + seconds });
    },
    left(tokens, elapsedS) {
      const took = [...sums.values()].reduce((sum, { seconds }) => sum + seconds, 0);
      // Threads beside one another make it less than the sum of the jobs, planning and files make it more.
      return took > 0 ? (expected(tokens) * elapsedS) / took : undefined;
    },
    expected,
    measured: () =>
      Object.fromEntries([...sums].map(([kind, { tokens, seconds }]) => [kind, seconds / tokens])),
  };
}
