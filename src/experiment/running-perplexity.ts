/**
 * Perplexity after each window of a text, as llama.cpp's tool prints it: [1]4.8123,[2]4.7511, and so on, each over all
 * windows up to there, and the last with its standard error over positions.
 */
import { scoredPositions } from '../model/scoring.ts';
import { type FinishedJob, jobKey } from './job.ts';
import type { RunPlan } from './plan.ts';
import { perplexityError } from './position-statistics.ts';
import { decodePositions } from './positions.ts';
import type { Variant } from './variant.ts';

export interface RunningPerplexity {
  /** After each finished window from the first on. */
  readonly perplexities: readonly number[];
  /** Of the last, over positions. */
  readonly error: number;
  /** All windows are in. */
  readonly complete: boolean;
}

/** undefined before the first window is finished. */
export function runningPerplexity(
  { inputs: { groups } }: Pick<RunPlan, 'inputs'>,
  finished: ReadonlyMap<string, FinishedJob>,
  variant: Variant,
): RunningPerplexity | undefined {
  const perplexities: number[] = [];
  const nlls: number[] = [];
  let [nll, scored] = [0, 0];
  for (const [number, group] of groups.entries()) {
    const key = jobKey(variant, number);
    const done = finished.get(key);
    if (done === undefined) break;
    nll += done.metrics!.nll;
    scored += done.metrics!.scored;
    for (const value of decodePositions(done.positions!, scoredPositions(group.flat()), key).nll) {
      nlls.push(value);
    }
    perplexities.push(Math.exp(nll / scored));
  }
  if (perplexities.length === 0) return undefined;
  const complete = perplexities.length === groups.length;
  return { perplexities, error: perplexityError(nlls), complete };
}

/** "[1]4.8123,[2]4.7511  PPL = 4.7511 +/- 0.03450", with dots in front of the last where more are to come. */
export function perplexityText({ perplexities, error, complete }: RunningPerplexity): string {
  if (!complete) {
    const last = perplexities.length;
    return `...[${last}]${perplexities[last - 1].toFixed(4)} +/- ${error.toFixed(5)}`;
  }
  const each = perplexities.map((value, i) => `[${i + 1}]${value.toFixed(4)}`).join(',');
  return `${each}  PPL = ${perplexities[perplexities.length - 1].toFixed(4)} +/- ${error.toFixed(5)}`;
}
