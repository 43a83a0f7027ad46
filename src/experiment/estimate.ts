/**
 * What errors would do to the perplexity of Llama 3.1 8B, where another model was run: a band, from how much the layers'
 * outputs are off.
 *
 *   sigma^2 = coding variance x KL(chip) / KL(codes alone)      dPPL = c sigma^2
 *
 * The first: both KL are quadratic in small errors, and that of the codes alone is known as a variance, weight by weight. The
 * second: the linearity theorem (Malinovskii et al., arXiv 2411.17525), whose factor is an entry of comparators.yaml. What
 * outliers of a large model add is not in it, so the estimate is rather too good.
 */
import type { Comparators } from '../cost/comparators.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';

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

/** Estimates the perplexity; undefined where nothing was coded or the codes lose nothing. */
export function estimatePerplexity(
  { codingVariance, recodedKl, kl }: SeenErrors,
  { accuracy, law }: Pick<Comparators, 'accuracy' | 'law'>,
): PerplexityEstimate | undefined {
  if (codingVariance === null || !(recodedKl > 0)) return undefined;
  const { low, value, high, largestVariance, model, source } = law;
  const digital = accuracy.find((one) => one.model === model && one.name === 'F16')?.value;
  if (digital === undefined) return undefined;
  const variance = (codingVariance * kl) / recodedKl;
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
