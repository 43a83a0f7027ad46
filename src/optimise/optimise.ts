/**
 * `onefet optimise`: a front of accuracy against energy, area and money. Points are chosen on one text and reported on another.
 *
 *   search (search.ts) on the text of the choice  ->  fronts  ->  the points on them, run on the reported text  ->  files
 *
 * All work is in sweeps (evaluate.ts): the same command resumes, and a finished job is never done twice.
 */
import { join } from 'node:path';
import { toCsv } from '../csv.ts';
import { OnefetError } from '../error.ts';
import { markLatest } from '../experiment/run-folder.ts';
import { makeFolder, packageVersion, writeFileAtomic } from '../files.ts';
import { takeLock } from '../lock.ts';
import { encodeResult } from '../sources.ts';
import { isRunKey, loadDesignOf, type Settings, settingsText } from '../sweep/keys.ts';
import type { AccuracyOutcome } from '../sweep/outcome.ts';
import type { SweepHooks } from '../sweep/runner.ts';
import { settingsOf } from './axes.ts';
import { type Evaluated, type Evaluator, evaluatePoints, type Prices } from './evaluate.ts';
import { MINIMISED } from './options.ts';
import type { OptimisePlan } from './plan.ts';
import {
  frontsOf,
  missedTarget,
  type OnText,
  OPTIMISE_FILE,
  OPTIMISE_SCHEMA,
  type OptimisedPoint,
  type OptimiseResult,
  optimiseRows,
  priceOf,
} from './result.ts';
import { type Candidate, type Score, searchFront } from './search.ts';

export interface Optimised {
  readonly folder: string;
  readonly result: OptimiseResult;
}

/** A point as the search saw it last. */
interface Seen {
  readonly candidate: Candidate;
  readonly settings: Settings;
  /** Of the keys that change the price alone. */
  readonly priced: Settings;
  readonly outcome: AccuracyOutcome;
  readonly prices: Prices;
}

/** Beyond so many times the wanted KL no front point is refined or reported. */
const ERROR_OF_INTEREST = 2;

/** Runs the plan and writes optimise.json and results.csv. Errors: OPTIMISE_EMPTY (usage); `interrupted` by the signal. */
export async function optimise(plan: OptimisePlan, hooks: SweepHooks = {}): Promise<Optimised> {
  const { folder } = plan;
  makeFolder(folder);
  const release = takeLock(join(folder, 'lock'), `the optimisation ${folder}`);
  try {
    const started = performance.now();
    const { seen, evaluated, refused } = await search(plan, hooks);
    if (seen.length === 0) {
      throw new OnefetError('usage', 'OPTIMISE_EMPTY', 'no point of the search can be run', {
        hint: `the first was refused: ${refused[0]?.reason ?? 'nothing was evaluated'}`,
      });
    }
    const result = await report(plan, hooks, seen, { evaluated, refused });
    const timing = { seconds: (performance.now() - started) / 1e3, command: hooks.command ?? [] };
    writeFileAtomic(join(folder, 'results.csv'), toCsv(optimiseRows(result)));
    writeFileAtomic(
      join(folder, OPTIMISE_FILE),
      encodeResult({ ...result, timing }, 'the optimisation', { kind: 'input', indent: 2 }),
    );
    markLatest(folder);
    return { folder, result };
  } finally {
    release();
  }
}

interface Searched {
  readonly seen: readonly Seen[];
  readonly evaluated: number;
  readonly refused: OptimiseResult['refused'];
}

async function search(plan: OptimisePlan, hooks: SweepHooks): Promise<Searched> {
  const { options, axes, rungs, start, selection } = plan;
  const last = new Map<string, { candidate: Candidate; settings: Settings; evaluated: Evaluated }>();
  const all = new Set<string>();
  const refused = new Map<string, string>();
  const evaluate = async (candidates: readonly Candidate[], rung: number): Promise<(Score | undefined)[]> => {
    const settings = candidates.map((one) => settingsOf(axes, one, options.base));
    for (const one of candidates) all.add(one.join());
    const { evaluated, refused: reasons } = await evaluatePoints(
      evaluator(plan, hooks, `rung ${rung + 1} of ${rungs.length}`, false),
      `optimise-rung-${rung + 1}`,
      { ...selection, ...rungs[rung] },
      settings,
    );
    return evaluated.map((one, i) => {
      if (one === undefined || one.variants.length === 0) {
        refused.set(settingsText(settings[i]), reasons[i] ?? 'it cannot be priced');
        return undefined;
      }
      if (rung === rungs.length - 1) {
        last.set(candidates[i].join(), { candidate: candidates[i], settings: settings[i], evaluated: one });
      }
      const prices = one.variants.map(({ prices }) => priceOf(options.minimise, prices));
      return { error: one.outcome.metrics.kl.mean, price: Math.min(...prices) };
    });
  };
  await searchFront(
    {
      levels: axes.map(({ levels }) => levels.length),
      start: [start],
      seed: options.seed,
      first: options.points,
      rungs: rungs.length,
      kept: options.kept,
      rounds: options.rounds,
      largestError: ERROR_OF_INTEREST * options.kl,
    },
    evaluate,
  );
  const seen = [...last.values()].flatMap(({ candidate, settings, evaluated: { outcome, variants } }) =>
    variants.map(({ settings: priced, prices }) => ({ candidate, settings, priced, outcome, prices })),
  );
  return {
    seen,
    evaluated: all.size,
    refused: [...refused].map(([settings, reason]) => ({ settings, reason })),
  };
}

function evaluator(
  { options: { threads, out }, pricedAxes }: OptimisePlan,
  hooks: SweepHooks,
  what: string,
  bands: boolean,
): Evaluator {
  const { onProgress } = hooks;
  const labelled = onProgress && {
    onProgress: (done: number, total: number, label: string, leftS: number | undefined) =>
      onProgress(done, total, `${what}: ${label}`, leftS),
  };
  return { options: { threads, out }, pricedAxes, bands, hooks: { ...hooks, ...labelled } };
}

/** Runs what is on a front, and the base's own design, on the reported text. */
async function report(
  plan: OptimisePlan,
  hooks: SweepHooks,
  seen: readonly Seen[],
  { evaluated, refused }: Omit<Searched, 'seen'>,
): Promise<OptimiseResult> {
  const { options } = plan;
  const fronts = frontsOf(
    seen.map(({ outcome, prices }) => ({ kl: outcome.metrics.kl.mean, prices })),
    MINIMISED,
  );
  const isBase = baseOf(plan, seen);
  const wanted = seen.map(
    ({ outcome }, i) =>
      isBase(i) || (fronts[i].length > 0 && outcome.metrics.kl.mean <= ERROR_OF_INTEREST * options.kl),
  );
  const points = [
    ...new Map(
      seen.flatMap((one, i) => (wanted[i] ? [[one.candidate.join(), one]] : [])) as [string, Seen][],
    ).values(),
  ];
  const { reportChips: chips, reportWindows: maxWindows } = options;
  const base = { ...plan.report, chips, ...(maxWindows === undefined ? {} : { maxWindows }) };
  const ran = await evaluatePoints(
    evaluator(plan, hooks, 'reported text', true),
    'optimise-report',
    base,
    points.map(({ settings }) => settings),
  );
  const byCandidate = new Map(points.map((one, i) => [one.candidate.join(), ran.evaluated[i]]));
  const reported = seen.map((one, i): OptimisedPoint => {
    const found = wanted[i] ? byCandidate.get(one.candidate.join()) : undefined;
    const variant = found?.variants.find(
      ({ settings }) => settingsText(settings) === settingsText(one.priced),
    );
    const settings = { ...one.settings, ...one.priced };
    return {
      settings,
      base: isBase(i),
      selection: onText(one.outcome, one.prices),
      report: found && variant ? onText(found.outcome, variant.prices) : null,
      fronts: fronts[i],
      command: commandOf({ ...base, ...settings }),
    };
  });
  const price = ({ selection }: OptimisedPoint) => priceOf(options.minimise, selection.prices);
  const sorted = reported.sort((a, b) => price(a) - price(b) || a.selection.kl.mean - b.selection.kl.mean);
  const found = sorted.findIndex(({ selection }) => selection.kl.mean <= options.kl);
  const choice = found < 0 ? null : found;
  const { selectText, text } = options;
  const missed = missedTarget({ points: sorted, choice, kl: options.kl, selectText, text });
  const [{ outcome }] = seen;
  return {
    schema: OPTIMISE_SCHEMA,
    onefet: packageVersion(),
    kl: options.kl,
    minimise: options.minimise,
    axes: [...plan.axes, ...plan.pricedAxes],
    rungs: plan.rungs,
    seed: options.seed,
    base: options.base,
    model: String(options.base.model),
    shape: outcome.projection.shape,
    ...{ selectText, text, evaluated, refused },
    points: sorted,
    choice,
    warnings: [
      ...plan.warnings,
      ...(missed ? [missed] : []),
      ...(plan.axes.length === 0 ? ['No axis changes what chips compute: only prices vary.'] : []),
    ],
  };
}

function onText({ metrics, chips, scored }: AccuracyOutcome, prices: Prices): OnText {
  const { kl, perplexity, top1 } = metrics;
  return { kl, perplexity: perplexity.mean, top1: top1.mean, chips, scored, prices };
}

/** Whether a point is the base's own design: the start, with the priced keys as the base has them. */
function baseOf({ start, options, pricedAxes }: OptimisePlan, seen: readonly Seen[]): (i: number) => boolean {
  const { design } = loadDesignOf(options.base);
  const own = (key: string) =>
    key.split('.').reduce((at: unknown, step) => (at as Record<string, unknown> | undefined)?.[step], design);
  return (i) =>
    seen[i].candidate.join() === start.join() &&
    pricedAxes.every(({ name }) => seen[i].priced[name] === own(name));
}

/** Options of `onefet run` by the key of an experiment. */
const RUN_OPTIONS: Readonly<Record<string, string>> = {
  design: '--design',
  model: '--model',
  text: '--text',
  rangeText: '--range-text',
  image: '--image',
  chips: '--chips',
  seed: '--seed',
  contextTokens: '--context',
  maxWindows: '--max-windows',
  scoring: '--score',
  engine: '--engine',
  costContextTokens: '--cost-context',
};

/** The command line of a run with these settings. */
export function commandOf(all: Settings): string {
  const quoted = (text: string) =>
    /^[\w./:=,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  const words = Object.entries(all).flatMap(([key, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (!isRunKey(key)) return ['--set', quoted(`${key}=${text}`)];
    const option = RUN_OPTIONS[key];
    return option === undefined ? [] : [option, quoted(text)];
  });
  return ['npx onefet run', ...words].join(' ');
}
