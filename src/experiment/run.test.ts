/** Runs on a small model: what is shared between designs, what is redone after damage, and that nothing shrinks. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Overrides } from '../config.ts';
import { sha256 } from '../files.ts';
import { writeFixture } from '../testing/models.ts';
import { baselineKey, rangesKey } from './cache.ts';
import { openInputs, type RunInputs } from './inputs.ts';
import type { DesignOptions } from './options.ts';
import { planDesign, planRun, type RunPlan } from './plan.ts';
import type { RunResult } from './result.ts';
import { executeRun, type RunHooks } from './run.ts';
import { decodeJob } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(folder, 'model.gguf');
const inputOptions = {
  model,
  text: 'experiments/texts/stories.txt',
  rangeText: 'experiments/texts/range.txt',
  contextTokens: 16,
  scoring: 'window',
  maxWindows: 2,
} as const;
/** No chip image: what it takes is tested in map.test.ts. */
const ROUNDED = ['mapping.method=round'];
let inputs: RunInputs;
let fresh = 0;
const newFolder = (name: string) => join(folder, `${name}-${++fresh}`);

beforeAll(() => {
  writeFixture(model, { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 });
  inputs = openInputs(inputOptions);
});

function plan(change: Partial<DesignOptions> = {}): RunPlan {
  return planDesign(inputs, {
    design: 'log-domain',
    settings: ROUNDED,
    chips: 1,
    seed: 1,
    threads: 1,
    engine: 'scalar',
    attributionChips: 0,
    yieldRatio: 1.1,
    out: newFolder('out'),
    ...change,
  });
}

/** Runs, and counts what was computed and what was taken from the cache. */
async function run(of: RunPlan, cacheFolder: string, hooks: RunHooks = {}) {
  const jobs = { computed: [] as string[], cache: [] as string[] };
  const notices: string[] = [];
  const { emulation, ...result } = await executeRun(of, {
    ...hooks,
    cacheFolder,
    onJob: (job, from, seconds) => {
      jobs[from].push(job.key);
      hooks.onJob?.(job, from, seconds);
    },
    onNotice: (text) => notices.push(text),
  });
  return { result: result as Omit<RunResult, 'emulation'>, emulation, ...jobs, notices };
}

const PASSES = ['digital/0', 'digital/1', 'range/all'];
const flip = (path: string, at: number) => {
  const bytes = readFileSync(path);
  bytes[at] ^= 1;
  writeFileSync(path, bytes);
};
test('a second design on the same inputs computes neither the digital pass nor the ranges, and has the same result', async () => {
  const cache = newFolder('cache');
  const overrides = { adc: { bits: 6 } };
  const first = await run(plan(), cache);
  expect(first.computed.slice(0, 3)).toEqual(PASSES);
  const second = await run(plan({ overrides }), cache);
  expect(second.cache).toEqual(PASSES);
  expect(second.computed.filter((key) => PASSES.includes(key))).toEqual([]);
  const alone = await run(plan({ overrides }), newFolder('cache'));
  expect(alone.cache).toEqual([]);
  expect(second.result).toEqual(alone.result);
  expect(second.result.digital).toEqual(first.result.digital);
  expect(second.result.chips[0].kl).not.toBe(first.result.chips[0].kl);
  expect(second.result.design.overrides).toEqual({ 'mapping.method': 'round', 'adc.bits': 6 });
  expect([...first.notices, ...second.notices]).toEqual([]);
  // Another width of the tiles has other ranges, but the same digital pass.
  const tiles = await run(plan({ settings: [...ROUNDED, 'tile.rows=16'] }), cache);
  expect(tiles.cache).toEqual(PASSES.slice(0, 2));
});

test('inputs that are opened once make the plan that a run of its own makes', () => {
  const options = plan({ overrides: { 'adc.bits': 7 } }).options;
  const { manifest, folder: path, digitalJobs } = planDesign(inputs, options);
  const own = planRun({ ...inputOptions, ...options });
  expect(own.manifest).toEqual(manifest);
  expect(own.folder).toBe(path);
  expect(own.digitalJobs).toEqual(digitalJobs);
  expect(manifest.overrides).toEqual({ 'mapping.method': 'round', 'adc.bits': 7 });
  // The same design by another way has the same folder.
  expect(planDesign(inputs, { ...options, overrides: {}, settings: [...ROUNDED, 'adc.bits=7'] }).folder).toBe(
    path,
  );
});

test('damage in the run folder and in the cache that shares its files is said and made again', async () => {
  const cache = newFolder('cache');
  const of = plan();
  const whole = await run(of, cache);
  const results = join(of.folder, 'results.jsonl');
  // One digit of a chip's metrics, and one bit of a row of the baseline: the same file in folder and cache.
  const text = readFileSync(results, 'utf8');
  const chip = text.indexOf('"chip-');
  writeFileSync(results, text.slice(0, chip) + text.slice(chip).replace(/"kl":0\.\d/, '"kl":7.1'));
  flip(join(of.folder, 'baseline.f32'), 0);
  const again = await run(of, cache);
  expect(again.notices).toEqual([
    expect.stringMatching(/^1 line of .* was cut off or changed/),
    expect.stringMatching(/baseline of window 0 .* is damaged/),
    expect.stringMatching(/kept digital baseline .* is damaged/),
  ]);
  expect(again.computed).toEqual(['digital/0', `chip-${of.chipSeeds[0]}/0`]);
  expect(again.result).toEqual(whole.result);
  // One bit of what the digital layers gave.
  flip(join(of.folder, 'layers.f32'), 5);
  const third = await run(of, cache);
  expect(third.notices).toEqual([
    expect.stringMatching(/baseline of window 0 .* is damaged/),
    expect.stringMatching(/kept digital baseline .* is damaged/),
  ]);
  expect(third.computed).toEqual(['digital/0']);
  expect(third.result).toEqual(whole.result);
  // What was made again is kept again.
  expect((await run(plan(), cache)).cache).toEqual(PASSES);
});

test('a cache that cannot be written is said once and fails nothing', async () => {
  const cache = newFolder('cache');
  writeFileSync(cache, 'a file');
  const { result, notices, cache: taken } = await run(plan(), cache);
  expect(notices).toEqual([expect.stringMatching(/^nothing is kept in /)]);
  expect(taken).toEqual([]);
  expect(result.chips).toHaveLength(1);
});

test('a result never shrinks: fewer chips and no attribution keep what the folder has, and it is said', async () => {
  const cache = newFolder('cache');
  const out = newFolder('out');
  const large = await run(plan({ out, chips: 3, attributionChips: 2 }), cache);
  const small = await run(plan({ out, chips: 1 }), cache);
  expect(small.computed).toEqual([]);
  expect(small.notices).toEqual([
    expect.stringMatching(/has 3 chips \(1 asked for\) and attribution on 2 of them \(none asked for\)/),
  ]);
  expect(small.result).toEqual(large.result);
  // Nothing was computed, so the measured speed is that of the run that did.
  expect(large.emulation.tokensPerSecond).toBeGreaterThan(0);
  expect(small.emulation).toEqual(large.emulation);
  const file = JSON.parse(readFileSync(join(plan({ out }).folder, 'result.json'), 'utf8')) as RunResult;
  expect(file.chips).toHaveLength(3);
  expect(file.attribution.length).toBeGreaterThan(3);
  // Also where a chip's job was lost: it is done again.
  const results = join(plan({ out }).folder, 'results.jsonl');
  const lines = readFileSync(results, 'utf8').split('\n');
  const chip = lines.findIndex((line) => line.includes(`"chip-${large.result.chips[1].seed}/0"`));
  writeFileSync(results, lines.filter((_, i) => i !== chip).join('\n'));
  const again = await run(plan({ out, chips: 1 }), cache);
  expect(again.computed).toEqual([`chip-${large.result.chips[1].seed}/0`]);
  expect(again.result).toEqual(large.result);
});

test('an interrupted run resumes: every job is computed once, chips that were finished count', async () => {
  const cache = newFolder('cache');
  const out = newFolder('out');
  const of = plan({ out, chips: 3 });
  const controller = new AbortController();
  const computed: string[] = [];
  const interrupted = executeRun(of, {
    cacheFolder: cache,
    signal: controller.signal,
    onJob: (job) => {
      computed.push(job.key);
      if (job.key === `chip-${of.chipSeeds[1]}/1`) controller.abort();
    },
  });
  await expect(interrupted).rejects.toMatchObject({ code: 'INTERRUPTED' });
  // Two whole chips are there: a run that asks for one has both.
  const one = await run(plan({ out, chips: 1 }), cache);
  expect(one.result.chips.map(({ seed }) => seed)).toEqual(of.chipSeeds.slice(0, 2));
  expect(one.notices).toHaveLength(1);
  const resumed = await run(of, cache);
  expect(new Set([...computed, ...one.computed, ...resumed.computed]).size).toBe(
    computed.length + one.computed.length + resumed.computed.length,
  );
  expect(resumed.result).toEqual((await run(plan({ chips: 3 }), newFolder('cache'))).result);
});

test('what the nominal chip does not know changes neither its ranges nor the digital pass', async () => {
  const drawn = {
    name: 'another',
    adc: { bits: 5, gainSigma: 0.1, offsetSigmaLsb: 3, columnsShared: 8 },
    noise: { white: false, sampling: false, flicker: false, trapsPerM2: 0, lowestFrequencyHz: 1 },
    driver: { offsetSigmaV: 0.01, resistorSigma: 0.1, noiseV: 1e-3 },
  };
  const digital = {
    weights: { bits: 6 },
    tile: { rows: 16 },
    input: { bits: 4, scale: 'token' },
    head: 'analog',
  };
  for (const engine of ['scalar', 'wasm'] as const) {
    const passesOf = async (overrides: Overrides) => {
      const of = plan({ engine, overrides });
      const controller = new AbortController();
      const passes = executeRun(of, {
        cacheFolder: newFolder('cache'),
        signal: controller.signal,
        // Chips are not wanted here.
        onJob: ({ key }) => {
          if (key === 'range/all') controller.abort();
        },
      });
      await expect(passes).rejects.toMatchObject({ code: 'INTERRUPTED' });
      const jobs = readFileSync(join(of.folder, 'results.jsonl'), 'utf8').split('\n').map(decodeJob);
      const ranges = jobs.find((job) => job?.key === 'range/all')!.ranges;
      const baseline = sha256(readFileSync(join(of.folder, 'baseline.f32')));
      return { keys: [baselineKey(of), rangesKey(of)], ranges, baseline };
    };
    const nominal = await passesOf({});
    expect(await passesOf(drawn)).toEqual(nominal);
    const other = await passesOf(digital);
    expect(other.baseline).toBe(nominal.baseline);
    expect(other.keys[0]).toBe(nominal.keys[0]);
    expect(other.keys[1]).not.toBe(nominal.keys[1]);
  }
});

test('sources of error alone have real-valued inputs: they are computed exactly where chips are computed fast', async () => {
  const of = plan({ engine: 'wasm', precision: 'fast', attributionChips: 1 });
  const { result } = await run(of, newFolder('cache'));
  expect(result.attribution.length).toBeGreaterThan(5);
  for (const { kl } of result.attribution) expect(kl.mean).not.toBeNaN();
});
