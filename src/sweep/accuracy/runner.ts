/** Runs the points of an accuracy experiment, with an estimate of the time that is left. */
import type { PlannedPoint, SweepPlan } from '../plan.ts';
import { executionOrder, type PointRunner, type SweepEstimate, type SweepHooks } from '../runner.ts';
import type { AccuracyRun } from './plan.ts';
import { runAccuracyPoint } from './point.ts';
import {
  type Estimate,
  keepRates,
  newEstimate,
  type PointWork,
  readRates,
  sharedWork,
  type Tokens,
  TYPICAL_POINT_S,
  typicalRates,
  type WorkKind,
} from './work.ts';

export function accuracyRunner(plan: SweepPlan<AccuracyRun>, hooks: SweepHooks): PointRunner<AccuracyRun> {
  const progress = newProgress(plan, hooks);
  const { stop } = plan.experiment;
  return {
    run: ({ index, settings }, { task, work, plan: open }) =>
      runAccuracyPoint(
        { index, settings, task, stop, plan: open },
        {
          ...progress.hooksOf(index),
          ...(hooks.signal ? { signal: hooks.signal } : {}),
          command: hooks.command ?? [],
        },
        (chips) => progress.added(index, { chip: chips * work.chipTokens }),
      ),
    ended: (index) => progress.ended(index),
    async close() {
      progress.keep();
    },
  };
}

interface Progress {
  hooksOf(index: number): {
    onNotice: (text: string) => void;
    onKept: () => void;
    onProgress: (done: number, total: number, label: string) => void;
    onJob: (
      job: {
        readonly variant: { readonly kind: WorkKind };
        readonly windows: readonly { readonly scoreTo: number }[];
      },
      from: string,
      seconds: number,
    ) => void;
  };
  added(index: number, tokens: Tokens): void;
  ended(index: number): void;
  keep(): void;
}

/** Work by point, and what is left of it. */
function newProgress({ points, own }: SweepPlan<AccuracyRun>, hooks: SweepHooks): Progress {
  const order = executionOrder(own);
  const works = order.map((number) => points[number].run?.work);
  const known = works.filter((work) => work !== undefined);
  const shares = sharedWork(known);
  const left = new Map<number, Record<string, number>>();
  order.forEach((number, i) => {
    const work = works[i];
    left.set(number, work ? { ...shares[known.indexOf(work)] } : {});
  });
  const ratesKey = known[0]?.ratesKey ?? '';
  const estimate = estimateOf(known, points);
  const started = performance.now();
  const notices = new Set<string>();
  let doneS = 0;
  /** The mapping of the weights has no job of its own: from the start of a run to its first other label. */
  let imageStarted: number | undefined;
  const leftTokens = (): Tokens => {
    const sum: Record<string, number> = {};
    for (const tokens of left.values())
      for (const [kind, count] of Object.entries(tokens)) sum[kind] = (sum[kind] ?? 0) + count;
    return sum;
  };
  /** Seconds from the start to the end of the last job: what has been measured, and when. */
  let measuredS = 0;
  const elapsedS = () => (performance.now() - started) / 1e3;
  const say = (label: string) => {
    const tokens = leftTokens();
    const left = estimate.left(tokens, measuredS);
    // The job in progress counts down from there.
    const leftS = left === undefined ? undefined : Math.max(1, left - (elapsedS() - measuredS));
    hooks.onProgress?.(doneS, doneS + estimate.expected(tokens), label, leftS);
  };
  const take = (index: number, kind: WorkKind, tokens: number, seconds: number) => {
    const own = left.get(index)!;
    own[kind] = Math.max(0, (own[kind] ?? 0) - tokens);
    if (seconds > 0) estimate.finished(kind, tokens, seconds);
    doneS += seconds;
    measuredS = elapsedS();
  };
  const labelOf = (index: number) => `point ${order.indexOf(index) + 1} of ${order.length}`;
  return {
    hooksOf: (index) => ({
      onNotice: (text) => {
        if (!notices.has(text)) hooks.onNotice?.(text);
        notices.add(text);
      },
      onKept: () => {},
      onProgress(_done, _total, label) {
        const image = label.startsWith('mapping');
        if (image) imageStarted ??= performance.now();
        else if (imageStarted !== undefined) {
          take(index, 'image', left.get(index)!.image ?? 0, (performance.now() - imageStarted) / 1e3);
          imageStarted = undefined;
        }
        say(`${labelOf(index)} (${points[index].label}): ${label}`);
      },
      onJob({ variant, windows }, from, seconds) {
        const tokens = windows.reduce((sum, { scoreTo }) => sum + scoreTo, 0);
        take(index, variant.kind, tokens, from === 'computed' ? seconds : 0);
        say(`${labelOf(index)} (${points[index].label})`);
      },
    }),
    added(index, tokens) {
      const own = left.get(index)!;
      for (const [kind, count] of Object.entries(tokens)) own[kind] = (own[kind] ?? 0) + count;
    },
    ended(index) {
      left.set(index, {});
      say(labelOf(index));
    },
    keep: () => keepRates(ratesKey, estimate.measured()),
  };
}

/** An estimate from what was measured here before, on top of typical ratios. */
function estimateOf(works: readonly PointWork[], points: readonly PlannedPoint<AccuracyRun>[]): Estimate {
  const [first] = works;
  if (first === undefined) return newEstimate(typicalRates(0));
  const parameters = points.find(({ run }) => run?.work === first)!.run!.parameters;
  return newEstimate({ ...typicalRates(parameters), ...readRates(first.ratesKey) });
}

/** Counts jobs, time and memory of a plan. */
export function estimateAccuracy({ points, own }: SweepPlan<AccuracyRun>): SweepEstimate {
  const runs = own.flatMap((number) => points[number].run ?? []);
  const works = runs.map(({ work }) => work);
  const estimate = estimateOf(works, points);
  const distinct = [...new Map(works.map((work) => [work.identity, work])).values()];
  return {
    points: points.length,
    ownPoints: own.length,
    refused: own.filter((number) => points[number].refused !== undefined).length,
    jobs: distinct.reduce((sum, { jobs }) => sum + jobs, 0),
    finishedJobs: distinct.reduce((sum, { finished }) => sum + finished, 0),
    seconds: sharedWork(works).reduce((sum, tokens) => sum + TYPICAL_POINT_S + estimate.expected(tokens), 0),
    memoryBytes: Math.max(0, ...runs.map(({ memoryBytes }) => memoryBytes)),
  };
}
