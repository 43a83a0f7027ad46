/** Operations and seconds that a mapping takes here, known before it is begun: `map --dry-run` and runs that map first say it. */
import { availableParallelism } from 'node:os';
import { estimateMapping, mappingRate, textPasses } from '../mapping/estimate.ts';
import { METHODS } from '../mapping/method.ts';
import { blockWeights, type ModelShape } from '../model/shape.ts';
import { type MappingPlan, namedMethod, withSettings } from './mapping-plan.ts';

/** f32 operations. */
export interface MappingOperations {
  /** The calibration text through the blocks; the head is not computed. */
  readonly pass: number;
  /** Statistics and codes. */
  readonly mapping: number;
  /** What takes as long as these at the rate that wide matrices reach. */
  readonly ratedMapping: number;
}

/** Returns what a plan will take: a token costs two operations per weight and pass. */
export function mappingOperations(shape: ModelShape, plan: MappingPlan): MappingOperations {
  const { tokens } = plan.text;
  const { follow } = plan.settings;
  const method = namedMethod(plan) ?? withSettings(METHODS.rotated, plan.settings);
  const { operations, ratedOperations } = estimateMapping(shape, method, plan.tileRows, tokens, 1, follow);
  return {
    pass: 2 * tokens * textPasses(shape, follow) * blockWeights(shape),
    mapping: operations,
    ratedMapping: ratedOperations,
  };
}

/** Measures this machine's rate (tens of milliseconds) and returns the seconds of a plan on so many threads. */
export async function mappingSeconds(shape: ModelShape, plan: MappingPlan, threads: number): Promise<number> {
  const { pass, ratedMapping } = mappingOperations(shape, plan);
  return (pass + ratedMapping) / ((await mappingRate()) * Math.min(threads, availableParallelism()));
}
