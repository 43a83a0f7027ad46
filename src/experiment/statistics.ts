/** Means over chips with their intervals. */
import jstat from 'jstat';
import type { Interval } from './result.ts';

/**
 * Mean and 95 % interval of the mean, Student t: mean +- t(0.975, n - 1) s / sqrt(n). Chips are independent draws of
 * the same process, so the interval speaks of the process, not of the n chips that were simulated.
 */
export function meanInterval(values: readonly number[]): Interval {
  const n = values.length;
  const mean = values.reduce((sum, x) => sum + x, 0) / n;
  if (n < 2) return { mean, ci95: null };
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (n - 1);
  const half = jstat.jStat.studentt.inv(0.975, n - 1) * Math.sqrt(variance / n);
  return { mean, ci95: [mean - half, mean + half] };
}

/** Mean and its 95 % interval, as meanInterval has it, cut to where values can be: a few of them near an end would reach beyond it. */
function meanIntervalWithin(values: readonly number[], least: number, most: number): Interval {
  const { mean, ci95 } = meanInterval(values);
  return { mean, ci95: ci95 && [Math.max(least, ci95[0]), Math.min(most, ci95[1])] };
}

/** Mean of shares and its 95 % interval within 0 to 1. */
export const meanShareInterval = (shares: readonly number[]): Interval => meanIntervalWithin(shares, 0, 1);

/** Mean of divergences and its 95 % interval, which is not below 0: no divergence is. */
export const meanDivergenceInterval = (kls: readonly number[]): Interval =>
  meanIntervalWithin(kls, 0, Infinity);

/**
 * Perplexity exp(NLL) from the NLL's mean over chips and its interval. Perplexity itself is far from normal over a few
 * chips: an interval of its values can reach below zero.
 */
export function perplexityInterval({ mean, ci95 }: Interval): Interval {
  return { mean: Math.exp(mean), ci95: ci95 && [Math.exp(ci95[0]), Math.exp(ci95[1])] };
}

/**
 * McNemar's exact test, two-sided: of the questions that just one of two gets right, each is as likely to have either; twice
 * the smaller tail of a binomial of one half, at most 1 (McNemar 1947, Psychometrika 12).
 */
export function mcnemarP(onlyFirst: number, onlySecond: number): number {
  const n = onlyFirst + onlySecond;
  return n === 0 ? 1 : Math.min(1, 2 * jstat.jStat.binomial.cdf(Math.min(onlyFirst, onlySecond), n, 0.5));
}

/** Clopper-Pearson 95 % interval of a share of `n`, from the quantiles of the beta distribution. */
export function shareInterval(count: number, n: number): [number, number] {
  const { inv } = jstat.jStat.beta;
  return [
    count === 0 ? 0 : inv(0.025, count, n - count + 1),
    count === n ? 1 : inv(0.975, count + 1, n - count),
  ];
}
