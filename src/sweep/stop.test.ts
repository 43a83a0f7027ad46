/** What a sequential rule costs: the coverage and the bias of the mean over chips that are added until its interval is narrow. */
import { expect, test } from 'vitest';
import { meanInterval } from '../experiment/statistics.ts';
import { gaussian, streamKey } from '../random.ts';
import { judgeStop, nextChips } from './stop.ts';

const SIGMA = 0.01;
const TRIALS = 2000;

/** Chips of a normal KL with this sigma, looked at as a sweep does, until the rule is content: share of intervals that cover, mean error, chips. */
function simulate(halfWidth: number, minChips: number): { covered: number; bias: number; chips: number } {
  const rule = { halfWidth: { kl: halfWidth }, minChips, maxChips: 1000 };
  const sum = { covered: 0, bias: 0, chips: 0 };
  for (let trial = 0; trial < TRIALS; trial++) {
    const key = streamKey(23, trial);
    const values: number[] = [];
    let chips = minChips;
    for (;;) {
      while (values.length < chips) values.push(0.05 + SIGMA * gaussian(key, values.length));
      const { mean, ci95 } = meanInterval(values);
      const state = judgeStop(rule, { kl: { mean, chipsCi95: ci95, textAndChipsCi95: null } }, chips);
      if (state.reached || chips >= rule.maxChips) {
        sum.covered += ci95![0] <= 0.05 && 0.05 <= ci95![1] ? 1 : 0;
        sum.bias += mean - 0.05;
        sum.chips += chips;
        break;
      }
      chips = nextChips(rule, state, chips);
    }
  }
  return { covered: sum.covered / TRIALS, bias: sum.bias / TRIALS, chips: sum.chips / TRIALS };
}

test.each([
  // Half width over sigma, least chips, chips by the known sigma (1.96 sigma / d)^2, coverage seen.
  { halfWidth: SIGMA, minChips: 3, ideal: 4, seen: 0.92 },
  { halfWidth: SIGMA / 2, minChips: 3, ideal: 15.4, seen: 0.91 },
  { halfWidth: SIGMA / 2, minChips: 8, ideal: 15.4, seen: 0.94 },
  { halfWidth: SIGMA / 4, minChips: 5, ideal: 61.5, seen: 0.93 },
])(
  'half a width of $halfWidth from $minChips chips on covers a little less than 95 %, without bias',
  ({ halfWidth, minChips, ideal, seen }) => {
    const { covered, bias, chips } = simulate(halfWidth, minChips);
    // Three sigmas of a count of 2000.
    expect(Math.abs(covered - seen)).toBeLessThan(0.02);
    expect(Math.abs(bias)).toBeLessThan((3 * SIGMA) / Math.sqrt(TRIALS * minChips));
    expect(chips).toBeGreaterThan(0.7 * ideal);
    expect(chips).toBeLessThan(2.2 * ideal);
  },
);
