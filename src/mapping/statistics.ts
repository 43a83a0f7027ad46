/**
 * What the inputs a[K] of a linear layer are like over a text: mean mu = E[a] and second moments about it,
 *
 *   H_c = E[(a - mu) (a - mu)^T] = E[a a^T] - mu mu^T
 *
 * Sums are taken about a first guess of the mean (that of the first batch), so that a loud constant does not eat the
 * digits of f32. The products of a batch are one blocked symmetric update of the upper half, in WebAssembly; sums of
 * up to 256 tokens are formed in registers and added to f32.
 *
 * Memory: K^2 f32 (0.8 GB for K = 14336). Matrices that read the same input share one collector.
 */
import { OnefetError } from '../error.ts';
import { DEPTH, floats, newNumerics, paddedRows, room } from './numerics/numerics.ts';
import { addOuterProducts, CHUNK } from './numerics/outer-products.ts';

export interface InputStatistics {
  readonly inputs: number;
  readonly tokens: number;
  /** mu [K]. */
  readonly mean: Float32Array;
  /** H_c [K][K]. */
  readonly moments: Float32Array;
  /** Inputs of some tokens, evenly over the text [tokens][K]: what predictions code and convert (predict.ts). */
  readonly sample: Float32Array;
}

export interface StatisticsCollector {
  readonly inputs: number;
  /** Adds the inputs of `tokens` tokens, a [tokens][K]. */
  add(activations: Float32Array, tokens: number): void;
  /** What was seen so far; the moments are a fresh copy. */
  result(): InputStatistics;
  /** Forgets what was seen: its memory serves another block. */
  reset(): void;
}

/** Tokens kept as they are: at most twice this many, evenly spaced. */
const SAMPLE_TOKENS = 64;

export const collectorBytes = (inputs: number): number => {
  const rows = paddedRows(inputs);
  return 4 * (rows * rows + 2 * rows * DEPTH + CHUNK * DEPTH) + 2 ** 12;
};

/** A collector for inputs of K elements. */
export async function newStatistics(inputs: number): Promise<StatisticsCollector> {
  const rows = paddedRows(inputs);
  const numerics = await newNumerics(collectorBytes(inputs));
  const at = {
    moments: room(numerics, rows * rows, 'the second moments'),
    batch: room(numerics, DEPTH * rows, 'a batch of inputs'),
    panels: room(numerics, DEPTH * rows, 'a batch of inputs'),
    block: room(numerics, CHUNK * DEPTH, 'a batch of inputs'),
  };
  const places = { ...at, sums: at.moments, left: at.batch, right: at.batch };
  const batch = floats(numerics, at.batch, DEPTH * rows); // [DEPTH][rows]
  const sums = new Float64Array(inputs);
  let guess: Float32Array | undefined;
  let seen = 0;
  let kept: Float32Array[] = [];
  let spacing = 1;
  const keep = (activations: Float32Array, tokens: number): void => {
    for (let t = 0; t < tokens; t++) {
      if ((seen + t) % spacing !== 0) continue;
      kept.push(activations.slice(t * inputs, (t + 1) * inputs));
      if (kept.length < 2 * SAMPLE_TOKENS) continue;
      kept = kept.filter((_, i) => i % 2 === 0);
      spacing *= 2;
    }
  };
  return {
    inputs,
    add(activations, tokens) {
      if (activations.length < tokens * inputs) {
        throw new OnefetError('internal', 'STATISTICS', `${activations.length} inputs for ${tokens} tokens`);
      }
      guess ??= meanOf(activations, tokens, inputs);
      for (let first = 0; first < tokens; first += DEPTH) {
        const count = Math.min(DEPTH, tokens - first);
        for (let t = 0; t < count; t++) {
          const from = (first + t) * inputs;
          for (let j = 0; j < inputs; j++) {
            const value = activations[from + j] - guess[j];
            batch[t * rows + j] = value;
            sums[j] += value;
          }
        }
        addOuterProducts(numerics, places, rows, count, true);
      }
      keep(activations, tokens);
      seen += tokens;
    },
    result() {
      if (seen === 0 || guess === undefined) {
        throw new OnefetError('internal', 'STATISTICS', 'no inputs were seen');
      }
      const square = floats(numerics, at.moments, rows * rows);
      const moments = new Float32Array(inputs * inputs);
      const mean = new Float32Array(inputs);
      const shift = sums.map((sum) => sum / seen);
      for (let i = 0; i < inputs; i++) {
        mean[i] = guess[i] + shift[i];
        for (let j = i; j < inputs; j++) {
          moments[i * inputs + j] = square[i * rows + j] / seen - shift[i] * shift[j];
        }
      }
      mirrorUpper(moments, inputs);
      if (!moments.every(Number.isFinite)) {
        throw new OnefetError('internal', 'NOT_FINITE', 'the inputs of a layer are not finite');
      }
      const sample = new Float32Array(kept.length * inputs);
      kept.forEach((row, i) => {
        sample.set(row, i * inputs);
      });
      return { inputs, tokens: seen, mean, moments, sample };
    },
    reset() {
      floats(numerics, at.moments, rows * rows).fill(0);
      sums.fill(0);
      guess = undefined;
      seen = 0;
      kept = [];
      spacing = 1;
    },
  };
}

/** Squares of this many rows and columns stay in the first-level cache. */
const MIRROR = 64;

/** Copies the upper half of [K][K] to the lower one, square by square. */
function mirrorUpper(square: Float32Array, inputs: number): void {
  for (let top = 0; top < inputs; top += MIRROR) {
    for (let left = top; left < inputs; left += MIRROR) {
      const [bottom, right] = [Math.min(inputs, top + MIRROR), Math.min(inputs, left + MIRROR)];
      for (let i = top; i < bottom; i++) {
        for (let j = Math.max(left, i + 1); j < right; j++) square[j * inputs + i] = square[i * inputs + j];
      }
    }
  }
}

function meanOf(activations: Float32Array, tokens: number, inputs: number): Float32Array {
  const sums = new Float64Array(inputs);
  for (let t = 0, i = 0; t < tokens; t++) for (let j = 0; j < inputs; j++, i++) sums[j] += activations[i];
  return Float32Array.from(sums, (sum) => sum / tokens);
}

/** E[a a^T] about zero, for inputs that are not centred: H_c + mu mu^T [K][K]. */
export function momentsAboutZero(statistics: InputStatistics): Float32Array {
  const { inputs, mean, moments } = statistics;
  const about = new Float32Array(moments);
  for (let i = 0; i < inputs; i++) {
    for (let j = 0; j < inputs; j++) about[i * inputs + j] += mean[i] * mean[j];
  }
  return about;
}
