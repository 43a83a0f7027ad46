/**
 * What a mapping will take, before it is begun: memory, operations, and the time that they need at the rate of this
 * machine.
 *
 *   statistics  T K^2 per stage and token (the symmetric half of 2 T K^2)
 *   following   2 T K^2 per stage and token for the drift; a second factor, and 4 K^2 N for the weights that it changes
 *   factor      K^3 / 3 per stage
 *   matrix      K^2 N times: 2 for the products H W, 1 for the error at the end, 1 for GPTQ, 1 for each refit (the
 *               symmetric half; and a tile's width), 2 for each sweep of descent, annealed or not
 */
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import { shareStages, workspaceLimits } from './map-model.ts';
import { PEAK_OPERATIONS } from './numerics/kernels/multiply.ts';
import { floats, newNumerics, room } from './numerics/numerics.ts';
import { workspaceBytes } from './numerics/workspace.ts';
import type { MappingMethod } from './plan.ts';

export interface MappingEstimate {
  /** f32 operations, statistics of `tokens` tokens included, without the forward pass. */
  readonly operations: number;
  /** As many operations at the rate of `mappingRate` take the same time. */
  readonly ratedOperations: number;
  /** Of all threads: workspaces, and what a thread holds of the stage that it works on. */
  readonly memoryBytes: number;
}

export function estimateMapping(
  shape: ModelShape,
  method: MappingMethod,
  tileRows: number,
  tokens: number,
  threads = 1,
  follow = false,
): MappingEstimate {
  const { codes, refit, anneal = 0, sweeps } = method.coding;
  const refits = refit ? 1 + (anneal > 0 ? 1 : 0) + sweeps : 0;
  let [operations, ratedOperations] = [0, 0];
  for (const stage of STAGES) {
    const { inputs, outputs } = stageSize(shape, stage);
    const passes = 3 + (codes === 'gptq' ? 1 : 0) + refits * (1 + tileRows / inputs) + 2 * (anneal + sweeps);
    let own = tokens * inputs ** 2 + (codes === 'gptq' ? inputs ** 3 / 3 : 0);
    own += passes * inputs ** 2 * outputs;
    if (follow) own += 2 * tokens * inputs ** 2 + inputs ** 3 / 3 + 4 * inputs ** 2 * outputs;
    operations += own;
    ratedOperations += (own * EFFICIENCY) / efficiency(inputs);
  }
  const shares = threads > 1 ? shareStages(shape, threads) : [STAGES];
  let memoryBytes = 0;
  for (const stages of shares) {
    memoryBytes += workspaceBytes(workspaceLimits(shape, tileRows, stages));
    // Second moments and weights as they come, codes as they go.
    const held = stages.map((stage) => {
      const { inputs, outputs } = stageSize(shape, stage);
      return (follow ? 8 : 4) * inputs ** 2 + (follow ? 9 : 5) * inputs * outputs;
    });
    memoryBytes += Math.max(...held);
  }
  return {
    operations: shape.layers * operations,
    ratedOperations: shape.layers * ratedOperations,
    memoryBytes,
  };
}

/**
 * How often the blocks' weights meet every token of the calibration text: once, or where a mapping follows itself once as
 * shipped, once behind every block, and up to each stage in turn.
 */
export function textPasses(shape: ModelShape, follow: boolean): number {
  if (!follow) return 1;
  const weights = STAGES.map((stage) => {
    const { inputs, outputs } = stageSize(shape, stage);
    return inputs * outputs;
  });
  const total = weights.reduce((sum, x) => sum + x, 0);
  const upTo = weights.map((_, i) => weights.slice(0, i + 1).reduce((sum, x) => sum + x, 0) / total);
  return 2 + upTo.reduce((sum, share) => sum + share, 0);
}

/** Inputs of a stage, and the outputs of all its matrices. */
function stageSize(shape: ModelShape, stage: Stage): { inputs: number; outputs: number } {
  const matrices = blockMatrices(shape, 0);
  const readers = matricesReading(shape.architecture, stage).map((i) => matrices[i]);
  return { inputs: readers[0].inputs, outputs: readers.reduce((sum, { outputs }) => sum + outputs, 0) };
}

/** Share of the peak rate that the blocked operations reach on the matrices of an 8B: one block took 377 processor seconds. */
const EFFICIENCY = 0.6;
/** Narrower ones reach less: SmolLM2-135M (576 and 1,536 inputs) took 43 processor seconds on 1,024 tokens, a quarter of the peak. */
const efficiency = (inputs: number): number => (0.756 * inputs) / (inputs + 1820);
const PEAK_ROUNDS = 200_000;

/** Operations per second that a mapping can count on here: 60 % of what multiply-adds on registers alone reach. */
export async function mappingRate(): Promise<number> {
  const numerics = await newNumerics(4096);
  const at = room(numerics, 96, 'the measurement');
  floats(numerics, at, 96).fill(0.5);
  let best = 0;
  for (let run = 0; run < 3; run++) {
    const start = performance.now();
    numerics.kernels.multiply_peak(at, PEAK_ROUNDS);
    best = Math.max(best, (PEAK_ROUNDS * PEAK_OPERATIONS) / ((performance.now() - start) / 1e3));
  }
  return EFFICIENCY * best;
}
