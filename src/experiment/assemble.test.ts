/** The result of hand-made jobs, against sums on paper. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { madeJob, smallPlan } from '../testing/jobs.ts';
import { assembleResult } from './assemble.ts';
import type { FinishedJob, Job } from './job.ts';
import { type RunPlan, withChips } from './plan.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-assemble-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TIMING = {
  tokensPerSecond: 5,
  seconds: 2,
  peakRssBytes: 1e8,
  threads: 2,
  command: ['run'],
  date: '2026-01-01T00:00:00Z',
  cpu: 'none',
  commit: null,
};

/** NLL and KL per position by variant: chip n has n tenths more, its second window another tenth. */
function numbersOf(plan: RunPlan, { variant, windows }: Job): [number, number] {
  const window = windows[0].window / 10;
  switch (variant.kind) {
    case 'chip': {
      const chip = plan.chipSeeds.indexOf(variant.seed) / 10;
      return [2 + chip + window, 0.3 + chip + window];
    }
    case 'source':
      return [2, variant.source === 'noise' ? 0.25 : 0.15];
    case 'recoded':
      return [1.9, 0.1];
    default:
      return [1.8, 0];
  }
}

const allJobs = (plan: RunPlan) => [...plan.digitalJobs, plan.rangeJob!, ...plan.dependentJobs];
const finish = (plan: RunPlan): Map<string, FinishedJob> =>
  new Map(allJobs(plan).map((job) => [job.key, madeJob(plan, job, ...numbersOf(plan, job))]));

const plan = smallPlan(folder, { chips: 2, attributionChips: 2 });

test('accuracy, intervals, clipping and SNR are the sums of the jobs', () => {
  const result = assembleResult(plan, finish(plan), TIMING);
  expect(result.digital.perplexity).toBeCloseTo(Math.exp(1.8), 12);
  expect(result.recoded).toMatchObject({
    nll: expect.closeTo(1.9, 12),
    kl: expect.closeTo(0.1, 12),
    top1: 0.5,
  });
  // Two windows with as many positions: the mean of 2.0 and 2.1, and a tenth more for the second chip.
  expect(result.chips.map(({ nll }) => nll)).toEqual([expect.closeTo(2.05, 12), expect.closeTo(2.15, 12)]);
  expect(result.chips.map(({ seed }) => seed)).toEqual(plan.chipSeeds);
  expect(result.chips[0].clipRate).toBeCloseTo(0.2, 12);
  expect(result.summary.nll.mean).toBeCloseTo(2.1, 12);
  // Student t of one degree of freedom: 12.706 times the standard error, 0.05.
  expect(result.summary.nll.ci95![1] - 2.1).toBeCloseTo(12.7062 * 0.05, 3);
  // No chip is within 1.1 times the digital perplexity: e^0.25 and e^0.35 are 1.28 and 1.42.
  expect(result.yield.share).toBe(0);
  expect(
    assembleResult({ ...plan, options: { ...plan.options, yieldRatio: 1.3 } }, finish(plan), TIMING).yield
      .share,
  ).toBe(0.5);
  expect(result.blocks).toEqual({
    positions: plan.inputs.text.scored,
    recodedDb: [20],
    chipDb: [{ mean: 20, ci95: [20, 20] }],
  });
  expect(result.emulation).toMatchObject(TIMING);
});

test('the predicted loss is in proportion to the error of the stream, the mapped weights set the constant', () => {
  const finished = finish(plan);
  // Errors of the stream: mapped weights 1 %, chips 4 %, noise alone 2 %, the others 1 %.
  for (const [key, job] of finished) {
    const { kind } = job.variant;
    const factor = kind === 'chip' ? 4 : key.startsWith('source-noise') ? 2 : 1;
    const { blocks } = job;
    if (blocks)
      finished.set(key, { ...job, blocks: { ...blocks, error: blocks.error.map((x) => factor * x) } });
  }
  const { prediction } = assembleResult(plan, finished, TIMING);
  expect(prediction!.klPerError).toBeCloseTo(0.1 / 0.01, 9);
  // Chips have KL 0.35 and 0.45, 0.4 on average.
  expect(prediction!.chips).toEqual({
    error: expect.closeTo(0.04, 12),
    predictedKl: expect.closeTo(0.4, 9),
    kl: expect.closeTo(0.4, 9),
    measuredOverPredicted: expect.closeTo(1, 9),
    linear: true,
  });
  const noise = prediction!.sources.find(({ source }) => source === 'noise')!;
  expect(noise).toMatchObject({ predictedKl: expect.closeTo(0.2, 9), kl: expect.closeTo(0.25, 9) });
  expect(noise.measuredOverPredicted).toBeCloseTo(1.25, 9);
});

test('a source of error is its excess over the mapped weights; one that is the same on every chip ran once', () => {
  const { attribution } = assembleResult(plan, finish(plan), TIMING);
  const of = (name: string) => attribution.find(({ source }) => source === name)!;
  expect(of('noise').excessKl.mean).toBeCloseTo(0.15, 12);
  expect(of('noise').chips).toBe(2);
  expect(of('input')).toMatchObject({ chips: 1, sameOnEveryChip: true });
  expect(of('input').kl.ci95).toBeNull();
  expect(assembleResult(withChips(plan, 2, 0), finish(plan), TIMING).attribution).toEqual([]);
});

test('the order in which jobs end does not matter, and none is changed', () => {
  const finished = finish(plan);
  const before = JSON.stringify([...finished]);
  const result = assembleResult(plan, finished, TIMING);
  const reversed = new Map([...finished].reverse());
  expect(assembleResult(plan, reversed, TIMING)).toEqual(result);
  expect(JSON.stringify([...finished])).toBe(before);
});

test('the energy follows the activity: of all windows and chips, per token', () => {
  const one = assembleResult(withChips(plan, 1, 0), finish(plan), TIMING);
  const two = assembleResult(plan, finish(plan), TIMING);
  expect(two.energy.perTokenJ).toBeCloseTo(one.energy.perTokenJ, 15);
  const sum = Object.values(two.energy.breakdownJ).reduce((a, b) => a + b, 0);
  expect(sum).toBeCloseTo(two.energy.perTokenJ, 15);
});

test('a job that is missing is named', () => {
  const finished = finish(plan);
  finished.delete('recoded/1');
  expect(() => assembleResult(plan, finished, TIMING)).toThrow(/job recoded\/1 has no result/);
});
