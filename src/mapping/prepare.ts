/**
 * What the rows of a tile see: the input of a layer after everything that is done to it before it is coded, in this order,
 *
 *   a <- a / f          loudness scales, folded in the norm's gain       (fold.ts)
 *   a <- a Q            rotation, offline or by a fast transform         (hadamard.ts)
 *   a <- a - mu         centre                                          (centre.ts)
 *   a <- a - V V^T a    principal part taken out                         (principal.ts)
 *
 * and the same for second moments and weights, so that W a stays what it was up to the digital parts.
 */
import { loudnessScales, scaleStatistics, scaleWeightColumns } from './fold.ts';
import type { Rotation } from './hadamard.ts';
import type { SidePath } from './low-rank.ts';
import { type Rotator, rotateManyColumns, rotateManyRows } from './numerics/rotate.ts';
import type { Workspace } from './numerics/workspace.ts';
import { type PrincipalPart, principalPart, principalPath, withoutPrincipal } from './principal.ts';
import { type InputStatistics, momentsAboutZero } from './statistics.ts';

export interface InputOptions {
  /** Rows code a - mu. */
  readonly centre: boolean;
  /** Exponent p of the loudness scales; 0 is none. Only inputs that come from a norm can have them for free. */
  readonly loudness: number;
  readonly rotation: Rotation | undefined;
  /** Rank of the principal part in the digital path; 0 is none. */
  readonly principal: number;
}

export interface PreparedInput {
  readonly options: InputOptions;
  /** f [K]. */
  readonly factors: Float32Array | undefined;
  readonly rotation: Rotation | undefined;
  /** Mean and second moments about it, in the rows' basis, without the principal part. */
  readonly statistics: InputStatistics;
  readonly principal: PrincipalPart | undefined;
  /** Second moments of what the rows code: about the mean if it is taken off, else about zero [K][K]. */
  readonly moments: Float32Array;
  /** Inputs of single tokens as the rows code them [tokens][K]: for predictions. */
  readonly sample: Float32Array;
}

export interface PreparedWeights {
  /** W in the rows' basis [N][K]. */
  readonly weights: Float32Array;
  readonly principal: SidePath | undefined;
}

/**
 * Takes the statistics of a norm's output without its gain, or of o's and down's inputs as they are; load them with loadInput.
 * With `taken` they are nobody else's, and no copy is made: a copy is 0.8 GB for K = 14336.
 */
export function prepareInput(
  workspace: Workspace,
  original: InputStatistics,
  options: InputOptions,
  taken = false,
): PreparedInput {
  const { rotation } = options;
  let statistics = original;
  let factors: Float32Array | undefined;
  if (options.loudness !== 0) {
    factors = loudnessScales(statistics, options.loudness);
    statistics = scaleStatistics(statistics, factors);
  }
  if (rotation !== undefined) {
    statistics = rotateStatistics(workspace, statistics, rotation, taken);
  }
  const principal =
    options.principal > 0 ? principalPart(workspace, statistics, options.principal) : undefined;
  if (principal !== undefined) statistics = withoutPrincipal(statistics, principal);
  const { mean } = statistics;
  return {
    options,
    factors,
    rotation,
    statistics,
    principal,
    moments: options.centre ? statistics.moments : momentsAboutZero(statistics),
    sample: options.centre ? statistics.sample.map((x, i) => x - mean[i % mean.length]) : statistics.sample,
  };
}

/** Statistics of a Q. */
function rotateStatistics(
  rotator: Rotator,
  statistics: InputStatistics,
  rotation: Rotation,
  taken: boolean,
): InputStatistics {
  const [moments, mean, sample] = [statistics.moments, statistics.mean, statistics.sample].map((x) =>
    taken ? x : x.slice(),
  );
  rotateManyRows(rotator, moments, mean.length, rotation);
  rotateManyColumns(rotator, moments, mean.length, rotation);
  rotateManyRows(rotator, mean, 1, rotation);
  rotateManyRows(rotator, sample, sample.length / mean.length, rotation);
  return { ...statistics, moments, mean, sample };
}

/** Takes W [N][K] with the norm's gain folded in; leaves it as it is unless it is `taken`. */
export function prepareWeights(
  rotator: Rotator,
  input: PreparedInput,
  weights: Float32Array,
  outputs: number,
  taken = false,
): PreparedWeights {
  const prepared = taken ? weights : weights.slice();
  if (input.factors !== undefined) scaleWeightColumns(prepared, outputs, input.factors);
  if (input.rotation !== undefined) rotateManyRows(rotator, prepared, outputs, input.rotation);
  return {
    weights: prepared,
    principal: input.principal && principalPath(prepared, outputs, input.principal),
  };
}
