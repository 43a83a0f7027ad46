/** A run of the digital fabric: exact arithmetic on the mapped weights, one chip for all, no word of what it lacks. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { renderReport } from '../report/report.ts';
import { writeFixture } from '../testing/models.ts';
import { planRun, type RunOptions } from './plan.ts';
import { executeRun } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-digital-'));
const model = join(folder, 'model.gguf');
writeFixture(model);

const options = (settings: readonly string[], more: Partial<RunOptions> = {}): RunOptions => ({
  model,
  text: 'experiments/texts/stories.txt',
  rangeText: 'experiments/texts/range.txt',
  design: 'digital',
  settings,
  chips: 3,
  seed: 1,
  threads: 2,
  contextTokens: 24,
  scoring: 'window',
  maxWindows: 2,
  engine: 'scalar',
  attributionChips: 2,
  yieldRatio: 1.1,
  out: join(folder, 'runs'),
  ...more,
});

test('real-valued inputs: the chip is the mapped model exactly, and one stands for all', async () => {
  const plan = planRun(options(['input.bits=float']));
  expect(plan.rangeJob).toBeUndefined();
  expect(plan.chipSeeds).toHaveLength(1);
  const result = await executeRun(plan);
  const { kl, nll, perplexity, top1 } = result.recoded;
  expect(result.chips).toEqual([expect.objectContaining({ kl, nll, perplexity, top1, clipRate: null })]);
  expect(result.summary.perplexity.ci95).toBeNull();
  expect(result.yield.ci95).toBeNull();
  expect(result.attribution).toEqual([]);
  expect(result.calibration).toBeNull();
  expect(result.text.rangeFile).toBeNull();
  expect(result.coding).toHaveLength(14);
  expect(result.warnings.join()).toContain('one ran in place of 3');
});

test('coded inputs: they are the only source of error; finished jobs are kept; no word of what it lacks', async () => {
  const plan = planRun(options(['input.bits=3']));
  const computed: string[] = [];
  const result = await executeRun(plan, {
    onJob: (job, from) => from === 'computed' && computed.push(job.key),
  });
  expect(computed.length).toBeGreaterThan(0);
  expect(result.chips).toHaveLength(1);
  expect(result.chips[0].kl).toBeGreaterThan(result.recoded.kl);
  expect(result.attribution.map(({ source, chips }) => [source, chips])).toEqual([['input', 1]]);
  expect(result.attribution[0].kl.mean).toBe(result.chips[0].kl);
  const again: string[] = [];
  const resumed = await executeRun(plan, {
    onJob: (job, from) => from === 'computed' && again.push(job.key),
  });
  expect(again).toEqual([]);
  expect({ ...resumed, emulation: null }).toEqual({ ...result, emulation: null });
  const written = JSON.stringify({ ...result, warnings: [], cost: null, projection: null });
  expect(written).not.toMatch(/converter|ladder|clamp|analog|ngspice":"/i);
  const page = renderReport(result, null).replace(/<script[\s\S]*?<\/script>/g, '');
  expect(page).not.toMatch(/converter|ladder|clamp|row DAC|replica|bit line|analog/i);
  expect(JSON.parse(readFileSync(join(plan.folder, 'manifest.json'), 'utf8'))).toMatchObject({
    calibration: null,
    rangeText: null,
  });
});
