/**
 * A chip image as engines see it: what of it a request uses, whether it fits the model and the design, and its matrices in
 * the forms that engines build from. What is computed with it is src/mapping/apply.ts.
 */
import { OnefetError } from '../error.ts';
import type { CodingLoss } from '../fabric/coding-loss.ts';
import { tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { type RotationSpec, unrotateRows } from '../mapping/hadamard.ts';
import type { ImageReader } from '../mapping/image.ts';
import { type MatrixMeta, matrixLengths } from '../mapping/image-format.ts';
import type { DigitalPart } from '../mapping/image-matrix.ts';
import { gainKey } from '../mapping/map-model.ts';
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { blockMatrices, type ModelShape, modelMatrices } from '../model/shape.ts';
import { codedWeights, type HardwareWeights } from '../tile/weight-code.ts';

/** What of an image can be known before its matrices are read. */
export type ImagePlan = Pick<ImageReader, 'header' | 'matrices' | 'vectors'>;

/** Of backend.ts's EngineNeeds. */
interface ImageNeeds<I extends ImagePlan = ImagePlan> {
  readonly mode: string;
  readonly image?: I | undefined;
}
interface FullNeeds extends ImageNeeds {
  readonly model: { readonly shape: ModelShape };
  readonly fabric: Fabric;
}

/** The image of a request, where its mode uses one. */
export const usedImage = <I extends ImagePlan>({ mode, image }: ImageNeeds<I>): I | undefined =>
  mode === 'digital' ? undefined : image;

/** A matrix in the image of a request; undefined where it is mapped without one. */
export const imageMatrix = (needs: ImageNeeds, name: LinearName): MatrixMeta | undefined =>
  usedImage(needs)?.matrices.get(tensorKey(name));

/** Bits of a matrix's weights on the hardware. */
export const bitsOfMatrix = (needs: Omit<FullNeeds, 'model'>, name: LinearName): number =>
  imageMatrix(needs, name)?.bits ?? tensorBits(needs.fabric.design, name.tensor);

/** All bits that occur: of the image's matrices, and of the design's where it maps matrices without one. */
export function weightBits(needs: FullNeeds): number[] {
  const { bits, overrides } = needs.fabric.design.weights;
  if (!usedImage(needs)) return [bits, ...Object.values(overrides)];
  const carried = modelMatrices(needs.model.shape).filter(({ name }) => needs.fabric.carries(name));
  return [...new Set(carried.map(({ name }) => bitsOfMatrix(needs, name)))];
}

/** What the digital part has to do for the image of a request. */
export function imageParts(needs: FullNeeds): string[] {
  const image = usedImage(needs);
  if (!image) return [];
  const matrices = [...image.matrices.values()];
  const parts: Record<string, boolean> = {
    codes: true,
    centre: matrices.some(({ centre }) => centre),
    side: matrices.some(({ side }) => side > 0),
    principal: matrices.some(({ principal }) => principal > 0),
    rotation: image.header.residual !== null || matrices.some(({ rotation }) => rotation?.online),
  };
  return Object.keys(parts).filter((part) => parts[part]);
}

/** Whether a stage reads behind a norm, whose gain the image replaces. */
const normOf = ({ architecture: { norms } }: ModelShape, stage: Stage): string | undefined =>
  stage === 'attention-input'
    ? norms.attentionInput
    : stage === 'feed-forward-input'
      ? norms.feedForwardInput
      : undefined;

/**
 * Throws OnefetError('usage', 'IMAGE_FIT') where an image is not one of this shape and design: a matrix or gain that is
 * missing or of another size, tiles of other rows, a rotation of another length.
 */
export function requireImageFits(
  {
    model: { shape },
    fabric,
  }: Pick<FullNeeds, 'fabric'> & { readonly model: { readonly shape: ModelShape } },
  image: ImagePlan,
): void {
  const requireFit = (fits: boolean, what: string): void => {
    if (fits) return;
    const names = `of design ${image.header.design.name} does not fit design ${fabric.design.name}`;
    throw new OnefetError('usage', 'IMAGE_FIT', `the chip image ${names}: ${what}`, {
      hint: 'map this model for this design again',
    });
  };
  const lengthOf = ({ length, repeat }: RotationSpec) => length * repeat;
  const { residual } = image.header;
  requireFit(
    residual === null || lengthOf(residual) === shape.dim,
    `its stream does not have the model's ${shape.dim} elements`,
  );
  const { rows } = fabric.design.tile;
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const { name, outputs, inputs } of blockMatrices(shape, layer)) {
      const key = tensorKey(name);
      const meta = image.matrices.get(key);
      requireFit(
        meta?.outputs === outputs && meta.inputs === inputs,
        `there is no ${key} of ${outputs} x ${inputs} in it`,
      );
      requireFit(meta!.tileRows === rows, `its tiles have ${meta!.tileRows} rows, the design's ${rows}`);
      const { rotation } = meta!;
      requireFit(!rotation || lengthOf(rotation) === inputs, `the rotation of ${key} has another length`);
    }
    for (const stage of STAGES) {
      requireFit(
        normOf(shape, stage) === undefined || image.vectors.get(gainKey(layer, stage)) === shape.dim,
        `there is no ${gainKey(layer, stage)} of ${shape.dim} elements in it`,
      );
    }
  }
}

/** Gain of the norm in front of a stage, as the image has it. */
export const readGain = (
  image: ImageReader,
  shape: ModelShape,
  layer: number,
  stage: Stage,
): Float32Array | undefined =>
  normOf(shape, stage) === undefined ? undefined : image.readVector(gainKey(layer, stage));

/**
 * The digital parts of all blocks' matrices, by tensor key. What is done to the inputs of a stage is done once for all
 * that read it: throws OnefetError('input', 'IMAGE_STAGE') where two of them want it differently.
 */
export function readDigitalParts(image: ImageReader, shape: ModelShape): Map<string, DigitalPart> {
  const parts = new Map<string, DigitalPart>();
  for (let layer = 0; layer < shape.layers; layer++) {
    const matrices = blockMatrices(shape, layer);
    for (const { name } of matrices) parts.set(tensorKey(name), image.readDigital(tensorKey(name)));
    for (const stage of STAGES) {
      const [first, ...others] = matricesReading(shape.architecture, stage).map(
        (i) => parts.get(tensorKey(matrices[i].name))!,
      );
      for (const other of others) {
        if (sameInput(first, other)) continue;
        throw new OnefetError(
          'input',
          'IMAGE_STAGE',
          `${image.path}: ${first.name} and ${other.name} read the same inputs, but not rotated, centred or split alike`,
        );
      }
    }
  }
  return parts;
}

function sameInput(a: DigitalPart, b: DigitalPart): boolean {
  const online = ({ rotation }: DigitalPart) => JSON.stringify(rotation?.online ? rotation : null);
  return (
    online(a) === online(b) &&
    sameValues(a.centre?.mean, b.centre?.mean) &&
    sameValues(a.principal?.down, b.principal?.down)
  );
}

const sameValues = (a: Float32Array | undefined, b: Float32Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a.length === b.length && a.every((x, i) => x === b[i]);

/** A matrix as a fabric builds it. */
export function imageWeights(image: ImageReader, name: LinearName): HardwareWeights {
  const matrix = image.readMatrix(tensorKey(name));
  return codedWeights(matrix, outputSnrDb(matrix));
}

/** Of the mapping's last step: of the outputs on the calibration text. */
function outputSnrDb({ steps }: { readonly steps: readonly { readonly error: number }[] }): number {
  const error = steps.at(-1)?.error ?? 0;
  return error > 0 ? -10 * Math.log10(error) : Number.POSITIVE_INFINITY;
}

/** The coding of the image's matrices, from an even sample of `rowsOf(inputs)` outputs. */
export function imageCoding(
  image: ImageReader,
  { layer, tensor, ...place }: LinearName,
  mostOutputs: number,
): CodingLoss {
  const key = tensorKey({ layer, tensor, ...place });
  const meta = image.matrices.get(key)!;
  const { outputs, inputs, bits } = meta;
  const rows = Math.max(1, Math.min(outputs, mostOutputs));
  let zeros = 0;
  for (let n = 0; n < rows; n++) {
    const codes = image.readCodes(key, Math.floor((n * outputs) / rows), 1);
    for (const code of codes) if (code === 0) zeros++;
  }
  const snr = outputSnrDb(meta);
  const codingSnrDb = Number.isFinite(snr) ? snr : null;
  return { layer, tensor, outputs, inputs, bits, codingSnrDb, zeroShare: zeros / (rows * inputs) };
}

/** x [D] of a rotated stream as the model has it. */
export function unrotated(
  x: Float32Array,
  rotation: Parameters<typeof unrotateRows>[2] | undefined,
): Float32Array {
  if (!rotation) return x;
  const own = x.slice();
  unrotateRows(own, 1, rotation);
  return own;
}

/** Memory of what the digital part holds around the tiles. */
export function digitalBytes(needs: ImageNeeds): number {
  let bytes = 0;
  for (const meta of usedImage(needs)?.matrices.values() ?? []) {
    const { codeBytes: _, ...floats } = matrixLengths(meta);
    bytes += 4 * Object.values(floats).reduce((sum, length) => sum + length, 0);
  }
  return bytes;
}
