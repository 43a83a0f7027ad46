/** One law read both ways: KL of errors, and errors of a KL. Its use in a run: assemble.test.ts. */
import { expect, test } from 'vitest';
import { loadComparators } from '../cost/comparators.ts';
import { estimatePerplexity, predictLoss } from './loss-prediction.ts';

test('the estimate for the 8B: by hand, and none where nothing was coded', () => {
  const comparators = loadComparators();
  const { law } = comparators;
  const seen = { codingVariance: 0.012, recodedKl: 0.02, kl: 0.05 };
  const estimate = estimatePerplexity(seen, comparators)!;
  expect(estimate.variance).toBeCloseTo(0.03, 12);
  expect(estimate.likely).toBeCloseTo(6.402 + law.value * 0.03, 9);
  expect(estimate.low).toBeLessThan(estimate.likely);
  expect(estimate.extrapolated).toBe(true);
  expect(estimatePerplexity({ ...seen, kl: 0.02 }, comparators)!.extrapolated).toBe(false);
  expect(estimatePerplexity({ codingVariance: null, recodedKl: 0, kl: 0 }, comparators)).toBeUndefined();
});

test('the error that a KL stands for is the error that predicts this KL', () => {
  const seen = { codingVariance: 0.012, recodedKl: 0.02, kl: 0.05 };
  const { variance } = estimatePerplexity(seen, loadComparators())!;
  const recoded = { error: seen.codingVariance, kl: seen.recodedKl };
  const { chips, sources } = predictLoss(recoded, { error: variance, kl: seen.kl }, [
    { source: 'noise', error: 0.2, kl: 0.1 },
  ])!;
  expect(chips).toMatchObject({ predictedKl: expect.closeTo(seen.kl, 12), linear: true });
  expect(sources).toEqual([expect.objectContaining({ source: 'noise', linear: false })]);
  expect(predictLoss({ error: 0, kl: 0 }, recoded, [])).toBeNull();
});
