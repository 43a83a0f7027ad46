/**
 * How far the inputs x^ of a layer on the mapped model are from those of the model as shipped, x, token by token:
 *
 *   D = E[(x - x^) (x^ - m^)^T] [K][K],   m = E[x] [K]
 *
 * as retarget.ts needs it. Sums as in statistics.ts, of all K^2 products in place of half of them.
 */
import { OnefetError } from '../error.ts';
import { DEPTH, floats, newNumerics, paddedRows, room } from './numerics/numerics.ts';
import { addOuterProducts, CHUNK } from './numerics/outer-products.ts';

export interface InputDrift {
  /** m [K]: of the model as shipped. */
  readonly mean: Float32Array;
  /** D [K][K]. */
  readonly drift: Float32Array;
}

export interface DriftCollector {
  /** Adds x and x^ [tokens][K] of the same tokens. */
  add(exact: Float32Array, mapped: Float32Array, tokens: number): void;
  result(): InputDrift;
}

export const driftBytes = (inputs: number): number => {
  const rows = paddedRows(inputs);
  return 4 * (rows * rows + 3 * rows * DEPTH + CHUNK * DEPTH) + 2 ** 12;
};

/** A collector for inputs of K elements. */
export async function newDrift(inputs: number): Promise<DriftCollector> {
  const rows = paddedRows(inputs);
  const numerics = await newNumerics(driftBytes(inputs));
  const at = {
    sums: room(numerics, rows * rows, 'the drift of inputs'),
    left: room(numerics, DEPTH * rows, 'a batch of inputs'),
    right: room(numerics, DEPTH * rows, 'a batch of inputs'),
    panels: room(numerics, DEPTH * rows, 'a batch of inputs'),
    block: room(numerics, CHUNK * DEPTH, 'a batch of inputs'),
  };
  const left = floats(numerics, at.left, DEPTH * rows);
  const right = floats(numerics, at.right, DEPTH * rows);
  const [exactSums, offSums, mappedSums] = [0, 1, 2].map(() => new Float64Array(inputs));
  // The first token stands for the mean, so that a loud constant does not eat the digits of f32.
  let guess: Float32Array | undefined;
  let seen = 0;
  return {
    add(exact, mapped, tokens) {
      guess ??= mapped.slice(0, inputs);
      for (let first = 0; first < tokens; first += DEPTH) {
        const count = Math.min(DEPTH, tokens - first);
        for (let t = 0; t < count; t++) {
          for (let j = 0, from = (first + t) * inputs; j < inputs; j++, from++) {
            const off = exact[from] - mapped[from];
            const value = mapped[from] - guess[j];
            left[t * rows + j] = off;
            right[t * rows + j] = value;
            exactSums[j] += exact[from];
            offSums[j] += off;
            mappedSums[j] += value;
          }
        }
        addOuterProducts(numerics, at, rows, count, false);
      }
      seen += tokens;
    },
    result() {
      if (seen === 0) throw new OnefetError('internal', 'STATISTICS', 'no inputs were seen');
      const sums = floats(numerics, at.sums, rows * rows);
      const drift = new Float32Array(inputs * inputs);
      for (let i = 0; i < inputs; i++) {
        for (let j = 0; j < inputs; j++) {
          drift[i * inputs + j] = sums[i * rows + j] / seen - (offSums[i] / seen) * (mappedSums[j] / seen);
        }
      }
      return { mean: Float32Array.from(exactSums, (sum) => sum / seen), drift };
    },
  };
}
