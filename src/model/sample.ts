/**
 * Choosing the next token from the logits, in the order of llama.cpp's samplers: repetition penalty, top-k, top-p, min-p, then
 * temperature.
 */
import { OnefetError } from '../error.ts';
import type { StreamKey } from '../random.ts';
import { uniform } from '../random.ts';

export interface SampleOptions {
  /** 0 is greedy; 1 samples the model's own distribution. */
  readonly temperature: number;
  /** Sample among the k most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Sample among the fewest most likely tokens whose probabilities reach this sum (Holtzman et al. 2019, arXiv:1904.09751); 1 keeps all. */
  readonly topP: number;
  /** Sample among tokens of at least this share of the largest probability (Nguyen et al. 2024, arXiv:2407.01082); 0 keeps all. */
  readonly minP: number;
  /**
   * Logits of the last `REPEAT_TOKENS` tokens are divided by this where they are positive and multiplied where they are not
   * (Keskar et al. 2019, arXiv:1909.05858); 1 leaves them.
   */
  readonly repeatPenalty: number;
}

/** Tokens that the repetition penalty looks back on. */
export const REPEAT_TOKENS = 64;

/** Bounds of each option, and whether the lower one is excluded. */
const BOUNDS: Readonly<
  Record<keyof SampleOptions, { low: number; high: number; above?: true; whole?: true }>
> = {
  temperature: { low: 0, high: 100 },
  topK: { low: 0, high: 2 ** 31, whole: true },
  topP: { low: 0, high: 1, above: true },
  minP: { low: 0, high: 1 },
  repeatPenalty: { low: 0, high: 100, above: true },
};

/** Throws OnefetError('usage', 'SAMPLE_RANGE') for an option outside its bounds. */
function checkSampleOptions(options: SampleOptions): void {
  for (const [name, { low, high, above, whole }] of Object.entries(BOUNDS)) {
    const value = options[name as keyof SampleOptions];
    if (value >= low && value <= high && !(above && value === low) && !(whole && !Number.isInteger(value)))
      continue;
    throw new OnefetError(
      'usage',
      'SAMPLE_RANGE',
      `${name} = ${value} is not a ${whole ? 'whole ' : ''}number ${above ? 'above' : 'from'} ${low} ${above ? 'up ' : ''}to ${high}`,
    );
  }
}

/** The most likely token; the lowest id among equals. */
export function greedyToken(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

/**
 * Draws a token behind `before`, the prompt and what was drawn so far. The draw is number `index` of the stream `key`: the same
 * for the same seed and position whatever happened before.
 */
export function sampleToken(
  logits: Float32Array,
  options: SampleOptions,
  key: StreamKey,
  index: number,
  before: ArrayLike<number> = [],
): number {
  checkSampleOptions(options);
  const penalised = penaliseRepeats(logits, before, options.repeatPenalty);
  const best = greedyToken(penalised);
  if (options.temperature === 0) return best;
  const largest = penalised[best];
  const weights = Float64Array.from(penalised, (logit) => Math.exp(logit - largest));
  // Ids by falling weight; the lower id first among equals, so that the order is defined.
  const order = Uint32Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a] || a - b);
  const kept = order.subarray(0, keptTokens(order, weights, options));
  const tempered = Float64Array.from(kept, (id) => Math.exp((penalised[id] - largest) / options.temperature));
  let remaining = uniform(key, index) * tempered.reduce((sum, weight) => sum + weight, 0);
  for (let i = 0; i < kept.length; i++) {
    remaining -= tempered[i];
    if (remaining < 0) return kept[i];
  }
  return kept[kept.length - 1];
}

/** Tokens of `order`, by falling weight, that top-k, top-p and min-p leave. */
function keptTokens(order: Uint32Array, weights: Float64Array, { topK, topP, minP }: SampleOptions): number {
  const most = topK === 0 ? order.length : Math.min(topK, order.length);
  let total = 0;
  for (let i = 0; i < most; i++) total += weights[order[i]];
  let sum = 0;
  let count = 0;
  while (count < most && sum < topP * total) sum += weights[order[count++]];
  while (count > 1 && weights[order[count - 1]] < minP * weights[order[0]]) count--;
  return count;
}

function penaliseRepeats(logits: Float32Array, before: ArrayLike<number>, penalty: number): Float32Array {
  if (penalty === 1 || before.length === 0) return logits;
  const penalised = Float32Array.from(logits);
  const last = new Set(Array.from(before).slice(-REPEAT_TOKENS));
  for (const id of last) penalised[id] *= penalised[id] > 0 ? 1 / penalty : penalty;
  return penalised;
}
