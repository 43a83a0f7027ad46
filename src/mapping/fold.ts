/**
 * Per-input factors that cost nothing at run time.
 *
 *   norm gains   the gain g of an RMSNorm moves into the matrices that read it: W_nj <- W_nj g_j, a_j <- a_j / g_j
 *   loudness     static scales f_j = (rms(a_j - mu_j) / geometric mean)^p moved the other way: W_nj <- W_nj f_j,
 *                a_j <- a_j / f_j (Xiao et al. 2022, SmoothQuant, arXiv:2211.10438, with their alpha = p)
 *
 * Both leave every product a_j w_nj alone, so the error of mismatched cells does not change, but the input code then
 * spends its levels evenly and the scale search sees weights whose size says how much they matter. What is divided out
 * of a is folded in the norm's gain: the digital part multiplies by g_j / f_j instead of g_j.
 */
import type { InputStatistics } from './statistics.ts';

/** Exponent of the loudness scales that the findings recommend for attention and feed-forward inputs. */
export const LOUDNESS_EXPONENT = 0.5;
/** Inputs quieter than this share of the mean loudness are scaled as if they had it. */
const QUIETEST = 1e-3;

/** f_j [K]; their geometric mean is 1. */
export function loudnessScales(statistics: InputStatistics, exponent: number): Float32Array {
  const { inputs, moments } = statistics;
  let mean = 0;
  for (let j = 0; j < inputs; j++) mean += moments[j * inputs + j] / inputs;
  const logs = Float64Array.from({ length: inputs }, (_, j) =>
    mean > 0 ? 0.5 * Math.log(Math.max(moments[j * inputs + j] / mean, QUIETEST ** 2)) : 0,
  );
  const middle = logs.reduce((sum, x) => sum + x, 0) / inputs;
  return Float32Array.from(logs, (x) => Math.exp(exponent * (x - middle)));
}

/** W_nj <- W_nj f_j, in place, for W [N][K]. */
export function scaleWeightColumns(weights: Float32Array, outputs: number, factors: Float32Array): void {
  const inputs = factors.length;
  for (let n = 0, i = 0; n < outputs; n++) for (let j = 0; j < inputs; j++, i++) weights[i] *= factors[j];
}

/** Statistics of a_j / f_j. */
export function scaleStatistics(statistics: InputStatistics, factors: Float32Array): InputStatistics {
  const { inputs, tokens } = statistics;
  const moments = new Float32Array(statistics.moments);
  for (let i = 0; i < inputs; i++) {
    for (let j = 0; j < inputs; j++) moments[i * inputs + j] /= factors[i] * factors[j];
  }
  return {
    inputs,
    tokens,
    mean: statistics.mean.map((x, j) => x / factors[j]),
    moments,
    sample: statistics.sample.map((x, i) => x / factors[i % inputs]),
  };
}
