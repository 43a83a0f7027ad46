/** Choosing the next token from the logits. */
import { OnefetError } from '../error.ts';
import type { StreamKey } from '../random.ts';
import { uniform } from '../random.ts';

export interface SampleOptions {
  /** 0 is greedy; 1 samples the model's own distribution. */
  readonly temperature: number;
  /** Sample among the fewest most likely tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number;
}

/** The most likely token; the lowest id among equals. */
export function greedyToken(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

/** Throws OnefetError('usage') unless temperature >= 0 and 0 < topP <= 1. */
function checkSampleOptions({ temperature, topP }: SampleOptions): void {
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new OnefetError(
      'usage',
      'TEMPERATURE_RANGE',
      `temperature ${temperature} is not a number from 0 up`,
    );
  }
  if (!(topP > 0 && topP <= 1)) {
    throw new OnefetError('usage', 'TOP_P_RANGE', `top-p ${topP} is outside 0 < p <= 1`);
  }
}

/**
 * Draws a token by temperature and nucleus (top-p) sampling (Holtzman et al. 2019, arXiv:1904.09751). The draw is
 * number `index` of the stream `key`: the same for the same seed and position whatever happened before.
 */
export function sampleToken(
  logits: Float32Array,
  options: SampleOptions,
  key: StreamKey,
  index: number,
): number {
  checkSampleOptions(options);
  if (options.temperature === 0) return greedyToken(logits);
  const largest = logits[greedyToken(logits)];
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / options.temperature));
  // Ids by falling weight; the lower id first among equals, so that the order is defined.
  const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a] || a - b);
  let total = 0;
  for (const weight of weights) total += weight;
  let kept = 0;
  let count = 0;
  while (count < order.length && kept < options.topP * total) kept += weights[order[count++]];
  let remaining = uniform(key, index) * kept;
  for (let i = 0; i < count; i++) {
    remaining -= weights[order[i]];
    if (remaining < 0) return order[i];
  }
  return order[count - 1];
}
