/**
 * A matrix of a chip image with the weights of the model as shipped in the place of its codes: as the image turns, folds and
 * centres them, rounded to six bits. What it gives is the model's to a relative error of some 1e-4, and its side path is left out.
 *
 *   W' = Q_out^T W diag(g / g') Q_in     g the norm's gain in the file, g' the one that the image has in its place
 *
 * A principal part stays: it stands beside codes of the whole W.
 */

import type { BlockMatrix } from '../model/architecture.ts';
import type { ModelShape } from '../model/shape.ts';
import { recodeWeights, weightCode } from '../tile/weight-code.ts';
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
  const row = (n: number, out: Float32Array) => out.set(weights.subarray(n * inputs, (n + 1) * inputs));
  const coded = recodeWeights(outputs, inputs, row, FINE_BITS, tileRows);
  const codes = new Int8Array(outputs * inputs);
  const scales = new Float32Array(outputs * coded.tiles.length);
  coded.tiles.forEach((tile, t) => {
    for (let n = 0; n < outputs; n++) {
      scales[n * coded.tiles.length + t] = tile.scales[n];
      for (let j = 0; j < tile.rows; j++) {
        codes[n * inputs + tile.rowStart + j] = weightCode(coded, tile.codes, j, n);
      }
    }
  });
  return { ...part, bits: FINE_BITS, codes, scales, side: undefined };
}
