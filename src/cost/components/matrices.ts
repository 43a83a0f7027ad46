/** What the matrices on a fabric of integer arithmetic count, per token, whatever multiplies them. */
import { OnefetError } from '../../error.ts';
import type { LayerActivity } from '../../fabric/activity.ts';
import type { IntegerDesign } from '../../fabric/integer.ts';

export interface MatrixTotals {
  /** Bits of an input, sign included. */
  readonly inputBits: number;
  /** Inputs that share a scale. */
  readonly tileRows: number;
  /** By bits of the weights, ascending. */
  readonly formats: readonly MatrixFormat[];
  /** Weights of each transformer block with matrices on the fabric, and of the head where it is there. */
  readonly banks: readonly number[];
  readonly weights: number;
  /** Scales: one per output and tile. */
  readonly scales: number;
  /** Inputs of all matrices, and outputs of all tiles. */
  readonly inputs: number;
  readonly tileResults: number;
  readonly outputs: number;
}

export interface MatrixFormat {
  readonly bits: number;
  readonly tensors: string[];
  readonly weights: number;
  /** Products formed. */
  readonly macs: number;
}

/** Bits of a real-valued input (`input.bits: float`) in the hardware. */
const FLOAT_INPUT_BITS = 16;

/** Adds up the layers of a run; `products` are those of one layer over all its tokens. Errors: NO_ACTIVITY. */
export function countMatrices<A extends LayerActivity>(
  layers: readonly A[],
  design: IntegerDesign,
  products: (layer: A) => number,
): MatrixTotals {
  const formats = new Map<number, MatrixFormat>();
  const banks = new Map<number, number>();
  let [scales, inputs, outputs, tileResults] = [0, 0, 0, 0];
  for (const one of layers) {
    requireTokens(one);
    const weights = one.outputs * one.inputs;
    const bits = one.weightBits;
    const known = formats.get(bits) ?? { bits, tensors: [], weights: 0, macs: 0 };
    formats.set(bits, {
      bits,
      tensors: known.tensors.includes(one.tensor) ? known.tensors : [...known.tensors, one.tensor],
      weights: known.weights + weights,
      macs: known.macs + products(one) / one.tokens,
    });
    banks.set(one.layer, (banks.get(one.layer) ?? 0) + weights);
    scales += one.outputs * one.tiles;
    tileResults += one.outputs * one.tiles;
    inputs += one.inputs;
    outputs += one.outputs;
  }
  if (banks.size === 0) {
    throw new OnefetError(
      'input',
      'NO_ACTIVITY',
      'cost: the run has no layers on the fabric, so there is nothing to cost',
    );
  }
  const { bits } = design.input;
  return {
    inputBits: bits === 'float' ? FLOAT_INPUT_BITS : bits + 1,
    tileRows: design.tile.rows,
    formats: [...formats.values()].sort((a, b) => a.bits - b.bits),
    banks: [...banks.values()],
    weights: [...banks.values()].reduce((sum, weights) => sum + weights, 0),
    scales,
    inputs,
    outputs,
    tileResults,
  };
}

/** Throws where a layer saw no token, so that its averages do not exist. */
export function requireTokens({ layer, tensor, tokens }: LayerActivity): void {
  if (tokens > 0) return;
  throw new OnefetError(
    'input',
    'NO_ACTIVITY',
    `cost: layer ${layer} ${tensor} processed ${tokens} tokens, so its averages do not exist`,
  );
}
