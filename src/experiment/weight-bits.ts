/** Bits of a weight in a model's file, and what a GPU's design says of them: it computes the file's weights and is priced for the design's. */
import type { CommonDesign } from '../fabric/common-design.ts';
import type { GpuDesign } from '../fabric/gpu.ts';
import { plain } from '../format.ts';
import { codecByName } from '../model/codecs/registry.ts';
import { openGguf } from '../model/gguf.ts';
import { readShape } from '../model/read-shape.ts';
import { type ModelShape, modelMatrices, sourceTensor } from '../model/shape.ts';

/** A difference that changes neither energy nor rate in the digits that are printed. */
const SAME_BITS = 0.02;

/** Mean over the matrices of blocks and head by their weights, scales of the blocks included; `codecs`: GGUF types by tensor. */
export function fileWeightBits(shape: ModelShape, codecs: ReadonlyMap<string, string>): number {
  let [bits, weights] = [0, 0];
  for (const { name, outputs, inputs } of modelMatrices(shape)) {
    const { blockBytes, blockSize } = codecByName(codecs.get(sourceTensor(name, shape))!)!;
    bits += (outputs * inputs * 8 * blockBytes) / blockSize;
    weights += outputs * inputs;
  }
  return bits / weights;
}

/** As fileWeightBits, of a GGUF file; no weight is read. Errors: those of openGguf and readShape. */
export function weightBitsOfFile(path: string): number {
  const file = openGguf(path);
  try {
    return fileWeightBits(
      readShape(file),
      new Map([...file.tensors].map(([name, { codec }]) => [name, codec.name])),
    );
  } finally {
    file.close();
  }
}

/** Says where a GPU is priced for weights of other bits than the file has; undefined: it is not, or it is another fabric. */
export function weightBitsWarning(design: CommonDesign, fileBits: number): string | undefined {
  if (design.fabric !== 'gpu') return undefined;
  const { weightBits } = (design as unknown as GpuDesign).gpu;
  if (Math.abs(weightBits / fileBits - 1) <= SAME_BITS) return undefined;
  return `The model's file has ${plain(fileBits)} bits a weight, and the cost is that of ${plain(weightBits)} (gpu.weightBits): accuracy and cost are of two models. --set gpu.weightBits=${plain(fileBits)} prices the one that ran.`;
}
