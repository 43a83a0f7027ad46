/**
 * Intervals that cover the text as well as the chips: a paired bootstrap over windows (passages of documents with --score all) and
 * chips, both drawn with replacement and independently of one another (Owen 2007, Annals of Applied Statistics 1, the
 * pigeonhole bootstrap: conservative for crossed effects). Percentiles of few windows are too narrow; they are taken
 * further out, as far as Student's t would go (Hesterberg 2015, The American Statistician 69, section 5.3, `expanded
 * percentile`): for n windows at Phi(-sqrt(n / (n - 1)) t(0.975, n - 1)) and its mirror.
 */
import jstat from 'jstat';
import { bits32, streamKey } from '../random.ts';
import type { Interval } from './result.ts';

/** Enough for the ends of a 95 % interval to two digits; for four windows and fewer the ends are the farthest resamples. */
export const RESAMPLES = 2000;
const KEY = 0x626f6f74;
const { studentt, normal } = jstat.jStat;

/** What is drawn with replacement; the rest stays as it is. */
interface Resampled {
  readonly chips: boolean;
  readonly windows: boolean;
}

/**
 * The mean per prediction, sum over windows of `sums[chip][window]` over that of `scored[window]`, and its 95 % interval
 * (percentiles); null with fewer than two windows.
 */
export function bootstrapMean(
  sums: readonly (readonly number[])[],
  scored: readonly number[],
  resamples = RESAMPLES,
): Interval {
  if (scored.length < 2) return { mean: meanPerPrediction(sums, scored), ci95: null };
  const { mean, ci95 } = bootstrap(sums, scored, { chips: true, windows: true }, resamples);
  return { mean, ci95 };
}

/** The mean per prediction of all that is there. */
export function meanPerPrediction(sums: readonly (readonly number[])[], scored: readonly number[]): number {
  return meanOf(sums, scored, own, own);
}

/** A mean per prediction, and what resamples of what was drawn say of it. */
export interface Bootstrapped {
  readonly mean: number;
  readonly ci95: [number, number];
  /** Two-sided, of no difference from zero: below 0.05 where the interval leaves zero out, and the same widening. */
  readonly p: number;
}

/**
 * Resamples chips, windows or both, of which there are two or more. Tails are those of as many units as windows are drawn, or chips where only they are:
 * an interval over both is as wide as that of a run on the same sums.
 */
export function bootstrap(
  sums: readonly (readonly number[])[],
  scored: readonly number[],
  over: Resampled,
  resamples: number,
): Bootstrapped {
  const means = bootstrapMeans(sums, scored, over, resamples);
  const units = over.windows ? scored.length : sums.length;
  return {
    mean: meanPerPrediction(sums, scored),
    ci95: percentiles(means, units),
    p: twoSidedP(means, units),
  };
}

/** Means of resamples, ascending. Draws are the same for any sums of as many chips and windows: what is paired stays so. */
function bootstrapMeans(
  sums: readonly (readonly number[])[],
  scored: readonly number[],
  over: Resampled,
  resamples: number,
): Float64Array {
  const [chips, windows] = [sums.length, scored.length];
  return Float64Array.from({ length: resamples }, (_, r) => {
    const [chipKey, windowKey] = [streamKey(KEY, r, 0), streamKey(KEY, r, 1)];
    const chipOf = Array.from({ length: chips }, (_v, i) => draw(bits32(chipKey, i), chips));
    return meanOf(
      sums,
      scored,
      over.chips ? (i) => chipOf[i] : own,
      over.windows ? (i) => draw(bits32(windowKey, i), windows) : own,
    );
  }).sort();
}

/** 2.5 % and 97.5 % of ascending means of `units` that were drawn with replacement, further out as those are few. */
function percentiles(ascending: Float64Array, units: number): [number, number] {
  const tail = normal.cdf(-Math.sqrt(units / (units - 1)) * studentt.inv(0.975, units - 1), 0, 1);
  return [quantile(ascending, tail), quantile(ascending, 1 - tail)];
}

/**
 * Twice the share of resamples on the far side of zero, counted with the sample itself, as far in as `percentiles` goes out:
 * a share s stands for P(t < Phi^-1(s) / sqrt(n / (n - 1))) of n - 1 degrees of freedom.
 */
function twoSidedP(means: Float64Array, units: number): number {
  const below = means.reduce((n, mean) => n + (mean <= 0 ? 1 : 0), 0);
  const above = means.reduce((n, mean) => n + (mean >= 0 ? 1 : 0), 0);
  const share = (1 + Math.min(below, above)) / (means.length + 1);
  if (share >= 0.5) return 1;
  return 2 * studentt.cdf(normal.inv(share, 0, 1) / Math.sqrt(units / (units - 1)), units - 1);
}

const own = (i: number) => i;

function meanOf(
  sums: readonly (readonly number[])[],
  scored: readonly number[],
  chipOf: (i: number) => number,
  windowOf: (i: number) => number,
): number {
  const chips = sums.length;
  let [total, count] = [0, 0];
  for (let w = 0; w < scored.length; w++) {
    const window = windowOf(w);
    count += scored[window];
    for (let c = 0; c < chips; c++) total += sums[chipOf(c)][window] / chips;
  }
  return total / count;
}

const draw = (bits: number, count: number): number => Math.floor(((bits >>> 0) / 2 ** 32) * count);

/** Of ascending values, linear between neighbours. */
function quantile(ascending: Float64Array, share: number): number {
  const at = share * (ascending.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, ascending.length - 1);
  return ascending[low] + (at - low) * (ascending[high] - ascending[low]);
}
