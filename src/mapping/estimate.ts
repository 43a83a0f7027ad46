/**
 * What a mapping will take, before it is begun: memory, operations, and the time that they need at the rate of this
 * machine.
 *
 *   statistics  T K^2 per stage and token (the symmetric half of 2 T K^2)
 *   factor      K^3 / 3 per stage
 *   matrix      K^2 N times: 4 for the error at both ends, 1 for GPTQ, 2 for each refit and each sweep of descent
 */
import { matricesReading, STAGES } from '../model/architecture.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import { workspaceLimits } from './map-model.ts';
import { PEAK_OPERATIONS } from './numerics/kernels/multiply.ts';
import { floats, newNumerics, room } from './numerics/numerics.ts';
import { workspaceBytes } from './numerics/workspace.ts';
import type { MappingMethod } from './plan.ts';
import { collectorBytes } from './statistics.ts';

export interface MappingEstimate {
  /** f32 operations, statistics of `tokens` tokens included, without the forward pass. */
  readonly operations: number;
  /** Workspace, and the statistics of one block as sums and as a copy. */
  readonly memoryBytes: number;
}

export function estimateMapping(
  shape: ModelShape,
  method: MappingMethod,
  tileRows: number,
  tokens: number,
): MappingEstimate {
  const matrices = blockMatrices(shape, 0);
  const { codes, refit, sweeps } = method.coding;
  const passes = 4 + (codes === 'gptq' ? 1 : 0) + (refit ? 2 * (sweeps + 1) : 0) + 2 * sweeps;
  let operations = 0;
  let memoryBytes = workspaceBytes(workspaceLimits(shape, tileRows));
  for (const stage of STAGES) {
    const readers = matricesReading(shape.architecture, stage).map((i) => matrices[i]);
    const [{ inputs }] = readers;
    operations += tokens * inputs ** 2 + (codes === 'gptq' ? inputs ** 3 / 3 : 0);
    for (const { outputs } of readers) operations += passes * inputs ** 2 * outputs;
    memoryBytes += collectorBytes(inputs) + 4 * inputs ** 2;
  }
  return { operations: shape.layers * operations, memoryBytes };
}

/** Share of the peak rate that the blocked operations reach on matrices of a thousand and more. */
const EFFICIENCY = 0.6;
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
