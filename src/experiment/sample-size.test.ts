import { expect, test } from 'vitest';
import { gaussian, streamKey } from '../random.ts';
import { fixtureResult } from '../testing/results.ts';
import { bootstrapMean } from './bootstrap.ts';
import { headlineOf } from './headline.ts';
import { sampleSize, varianceParts } from './sample-size.ts';

/** x_wc of drawn effects, [chips][windows]. */
function draw(chips: number, windows: number, sigma: { w: number; c: number; e: number }, seed: number) {
  const [w, c, e] = [streamKey(seed, 1), streamKey(seed, 2), streamKey(seed, 3)];
  return Array.from({ length: chips }, (_, i) =>
    Array.from(
      { length: windows },
      (_, j) => sigma.w * gaussian(w, j) + sigma.c * gaussian(c, i) + sigma.e * gaussian(e, i * windows + j),
    ),
  );
}

test('parts of the variance are those that were drawn', () => {
  const sums = { windows: 0, chips: 0, rest: 0 };
  for (let seed = 0; seed < 40; seed++) {
    const parts = varianceParts(draw(8, 30, { w: 0.3, c: 0.1, e: 0.2 }, seed))!;
    for (const key of ['windows', 'chips', 'rest'] as const) sums[key] += parts[key] / 40;
  }
  expect(sums.windows).toBeCloseTo(0.09, 2);
  expect(sums.chips).toBeCloseTo(0.01, 2);
  expect(sums.rest).toBeCloseTo(0.04, 2);
  expect(varianceParts([[1], [2]])).toBeUndefined();
  expect(varianceParts([[1, 3]])).toEqual({ windows: 2, chips: 0, rest: 0 });
});

test('samples of the advised size have a mean that is within the difference 95 % of the time, and no much larger ones', () => {
  const sigma = { w: 0.3, c: 0.05, e: 0.2 };
  const parts = { windows: sigma.w ** 2, chips: sigma.c ** 2, rest: sigma.e ** 2 };
  const { windows, chips, predictions } = sampleSize(parts, 0.06, 255);
  expect(predictions).toBe(windows * 255);
  let within = 0;
  const trials = 400;
  for (let seed = 0; seed < trials; seed++) {
    const values = draw(chips, windows, sigma, 1000 + seed).flat();
    if (Math.abs(values.reduce((sum, x) => sum + x, 0) / values.length) <= 0.06) within++;
  }
  // 95 %, within three sigmas of a count; a chip more than is needed rounds it up.
  expect(within / trials).toBeGreaterThan(0.915);
  expect(within / trials).toBeLessThan(0.985);
  // A tenth of the difference takes a hundred times the text.
  expect(sampleSize(parts, 0.006, 255).windows / windows).toBeGreaterThan(80);
  expect(sampleSize({ windows: 0, chips: 0, rest: 0 }, 0.01, 255)).toMatchObject({ windows: 2, chips: 1 });
});

test('few windows: the bootstrap is as wide as Student says, and covers', () => {
  let covered = 0;
  const trials = 200;
  for (let seed = 0; seed < trials; seed++) {
    const { ci95 } = bootstrapMean(
      draw(4, 6, { w: 0.3, c: 0.05, e: 0.1 }, 5000 + seed),
      [1, 1, 1, 1, 1, 1],
      1000,
    );
    if (ci95![0] <= 0 && 0 <= ci95![1]) covered++;
  }
  expect(covered / trials).toBeGreaterThan(0.9);
});

test('a headline says what its intervals cover', () => {
  const result = fixtureResult(3);
  expect(headlineOf(result).covers).toBe(
    'other texts of the kind and other chips (bootstrap over 3 passages x 3 chips)',
  );
  expect(headlineOf(result).kl).toBe(result.overText.kl);
  const none = { mean: 1, ci95: null };
  const short = { ...result, overText: { ...result.overText, windows: 1, kl: none } };
  expect(headlineOf(short).covers).toBe('other chips on this text (Student t over 3 chips)');
  expect(headlineOf(short).kl).toBe(result.summary.kl);
  const alike = { ...result, fabric: { ...result.fabric, chipsDiffer: false } };
  expect(headlineOf(alike).covers).toBe('other texts of the kind (bootstrap over 3 passages)');
});
