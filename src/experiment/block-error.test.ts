import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { fixtureModel } from '../testing/models.ts';
import { addBlockErrors, blockSnrDb, openBlockErrors, stateStride } from './block-error.ts';
import type { Job } from './job.ts';
import type { RunOptions } from './options.ts';
import { planRun } from './plan.ts';
import type { RunResult } from './result.ts';
import { executeRun } from './run.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-blocks-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a state that is 10 % off in every element has 20 dB; the digital model none of its own', () => {
  const path = join(folder, 'states.f32');
  writeFileSync(path, '');
  const shape = { layers: 3, dim: 8 };
  const job = (kind: 'digital' | 'recoded'): Job => ({
    key: kind,
    variant: { kind },
    windows: [],
    number: 0,
    baselineRow: 5,
  });
  const state = (index: number, block: number, factor: number) =>
    Float32Array.from({ length: 8 }, (_, i) => factor * Math.sin(1 + index + 3 * block + i));
  const visit = (kind: 'digital' | 'recoded', factor: number) => {
    const states = openBlockErrors(job(kind), path, shape, 2)!;
    for (let index = 0; index < 6; index++) {
      if (!states.wants(index)) continue;
      for (let block = 0; block < 3; block++) states.add(index, block, state(index, block, factor));
    }
    states.close();
    return states.sums();
  };
  const digital = visit('digital', 1);
  // Rows 5 to 10 of the run: 6, 8 and 10 are kept.
  expect(digital.positions).toBe(3);
  expect(blockSnrDb(digital)).toEqual([null, null, null]);
  const recoded = visit('recoded', 1.1);
  for (const snr of blockSnrDb(recoded)) expect(snr).toBeCloseTo(20, 4);
  const twice = addBlockErrors([recoded, recoded]);
  expect(twice.positions).toBe(6);
  for (const snr of blockSnrDb(twice)) expect(snr).toBeCloseTo(20, 4);
});

test('the file of states stays below 64 MB: Llama 3.1 8B over 4,096 positions', () => {
  const shape = { layers: 32, dim: 4096 };
  const stride = stateStride(shape, 4096);
  expect(Math.ceil(4096 / stride) * 32 * 4096 * 4).toBeLessThanOrEqual(64e6);
  expect(stateStride({ layers: 5, dim: 64 }, 4096)).toBe(1);
});

test('the scalar and the WebAssembly engine see the same growth, and chips lie below the recoded weights', async () => {
  const options: RunOptions = {
    model: fixtureModel('small'),
    text: 'experiments/texts/stories.txt',
    rangeText: 'experiments/texts/range.txt',
    design: 'log-domain',
    settings: ['mapping.method=round'],
    chips: 1,
    seed: 1,
    threads: 2,
    contextTokens: 32,
    scoring: 'window',
    maxWindows: 1,
    costContextTokens: 1024,
    yieldRatio: 1.1,
    attributionChips: 0,
    engine: 'wasm',
    out: folder,
  };
  const run = (engine: RunOptions['engine']): Promise<RunResult> =>
    executeRun(planRun({ ...options, engine, out: join(folder, engine) }));
  const results = [await run('wasm'), await run('scalar')];
  const [fast, scalar] = results.map(({ blocks }) => blocks!);
  expect(fast.positions).toBe(scalar.positions);
  expect(fast.recodedDb.length).toBe(2);
  fast.recodedDb.forEach((snr, block) => {
    expect(Math.abs(snr! - scalar.recodedDb[block]!)).toBeLessThan(0.05);
    // The same chip up to the rounding of baked weights and to the draws of the noise.
    expect(Math.abs(fast.chipDb[block]!.mean - scalar.chipDb[block]!.mean)).toBeLessThan(1.5);
    expect(fast.chipDb[block]!.mean).toBeLessThan(snr!);
  });
  // Matrix by matrix too.
  const [fastSnr, scalarSnr] = results.map(({ layerSnr }) => layerSnr);
  expect(fastSnr.positions).toBe(15);
  expect(fastSnr.matrices.length).toBe(14);
  fastSnr.matrices.forEach(({ layer, tensor, recoded, chips }, i) => {
    const expected = scalarSnr.matrices[i];
    expect([layer, tensor]).toEqual([expected.layer, expected.tensor]);
    expect(Math.abs(recoded.localDb! - expected.recoded.localDb!)).toBeLessThan(0.05);
    expect(Math.abs(recoded.streamDb! - expected.recoded.streamDb!)).toBeLessThan(0.05);
    expect(Math.abs(chips.localDb! - expected.chips.localDb!)).toBeLessThan(0.5);
    expect(Math.abs(chips.streamDb! - expected.chips.streamDb!)).toBeLessThan(1.5);
    expect(chips.localDb!).toBeLessThan(recoded.localDb!);
    // What is read at the input of the first block is the same on a chip.
    if (layer === 0 && i < 3) expect(chips.streamDb).toBe(chips.localDb);
  });
});
