/** Random coding problems with correlated inputs of very different loudness, as a real model's are. */

import type { CodingProblem } from '../mapping/coding.ts';
import { loadMoments, loadWeights, newWorkspace, type Workspace } from '../mapping/numerics/workspace.ts';
import { gaussian, streamKey } from '../random.ts';

export interface DrawnProblem extends CodingProblem {
  /** Activations [tokens][K] whose second moments H are. */
  readonly activations: Float32Array;
  readonly tokens: number;
}

export function drawProblem(
  shape: { outputs: number; inputs: number; tileRows?: number; magnitudeMax?: number; tokens?: number },
  seed: number,
): DrawnProblem {
  const { outputs, inputs, tileRows = 32, magnitudeMax = 7, tokens = 3 * inputs } = shape;
  const weights = new Float32Array(outputs * inputs);
  const key = streamKey(seed, 1);
  for (let i = 0; i < weights.length; i++) weights[i] = gaussian(key, i) / Math.sqrt(inputs);
  // Activations: some common directions, own noise, log-normal loudness.
  const common = 4;
  const [mix, loud, source, noise] = [2, 3, 4, 5].map((stream) => streamKey(seed, stream));
  const activations = new Float32Array(tokens * inputs);
  for (let t = 0; t < tokens; t++) {
    for (let j = 0; j < inputs; j++) {
      let sum = 0.5 * gaussian(noise, t * inputs + j);
      for (let c = 0; c < common; c++)
        sum += gaussian(source, t * common + c) * gaussian(mix, j * common + c);
      activations[t * inputs + j] = sum * Math.exp(0.7 * gaussian(loud, j));
    }
  }
  return {
    outputs,
    inputs,
    tileRows,
    magnitudeMax,
    weights,
    moments: secondMoments(activations, tokens, inputs),
    activations,
    tokens,
  };
}

/** E[a a^T] [K][K] in double precision. */
export function secondMoments(activations: Float32Array, tokens: number, inputs: number): Float32Array {
  const moments = new Float32Array(inputs * inputs);
  for (let i = 0; i < inputs; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let t = 0; t < tokens; t++) sum += activations[t * inputs + i] * activations[t * inputs + j];
      moments[i * inputs + j] = sum / tokens;
      moments[j * inputs + i] = sum / tokens;
    }
  }
  return moments;
}

export async function workspaceOf(problem: CodingProblem): Promise<Workspace> {
  const workspace = await newWorkspace(problem);
  loadMoments(workspace, problem.moments, problem.inputs);
  loadWeights(workspace, problem);
  return workspace;
}

export const total = (x: ArrayLike<number>): number => Array.from(x).reduce((sum, value) => sum + value, 0);

/** Largest |a - b| over the largest |b|. */
export function relativeDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < b.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]));
    largest = Math.max(largest, Math.abs(b[i]));
  }
  return difference / (largest || 1);
}
