/**
 * What the arithmetic of the fast engine costs in accuracy: the same chip (or the same digital model) by the scalar
 * reference and by the engine, on the embedded model and the range text, without what is drawn anew for every token.
 *   klNats   mean over positions of KL(scalar || engine) of the next token's distribution
 */

import type { Calibration } from '../cell/calibration.ts';
import { createEngine } from '../engine/wasm/engine.ts';
import { klDivergence, logSoftmax } from '../experiment/metrics.ts';
import { buildVariant, type Variant, type VariantParts } from '../experiment/variant.ts';
import type { LogDomainDesign as Design } from '../fabric/log-domain.ts';
import { type RangeTable, rangesOf } from '../fabric/ranges.ts';
import { forward, newSession } from '../model/forward.ts';
import type { LlamaModel } from '../model/model.ts';
import { tilePhysics } from '../tile/physics.ts';
import type { BenchVariant } from './engine.ts';

export interface AccuracyDifference {
  readonly klNats: number;
  readonly positions: number;
}

/** Seed of the chip that both emulate. */
const CHIP_SEED = 1;

/** Differences of all variants, by name; the scalar side of a mode is computed once. */
export async function accuracyDifferences(
  model: LlamaModel,
  ids: Int32Array,
  design: Design,
  calibration: Calibration,
  variants: readonly BenchVariant[],
): Promise<Record<string, AccuracyDifference>> {
  const own = withoutDrawnNoise(design);
  const parts: VariantParts = {
    model,
    design: own,
    calibration,
    kernel: 'baked',
    hardware: new Map(),
    ranges: undefined,
  };
  const scalar = (variant: Variant, ranges?: RangeTable) => {
    const built = buildVariant(variant, { ...parts, ranges });
    const session = newSession(model, built.layers, ids.length);
    const logits = [...ids].map((id, position) => forward(session, id, { window: 0, position }).slice());
    return { logits, record: built.record };
  };
  const ranges = rangesOf(scalar({ kind: 'range' }).record, tilePhysics(calibration, own));
  const known = new Map<string, Float32Array[]>();
  const reference = (mode: 'digital' | 'recoded' | 'chip') => {
    let logits = known.get(mode);
    if (!logits) {
      const variant: Variant = mode === 'chip' ? { kind: mode, seed: CHIP_SEED } : { kind: mode };
      logits = scalar(variant, ranges).logits;
      known.set(mode, logits);
    }
    return logits;
  };
  const differences: Record<string, AccuracyDifference> = {};
  for (const { name, mode, ...choice } of variants) {
    if (mode === 'range') continue;
    const engine = await createEngine({
      ...choice,
      mode,
      model,
      design: own,
      calibration,
      chipSeed: CHIP_SEED,
      ranges,
      contextTokens: ids.length,
      // As in the bench: one byte per digital weight.
      int8Terms: 1,
    });
    const found: Float32Array[] = [];
    try {
      await engine.prefill(ids, 0, (_position, logits) => found.push(logits.slice()));
    } finally {
      await engine.close();
    }
    differences[name] = { klNats: meanKl(reference(mode), found), positions: ids.length };
  }
  return differences;
}

/** What differs from token to token is drawn by other generators in the engine: left out, so that the rest compares. */
function withoutDrawnNoise(design: Design): Design {
  return {
    ...design,
    driver: { ...design.driver, noiseV: 0 },
    bias: { ...design.bias, sourceNoiseV: 0, referenceNoiseV: 0 },
    column: { ...design.column, clampNoiseV: 0 },
    noise: { ...design.noise, white: false, sampling: false, flicker: false, trapsPerM2: 0 },
  };
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
