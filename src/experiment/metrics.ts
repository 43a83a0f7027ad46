/** Metrics of next-token distributions at the scored positions of one window; NLL and KL in nats. */

/** Sums over scored positions, so that windows add up exactly in any order of work. */
export interface MetricSums {
  scored: number;
  nll: number;
  /** KL(digital || this). */
  kl: number;
  /** Positions at which the most likely token is the digital model's. */
  top1: number;
}

/** log softmax(logits) into out; returns the index of the largest. */
export function logSoftmax(out: Float32Array, logits: Float32Array): number {
  let largest = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[largest]) largest = i;
  const top = logits[largest];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - top);
  const logSum = top + Math.log(sum);
  for (let i = 0; i < logits.length; i++) out[i] = logits[i] - logSum;
  return largest;
}

/** sum_i p_i (ln p_i - ln q_i) from log-probabilities, never below zero by rounding. */
export function klDivergence(logP: Float32Array, logQ: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < logP.length; i++) {
    const p = Math.exp(logP[i]);
    // p = 0 contributes nothing, whatever q is.
    if (p > 0) sum += p * (logP[i] - logQ[i]);
  }
  return Math.max(0, sum);
}
