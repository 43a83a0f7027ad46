/** Comparisons between points and the stop rule against what is known of them. */
import { describe, expect, test } from 'vitest';
import { bootstrapMean } from '../experiment/bootstrap.ts';
import { gaussian, streamKey } from '../random.ts';
import { newEstimate, sharedWork, typicalRates } from './accuracy/work.ts';
import { COMPARISON_RESAMPLES, comparePoints, holm } from './compare.ts';
import type { AccuracyOutcome } from './outcome.ts';
import { executionOrder } from './runner.ts';
import { chipsNeeded, judgeStop, nextChips } from './stop.ts';

test('Holm: the example of the definition, and missing values do not count', () => {
  expect(holm([0.01, 0.04, 0.03, 0.005])).toEqual([0.03, 0.06, 0.06, 0.02]);
  expect(holm([null, 0.04, null, 0.6])).toEqual([null, 0.08, null, 0.6]);
});

/** A point whose sums are those of `base` plus a shift, with noise of its own. */
function point(number: number, shift: number, sigma: number, chips = 8, windows = 12): AccuracyOutcome {
  const base = streamKey(9);
  const own = streamKey(10, number);
  const sums = Array.from({ length: chips }, (_, c) =>
    Array.from(
      { length: windows },
      (_v, w) => 100 * (1 + gaussian(base, 50 * c + w) + shift + sigma * gaussian(own, 50 * c + w)),
    ),
  );
  return {
    point: number,
    textKey: 'text',
    chipsDiffer: true,
    units: {
      seeds: Array.from({ length: chips }, (_, c) => c),
      scored: Array(windows).fill(100),
      sums: { kl: sums },
    },
  } as unknown as AccuracyOutcome;
}

describe('paired comparisons', () => {
  test('find a shift below the spread of the units, and no shift where there is none', () => {
    const reference = point(0, 0, 0.05);
    const found = comparePoints([reference, point(1, 0.1, 0.05), point(2, 0, 0.05)], reference, {
      compared: ['kl'],
      binary: [],
    });
    expect(found.has(0)).toBe(false);
    const [shifted] = found.get(1)!;
    expect(shifted.covers).toBe('text and chips');
    expect(Math.abs(shifted.difference - 0.1)).toBeLessThan(0.03);
    expect(shifted.ci95![0]).toBeGreaterThan(0);
    // Beyond every resample: of 12 windows that is no rarer than 0.7 %.
    expect(shifted.p).toBeLessThan(0.01);
    expect(shifted.pHolm).toBeCloseTo(2 * shifted.p!, 12);
    const [same] = found.get(2)!;
    expect(same.ci95![0] * same.ci95![1]).toBeLessThan(0);
    expect(same.p).toBeGreaterThan(0.05);
  });

  test('no p value from a few units, no interval from one, nothing across texts', () => {
    const few = comparePoints([point(1, 0.1, 0.05, 3)], point(0, 0, 0.05, 3), {
      compared: ['kl'],
      binary: [],
    }).get(1)![0];
    expect(few).toMatchObject({ p: null, pHolm: null, covers: 'text and chips' });
    const one = comparePoints([point(1, 0.1, 0.05, 1, 1)], point(0, 0, 0.05, 1, 1), {
      compared: ['kl'],
      binary: [],
    }).get(1)![0];
    expect(one).toMatchObject({ ci95: null, covers: null });
    const window = comparePoints([point(1, 0.1, 0.05, 6, 1)], point(0, 0, 0.05, 6, 1), {
      compared: ['kl'],
      binary: [],
    }).get(1)![0];
    expect(window.covers).toBe('chips');
    const other = { ...point(1, 0, 0.05), textKey: 'another' };
    expect(comparePoints([other], point(0, 0, 0.05), { compared: ['kl'], binary: [] }).size).toBe(0);
    // Over windows and chips it is the interval that a run has of the same sums.
    const [base, shifted] = [point(0, 0, 0.05, 3, 4), point(1, 0.1, 0.05, 3, 4)];
    const sums = shifted.units.sums.kl.map((chip, c) => chip.map((x, w) => x - base.units.sums.kl[c][w]));
    const run = bootstrapMean(sums, base.units.scored, COMPARISON_RESAMPLES);
    expect(comparePoints([shifted], base, { compared: ['kl'], binary: [] }).get(1)![0].ci95).toEqual(
      run.ci95,
    );
    // The first chips of both are paired, however many either has.
    const fewer = comparePoints([point(1, 0.1, 0.05, 6)], point(0, 0, 0.05, 8), {
      compared: ['kl'],
      binary: [],
    }).get(1)![0];
    expect(Math.abs(fewer.difference - 0.1)).toBeLessThan(0.05);
  });
});

describe('the stop rule', () => {
  const rule = { halfWidth: { kl: 0.005 }, minChips: 5, maxChips: 20 };
  const measured = (half: number) => ({
    kl: { mean: 1, chipsCi95: [1 - half, 1 + half] as const, textAndChipsCi95: null },
  });

  test('advises the smallest number of chips whose interval is narrow enough', () => {
    // sigma = 0.01: t(n - 1) 0.01 / sqrt(n) <= 0.005 from n = 18 on (t(17) = 2.110, t(16) = 2.120).
    expect(chipsNeeded((2.776445 * 0.01) / Math.sqrt(5), 5, 0.005)).toBe(18);
    expect(judgeStop(rule, measured(0.004), 5)).toMatchObject({ reached: true });
    const state = judgeStop(rule, measured(0.0124), 5);
    expect(state).toEqual({ reached: false, advisedChips: { kl: 18 } });
    expect(nextChips(rule, state, 5)).toBe(10);
    expect(nextChips(rule, state, 12)).toBe(18);
    expect(nextChips(rule, { reached: false, advisedChips: { kl: 500 } }, 15)).toBe(20);
  });

  test('where every chip is the same, one is enough', () => {
    expect(judgeStop(rule, { kl: { mean: 1, chipsCi95: null, textAndChipsCi95: null } }, 1).reached).toBe(
      true,
    );
  });
});

describe('estimates', () => {
  test('points run in an order that spreads over the design', () => {
    const order = executionOrder(Array.from({ length: 10 }, (_, i) => i));
    expect([...order].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(order.slice(0, 4)).toEqual([0, 8, 4, 2]);
    expect(executionOrder([])).toEqual([]);
    expect(executionOrder([7])).toEqual([7]);
  });

  test('what is measured takes the place of what was believed, kind by kind', () => {
    const prior = { digital: 1, recoded: 1, range: 2, chip: 3, source: 3, image: 8 };
    const estimate = newEstimate(prior);
    expect(estimate.left({ chip: 10 }, 0)).toBeUndefined();
    expect(estimate.expected({ chip: 10 })).toBe(30);
    // Twice as slow as believed: so is what has not been measured.
    estimate.finished('digital', 100, 200);
    expect(estimate.expected({ chip: 10 })).toBe(60);
    // A second of every job's five went by beside other jobs.
    expect(estimate.left({ chip: 10 }, 100)).toBe(30);
    estimate.finished('chip', 10, 10);
    expect(estimate.expected({ chip: 10, digital: 1 })).toBe(12);
    expect(estimate.measured()).toEqual({ digital: 2, chip: 1 });
  });

  test('a pass that points share is counted once', () => {
    const work = (identity: string, ranges: string) => ({
      ...{ identity, jobs: 1, finished: 0, image: undefined, chipTokens: 1, ratesKey: '' },
      left: { digital: 10, range: 5, chip: 20 },
      passes: { baseline: 'b', ranges },
    });
    expect(sharedWork([work('1', 'r'), work('2', 'r'), work('3', 's'), work('3', 's')])).toEqual([
      { digital: 10, range: 5, chip: 20 },
      { chip: 20 },
      { range: 5, chip: 20 },
      {},
    ]);
    expect(typicalRates(8e9).chip).toBeGreaterThan(typicalRates(1e6).chip);
  });
});
