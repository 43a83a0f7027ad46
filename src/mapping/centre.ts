/**
 * Centring: the rows code a - mu, the mean over the calibration text, and what the constant adds is known beforehand,
 *
 *   y = W^ (a - mu) + W mu
 *
 * with W^ the coded weights and W mu one digital addend per output, formed from the exact weights: so the coding's error
 * acts on the part of the input that varies only. Half to two thirds of the energy of a real model's inputs is their
 * mean. At run time K subtractions per token (before a rotation that is done online) and N additions.
 */

/** W mu [N], in double precision, for W [N][K]. */
export function centreAddend(weights: Float32Array, outputs: number, mean: Float32Array): Float32Array {
  const inputs = mean.length;
  return Float32Array.from({ length: outputs }, (_, n) => {
    let sum = 0;
    for (let j = 0; j < inputs; j++) sum += weights[n * inputs + j] * mean[j];
    return sum;
  });
}

/** Share of the inputs' energy that is their mean: |mu|^2 / E |a|^2. */
export function meanShare(statistics: { mean: Float32Array; moments: Float32Array }): number {
  const { mean, moments } = statistics;
  let constant = 0;
  let varying = 0;
  for (let j = 0; j < mean.length; j++) {
    constant += mean[j] ** 2;
    varying += moments[j * mean.length + j];
  }
  return constant / (constant + varying || 1);
}
