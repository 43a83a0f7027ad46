/**
 * How far the inputs x^ of a layer on the mapped model are from those of the model as shipped, x, token by token:
 *
 *   D = E[(x - x^) (x^ - m^)^T] [K][K],   m = E[x] [K]
 *
 * as retarget.ts needs it. Sums as in statistics.ts, of all K^2 products in place of half of them.
 */
import { OnefetError } from '../error.ts';
import { BLOCK_ROWS, PANEL_COLUMNS } from './numerics/kernels/multiply.ts';
import { DEPTH, floats, newNumerics, paddedRows, room } from './numerics/numerics.ts';

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

/** Rows of the left operand that stay in the second-level cache. */
const CHUNK = 192;

export const driftBytes = (inputs: number): number => {
  const rows = paddedRows(inputs);
  return 4 * (rows * rows + 3 * rows * DEPTH + CHUNK * DEPTH) + 2 ** 12;
};

/** A collector for inputs of K elements. */
export async function newDrift(inputs: number): Promise<DriftCollector> {
  const rows = paddedRows(inputs);
  const numerics = await newNumerics(driftBytes(inputs));
  const { kernels } = numerics;
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
  const update = (tokens: number): void => {
    const stride = 4 * rows;
    const panelBytes = 4 * tokens * PANEL_COLUMNS;
    for (let p = 0; p < rows / PANEL_COLUMNS; p++) {
      kernels.pack_panel(at.right + 4 * p * PANEL_COLUMNS, at.panels + p * panelBytes, tokens, stride);
    }
    for (let first = 0; first < rows; first += CHUNK) {
      const count = Math.min(CHUNK, rows - first);
      kernels.pack_blocks(at.left + 4 * first, at.block, tokens, stride, count / BLOCK_ROWS);
      for (let p = 0; p < rows / PANEL_COLUMNS; p++) {
        const to = at.sums + first * stride + 4 * p * PANEL_COLUMNS;
        kernels.multiply_add(at.block, at.panels + p * panelBytes, to, count / BLOCK_ROWS, tokens, stride);
      }
    }
  };
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
        update(count);
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
