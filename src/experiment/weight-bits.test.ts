/** Bits of a file by its types, against ggml's block sizes; a GPU that is priced for others is said. */
import { expect, test } from 'vitest';
import { loadDesign } from '../fabric/design.ts';
import { requireDataFile } from '../files.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { fileWeightBits, weightBitsOfFile, weightBitsWarning } from './weight-bits.ts';

const gpu = (bits: number) => loadDesign('gpu', [`gpu.weightBits=${bits}`]).design;

test('the embedded models: 16 bits, and 34 bytes for 32 weights', () => {
  expect(weightBitsOfFile(requireDataFile('experiments/models/onefet-stories-f16.gguf', 'model'))).toBe(16);
  const q8 = requireDataFile('experiments/models/onefet-stories-q8_0.gguf', 'model');
  expect(weightBitsOfFile(q8)).toBeCloseTo(8.5, 12);
});

test('a mix is weighed by the weights: Llama 3.1 8B in Q4_0 with a head of Q6_K', () => {
  const types = new Map([['output.weight', 'Q6_K']]);
  const codecs = { get: (name: string) => types.get(name) ?? 'Q4_0' } as ReadonlyMap<string, string>;
  // 32 blocks of 218,103,808 weights at 18 bytes for 32, and 128,256 x 4,096 at 210 bytes for 256.
  const [blocks, head] = [32 * 218_103_808, 128_256 * 4096];
  const expected = (blocks * 4.5 + head * 6.5625) / (blocks + head);
  expect(fileWeightBits(LLAMA_3_1_8B, codecs)).toBeCloseTo(expected, 12);
});

test('only a GPU priced for other bits is warned of', () => {
  expect(weightBitsWarning(gpu(16), 16)).toBeUndefined();
  expect(weightBitsWarning(gpu(8.5), 8.5)).toBeUndefined();
  expect(weightBitsWarning(gpu(16), 4.65)).toMatch(/4\.65 bits a weight, and the cost is that of 16/);
  expect(weightBitsWarning(loadDesign('digital', []).design, 16)).toBeUndefined();
});
