/**
 * Mismatch of a tap that is m unit transistors in parallel (topology t4): the sum of m independent lognormals of spread
 * sigma, taken as one lognormal with the sum's mean and variance (Fenton 1960, Wilkinson):
 *   sigma_m^2 = ln(1 + (exp(sigma^2) - 1) / m)        ln mean = sigma^2 / 2, the same for every tap
 * so ln(I / I_nominal) = share_m x + logMean_m with x of one transistor's spread, share_m = sigma_m / sigma and
 * logMean_m = (sigma^2 - sigma_m^2) / 2. Every tap has the mean gain exp(sigma^2 / 2) of a single transistor. With one
 * transistor per tap share is 1 and logMean 0.
 */
export interface TapSpread {
  /** [taps + 1] */
  readonly share: Float64Array;
  /** [taps + 1] */
  readonly logMean: Float64Array;
}

/** `lnSigma`: sigma of ln I of one transistor. */
export function tapSpread(taps: number, fingersByTap: boolean, lnSigma: number): TapSpread {
  const variance = lnSigma ** 2;
  const ofTap = (m: number) => (m === 0 ? 0 : Math.log1p(Math.expm1(variance) / m));
  const each = (f: (m: number) => number) => Float64Array.from({ length: taps + 1 }, (_, m) => f(m));
  if (!fingersByTap) return { share: each(() => 1), logMean: each(() => 0) };
  return {
    // Without spread the limit: independent errors average.
    share: each((m) => (m === 0 ? 1 : variance === 0 ? 1 / Math.sqrt(m) : Math.sqrt(ofTap(m) / variance))),
    logMean: each((m) => (m === 0 ? 0 : (variance - ofTap(m)) / 2)),
  };
}
