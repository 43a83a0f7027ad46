/** A small chip image of drawn numbers. */

import { createImage } from '../../mapping/image.ts';
import type { ImageMatrix } from '../../mapping/image-matrix.ts';

const HASH = 'ab'.repeat(32);

function drawnMatrix(name: string): ImageMatrix {
  const [outputs, inputs, tileRows] = [4, 16, 8];
  const floats = (length: number) => Float32Array.from({ length }, (_, i) => 1 / (i + 1));
  return {
    name,
    outputs,
    inputs,
    tileRows,
    bits: 4,
    codes: Int8Array.from({ length: outputs * inputs }, (_, i) => (i % 15) - 7),
    scales: floats(outputs * 2),
    centre: { mean: floats(inputs), addend: floats(outputs) },
    side: undefined,
    principal: undefined,
    rotation: null,
    steps: [{ step: 'gptq', error: 0.01 }],
  };
}

/** Writes it and returns what stands in it. */
export function writeDrawnImage(path: string): { matrices: ImageMatrix[]; gain: Float32Array } {
  const matrices = ['blk.0.attn_q', 'blk.0.ffn_up'].map(drawnMatrix);
  const gain = new Float32Array(16).fill(1.25);
  const writer = createImage(path, {
    model: { name: 'drawn', sha256: HASH },
    design: { name: 'log-domain', sha256: HASH },
    text: { name: 'drawn', sha256: HASH, tokens: 4096 },
    method: { name: 'centred', settings: {}, reasons: [] },
    residual: null,
  });
  for (const matrix of matrices) writer.writeMatrix(matrix);
  writer.writeVector('blk.0.attn_norm', gain);
  writer.finish();
  return { matrices, gain };
}
