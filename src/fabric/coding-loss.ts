/** The coding loss of a mapped matrix: what is lost before anything analog happens. */
import type { HardwareWeights } from '../tile/weight-code.ts';
import type { LinearName } from './linear.ts';

export interface CodingLoss {
  /** Transformer block, 0-based; -1 for the head. */
  layer: number;
  tensor: string;
  outputs: number;
  inputs: number;
  bits: number;
  /**
   * 10 log10(sum w^2 / sum (w - mapped)^2); null where nothing is lost. Of a chip image's matrices: the same of the outputs
   * on its calibration text.
   */
  codingSnrDb: number | null;
  /** Share of weights whose code is zero (no drain via). */
  zeroShare: number;
}

/** Of a matrix [outputs][inputs] whose mapped weights, or an even sample of their rows, are `weights`. */
export function tensorCodingLoss(
  { layer, tensor }: LinearName,
  outputs: number,
  inputs: number,
  { format, codingSnrDb, zeroShare }: HardwareWeights,
): CodingLoss {
  const snr = Number.isFinite(codingSnrDb) ? codingSnrDb : null;
  return { layer, tensor, outputs, inputs, bits: format.bits, codingSnrDb: snr, zeroShare };
}
