/** The table of quantiles against laws whose distribution has a closed form, and against the survey it stands for. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { streamKey } from '../random.ts';
import { missingShared, needs, sharedPath } from '../testing/needs.ts';
import { buildQuantileTable, fillDraws } from './draws.ts';
import { loadWeightStatistics } from './statistics.ts';

function draws(shape: number, count: number, sigma = 1): Float32Array {
  const out = new Float32Array(count);
  fillDraws(buildQuantileTable(shape), streamKey(11, 12), sigma, out);
  return out;
}

/** Abramowitz and Stegun 7.1.5, the series of erf; enough for |x| < 6. */
function normalCdf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 120; n++) {
    term *= (x * x) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

function laplaceCdf(x: number): number {
  const half = 0.5 * Math.exp(-Math.SQRT2 * Math.abs(x));
  return x < 0 ? half : 1 - half;
}

/** Lanczos' approximation of ln Gamma (Press et al., Numerical Recipes, 6.1). */
function logGamma(x: number): number {
  const c = [
    76.18009172947146, -86.5053203294168, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2,
    -0.5395239384953e-5,
  ];
  let sum = 1.000000000190015;
  c.forEach((value, i) => {
    sum += value / (x + 1 + i);
  });
  return (x + 0.5) * Math.log(x + 5.5) - (x + 5.5) + Math.log((2.506628274631 * sum) / x);
}

describe('generalised normal draws', () => {
  test.each([
    ['Gaussian', 2, normalCdf],
    ['Laplace', 1, laplaceCdf],
  ] as const)('%s: Kolmogorov-Smirnov', (_, shape, cdf) => {
    const count = 400_000;
    const sorted = draws(shape, count).sort();
    let distance = 0;
    sorted.forEach((x, i) => {
      const f = cdf(x);
      distance = Math.max(distance, f - i / count, (i + 1) / count - f);
    });
    expect(distance * Math.sqrt(count)).toBeLessThan(1.63); // 1 % level
    expect(distance).toBeGreaterThan(0);
  });

  test.each([1, 1.538, 1.9, 2, 4])('shape %f: moments', (shape) => {
    const count = 2_000_000;
    const x = draws(shape, count, 0.5);
    const moment = (power: number): number => x.reduce((sum, v) => sum + v ** power, 0) / count;
    const kurtosis = Math.exp(logGamma(5 / shape) + logGamma(1 / shape) - 2 * logGamma(3 / shape));
    expect(Math.abs(moment(1))).toBeLessThan((5 * 0.5) / Math.sqrt(count));
    expect(Math.abs(moment(2) / 0.25 - 1)).toBeLessThan(5 * Math.sqrt((kurtosis - 1) / count));
    expect(Math.abs(moment(4) / 0.0625 / kurtosis - 1)).toBeLessThan(0.03);
  });

  test('the tail reaches as far as the law', () => {
    const x = draws(1, 8_000_000);
    for (const bound of [4, 6, 8]) {
      const expected = x.length * Math.exp(-Math.SQRT2 * bound);
      const found = x.reduce((n, v) => n + (Math.abs(v) > bound ? 1 : 0), 0);
      expect(Math.abs(found - expected)).toBeLessThan(4 * Math.sqrt(expected));
    }
    // Quantile of 2^-31: Laplace 31 ln 2 / sqrt 2; Gaussian 6.2307 (2 (1 - Phi(6.2307)) = 2^-31).
    expect(buildQuantileTable(1)[0]).toBeCloseTo((31 * Math.LN2) / Math.SQRT2, 3);
    expect(buildQuantileTable(2)[0]).toBeCloseTo(6.2307, 3);
  });

  test('a draw does not depend on how many are drawn', () => {
    expect(draws(1.7, 1000)).toEqual(draws(1.7, 5000).slice(0, 1000));
  });
});

/**
 * Modulus k and scale of a Weibull law for |x| by a straight line through ln(-ln(1 - F)) over ln |x|, at ranks F from
 * the 10th to the 90th percentile.
 */
function weibullFit(x: Float32Array): { modulus: number; scale: number; r2: number } {
  const sorted = x.map(Math.abs).sort();
  let [n, sx, sy, sxx, sxy, syy] = [0, 0, 0, 0, 0, 0];
  for (let i = Math.floor(0.1 * x.length); i < 0.9 * x.length; i++) {
    const u = Math.log(sorted[i]);
    const v = Math.log(-Math.log(1 - (i + 0.5) / x.length));
    n++;
    sx += u;
    sy += v;
    sxx += u * u;
    sxy += u * v;
    syy += v * v;
  }
  const covariance = n * sxy - sx * sy;
  const modulus = covariance / (n * sxx - sx * sx);
  const scale = Math.exp((modulus * sx - sy) / n / modulus);
  return { modulus, scale, r2: covariance ** 2 / ((n * sxx - sx * sx) * (n * syy - sy * sy)) };
}

test('Gaussian magnitudes on Weibull paper: the survey\u2019s ceiling of 1.204', () => {
  const { modulus, r2 } = weibullFit(draws(2, 500_000));
  expect(Math.abs(modulus - 1.204)).toBeLessThan(0.005);
  expect(Math.abs(r2 - 0.9978)).toBeLessThan(0.0005);
});

const survey = 'models/weight-statistics-weibull.csv';
test(
  'the draws have the survey\u2019s Weibull parameters for Llama-3-8B',
  needs(missingShared(survey)),
  () => {
    const [header, ...rows] = readFileSync(sharedPath(survey), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(','));
    const row = rows.find(([id]) => id === 'llama-3-8b')!;
    const at = (column: string): number => Number(row[header.indexOf(column)]);
    const { tensors } = loadWeightStatistics();
    for (const [kind, name] of [
      ['attn_q', 'q'],
      ['attn_k', 'k'],
      ['attn_v', 'v'],
      ['attn_output', 'o'],
      ['ffn_gate', 'gate'],
      ['ffn_up', 'up'],
      ['ffn_down', 'down'],
    ] as const) {
      const { modulus, scale, r2 } = weibullFit(draws(tensors[kind].shape, 500_000, tensors[kind].sigma));
      expect(Math.abs(modulus / at(`k_median_${name}`) - 1)).toBeLessThan(0.004);
      expect(Math.abs(scale / at(`lambda_median_${name}`) - 1)).toBeLessThan(0.004);
      // Not fitted: how straight the line is depends on the family of laws.
      expect(Math.abs(r2 - at(`R2_median_${name}`))).toBeLessThan(0.0005);
    }
  },
);
