/** Finished jobs read back position by position, and their sums by unit: window, document or question. */
import { OnefetError } from '../error.ts';
import { scoredPositions } from '../model/scoring.ts';
import type { RunInputs } from './inputs.ts';
import { type FinishedJob, jobKey } from './job.ts';
import type { MetricSums } from './metrics.ts';
import { decodePositions, newPositions, type Positions } from './positions.ts';
import type { Variant } from './variant.ts';

/** Finished jobs by key. */
export type FinishedJobs = ReadonlyMap<string, FinishedJob>;

/** Error: JOB_MISSING (internal). */
export function finishedJob(finished: FinishedJobs, key: string): FinishedJob {
  const result = finished.get(key);
  if (!result) throw new OnefetError('internal', 'JOB_MISSING', `job ${key} has no result`);
  return result;
}

/** All scored positions of a variant, in the order of the inputs. */
export function variantPositions(
  { groups, text }: Pick<RunInputs, 'groups' | 'text'>,
  finished: FinishedJobs,
  variant: Variant,
): Positions {
  const all = newPositions(text.scored);
  let at = 0;
  groups.forEach((group, number) => {
    const key = jobKey(variant, number);
    const count = scoredPositions(group.flat());
    const { nll, kl, top1 } = decodePositions(finishedJob(finished, key).positions!, count, key);
    all.nll.set(nll, at);
    all.kl.set(kl, at);
    all.top1.set(top1, at);
    at += count;
  });
  return all;
}

/** Sums over the positions of each unit, in order. A job of one unit has them in double precision. */
export function unitSums(
  { groups }: Pick<RunInputs, 'groups'>,
  finished: FinishedJobs,
  variant: Variant,
): MetricSums[] {
  return groups.flatMap((units, number) => {
    const key = jobKey(variant, number);
    const { metrics, positions } = finishedJob(finished, key);
    if (units.length === 1) return [metrics!];
    const all = decodePositions(positions!, scoredPositions(units.flat()), key);
    let at = 0;
    return units.map((windows) => {
      const from = at;
      at += scoredPositions(windows);
      return {
        scored: at - from,
        nll: sumOf(all.nll, from, at),
        kl: sumOf(all.kl, from, at),
        top1: sumOf(all.top1, from, at),
      };
    });
  });
}

function sumOf(values: ArrayLike<number>, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += values[i];
  return sum;
}
