/**
 * Accuracy that the arithmetic of the WebAssembly engine costs: the same chip (or the same digital model) by the scalar
 * engine and by it, without what is drawn anew for every token.
 *   klNats   mean over positions of KL(scalar || wasm) of the next token's distribution
 */
import type { EngineMode, EngineTuning } from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import type { BackendName } from '../engine/names.ts';
import { klDivergence, logSoftmax } from '../experiment/metrics.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { Model } from '../model/model.ts';
import type { BenchVariant } from './engine-rounds.ts';

export interface AccuracyDifference {
  readonly klNats: number;
  readonly positions: number;
}

/** Seed of the chip that both emulate. */
const CHIP_SEED = 1;

/** Differences of all variants, by name; the scalar side of a mode is computed once. */
export async function accuracyDifferences(
  model: Model,
  ids: Int32Array,
  fabric: Fabric,
  variants: readonly BenchVariant[],
): Promise<Record<string, AccuracyDifference>> {
  // What differs from token to token is drawn by other generators in the engine: left out, so that the rest compares.
  const still = fabric.withoutNoise();
  const run = async (
    backend: BackendName,
    mode: EngineMode,
    own: { ranges?: RangeTable; tuning?: EngineTuning } = {},
  ) => {
    const [chipSeed, contextTokens, threads] = [CHIP_SEED, ids.length, 2];
    const request = { model, fabric: still, mode, chipSeed, contextTokens, threads, ...own };
    const engine = await createEngine(backend, request);
    try {
      const found: Float32Array[] = [];
      await engine.prefill(ids, 0, (_position, logits) => found.push(logits.slice()));
      return { logits: found, ranges: mode === 'range' ? engine.ranges() : {} };
    } finally {
      await engine.close();
    }
  };
  const { ranges } = await run('scalar', 'range');
  const known = new Map<EngineMode, Float32Array[]>();
  const differences: Record<string, AccuracyDifference> = {};
  for (const { name, mode, tuning } of variants) {
    const expected = known.get(mode) ?? (await run('scalar', mode, { ranges })).logits;
    known.set(mode, expected);
    // As in the benchmark: one byte per digital weight.
    const found = await run('wasm', mode, { ranges, tuning: { ...tuning, int8Terms: 1 } });
    differences[name] = { klNats: meanKl(expected, found.logits), positions: ids.length };
  }
  return differences;
}

function meanKl(expected: readonly Float32Array[], found: readonly Float32Array[]): number {
  const logP = new Float32Array(expected[0].length);
  const logQ = new Float32Array(expected[0].length);
  const each = expected.map((logits, i) => {
    logSoftmax(logP, logits);
    logSoftmax(logQ, found[i]);
    return klDivergence(logP, logQ);
  });
  return each.reduce((sum, x) => sum + x, 0) / each.length;
}
