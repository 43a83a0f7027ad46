/** What the engine refuses, how it fails, and what it would take. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BENCH_VARIANTS, bench } from '../../bench/engine.ts';
import { benchEngineText } from '../../bench/engine-text.ts';
import { allocate, MEMORY_BYTES, newArena } from '../../emit/arena.ts';
import { CONSTANTS_END, writeConstants } from '../../emit/constants.ts';
import { loadFabric } from '../../fabric/registry.ts';
import { packageRoot } from '../../files.ts';
import { openModel } from '../../model/model.ts';
import { blockWeights, modelShape } from '../../model/shape.ts';
import { MODEL_SHAPES } from '../../model/shapes.ts';
import { loadLogDomainDesign } from '../../testing/designs.ts';
import { EMBEDDED_F16 } from '../../testing/models.ts';
import { negativeLogLikelihood } from '../../testing/scoring.ts';
import { refusal } from '../backend.ts';
import { createEngine } from '../create.ts';
import { chooseKernels, selfTest, tryOnly } from './check/selftest.ts';
import { wasm } from './engine.ts';
import { DOT_KINDS } from './kernels/dot.ts';
import { instantiate } from './kernels/module.ts';
import { memorySizes } from './plan/operations.ts';
import { planOperations } from './plan/plan-operations.ts';

const { design } = loadLogDomainDesign('log-domain', []);
const fabric = loadFabric(design);
const SHAPE_8B = MODEL_SHAPES['llama-3.1-8b'];

test('the self-test names a kernel that is wrong', async () => {
  const { module, kernel } = await chooseKernels();
  const state = newArena(2 ** 22, CONSTANTS_END);
  const weights = newArena(2 ** 20);
  const tables = newArena(2 ** 16);
  writeConstants(state.memory);
  const right = await instantiate(module, state.memory, weights.memory, tables.memory);
  expect(selfTest(right, { state, weights, tables })).toBeUndefined();
  expect(['relaxed', 'pairs', 'i16']).toContain(kernel);
  // One epilogue in the place of another, and a constant that is off by one.
  const swapped = { ...right, panel_bytes_convert_off_batch: right.panel_bytes_convert_token_batch };
  expect(selfTest(swapped, { state, weights, tables })).toMatch(/bytes .*"noise":"off"/);
  new Int32Array(state.memory.buffer).fill(3, 64 / 4, CONSTANTS_END / 4);
  expect(selfTest(right, { state, weights, tables })).toBeDefined();
});

test('kernels as another processor would take them', async () => {
  try {
    tryOnly(['i16']);
    expect((await chooseKernels()).kernel).toBe('i16');
  } finally {
    tryOnly(DOT_KINDS);
  }
});

test('8B: no memory is overrun, and a context of 8192 tokens fits beside the weights', () => {
  const model = { shape: SHAPE_8B, madeUpType: 'Q4_0' };
  const needs = { model, fabric, contextTokens: 8192, threads: 2 };
  const chip = wasm.memory({ ...needs, mode: 'chip', tuning: { precision: 'fast' } });
  // 6.98e9 codes of half a byte, the digital head of 0.53e9 weights, their scales, and a chip's tables of columns.
  expect(chip.weightBytes).toBeGreaterThan(4.1e9);
  expect(chip.weightBytes).toBeLessThan(5e9);
  const baked = wasm.memory({ ...needs, mode: 'chip', tuning: { precision: 'fast', cells: 'baked' } });
  expect(baked.weightBytes - chip.weightBytes).toBeGreaterThan(6.9e9);
  // A token reads the baked bytes in place of the codes that they were made of, and what the inputs' offset adds to 16 columns of 256 rows and their sums of |w|.
  expect(baked.tokenBytes - chip.tokenBytes).toBeCloseTo(6.98e9 * (1 / 2 + 128 / 4096), -8);
  expect(chip.tokenBytes).toBeLessThan(chip.weightBytes);
  expect(chip.stateBytes).toBeGreaterThan(2 * 32 * 8192 * 1024 * 2);
  const recoded = wasm.memory({ ...needs, mode: 'mapped' });
  expect(recoded.weightBytes).toBeLessThan(4.8e9);
  // The file's own codes and the halves of their blocks, 0.5625 bytes a weight; without its types a byte each and a scale of f32.
  const digital = wasm.memory({ ...needs, mode: 'digital' });
  expect(digital.weightBytes).toBeCloseTo(0.5625 * (6.98e9 + 0.53e9), -8);
  const unknown = wasm.memory({ ...needs, model: { shape: SHAPE_8B }, mode: 'digital' });
  expect(unknown.weightBytes).toBeCloseTo(1.125 * (6.98e9 + 0.53e9), -8);
  const operations = planOperations(SHAPE_8B, {
    mode: 'chip',
    fabric,
    precision: 'fast',
    refined: false,
    int8Terms: 1,
    noise: 'product',
    floatConverter: false,
    varied: true,
    baked: true,
    rankOf: () => 1,
    codec: () => undefined,
  });
  expect(operations).toHaveLength(32 * 7 + 1);
  const sizes = memorySizes(operations);
  for (const bytes of [...sizes.resident, ...sizes.tables, ...sizes.baked.map(({ bytes }) => bytes)]) {
    expect(bytes).toBeLessThanOrEqual(MEMORY_BYTES);
  }
  operations.forEach((o, i) => {
    const next = operations[i + 1];
    const tablesEnd = o.tablesAt + o.panels * o.panelTables;
    if (next) expect(next.tablesAt).toBe(next.resident.memory === o.resident.memory ? tablesEnd : 0);
    for (const kind of ['resident', 'baked'] as const) {
      const place = o[kind];
      if (!place) continue;
      const following = next?.[kind];
      const end = place.at + o.panels * place.panelBytes;
      if (following) expect(following.at).toBe(following.memory === place.memory ? end : 0);
      expect(place.at % 16).toBe(0);
      expect(place.panelBytes % 16).toBe(0);
    }
    expect(o.panelTables % 16).toBe(0);
  });
  expect(refusal(wasm, { ...needs, mode: 'mapped', contextTokens: 131072 })).toMatchObject({
    key: 'bytes beside the weights',
  });
});

test('an arena refuses what does not fit', () => {
  const arena = newArena(65536);
  allocate(arena, 65000, 'most of it');
  expect(() => allocate(arena, 1000, 'the rest')).toThrow(/the rest needs 1000 bytes/);
  expect(() => newArena(2 ** 33)).toThrow(/one memory has no room for/);
});

test('a thread that fails ends the engine with its own error', async () => {
  const model = openModel(EMBEDDED_F16);
  try {
    const options = { model, fabric, mode: 'chip', contextTokens: 16, threads: 2 } as const;
    await expect(createEngine('wasm', { ...options, ranges: {} })).rejects.toMatchObject({ code: 'RANGES' });
    await expect(createEngine('wasm', options)).rejects.toMatchObject({ code: 'RANGES' });
    await expect(createEngine('wasm', { ...options, contextTokens: 0 })).rejects.toMatchObject({
      code: 'CONTEXT_RANGE',
    });
  } finally {
    model.close();
  }
});

test('a cache of bytes costs little; the context is a bound', async () => {
  const model = openModel(EMBEDDED_F16);
  try {
    const text = readFileSync(join(packageRoot, 'experiments/texts/stories.txt'), 'utf8');
    const ids = model.tokenizer.encode(text).slice(0, 120);
    const nll: number[] = [];
    for (const kvBits of [16, 8] as const) {
      const engine = await createEngine('wasm', {
        model,
        fabric: loadFabric({ ...design, kvBits }),
        mode: 'digital',
        contextTokens: 120,
        threads: 2,
      });
      let sum = 0;
      await engine.prefill(ids.subarray(0, 119), 0, (p, logits) => {
        sum += negativeLogLikelihood(logits, ids[p + 1]);
      });
      nll.push(sum / 119);
      await engine.decode(ids[119]);
      await expect(engine.decode(1)).rejects.toMatchObject({ code: 'CONTEXT_FULL' });
      await expect(engine.prefill([2000], 0)).rejects.toMatchObject({ code: 'TOKEN_RANGE' });
      expect(engine.activity()).toEqual([]);
      await engine.close();
    }
    expect(nll[1]).not.toBe(nll[0]);
    expect(Math.abs(nll[1] / nll[0] - 1)).toBeLessThan(0.01);
  } finally {
    model.close();
  }
});

test('the bench runs on a small shape and its shares add up', async () => {
  const shape = modelShape({
    ...SHAPE_8B,
    dim: 256,
    ffnDim: 512,
    layers: 8,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    vocab: 512,
  });
  const result = await bench({
    fabric,
    shape,
    layers: 2,
    threads: 2,
    batchTokens: 24,
    decodeTokens: 2,
    rounds: 2,
    variants: [BENCH_VARIANTS[1]],
    // A peer that needs ten seconds for everything.
    peer: {
      name: 'slow',
      system: '',
      prefill: async () => ({ wholeS: 10, processorS: 20 }),
      decode: async () => ({ wholeS: 10, processorS: 20 }),
      close: async () => {},
    },
  });
  expect(result.schema).toBe('onefet.bench/1');
  expect(result.limits.gemmShareOfPeak).toBeGreaterThan(0);
  const [chip] = result.results;
  for (const profile of [chip.prefillProfile, chip.decodeProfile]) {
    expect(Object.values(profile).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 2);
  }
  expect(chip.prefillTokensPerSecond).toBeGreaterThan(0);
  expect(chip.decodeTokensPerSecond).toBeGreaterThan(0);
  expect(result.peer).toMatchObject({ prefillTokensPerSecond: 2.4, decodeTokensPerSecond: 0.1 });
  // Of two rounds the median of the ratios lies between the rounds, as that of the times does.
  expect(result.ratios?.prefill[chip.name]).toBeGreaterThan(chip.prefillTokensPerSecond / 2.4 / 2);
  expect(result.ratios?.decode[chip.name]).toBeGreaterThan(chip.decodeTokensPerSecond / 0.1 / 2);
  expect(chip.processorRatios?.prefill).toBeGreaterThan(0);
  expect(result.peer?.threadsRunning).toEqual({ prefill: 2, decode: 2 });
  // It prefills with cells that are made and decodes from baked ones: a byte more for each weight of all blocks, not of
  // those that were built.
  expect(chip.decodeMemoryBytes - chip.memoryBytes).toBeCloseTo(blockWeights(shape), -6);
  expect(benchEngineText(result, {})).toContain('decodes as `generate` does, from cells that are baked');
  // Six tokens, which read the weights once: together they take less than one by one.
  expect(result.texts).toBe(6);
  expect(chip.togetherTokensPerCpuSecond).toBeGreaterThan(chip.decodeTokensPerCpuSecond);
  expect(result.ratios?.together[chip.name]).toBeGreaterThan(chip.togetherTokensPerSecond / 0.1 / 2);
});

test('an interruption ends a text within a batch and what is being loaded; progress is told', async () => {
  const model = openModel(EMBEDDED_F16);
  try {
    const text = readFileSync(join(packageRoot, 'experiments/texts/stories.txt'), 'utf8');
    const ids = model.tokenizer.encode(text).slice(0, 512);
    const stop = new AbortController();
    const shares: number[] = [];
    const options = { model, fabric, mode: 'digital', contextTokens: 512, threads: 2 } as const;
    const engine = await createEngine('wasm', {
      ...options,
      tuning: { batchTokens: 48 },
      signal: stop.signal,
      onProgress(stage, share) {
        if (stage !== 'prefill') return;
        shares.push(share);
        // Not between two batches but while the third is computed.
        if (shares.length === 2) setTimeout(() => stop.abort(), 3);
      },
    });
    await expect(engine.prefill(ids, 0)).rejects.toMatchObject({ kind: 'interrupted' });
    expect(shares.length).toBeLessThan(9);
    expect(shares.slice(0, 2)).toEqual([48 / 512, 96 / 512]);
    await engine.close();
    await expect(createEngine('wasm', { ...options, signal: stop.signal })).rejects.toMatchObject({
      kind: 'interrupted',
    });
  } finally {
    model.close();
  }
});
