/** The GPU's benchmark on a small shape: products are compared with the reference, and without a GPU it says what is missing. */
import { env } from 'node:process';
import { expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { loadDesign } from '../fabric/design.ts';
import { loadFabric } from '../fabric/registry.ts';
import { modelShape } from '../model/shape.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { benchWebGpu, benchWebGpuText } from './webgpu.ts';

const shape = modelShape({
  ...LLAMA_3_1_8B,
  layers: 2,
  dim: 64,
  heads: 2,
  kvHeads: 1,
  headDim: 32,
  ffnDim: 96,
});
const software = env.ONEFET_GPU === 'software';
const fabric = loadFabric(loadDesign('log-domain').design);

test('each matrix of a block is compared and timed, or the reason is said', async () => {
  try {
    const result = await benchWebGpu({ fabric, shape, tokens: 5, rounds: 1, products: 1, software });
    expect(result.variants).toHaveLength(3);
    for (const { matrices, passSeconds } of result.variants) {
      // q and o, k and v, gate and up, down.
      expect(matrices.map(({ outputs, inputs, count }) => [outputs, inputs, count])).toEqual([
        [64, 64, 2],
        [32, 64, 2],
        [96, 64, 2],
        [64, 96, 1],
      ]);
      for (const { otherCodes } of matrices) expect(otherCodes).toBeLessThan(1e-3);
      const block = matrices.reduce((sum, { seconds, count }) => sum + seconds * count, 0);
      expect(passSeconds).toBeCloseTo(2 * block, 12);
    }
    expect(benchWebGpuText(result)).toContain('TMAC/s');
  } catch (error) {
    if (!(error instanceof OnefetError && error.code === 'GPU_ABSENT')) throw error;
    console.warn(`the GPU's benchmark is not tested: ${error.message}`);
    expect(error.hint).toBeTruthy();
  }
}, 600_000);

test('a fabric without analog cells is refused', async () => {
  const hardwired = loadFabric(loadDesign('hardwired').design);
  await expect(benchWebGpu({ fabric: hardwired })).rejects.toThrow(/has no analog cells/);
});
