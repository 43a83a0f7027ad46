/**
 * A prediction of the loss from the signal-to-noise ratio of the residual stream: small errors cost in proportion to their
 * power,
 *
 *   KL = k e,    e = error power / signal power behind the last block,
 *
 * with k from the mapped weights of the same run. So the chips, and each source of error alone, are predicted by what their
 * streams lose, and held against their measured KL. (Linear in squared errors, as for weights in Malinovskii et al. 2024,
 * arXiv:2411.17525.) Where it was tried, and how far it was off: experiments/README.md.
 */
import { attributionSeeds } from './attribution.ts';
import { addBlockErrors } from './block-error.ts';
import { type BlockErrorSums, jobKey } from './job.ts';
import type { RunPlan } from './plan.ts';
import type { AttributionResult, LossPrediction, PredictedLoss } from './result.ts';
import { type FinishedJobs, finishedJob } from './unit-sums.ts';
import type { Variant } from './variant.ts';

/** Up to here KL grew in proportion; beyond, errors of a common direction cost less and others more (experiments/README.md). */
export const LARGEST_LINEAR_ERROR = 0.15;

/** null where the mapped weights lose nothing: there is nothing to take k from. */
export function lossPrediction(
  plan: RunPlan,
  finished: FinishedJobs,
  recodedKl: number,
  chipsKl: number,
  attribution: readonly AttributionResult[],
): LossPrediction | null {
  const errorOf = (variants: readonly Variant[]) =>
    variants.reduce((sum, variant) => sum + lastError(plan, finished, variant), 0) / variants.length;
  const recodedError = errorOf([{ kind: 'recoded' }]);
  if (!(recodedError > 0 && recodedKl > 0)) return null;
  const klPerError = recodedKl / recodedError;
  const predict = (error: number, kl: number): PredictedLoss => {
    const predictedKl = klPerError * error;
    return {
      ...{ error, predictedKl, kl },
      measuredOverPredicted: predictedKl > 0 ? kl / predictedKl : null,
      linear: error <= LARGEST_LINEAR_ERROR,
    };
  };
  return {
    kind: 'prediction',
    klPerError,
    recodedError,
    chips: predict(errorOf(plan.chipSeeds.map((seed) => ({ kind: 'chip', seed }))), chipsKl),
    sources: attribution.map(({ source: name, kl }) => {
      const source = plan.fabric.errorSources.find((known) => known.name === name)!;
      const seeds = attributionSeeds(source, plan.chipSeeds, plan.options.attributionChips);
      const error = errorOf(seeds.map((seed) => ({ kind: 'source', source: name, seed })));
      return { source: name, ...predict(error, kl.mean) };
    }),
  };
}

/** Error over signal behind the last block, over all windows. */
function lastError({ inputs }: Pick<RunPlan, 'inputs'>, finished: FinishedJobs, variant: Variant): number {
  const parts = inputs.groups.map((_, number) => finishedJob(finished, jobKey(variant, number)).blocks!);
  const { signal, error }: BlockErrorSums = addBlockErrors(parts);
  return error[error.length - 1] / signal[signal.length - 1];
}
