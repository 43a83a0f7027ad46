/**
 * What a mean hides: how KL is spread over the scored positions, how sure the share of equal top tokens is, and how NLL runs
 * along the text. From the records of positions (positions.ts).
 */
import type { RunInputs } from './inputs.ts';
import type { RunPlan } from './plan.ts';
import type { Positions } from './positions.ts';
import type { KlSpread, PositionStatistics, VariantPositions } from './result.ts';
import { shareInterval } from './statistics.ts';
import { type FinishedJobs, variantPositions } from './unit-sums.ts';

/** Half-decades from 1e-5 to 10 nats: what a reader tells apart on a log axis. */
const EDGES_NATS = Array.from({ length: 13 }, (_, i) => Number((10 ** (-5 + i / 2)).toPrecision(3)));
/** More points than this are not told apart on a page. */
const MOST_STRETCHES = 64;

export function positionStatistics(
  { inputs, chipSeeds }: Pick<RunPlan, 'inputs' | 'chipSeeds'>,
  finished: FinishedJobs,
): PositionStatistics {
  const digital = variantPositions(inputs, finished, { kind: 'digital' });
  const recoded = variantPositions(inputs, finished, { kind: 'recoded' });
  const chips = chipSeeds.map((seed) => variantPositions(inputs, finished, { kind: 'chip', seed }));
  const chipsNll = meanOver(chips.map(({ nll }) => nll));
  const ends = stretchEnds(inputs);
  return {
    positions: inputs.text.scored,
    histogramEdgesNats: [...EDGES_NATS],
    digital: { perplexityError: perplexityError(digital.nll) },
    recoded: variantStatistics([recoded], recoded.nll),
    chips: variantStatistics(chips, chipsNll),
    alongText: {
      ends,
      digitalNll: stretchMeans(digital.nll, ends),
      recodedNll: stretchMeans(recoded.nll, ends),
      chipsNll: stretchMeans(chipsNll, ends),
    },
  };
}

function variantStatistics(parts: readonly Positions[], meanNll: ArrayLike<number>): VariantPositions {
  const count = parts[0].kl.length;
  const same = parts.reduce((sum, { top1 }) => sum + top1.reduce((a, b) => a + b, 0), 0) / parts.length;
  return {
    kl: klSpread(parts.map(({ kl }) => kl)),
    top1Ci95: shareInterval(same, count),
    perplexityError: perplexityError(meanNll),
  };
}

/** Quantiles and histogram of the values of all parts together. */
export function klSpread(parts: readonly Float32Array[]): KlSpread {
  const count = parts.reduce((sum, part) => sum + part.length, 0);
  const all = new Float32Array(count);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  all.sort();
  const below = EDGES_NATS.map((edge) => countBelow(all, edge));
  return {
    median: quantile(all, 0.5),
    p90: quantile(all, 0.9),
    p99: quantile(all, 0.99),
    max: all[count - 1],
    histogram: [...below, count].map((n, i) => (n - (i === 0 ? 0 : below[i - 1])) / count),
  };
}

/** exp(mean) sqrt(variance / n): the delta method on the mean NLL, positions as independent draws; 0 with one position. */
export function perplexityError(nll: ArrayLike<number>): number {
  const n = nll.length;
  let [sum, squares] = [0, 0];
  for (let i = 0; i < n; i++) sum += nll[i];
  const mean = sum / n;
  for (let i = 0; i < n; i++) squares += (nll[i] - mean) ** 2;
  return n > 1 ? Math.exp(mean) * Math.sqrt(squares / (n - 1) / n) : 0;
}

/** Ascending values, linear between neighbours. */
function quantile(ascending: Float32Array, share: number): number {
  const at = share * (ascending.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, ascending.length - 1);
  return ascending[low] + (at - low) * (ascending[high] - ascending[low]);
}

/** How many of ascending values are below a limit. */
function countBelow(ascending: Float32Array, limit: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

function meanOver(parts: readonly Float32Array[]): Float64Array {
  const mean = new Float64Array(parts[0].length);
  for (const part of parts) for (let i = 0; i < mean.length; i++) mean[i] += part[i] / parts.length;
  return mean;
}

function stretchEnds({ text: { scored } }: RunInputs): number[] {
  const count = Math.min(MOST_STRETCHES, scored);
  return Array.from({ length: count }, (_, i) => Math.round(((i + 1) * scored) / count));
}

function stretchMeans(values: ArrayLike<number>, ends: readonly number[]): number[] {
  return ends.map((end, i) => {
    const from = i === 0 ? 0 : ends[i - 1];
    let sum = 0;
    for (let at = from; at < end; at++) sum += values[at];
    return sum / (end - from);
  });
}
