import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { packageRoot } from '../files.ts';
import { openModel } from '../model/model.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { EMBEDDED_F16 } from '../testing/models.ts';
import { needs } from '../testing/needs.ts';
import { oracleIsLive } from '../testing/oracle.ts';
import { accuracyDifferences } from './accuracy.ts';
import { BENCH_VARIANTS } from './engine.ts';
import { startLlamaCpp } from './llama-cpp.ts';

test('the engine differs from the scalar chip by far less than the chip from the digital model', async () => {
  const { design } = loadDesign('log-domain', []);
  const fabric = loadFabric(design);
  const model = openModel(EMBEDDED_F16);
  try {
    const text = readFileSync(join(packageRoot, 'experiments/texts/range.txt'), 'utf8');
    const ids = model.tokenizer.encode(text).slice(0, 48);
    const found = await accuracyDifferences(model, ids, fabric, BENCH_VARIANTS);
    const [fast, , exact, recoded, digital] = BENCH_VARIANTS.map(({ name }) => found[name].klNats);
    // The whole chip's KL to the digital model is 0.09.
    expect(fast).toBeLessThan(0.02);
    expect(exact).toBeLessThan(0.02);
    expect(exact).toBeGreaterThan(0);
    expect(recoded).toBeLessThan(1e-3);
    expect(digital).toBeLessThan(1e-3);
  } finally {
    model.close();
  }
});

const recordedOnly = oracleIsLive ? undefined : 'llama.cpp runs in npm run oracle only';
test('llama.cpp takes turns on two models of a small shape', needs(recordedOnly), async () => {
  const peer = await startLlamaCpp({
    shape: MODEL_SHAPES.tiny,
    threads: 1,
    batchTokens: 24,
    decodeTokens: 3,
  });
  try {
    expect(peer.name).toContain('llama.cpp');
    for (const measure of [peer.prefill, peer.decode, peer.prefill, peer.decode]) {
      const { wholeS } = await measure();
      expect(Number.isFinite(wholeS)).toBe(true);
    }
  } finally {
    await peer.close();
  }
});
