/**
 * Points against the reference point: the paired difference per prediction, chip by chip (the same seed draws the same
 * numbers in both) and window by window, with the bootstrap of a run over what there are several of (bootstrap.ts). All points of a
 * metric are one family of tests: p values are adjusted by Holm (1979, Scandinavian Journal of Statistics 6).
 */
import { bootstrap, meanPerPrediction } from '../experiment/bootstrap.ts';
import { mcnemarP } from '../experiment/statistics.ts';
import type { AccuracyOutcome } from './outcome.ts';
import type { TaskModule } from './task.ts';

/** Two-sided p values reach down to 2 / 4001 for many units, 0.002 for 30 and 0.04 for five. */
export const COMPARISON_RESAMPLES = 4000;
/** Fewer chips and windows than this have too few resamples that differ for a p value. */
export const FEWEST_UNITS = 5;

export type Covers = 'chips' | 'text' | 'text and chips';

export interface Comparison {
  readonly metric: string;
  /** This point less the reference. */
  readonly difference: number;
  readonly ci95: readonly [number, number] | null;
  /** What the interval speaks of; null without one. */
  readonly covers: Covers | null;
  /** Two-sided; null with fewer than FEWEST_UNITS of what is resampled. */
  readonly p: number | null;
  readonly pHolm: number | null;
  /** McNemar's exact test of the first two chips of one seed; null where units are not right or wrong. */
  readonly mcnemarP: number | null;
}

/** What of a point is compared. */
export type Comparable = Pick<AccuracyOutcome, 'point' | 'textKey' | 'units' | 'chipsDiffer'>;

/** Compares points with the reference, by number of the point; a point of another text or model has none. */
export function comparePoints(
  outcomes: readonly Comparable[],
  reference: Comparable,
  { compared, binary }: Pick<TaskModule, 'compared' | 'binary'>,
): Map<number, Comparison[]> {
  const found = new Map<number, Comparison[]>();
  for (const metric of compared) {
    const family = outcomes
      .filter((outcome) => outcome.point !== reference.point && outcome.textKey === reference.textKey)
      .flatMap((outcome) => {
        const comparison = comparePair(outcome, reference, metric, binary.includes(metric));
        return comparison ? [{ point: outcome.point, comparison }] : [];
      });
    const adjusted = holm(family.map(({ comparison }) => comparison.p));
    family.forEach(({ point, comparison }, i) => {
      found.set(point, [...(found.get(point) ?? []), { ...comparison, pHolm: adjusted[i] }]);
    });
  }
  return found;
}

function comparePair(
  outcome: Comparable,
  reference: Comparable,
  metric: string,
  binary: boolean,
): Omit<Comparison, 'pHolm'> | undefined {
  const sums = pairedDifferences(outcome, reference, metric);
  if (sums === undefined) return undefined;
  const { scored } = outcome.units;
  const exact = binary ? firstPairP(sums[0]) : null;
  const over = { chips: sums.length > 1, windows: scored.length > 1 };
  if (!over.chips && !over.windows) {
    const difference = meanPerPrediction(sums, scored);
    return { metric, difference, ci95: null, covers: null, p: null, mcnemarP: exact };
  }
  const { mean: difference, ci95, p } = bootstrap(sums, scored, over, COMPARISON_RESAMPLES);
  const covers: Covers = over.windows ? (over.chips ? 'text and chips' : 'text') : 'chips';
  const units = Math.min(
    over.chips ? sums.length : FEWEST_UNITS,
    over.windows ? scored.length : FEWEST_UNITS,
  );
  return {
    metric,
    difference,
    ci95,
    covers,
    p: units < FEWEST_UNITS ? null : p,
    mcnemarP: exact,
  };
}

/** Of differences of right (1) and wrong (0). */
function firstPairP(differences: readonly number[]): number {
  const count = (sign: number) => differences.filter((d) => d * sign > 0).length;
  return mcnemarP(count(1), count(-1));
}

/** [chip][window], for the chips that both have; one that stands for every chip is paired with each of the other's. */
function pairedDifferences(a: Comparable, b: Comparable, metric: string): number[][] | undefined {
  const [sumsA, sumsB] = [a.units.sums[metric], b.units.sums[metric]];
  if (!sumsA || !sumsB) return undefined;
  const difference = (chipA: readonly number[], chipB: readonly number[]) =>
    chipA.map((x, w) => x - chipB[w]);
  if (!a.chipsDiffer) return sumsB.map((chip) => difference(sumsA[0], chip));
  if (!b.chipsDiffer) return sumsA.map((chip) => difference(chip, sumsB[0]));
  const pairs = a.units.seeds.flatMap((seed, i) => {
    const j = b.units.seeds.indexOf(seed);
    return j < 0 ? [] : [difference(sumsA[i], sumsB[j])];
  });
  return pairs.length > 0 ? pairs : undefined;
}

/** Holm's step-down adjustment; null stays and does not count. */
export function holm(values: readonly (number | null)[]): (number | null)[] {
  const order = values.flatMap((p, i) => (p === null ? [] : [{ p, i }])).sort((a, b) => a.p - b.p);
  const adjusted: (number | null)[] = values.map(() => null);
  let largest = 0;
  order.forEach(({ p, i }, rank) => {
    largest = Math.max(largest, Math.min(1, (order.length - rank) * p));
    adjusted[i] = largest;
  });
  return adjusted;
}
