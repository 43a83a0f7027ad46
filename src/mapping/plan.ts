/**
 * What a mapping method does at each stage of a model, and which rotations a model allows.
 *
 * With all parts of a method on, in the notation of prepare.ts:
 *   norm gains    folded in the matrices that read them; the image's gain vector holds 1 / f instead
 *   residual      every reader of the stream has W Q, every writer Q^T W; the embedding's rows are rotated after the
 *                 look-up and the stream is rotated back before the head's norm (an RMS norm without gain does not see Q)
 *   heads         the value's rows of each head are rotated and attention-output's columns with them: nothing to do online
 *   hidden        the feed-forward's hidden vector is rotated online, by a fast transform
 */
import { OnefetError } from '../error.ts';
import type { BlockMatrix, Stage } from '../model/architecture.ts';
import type { ModelShape } from '../model/shape.ts';
import { type RotationSpec, rotationOf } from './hadamard.ts';
import type { MatrixMeta } from './image-format.ts';
import type { CodingOptions } from './map-matrix.ts';
import type { InputOptions } from './prepare.ts';

export interface MappingMethod {
  readonly name: string;
  readonly centre: boolean;
  /** Exponent of the loudness scales of inputs behind a norm; none where the stream is rotated. */
  readonly loudness: number;
  readonly rotate: { readonly residual: boolean; readonly heads: boolean; readonly hidden: boolean };
  /** Rank of the principal part in the digital path. */
  readonly principal: number;
  readonly coding: CodingOptions;
  /** Of the rotations' signs. */
  readonly seed: number;
}

/** What of a method decides the bases. */
export type Turning = Pick<MappingMethod, 'rotate' | 'seed'>;

/** Rotation of the residual stream, or null. */
export const residualRotation = (shape: ModelShape, method: Turning): RotationSpec | null =>
  method.rotate.residual ? { length: shape.dim, repeat: 1, seed: method.seed } : null;

const headRotation = (shape: ModelShape, method: Turning, heads: number): RotationSpec => ({
  length: shape.headDim,
  repeat: heads,
  seed: method.seed + 1,
});

/**
 * Which rotations a model allows: the stream's only where nothing but RMS norms with foldable gains reads it and nothing
 * scales or shifts what is added to it element by element; the heads' where values are a matrix of their own without
 * bias.
 */
export function allowedRotations(shape: ModelShape): MappingMethod['rotate'] {
  const { matrices, norms } = shape.architecture;
  const biased = (part: string): boolean =>
    matrices.some(({ tensor, gives }) => gives.some((p) => p === part) && shape.biases.includes(tensor));
  const values = matrices.find(({ gives }) => gives.includes('value'));
  return {
    residual:
      norms.attentionInput !== undefined &&
      norms.feedForwardInput !== undefined &&
      norms.attentionOutput === undefined &&
      norms.feedForwardOutput === undefined &&
      !biased('attention') &&
      !biased('feed-forward'),
    heads: values?.gives.length === 1 && !biased('value'),
    hidden: true,
  };
}

/**
 * Loudness scales are divided out of the gain of the norm in front of a matrix: attention and feed-forward must both read
 * behind one.
 */
export const allowsLoudness = ({ architecture: { norms } }: ModelShape): boolean =>
  norms.attentionInput !== undefined && norms.feedForwardInput !== undefined;

/** Throws OnefetError('usage', 'MAPPING_ROTATION' or 'MAPPING_SCALES') for what the model does not allow. */
export function requireAllowed(shape: ModelShape, method: MappingMethod): void {
  if (method.loudness !== 0 && !allowsLoudness(shape)) {
    throw new OnefetError(
      'usage',
      'MAPPING_SCALES',
      `a model of architecture ${shape.architecture.name} has no norm in front of its matrices that could take loudness scales`,
      { hint: 'take mapping.method centred or auto' },
    );
  }
  const allowed = allowedRotations(shape);
  for (const part of ['residual', 'heads', 'hidden'] as const) {
    if (method.rotate[part] && !allowed[part]) {
      throw new OnefetError(
        'usage',
        'MAPPING_ROTATION',
        `a model of architecture ${shape.architecture.name} does not allow a rotation of its ${part}`,
        { hint: 'norms with gains or biases stand in the way; leave the rotation out' },
      );
    }
  }
}

/** What happens to the inputs of a stage. */
export function stageInput(
  shape: ModelShape,
  method: MappingMethod,
  stage: Stage,
): { input: InputOptions; rotation: MatrixMeta['rotation'] } {
  const behindNorm = stage === 'attention-input' || stage === 'feed-forward-input';
  let rotation: MatrixMeta['rotation'] = null;
  if (behindNorm) {
    const residual = residualRotation(shape, method);
    if (residual) rotation = { ...residual, online: false };
  } else if (stage === 'attention-output') {
    if (method.rotate.heads) rotation = { ...headRotation(shape, method, shape.heads), online: false };
  } else if (method.rotate.hidden) {
    rotation = { length: shape.ffnDim, repeat: 1, seed: method.seed + 2, online: true };
  }
  return {
    input: {
      centre: method.centre,
      loudness: behindNorm && !method.rotate.residual ? method.loudness : 0,
      rotation: rotation ? rotationOf(rotation) : undefined,
      principal: method.principal,
    },
    rotation,
  };
}

/** Rotation of what a matrix gives, W <- Q^T W, or null. */
export function outputRotation(
  shape: ModelShape,
  method: Turning,
  { gives }: BlockMatrix,
): RotationSpec | null {
  if (gives.includes('attention') || gives.includes('feed-forward')) return residualRotation(shape, method);
  return gives.includes('value') && method.rotate.heads ? headRotation(shape, method, shape.kvHeads) : null;
}
