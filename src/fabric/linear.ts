/**
 * A linear layer y = W a, whatever computes it: digital arithmetic, an analog tile, a routed or mask-ROM fabric.
 */
import type { TokenPosition } from '../random.ts';

export type { TokenPosition };

/** Which matrix of the model a linear layer is. */
export interface LinearName {
  /** Transformer block, 0-based; -1 for the head. */
  readonly layer: number;
  /** GGUF name without block and ".weight"; `output` for the head. */
  readonly tensor: string;
  /** Place among the matrices of a block in the order of the data flow: a coordinate of its draws. The head's is `count`. */
  readonly ordinal: number;
  /** Matrices of a block. */
  readonly count: number;
}

export interface Linear {
  /** N. */
  readonly outputs: number;
  /** K. */
  readonly inputs: number;
  /** y[N] = W[N][K] a[K]; overwrites y. */
  apply(y: Float32Array, a: Float32Array, at: TokenPosition): void;
}

/** Builds the layer for a matrix given row by row: `row(n, out)` fills out[K] with dequantised weights. */
export type LinearBuilder = (
  name: LinearName,
  outputs: number,
  inputs: number,
  row: (n: number, out: Float32Array) => void,
) => Linear;
