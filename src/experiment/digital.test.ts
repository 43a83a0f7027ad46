/** A run of the digital fabric: exact arithmetic on the mapped weights, one chip for all, no word of what it lacks. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createEngine } from '../engine/create.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { openModel } from '../model/model.ts';
import { renderReport } from '../report/report.ts';
import { meanKl } from '../testing/engines.ts';
import { writeFixture } from '../testing/models.ts';
import type { RunOptions } from './options.ts';
import { planRun } from './plan.ts';
import { executeRun } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-digital-'));
const model = join(folder, 'model.gguf');
writeFixture(model);

const options = (settings: readonly string[], more: Partial<RunOptions> = {}): RunOptions => ({
  model,
  text: 'experiments/texts/stories.txt',
  rangeText: 'experiments/texts/range.txt',
  design: 'digital',
  settings: ['mapping.method=round', ...settings],
  chips: 3,
  seed: 1,
  threads: 2,
  contextTokens: 24,
  scoring: 'window',
  maxWindows: 2,
  engine: 'scalar',
  attributionChips: 2,
  costContextTokens: 1024,
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

test('chips that misread: each its own, named with its circuit in result and page', async () => {
  const plan = planRun(options(['rom.cellArea=1'], { design: 'mask-rom', chips: 2 }));
  const result = await executeRun(plan);
  expect(result.chips).toHaveLength(2);
  expect(result.chips[0].kl).not.toBe(result.chips[1].kl);
  expect(result.attribution.map(({ source }) => source)).toEqual(['input', 'misreads']);
  expect(result.circuit).toMatchObject({ process: 'planar32lp', circuit: 'mask-rom' });
  expect(plan.manifest).toMatchObject({ circuit: result.circuit });
  const page = renderReport(result, null);
  expect(page).toContain('Misreads follow from the margins of planar32lp/mask-rom');
  expect(page).toContain(result.circuit!.sha256);
});

test('WebAssembly codes inputs as the scalar arithmetic does', async () => {
  // One block: in more, roundings that fall apart once are apart for good, and only their statistics agree.
  const path = join(folder, 'one-block.gguf');
  writeFixture(path, { layers: 1 });
  const shallow = openModel(path);
  try {
    const fabric = loadFabric(loadDesign('digital', ['input.bits=3', 'input.scale=tile']).design);
    const run = async (engine: 'wasm' | 'scalar', mode: 'chip' | 'mapped') => {
      const one = await createEngine(engine, { model: shallow, fabric, mode, threads: 2, contextTokens: 32 });
      const logits: Float32Array[] = [];
      for (let text = 0; text < 24; text++) {
        const start = 11 + 53 * text * (text + 1);
        const ids = Int32Array.from({ length: 20 }, (_, i) => (37 * i + start) % shallow.shape.vocab);
        await one.prefill(ids, 0, (_position, last) => logits.push(last.slice()));
      }
      const activity = one.activity();
      await one.close();
      return { logits, activity };
    };
    const [scalar, wasm, mapped] = [
      await run('scalar', 'chip'),
      await run('wasm', 'chip'),
      await run('scalar', 'mapped'),
    ];
    const effect = meanKl(mapped.logits, scalar.logits);
    expect(effect).toBeGreaterThan(1e-3);
    // An input that lies between two levels may fall to either side: 25 of 480 tokens have one. All others agree within 4e-6.
    const distances = scalar.logits.map((logits, i) => meanKl([logits], [wasm.logits[i]]) / effect);
    expect(distances.filter((x) => x > 1e-5).length).toBeLessThan(0.1 * distances.length);
    expect(distances.reduce((sum, x) => sum + x, 0) / distances.length).toBeLessThan(0.06);
    expect(wasm.activity).toEqual(scalar.activity);
  } finally {
    shallow.close();
  }
});
