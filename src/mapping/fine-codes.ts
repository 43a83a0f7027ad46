/**
 * A matrix of a chip image with the weights of the model as shipped in the place of its codes: as the image turns, folds and
 * centres them, rounded to six bits under the scale of the largest. What it gives is the model's to a relative error of some 1e-4, and its side path is left out.
 *
 *   W' = Q_out^T W diag(g / g') Q_in     g the norm's gain in the file, g' the one that the image has in its place
 *
 * A principal part stays: it stands beside codes of the whole W.
 */

import type { BlockMatrix } from '../model/architecture.ts';
import type { ModelShape } from '../model/shape.ts';
import { weightFormat } from '../tile/weight-code.ts';
import { nearestCode } from './coding.ts';
import { scaleWeightColumns } from './fold.ts';
import { type RotationSpec, rotateColumns, rotateRows, rotationOf } from './hadamard.ts';
import type { ImageHeader } from './image-format.ts';
import type { DigitalPart, ImageMatrix } from './image-matrix.ts';

const FINE_BITS = 6;

/** What an image does to the outputs of a matrix; `heads`: the rotation of what attention-output reads. */
export function imageOutputRotation(
  { kvHeads }: Pick<ModelShape, 'kvHeads'>,
  { residual }: Pick<ImageHeader, 'residual'>,
  heads: RotationSpec | null,
  { gives }: Pick<BlockMatrix, 'gives'>,
): RotationSpec | null {
  if (gives.includes('attention') || gives.includes('feed-forward')) return residual;
  return gives.includes('value') && heads ? { ...heads, repeat: kvHeads } : null;
}

export interface FineMatrix {
  readonly part: DigitalPart;
  /** W [N][K] as in the file; changed. */
  readonly weights: Float32Array;
  /** g / g' [K]; undefined where no norm stands in front. */
  readonly gain: Float32Array | undefined;
  readonly outputRotation: RotationSpec | null;
}

/** Codes of six bits for the weights of the model as shipped. */
export function fineMatrix({ part, weights, gain, outputRotation }: FineMatrix): ImageMatrix {
  const { outputs, inputs, tileRows, rotation } = part;
  if (gain) scaleWeightColumns(weights, outputs, gain);
  if (outputRotation) rotateColumns(weights, inputs, rotationOf(outputRotation));
  if (rotation) rotateRows(weights, outputs, rotationOf(rotation));
  const { magnitudeMax } = weightFormat(FINE_BITS);
  const tiles = Math.ceil(inputs / tileRows);
  const codes = new Int8Array(outputs * inputs);
  const scales = new Float32Array(outputs * tiles);
  for (let n = 0; n < outputs; n++) {
    for (let t = 0; t < tiles; t++) {
      const [from, to] = [n * inputs + t * tileRows, n * inputs + Math.min(inputs, (t + 1) * tileRows)];
      let largest = 0;
      for (let i = from; i < to; i++) largest = Math.max(largest, Math.abs(weights[i]));
      const scale = Math.fround(largest / magnitudeMax);
      scales[n * tiles + t] = scale;
      if (scale > 0) for (let i = from; i < to; i++) codes[i] = nearestCode(weights[i] / scale, magnitudeMax);
    }
  }
  return { ...part, bits: FINE_BITS, codes, scales, side: undefined };
}
