/**
 * Distributions: normal, Kolmogorov-Smirnov, and the distribution of ln I when a threshold shift acts to second order.
 */
import { mean } from '../../../numbers.ts';

/** Standard normal distribution function, Abramowitz and Stegun 7.1.26 in double precision by series and continued fraction. */
export function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  let erfc: number;
  if (z < 2.5) {
    // erf by its Taylor series about 0 (all terms of one sign after factoring exp(-z^2)).
    let term = z;
    let sum = z;
    for (let n = 1; n < 200 && term > 1e-17 * sum; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    erfc = 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum;
  } else {
    let fraction = 0;
    for (let n = 60; n >= 1; n--) fraction = n / 2 / (z + fraction);
    erfc = Math.exp(-z * z) / (Math.sqrt(Math.PI) * (z + fraction));
  }
  return x < 0 ? erfc / 2 : 1 - erfc / 2;
}

/** Inverse of a continuous increasing distribution function by bisection. */
export function quantile(cdf: (x: number) => number, p: number, low: number, high: number): number {
  let a = low;
  let b = high;
  for (let i = 0; i < 60; i++) {
    const middle = (a + b) / 2;
    if (cdf(middle) < p) a = middle;
    else b = middle;
  }
  return (a + b) / 2;
}

/** Kolmogorov-Smirnov: the largest distance between the sample's and a given distribution, and its probability by chance. */
export function kolmogorovSmirnov(
  sample: readonly number[],
  cdf: (x: number) => number,
): { distance: number; pValue: number } {
  const sorted = [...sample].sort((a, b) => a - b);
  const n = sorted.length;
  let distance = 0;
  sorted.forEach((x, i) => {
    const f = cdf(x);
    distance = Math.max(distance, (i + 1) / n - f, f - i / n);
  });
  // Asymptotic series with Stephens' correction for finite n.
  const lambda = (Math.sqrt(n) + 0.12 + 0.11 / Math.sqrt(n)) * distance;
  let pValue = 0;
  for (let j = 1; j <= 100; j++) pValue += 2 * (-1) ** (j - 1) * Math.exp(-2 * j * j * lambda * lambda);
  // The series does not converge for tiny distances, where the probability is 1.
  return { distance, pValue: lambda < 0.2 ? 1 : Math.min(1, Math.max(0, pValue)) };
}

/**
 * Distribution function of y = median - a x - b x^2 + e with x ~ N(0, sigmaX), e ~ N(0, sigmaE): the integral over x of
 * Phi((y - median + a x + b x^2) / sigmaE) by the trapezoidal rule over +-8 sigma. b = 0 is the lognormal model.
 */
export function secondOrderCdf(
  median: number,
  a: number,
  b: number,
  sigmaX: number,
  sigmaE: number,
): (y: number) => number {
  if (b === 0) {
    const sigma = Math.hypot(a * sigmaX, sigmaE);
    return (y) => normalCdf((y - median) / sigma);
  }
  const steps = 600;
  const nodes = Array.from({ length: steps + 1 }, (_, i) => {
    const u = -8 + (16 * i) / steps;
    const x = u * sigmaX;
    return {
      shift: a * x + b * x * x,
      weight: (16 / steps) * (Math.exp((-u * u) / 2) / Math.sqrt(2 * Math.PI)),
    };
  });
  return (y) => {
    let sum = 0;
    for (const { shift, weight } of nodes) sum += weight * normalCdf((y - median + shift) / sigmaE);
    return sum;
  };
}

export function correlation(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const mx = mean(x);
  const my = mean(y);
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) ** 2;
    yy += (y[i] - my) ** 2;
  }
  return xy / Math.sqrt(xx * yy);
}
