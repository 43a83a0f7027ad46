/** The coding loss of a model's mapped matrices: a pass of its own over a sample of the rows. */

import { type CodingLoss, tensorCodingLoss } from '../../fabric/coding-loss.ts';
import type { Fabric } from '../../fabric/fabric.ts';
import { tensorKey } from '../../fabric/placement.ts';
import type { ImageReader } from '../../mapping/image.ts';
import { buildLayers, type Model } from '../../model/model.ts';
import { imageCoding } from '../image.ts';

/** Weights of a matrix whose coding is evaluated: rows spread evenly over larger ones; 1 % is known to 0.01 dB. */
const SAMPLE_WEIGHTS = 2 ** 19;

export function sampleCodingLoss(model: Model, fabric: Fabric, image?: ImageReader): CodingLoss[] {
  const coding: CodingLoss[] = [];
  buildLayers(model, (name, outputs, inputs, row) => {
    if (fabric.carries(name)) {
      const rows = Math.max(1, Math.min(outputs, Math.floor(SAMPLE_WEIGHTS / inputs)));
      if (image?.matrices.has(tensorKey(name))) {
        coding.push(imageCoding(image, name, rows));
        return { outputs, inputs, apply: () => {} };
      }
      const sampled = (n: number, out: Float32Array) => row(Math.floor((n * outputs) / rows), out);
      const weights = fabric.mapWeights(name, rows, inputs, sampled);
      coding.push(tensorCodingLoss(name, outputs, inputs, weights));
    }
    return { outputs, inputs, apply: () => {} };
  });
  return coding;
}
