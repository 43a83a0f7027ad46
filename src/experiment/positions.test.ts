/** Records of positions: they come back as they were, and their quantiles, intervals and running perplexity are those on paper. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { madeJob, smallPlan } from '../testing/jobs.ts';
import { klSpread, perplexityError, positionStatistics } from './position-statistics.ts';
import { decodePositions, encodePositions, newPositions } from './positions.ts';
import { perplexityText, runningPerplexity } from './running-perplexity.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-positions-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function wobbly(count: number) {
  const positions = newPositions(count);
  for (let i = 0; i < count; i++) {
    positions.nll[i] = 2 + Math.sin(i);
    positions.kl[i] = 0.1 * (1 + Math.cos(i));
    positions.top1[i] = i % 3 === 0 ? 1 : 0;
  }
  return positions;
}

test('a record comes back bit for bit; a record of another length is refused', () => {
  for (const count of [1, 7, 8, 9, 255]) {
    const positions = wobbly(count);
    const record = encodePositions(positions, false);
    expect(decodePositions(JSON.parse(JSON.stringify(record)), count, 'chip-1/0')).toEqual(positions);
    expect(() => decodePositions(record, count + 8, 'chip-1/0')).toThrow(
      `job chip-1/0 has ${count} positions, not ${count + 8}`,
    );
  }
});

test('the digital model has NLL alone: its distance is 0 and its top token its own', () => {
  const record = encodePositions(wobbly(9), true);
  expect(Object.keys(record)).toEqual(['nll']);
  const back = decodePositions(record, 9, 'digital/0');
  expect([...back.kl]).toEqual(new Array(9).fill(0));
  expect([...back.top1]).toEqual(new Array(9).fill(1));
});

test('a line of 256 positions takes less than 3 kB', () => {
  expect(JSON.stringify(encodePositions(wobbly(256), false)).length).toBeLessThan(3000);
});

test('quantiles and histogram over the positions of several chips', () => {
  // 0, 1, ... 100 hundredths, in two parts and out of order.
  const values = Array.from({ length: 101 }, (_, i) => i / 100);
  const odd = Float32Array.from(values.filter((_, i) => i % 2 === 1));
  const even = Float32Array.from(values.filter((_, i) => i % 2 === 0).reverse());
  const { median, p90, p99, max, histogram } = klSpread([even, odd]);
  expect([median, p90, p99, max]).toEqual([0.5, 0.9, 0.99, 1].map((x) => expect.closeTo(x, 6)));
  expect(histogram.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
  // Below 1e-5: the zero alone.
  expect(histogram[0]).toBeCloseTo(1 / 101, 12);
});

test('the error of a perplexity is that of llama.cpp: e^mean sqrt((mean of squares - square of mean) / (n - 1))', () => {
  const nll = Float64Array.of(1, 2, 4, 1.5);
  const mean = 8.5 / 4;
  const squares = (1 + 4 + 16 + 2.25) / 4;
  expect(perplexityError(nll)).toBeCloseTo(Math.exp(mean) * Math.sqrt((squares - mean * mean) / 3), 12);
});

test('a result has the spread over positions, and the perplexity runs from window to window', () => {
  const plan = smallPlan(folder, { chips: 2 });
  const jobs = [...plan.digitalJobs, ...plan.dependentJobs];
  const finished = new Map(
    jobs.map((job) => [job.key, madeJob(plan, job, job.key.endsWith('/1') ? 3 : 1, 0.25)]),
  );
  const { positions, chips, recoded, alongText } = positionStatistics(plan, finished);
  expect(positions).toBe(14);
  expect(chips.kl).toMatchObject({ median: 0.25, p99: 0.25, max: 0.25 });
  // Clopper-Pearson, 8 of 14: R's binom.test(8, 14).
  expect(recoded.top1Ci95).toEqual([expect.closeTo(0.2886, 4), expect.closeTo(0.8234, 4)]);
  expect(alongText.ends[13]).toBe(14);
  expect(alongText.chipsNll).toEqual([...new Array(7).fill(1), ...new Array(7).fill(3)]);
  const running = runningPerplexity(plan, finished, { kind: 'digital' })!;
  expect(running.perplexities).toEqual([Math.E, Math.exp(2)].map((x) => expect.closeTo(x, 12)));
  expect(perplexityText(running)).toMatch(/^\[1\]2\.7183,\[2\]7\.3891 {2}PPL = 7\.3891 \+\/- \d\.\d{5}$/);
  finished.delete('digital/1');
  const part = runningPerplexity(plan, finished, { kind: 'digital' })!;
  expect(perplexityText(part)).toMatch(/^\.\.\.\[1\]2\.7183 \+\/- /);
});
