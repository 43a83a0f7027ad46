/** Shapes that fill nothing evenly: columns that are no multiple of 16, odd rows, three heads to a key, a tied head. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadCalibration } from '../../cell/calibration.ts';
import { buildVariant, type Variant } from '../../experiment/variant.ts';
import { loadLogDomainDesign } from '../../fabric/design.ts';
import { type RangeTable, rangesOf } from '../../fabric/ranges.ts';
import { forward, newSession } from '../../model/forward.ts';
import { type LlamaModel, openModel } from '../../model/model.ts';
import { synthesise } from '../../synth/synthesise.ts';
import { type FixtureOptions, writeFixture } from '../../testing/models.ts';
import { tilePhysics } from '../../tile/physics.ts';
import { createEngine, type EngineOptions } from './engine.ts';

const { design: standard } = loadLogDomainDesign('log-domain', []);
const calibration = loadCalibration(standard.process, standard.cell);

/** Everything of the chip but what is drawn per token, which the two draw differently. */
const design: typeof standard = {
  ...standard,
  tile: { ...standard.tile, rows: 64 },
  noise: { ...standard.noise, white: false, sampling: false, flicker: false, trapsPerM2: 0 },
  driver: { ...standard.driver, noiseV: 0 },
  bias: { ...standard.bias, sourceNoiseV: 0, referenceNoiseV: 0 },
  column: { ...standard.column, clampNoiseV: 0 },
};
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
};

test.each(Object.entries(SHAPES))('%s', async (name, shape) => {
  const file = join(folder, `${name.replaceAll(/\W+/g, '-')}.gguf`);
  writeFixture(file, shape);
  const model = openModel(file);
  try {
    const digital = await relativeError(model, { mode: 'digital' }, { kind: 'digital' });
    expect(digital).toBeLessThan(1e-2);
    const recoded = await relativeError(model, { mode: 'recoded' }, { kind: 'recoded' });
    expect(recoded).toBeLessThan(1e-2);
    const { ranges } = scalar(model, { kind: 'range' });
    const chip = await relativeError(
      model,
      { mode: 'chip', chipSeed: 4, ranges },
      { kind: 'chip', seed: 4 },
      ranges,
    );
    const other = await relativeError(
      model,
      { mode: 'chip', chipSeed: 9, ranges },
      { kind: 'chip', seed: 4 },
      ranges,
    );
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
    const exact = await relativeError(model, { mode: 'digital', int8Terms: 1 }, { kind: 'digital' });
    const twice = await relativeError(model, { mode: 'digital', int8Terms: 2 }, { kind: 'digital' });
    console.log(`Q4_0: one byte ${exact.toExponential(1)}, two ${twice.toExponential(1)} of the logits`);
    expect(exact).toBeLessThan(8e-3);
    expect(twice).toBeLessThan(1e-3);
  } finally {
    model.close();
  }
});

function scalar(model: LlamaModel, variant: Variant, ranges?: RangeTable) {
  const parts = { model, design, calibration, kernel: 'baked' as const, hardware: new Map(), ranges };
  const built = buildVariant(variant, parts);
  const session = newSession(model, built.layers, ids.length);
  const logits = [...ids].map((id, position) => forward(session, id, { window: 0, position }).slice());
  return {
    logits,
    ranges: variant.kind === 'range' ? rangesOf(built.record, tilePhysics(calibration, design)) : {},
  };
}

/** rms difference of the logits over their rms. */
async function relativeError(
  model: LlamaModel,
  options: Pick<EngineOptions, 'mode' | 'chipSeed' | 'ranges' | 'int8Terms'>,
  variant: Variant,
  ranges?: RangeTable,
): Promise<number> {
  const expected = scalar(model, variant, ranges).logits;
  const engine = await createEngine({
    model,
    design,
    calibration,
    contextTokens: 32,
    threads: 2,
    ...options,
  });
  let difference = 0;
  let size = 0;
  try {
    await engine.prefill(ids, 0, (p, logits) => {
      logits.forEach((x, i) => {
        difference += (x - expected[p][i]) ** 2;
        size += expected[p][i] ** 2;
      });
    });
  } finally {
    await engine.close();
  }
  return Math.sqrt(difference / size);
}
