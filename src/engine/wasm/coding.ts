/** The coding loss of a model's mapped matrices: a pass of its own over a sample of the rows. */

import { type TensorCoding, tensorCoding } from '../../fabric/coding.ts';
import type { Fabric } from '../../fabric/fabric.ts';
import { buildLayers, type Model } from '../../model/model.ts';

/** Weights of a matrix whose coding is evaluated: rows spread evenly over larger ones; 1 % is known to 0.01 dB. */
const SAMPLE_WEIGHTS = 2 ** 19;

export function sampledCoding(model: Model, fabric: Fabric): TensorCoding[] {
  const coding: TensorCoding[] = [];
  buildLayers(model, (name, outputs, inputs, row) => {
    if (fabric.carries(name)) {
      const rows = Math.max(1, Math.min(outputs, Math.floor(SAMPLE_WEIGHTS / inputs)));
      const sampled = (n: number, out: Float32Array) => row(Math.floor((n * outputs) / rows), out);
      const weights = fabric.mapWeights(name, rows, inputs, sampled);
      coding.push(tensorCoding(name, outputs, inputs, weights));
    }
    return { outputs, inputs, apply: () => {} };
  });
  return coding;
}
