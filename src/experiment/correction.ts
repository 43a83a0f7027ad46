/**
 * Per-chip correction of a run: before a chip's jobs its cells are read with the ranges that were measured, and an image of
 * its own is made of the model's (src/mapping/correct-image.ts), which its engines load. With a single source of error
 * acting, the reading and the fit see that source alone.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ImagePlan, imageWeights } from '../engine/image.ts';
import { OnefetError } from '../error.ts';
import { wantedCorrection } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { correctImage } from '../mapping/correct-image.ts';
import { createImage, type ImageReader } from '../mapping/image.ts';
import { momentsKey } from '../mapping/map-model.ts';
import { modelSource } from '../mapping/model-source.ts';
import { STAGES } from '../model/architecture.ts';
import type { Model } from '../model/model.ts';
import type { ModelShape } from '../model/shape.ts';
import type { CorrectionErrors } from './job.ts';
import { requireCorrectable } from './planned-mapping.ts';
import { type Variant, variantKey, variantRequest } from './variant.ts';

/**
 * What a chip's image will be, for checks of engines and memory beforehand. Errors: MAPPING_CORRECTION (usage) where no chip
 * can be read, IMAGE_MOMENTS (usage) for an image that keeps no second moments.
 */
export function plannedCorrection<M extends { readonly parts: ImagePlan; readonly path: string | undefined }>(
  mapping: M,
  fabric: Fabric,
  shape: ModelShape,
): M {
  const correction = wantedCorrection(fabric.design);
  if (!correction) return mapping;
  requireCorrectable(fabric);
  const { parts, path } = mapping;
  const kept = Array.from({ length: shape.layers }, (_, layer) =>
    STAGES.map((s) => momentsKey(layer, s)),
  ).flat();
  if (path !== undefined && !kept.every((key) => parts.vectors.has(key))) {
    throw new OnefetError('usage', 'IMAGE_MOMENTS', 'the chip image keeps no second moments of the inputs', {
      hint: 'map it with mapping.correction.source=reading, or run without correction',
    });
  }
  const matrices = new Map(
    [...parts.matrices].map(([key, meta]) => [key, { ...meta, side: Math.max(meta.side, correction.rank) }]),
  );
  return { ...mapping, parts: { ...parts, matrices } };
}

/** Whether a variant runs on an image of its own. */
export const isCorrected = (variant: Variant): variant is Extract<Variant, { seed: number }> =>
  variant.kind === 'chip' || variant.kind === 'source';

export const chipImagePath = (folder: string, variant: Variant): string =>
  join(folder, `${variantKey(variant)}.image`);

export interface CorrectionHooks {
  readonly onProgress?: (share: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Reads the chip of a variant and writes its image into `folder`. */
export async function correctVariant(
  model: Model,
  image: ImageReader,
  fabric: Fabric,
  variant: Extract<Variant, { seed: number }>,
  ranges: RangeTable,
  folder: string,
  hooks: CorrectionHooks = {},
): Promise<string> {
  const { rank, reads } = wantedCorrection(fabric.design)!;
  const own = variantRequest(variant, fabric, ranges);
  mkdirSync(folder, { recursive: true });
  const path = chipImagePath(folder, variant);
  for (const old of [path, `${path}.part`]) rmSync(old, { force: true });
  const { weights, gain, shape } = modelSource(model, () => {
    throw new OnefetError('internal', 'STATISTICS', 'a correction has no statistics but the image');
  });
  const writer = createImage(path, image.header);
  try {
    await correctImage(image, { weights, gain, shape }, writer, {
      rank,
      read: (name) => {
        const options = { chipSeed: variant.seed, blocks: shape.layers, ranges: own.ranges ?? {}, reads };
        const found = own.fabric.readWeights(name, imageWeights(image, name), options);
        if (found) return found;
        throw new OnefetError('internal', 'MAPPING_CORRECTION', `a ${fabric.kind} chip cannot be read`);
      },
      onProgress: (done, total) => hooks.onProgress?.(done / total),
      signal: hooks.signal,
    });
  } catch (error) {
    writer.close();
    throw error;
  }
  writer.finish();
  return path;
}

/** Means over the matrices of a corrected image; undefined for one that is none. */
export function correctionErrors({ matrices }: Pick<ImageReader, 'matrices'>): CorrectionErrors | undefined {
  const mean = (step: string): number | undefined => {
    const found = [...matrices.values()].map(({ steps }) => steps.find((s) => s.step === step)?.error);
    if (found.some((error) => error === undefined)) return undefined;
    return found.reduce((sum: number, error) => sum + error!, 0) / found.length;
  };
  const [read, gains] = [mean('chip'), mean('gains')];
  if (read === undefined || gains === undefined) return undefined;
  return { read, gains, side: mean('chip-side') ?? gains };
}
