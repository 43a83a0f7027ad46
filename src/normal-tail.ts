/** Q(x): upper tail of the standard normal, relative error below 1.2e-7 (Numerical Recipes, erfcc). */
export function normalTail(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.5 * z);
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277,
  ];
  const polynomial = coefficients.reduceRight((sum, c) => sum * t + c, 0);
  const upper = (t * Math.exp(-z * z + polynomial)) / 2;
  return x >= 0 ? upper : 1 - upper;
}
