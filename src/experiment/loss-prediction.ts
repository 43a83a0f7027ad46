/**
 * What errors are predicted to cost, from one law: small errors cost in proportion to their power,
 *
 *   KL = k e,     k = KL(mapped weights) / e(mapped weights)
 *
 * (Malinovskii et al. 2024, arXiv:2411.17525: linear in squared errors of the weights). The mapped weights of a run, whose error
 * and KL are both known, give k. It is read both ways:
 *
 *   predictLoss         e: error over signal power of the residual stream behind the last block. The KL that the chips, and each
 *                       source of error alone, would have, held against what they have; how far off: experiments/README.md
 *   estimatePerplexity  e: variance of a layer's outputs over their power, of the mapped weights that of the codes, weight by
 *                       weight. That of the chips follows from their KL; Llama 3.1 8B with layers so far off loses
 *                       dPPL = c e, c an entry of comparators.yaml. What outliers of a large model add is not in it, so the
 *                       estimate is rather too good.
 */
import type { Comparators } from '../cost/comparators.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';
import type { LossPrediction, PredictedLoss } from './result.ts';

/** An error and the KL that it cost, nats per prediction. */
export interface SeenLoss {
  readonly error: number;
  readonly kl: number;
}

/** Up to here KL grew in proportion; beyond, errors of a common direction cost less and others more (experiments/README.md). */
export const LARGEST_LINEAR_ERROR = 0.15;

/** k, nats; undefined where the mapped weights lose nothing: there is nothing to take it from. */
export function klPerError({ error, kl }: SeenLoss): number | undefined {
  return error > 0 && kl > 0 ? kl / error : undefined;
}

/** Predicts the KL of chips and sources from the errors of their streams; null where there is no k. */
export function predictLoss(
  recoded: SeenLoss,
  chips: SeenLoss,
  sources: readonly (SeenLoss & { readonly source: string })[],
): LossPrediction | null {
  const slope = klPerError(recoded);
  if (slope === undefined) return null;
  const predict = ({ error, kl }: SeenLoss): PredictedLoss => {
    const predictedKl = slope * error;
    return {
      ...{ error, predictedKl, kl },
      measuredOverPredicted: predictedKl > 0 ? kl / predictedKl : null,
      linear: error <= LARGEST_LINEAR_ERROR,
    };
  };
  return {
    kind: 'prediction',
    klPerError: slope,
    recodedError: recoded.error,
    chips: predict(chips),
    sources: sources.map((one) => ({ source: one.source, ...predict(one) })),
  };
}

export interface PerplexityEstimate {
  readonly model: string;
  readonly digital: number;
  /** Relative variance of the outputs of a layer. */
  readonly variance: number;
  readonly low: number;
  readonly likely: number;
  readonly high: number;
  /** Errors so large that the law is an extrapolation. */
  readonly extrapolated: boolean;
  readonly source: string;
}

export interface SeenErrors {
  /** null: the weights are those of the file. */
  readonly codingVariance: number | null;
  readonly recodedKl: number;
  readonly kl: number;
}

/** Estimates the perplexity of Llama 3.1 8B; undefined where nothing was coded or the codes lose nothing. */
export function estimatePerplexity(
  { codingVariance, recodedKl, kl }: SeenErrors,
  { accuracy, law }: Pick<Comparators, 'accuracy' | 'law'>,
): PerplexityEstimate | undefined {
  const slope = codingVariance === null ? undefined : klPerError({ error: codingVariance, kl: recodedKl });
  const { low, value, high, largestVariance, model, source } = law;
  const digital = accuracy.find((one) => one.model === model && one.name === 'F16')?.value;
  if (slope === undefined || digital === undefined) return undefined;
  const variance = kl / slope;
  return {
    model,
    digital,
    variance,
    low: digital + low * variance,
    likely: digital + value * variance,
    high: digital + high * variance,
    extrapolated: variance > largestVariance,
    source,
  };
}

/** Mean of 10^(-SNR/10) over the matrices by their weights. */
export function codingVariance(coding: readonly CodingLoss[]): number | null {
  let [sum, weights] = [0, 0];
  for (const { outputs, inputs, codingSnrDb } of coding) {
    if (codingSnrDb !== null) sum += outputs * inputs * 10 ** (-codingSnrDb / 10);
    weights += outputs * inputs;
  }
  return weights === 0 ? null : sum / weights;
}
