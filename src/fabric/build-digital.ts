/** A linear layer in double precision on real-valued weights: the model as shipped, which every result is compared with. */
import { requireMemory } from '../memory.ts';
import type { Linear, LinearName } from './linear.ts';

/**
 * Float32 weights W[N][K], double accumulation, float32 result. `at` is not used: nothing is drawn. Throws
 * OnefetError('usage', 'MEMORY') when the matrix does not fit beside what is allocated already.
 */
export function buildDigital(
  name: LinearName,
  outputs: number,
  inputs: number,
  row: (n: number, out: Float32Array) => void,
): Linear {
  requireMemory(
    4 * outputs * inputs,
    `the digital reference's float32 ${name.tensor}${name.layer < 0 ? '' : ` of layer ${name.layer}`}`,
    'the reference holds the model in float32: use the wasm engine or a smaller model',
  );
  const weights = new Float32Array(outputs * inputs); // [N][K]
  for (let n = 0; n < outputs; n++) row(n, weights.subarray(n * inputs, (n + 1) * inputs));
  return {
    outputs,
    inputs,
    apply(y, a) {
      for (let n = 0; n < outputs; n++) y[n] = dot(weights, n * inputs, a, inputs);
    },
  };
}

/** sum_k w[from + k] a[k]; four partial sums, so that additions need not wait for each other. */
function dot(w: Float32Array, from: number, a: Float32Array, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  const whole = count & ~3;
  for (let k = 0; k < whole; k += 4) {
    s0 += w[from + k] * a[k];
    s1 += w[from + k + 1] * a[k + 1];
    s2 += w[from + k + 2] * a[k + 2];
    s3 += w[from + k + 3] * a[k + 3];
  }
  for (let k = whole; k < count; k++) s0 += w[from + k] * a[k];
  return s0 + s1 + (s2 + s3);
}
