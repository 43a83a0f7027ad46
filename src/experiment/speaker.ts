/** A variant of a model that takes a prompt and then token by token: on the fast engine, or by the scalar kernels. */

import type { Calibration } from '../cell/calibration.ts';
import { createEngine, type Engine } from '../engine/wasm/engine.ts';
import { OnefetError } from '../error.ts';
import type { LogDomainDesign as Design } from '../fabric/log-domain.ts';
import { type RangeTable, rangesOf } from '../fabric/ranges.ts';
import { forward, newSession } from '../model/forward.ts';
import type { LlamaModel } from '../model/model.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { tilePhysics } from '../tile/physics.ts';
import { CODES_FOLDER, collectGarbage } from './fast.ts';
import { buildVariant, type HardwareCache, type Variant, variantDesign } from './variant.ts';

export interface SpeakerParts {
  readonly model: LlamaModel;
  readonly design: Design;
  readonly calibration: Calibration;
  readonly contextTokens: number;
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Speaker {
  /** Begins a text; resolves to the logits behind its last token, overwritten by the next call. */
  prefill(ids: Int32Array): Promise<Float32Array>;
  /** The next token; logits behind it. */
  next(id: number): Promise<Float32Array>;
  /** Of variant `range`: full scales from what was seen. */
  ranges(): RangeTable;
  close(): Promise<void>;
}

/** Makes the speaker of a variant; chips need the ranges of their converters. */
export type Speakers = (variant: Variant, ranges: RangeTable | undefined) => Promise<Speaker>;

export function fastSpeakers({
  model,
  design,
  calibration,
  contextTokens,
  threads,
  signal,
}: SpeakerParts): Speakers {
  return async (variant, ranges) => {
    let engine: Engine | undefined = await createEngine({
      model,
      design: variantDesign(variant, design),
      calibration,
      mode: variant.kind === 'source' ? 'chip' : variant.kind,
      threads,
      contextTokens,
      codesCache: { folder: CODES_FOLDER, modelSha256: model.sha256() },
      signal,
      ...('seed' in variant ? { chipSeed: variant.seed } : {}),
      ...(ranges && 'seed' in variant ? { ranges } : {}),
    });
    const open = () => {
      if (engine) return engine;
      throw new OnefetError('internal', 'SPEAKER_CLOSED', 'a speaker was used after it was closed');
    };
    return {
      async prefill(ids) {
        const last = new Float32Array(model.shape.vocab);
        await open().prefill(ids, 0, (_position, logits) => last.set(logits), ids.length - 1);
        return last;
      },
      next: (id) => open().decode(id),
      ranges: () => open().ranges(),
      async close() {
        await open().close();
        engine = undefined;
        collectGarbage();
      },
    };
  };
}

export function scalarSpeakers(
  { model, design, calibration, contextTokens }: SpeakerParts,
  kernel: TileKernel,
): Speakers {
  const hardware: HardwareCache = new Map();
  return async (variant, ranges) => {
    const built = buildVariant(variant, { model, design, calibration, kernel, hardware, ranges });
    const session = newSession(model, built.layers, contextTokens);
    const take = (id: number) => forward(session, id, { window: 0, position: session.position });
    return {
      async prefill(ids) {
        let logits: Float32Array = new Float32Array(0);
        for (const id of ids) logits = take(id);
        return logits;
      },
      next: async (id) => take(id),
      ranges: () => rangesOf(built.record, tilePhysics(calibration, design)),
      close: async () => {},
    };
  };
}
