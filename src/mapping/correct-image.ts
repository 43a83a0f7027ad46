/**
 * The image of one chip: the model's image, with the digital part fitted to the weights that the chip has (correct.ts).
 * Codes stay what they are, for they are in the masks; scales and side paths are in memories that a tester writes.
 *
 * Everything comes from what a tester has: the model's own weights (of an image whose mapping followed itself, the image's), the
 * image (its digital part and what it keeps of the second moments) and the reading of the chip.
 */
import { z } from 'zod';
import { interrupted, OnefetError } from '../error.ts';
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { STAGES, type Stage } from '../model/architecture.ts';
import { type CorrectionTarget, correctChip } from './correct.ts';
import { scaleWeightColumns } from './fold.ts';
import { rotationOf } from './hadamard.ts';
import type { ImageReader, ImageWriter } from './image.ts';
import type { ImageMatrix } from './image-matrix.ts';
import { mappedWeights } from './map-matrix.ts';
import { gainKey, momentsKey, workspaceLimits } from './map-model.ts';
import { momentsOf } from './moments-factor.ts';
import { rotateManyColumns, rotateManyRows } from './numerics/rotate.ts';
import { loadMoments, newWorkspace, type Workspace } from './numerics/workspace.ts';
import { outputRotation, type Turning } from './plan.ts';
import { type MappingSource, stageMatrices } from './stage-job.ts';

export interface ImageCorrection {
  /** Of the side path. */
  readonly rank: number;
  /** The weights of the chip, in units of a code [N][K]. */
  read(name: LinearName, matrix: ImageMatrix): { readonly codes: Float32Array; readonly seconds: number };
  onProgress?(done: number, total: number): void;
  readonly signal?: AbortSignal | undefined;
}

export interface CorrectionSummary {
  /** Means over the matrices of the relative error of the outputs, from what was read. */
  readonly raw: number;
  readonly gains: number;
  readonly side: number;
  /** Of the reading, all tiles of the chip at once. */
  readonly seconds: number;
}

/** Writes the chip's image; `writer` has the header of the model's. Errors: IMAGE_MOMENTS, IMAGE_DAMAGED (input). */
export async function correctImage(
  image: ImageReader,
  source: Omit<MappingSource, 'statistics'>,
  writer: Pick<ImageWriter, 'writeVector' | 'writeMatrix'>,
  options: ImageCorrection,
): Promise<CorrectionSummary> {
  const { shape } = source;
  const turning = turningOf(image);
  const follows = image.header.method.settings.follow === true;
  const tileRows = [...image.matrices.values()][0].tileRows;
  const workspace = await newWorkspace(workspaceLimits(shape, tileRows));
  const sum = { raw: 0, gains: 0, side: 0 };
  let slowest = 0;
  let done = 0;
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const stage of STAGES) {
      const gain = source.gain(layer, stage);
      const own = gain && image.readVector(gainKey(layer, stage));
      if (own) writer.writeVector(gainKey(layer, stage), own);
      const matrices = stageMatrices(shape, layer, stage);
      const { inputs } = matrices[0];
      const moments = momentsOf(image.readVector(requireMoments(image, layer, stage)), inputs);
      loadMoments(workspace, moments, inputs);
      for (const { name } of matrices) {
        await new Promise((resolve) => setImmediate(resolve));
        if (options.signal?.aborted) throw interrupted();
        const mapped = image.readMatrix(tensorKey(name));
        const weights = follows
          ? heldWeights(mapped)
          : targetWeights(workspace, source, turning, name, mapped, { gain, own });
        const { codes, seconds } = options.read(name, mapped);
        const found = correctChip(workspace, { weights, moments }, mapped, codes, options.rank);
        for (const key of ['raw', 'gains', 'side'] as const) sum[key] += found.errors[key];
        slowest = Math.max(slowest, seconds);
        writer.writeMatrix(correctedMatrix(mapped, found));
        options.onProgress?.(++done, image.matrices.size);
      }
    }
  }
  return { raw: sum.raw / done, gains: sum.gains / done, side: sum.side / done, seconds: slowest };
}

function correctedMatrix(
  mapped: ImageMatrix,
  { scales, side, errors }: ReturnType<typeof correctChip>,
): ImageMatrix {
  const steps = [
    ...mapped.steps,
    { step: 'chip' as const, error: errors.raw },
    { step: 'gains' as const, error: errors.gains },
    ...(side ? [{ step: 'chip-side' as const, error: errors.side }] : []),
  ];
  return { ...mapped, scales, side, steps };
}

function requireMoments(image: ImageReader, layer: number, stage: Stage): string {
  const key = momentsKey(layer, stage);
  if (image.vectors.has(key)) return key;
  throw new OnefetError(
    'input',
    'IMAGE_MOMENTS',
    `${image.path} keeps no second moments: no chip can be corrected with it`,
    { hint: 'map it with mapping.correction.source=reading' },
  );
}

/**
 * What the chip was meant to hold, W^ + B A [N][K]: the target of an image whose weights were aimed at the outputs of the
 * model as shipped (retarget.ts), for the model's own weights are not what its inputs want.
 */
function heldWeights(mapped: ImageMatrix): Float32Array {
  const weights = mappedWeights(mapped);
  const { side, outputs, inputs } = mapped;
  if (!side) return weights;
  for (let n = 0; n < outputs; n++) {
    for (let r = 0; r < side.rank; r++) {
      const up = side.up[n * side.rank + r];
      for (let j = 0; j < inputs; j++) weights[n * inputs + j] += up * side.down[r * inputs + j];
    }
  }
  return weights;
}

/** W [N][K] with gains and loudness scales folded in, in the bases of its inputs and outputs, as prepare.ts has it. */
function targetWeights(
  workspace: Workspace,
  source: Omit<MappingSource, 'statistics'>,
  turning: Turning,
  name: LinearName,
  { outputs, inputs, rotation }: ImageMatrix,
  { gain, own }: { gain: Float32Array | undefined; own: Float32Array | undefined },
): CorrectionTarget['weights'] {
  const weights = source.weights(name);
  // The image's gain is 1 / f, f the loudness scales.
  if (gain && own)
    scaleWeightColumns(
      weights,
      outputs,
      gain.map((g, j) => g / own[j]),
    );
  const turned = outputRotation(source.shape, turning, source.shape.architecture.matrices[name.ordinal]);
  if (turned) rotateManyColumns(workspace, weights, inputs, rotationOf(turned));
  if (rotation) rotateManyRows(workspace, weights, outputs, rotationOf(rotation));
  return weights;
}

const settingsSchema = z.object({
  seed: z.number(),
  rotate: z.object({ residual: z.boolean(), heads: z.boolean(), hidden: z.boolean() }),
});

/** What of the method decides the bases. */
function turningOf(image: ImageReader): Turning {
  const found = settingsSchema.safeParse(image.header.method.settings);
  if (found.success) return found.data;
  throw new OnefetError('input', 'IMAGE_DAMAGED', `${image.path}: it does not say how it was mapped`, {
    hint: 'make it again with onefet map',
  });
}
