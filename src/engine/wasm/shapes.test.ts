/** Shapes that fill nothing evenly: columns that are no multiple of 16, odd rows, three heads to a key, a tied head. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { RangeTable } from '../../fabric/ranges.ts';
import { loadFabric } from '../../fabric/registry.ts';
import { LLAMA } from '../../model/architecture.ts';
import { type Model, openModel } from '../../model/model.ts';
import { synthesise } from '../../synth/synthesise.ts';
import { loadLogDomainDesign } from '../../testing/designs.ts';
import { runText } from '../../testing/engines.ts';
import { type FixtureOptions, writeFixture } from '../../testing/models.ts';
import type { EngineMode, EngineTuning } from '../backend.ts';

/** Everything of the chip but what is drawn per token, which the two draw differently. */
const fabric = loadFabric(loadLogDomainDesign('log-domain', ['tile.rows=64']).design).withoutNoise();
const ids = Int32Array.from({ length: 24 }, (_, i) => (i * 131 + 7) % 500);
const folder = mkdtempSync(join(tmpdir(), 'onefet-engine-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SHAPES: Record<string, FixtureOptions> = {
  'three heads to a key, odd feed-forward': { dim: 96, ffnDim: 201, heads: 6, kvHeads: 2, headDim: 16 },
  'one head to a key, tied, scaled rotation': {
    dim: 40,
    ffnDim: 72,
    heads: 3,
    kvHeads: 3,
    headDim: 32,
    tied: true,
    ropeFactors: Array.from({ length: 16 }, (_, j) => 1 + j / 4),
  },
  'five heads to a key': { dim: 130, ffnDim: 90, heads: 5, kvHeads: 1, headDim: 16, layers: 1 },
  'heads of eight': { dim: 64, ffnDim: 172, heads: 8, kvHeads: 4, headDim: 8 },
  'biases and YaRN': {
    biases: LLAMA.matrices.map(({ tensor }) => tensor),
    fields: {
      'llama.rope.scaling.type': { type: 'string', value: 'yarn' },
      'llama.rope.scaling.factor': { type: 'f32', value: 8 },
      'llama.rope.scaling.original_context_length': { type: 'u32', value: 64 },
    },
  },
};

test.each(Object.entries(SHAPES))('%s', async (name, shape) => {
  const file = join(folder, `${name.replaceAll(/\W+/g, '-')}.gguf`);
  writeFixture(file, shape);
  const model = openModel(file);
  try {
    expect(await relativeError(model, 'digital')).toBeLessThan(1e-2);
    expect(await relativeError(model, 'mapped')).toBeLessThan(1e-2);
    const { ranges } = await runText('scalar', { model, fabric, mode: 'range' }, ids);
    const chip = await relativeError(model, 'chip', { ranges, seeds: [4, 4] });
    const other = await relativeError(model, 'chip', { ranges, seeds: [4, 9] });
    // Converter codes that round to the neighbour; a different chip is further away.
    expect(chip).toBeLessThan(other / 2);
  } finally {
    model.close();
  }
});

// Q4_0's codes are exact in a byte: what is left is the head (Q6_K, rounded to a byte) and activations of 14 bits.
test('a Q4_0 model is exact in one byte per weight', async () => {
  const file = join(folder, 'q4.gguf');
  await synthesise({ shape: 'tiny', type: 'Q4_0', path: file, threads: 1 });
  const model = openModel(file);
  try {
    const exact = await relativeError(model, 'digital', { tuning: { int8Terms: 1 } });
    const twice = await relativeError(model, 'digital', { tuning: { int8Terms: 2 } });
    console.log(`Q4_0: one byte ${exact.toExponential(1)}, two ${twice.toExponential(1)} of the logits`);
    expect(exact).toBeLessThan(8e-3);
    expect(twice).toBeLessThan(1e-3);
  } finally {
    model.close();
  }
});

/** rms difference of the logits over their rms; `seeds` of the scalar chip and of the other. */
async function relativeError(
  model: Model,
  mode: EngineMode,
  own: { ranges?: RangeTable; seeds?: readonly [number, number]; tuning?: EngineTuning } = {},
): Promise<number> {
  const { ranges, seeds = [0, 0], tuning } = own;
  const request = { model, fabric, mode, ...(ranges ? { ranges } : {}) };
  const expected = await runText('scalar', { ...request, chipSeed: seeds[0] }, ids);
  const found = await runText('wasm', { ...request, chipSeed: seeds[1], ...(tuning ? { tuning } : {}) }, ids);
  let difference = 0;
  let size = 0;
  found.logits.forEach((logits, p) => {
    logits.forEach((x, i) => {
      difference += (x - expected.logits[p][i]) ** 2;
      size += expected.logits[p][i] ** 2;
    });
  });
  return Math.sqrt(difference / size);
}
