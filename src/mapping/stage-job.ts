/**
 * The matrices that read at one stage of one block, as a piece of work of plain data: threads can be sent it.
 */
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { matricesReading, type Stage } from '../model/architecture.ts';
import { blockMatrices, type MatrixShape, type ModelShape } from '../model/shape.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { centreAddend } from './centre.ts';
import type { InputDrift } from './drift.ts';
import { scaleWeightColumns } from './fold.ts';
import { type RotationSpec, rotationOf } from './hadamard.ts';
import type { SidePath } from './low-rank.ts';
import {
  type CodingOptions,
  type ExactMatrix,
  loadInput,
  type MappedMatrix,
  type MatrixReport,
  mapMatrix,
} from './map-matrix.ts';
import { rotateManyColumns } from './numerics/rotate.ts';
import type { Workspace } from './numerics/workspace.ts';
import { type MappingMethod, outputRotation, stageInput } from './plan.ts';
import { type InputOptions, type PreparedInput, prepareInput } from './prepare.ts';
import { retarget } from './retarget.ts';
import type { InputStatistics } from './statistics.ts';

/** What mapping needs of a model. */
export interface MappingSource {
  readonly shape: ModelShape;
  /** W [N][K] as in the file, in a fresh array. */
  weights(name: LinearName): Float32Array;
  /** What adds to a matrix beside its weights, as in the file: s B and A of its adapters. */
  adapter?(name: LinearName): SidePath | undefined;
  /** Gain [D] of the norm in front of a stage; undefined where there is none. */
  gain(layer: number, stage: Stage): Float32Array | undefined;
  /** Of the stage's inputs before the norm's gain, in fresh arrays: they may be moved to another thread. */
  statistics(layer: number, stage: Stage): InputStatistics | Promise<InputStatistics>;
  /**
   * Where the statistics are those of the mapped model's inputs: how far these are off. The stages before must be mapped when
   * either is asked for.
   */
  drift?(layer: number, stage: Stage): InputDrift | Promise<InputDrift>;
}

export interface StageJob {
  readonly statistics: InputStatistics;
  readonly drift: InputDrift | undefined;
  readonly input: InputOptions;
  /** Gain [K] of the norm in front, to be folded in. */
  readonly gain: Float32Array | undefined;
  readonly coding: CodingOptions;
  /** Measure the error after each step, not only at the end. */
  readonly everyStep: boolean;
  /** Also say what a correction of single chips needs of the second moments (moments-factor.ts). */
  readonly moments: boolean;
  readonly matrices: readonly {
    /** As in the image: blk.0.attn_q. */
    readonly name: string;
    /** W [N][K] as in the file. */
    readonly weights: Float32Array;
    readonly outputs: number;
    readonly bits: WeightBits;
    readonly adapter: SidePath | undefined;
    readonly rotation: RotationSpec | null;
  }[];
}

export interface CodedMatrix {
  readonly name: string;
  readonly mapped: MappedMatrix;
  readonly report: MatrixReport;
}

/** The matrices that read at a stage of a block. */
export function stageMatrices(shape: ModelShape, layer: number, stage: Stage): MatrixShape[] {
  const matrices = blockMatrices(shape, layer);
  return matricesReading(shape.architecture, stage).map((place) => matrices[place]);
}

/** Gathers the work of a stage for the matrices that `wanted` says. */
export async function stageJob(
  source: MappingSource,
  method: MappingMethod,
  layer: number,
  stage: Stage,
  bits: (name: LinearName) => WeightBits,
  options: { readonly everyStep?: boolean; readonly moments?: boolean; wanted?(name: string): boolean } = {},
): Promise<StageJob> {
  const { shape } = source;
  const statistics = await source.statistics(layer, stage);
  const matrices = stageMatrices(shape, layer, stage).filter(
    ({ name }) => options.wanted?.(tensorKey(name)) ?? true,
  );
  return {
    statistics,
    drift: await source.drift?.(layer, stage),
    input: stageInput(shape, method, stage).input,
    gain: source.gain(layer, stage),
    coding: method.coding,
    everyStep: options.everyStep ?? false,
    moments: options.moments ?? false,
    matrices: matrices.map(({ name, outputs }) => ({
      name: tensorKey(name),
      weights: source.weights(name),
      outputs,
      bits: bits(name),
      adapter: source.adapter?.(name),
      rotation: outputRotation(shape, method, shape.architecture.matrices[name.ordinal]),
    })),
  };
}

/** Does the work; the job's statistics and weights are changed. */
export function runStageJob(
  workspace: Workspace,
  job: StageJob,
): { readonly input: PreparedInput; readonly coded: readonly CodedMatrix[] } {
  const { statistics, drift } = job;
  const exact = job.matrices.map(({ weights, outputs, adapter, rotation }): ExactMatrix => {
    if (job.gain) {
      scaleWeightColumns(weights, outputs, job.gain);
      if (adapter) scaleWeightColumns(adapter.down, adapter.rank, job.gain);
    }
    if (rotation) {
      rotateManyColumns(workspace, weights, statistics.inputs, rotationOf(rotation));
      if (adapter) rotateManyColumns(workspace, adapter.up, adapter.rank, rotationOf(rotation));
    }
    const addend = drift && centreAddend(weights, outputs, drift.mean);
    return { weights, outputs, adapter, addend, taken: true };
  });
  if (drift) {
    const ridge = statistics.inputs / statistics.tokens;
    retarget(workspace, exact, statistics.moments, drift.drift, ridge);
  }
  const input = prepareInput(workspace, statistics, job.input, true);
  loadInput(workspace, input, job.coding);
  const coded = job.matrices.map(({ name, bits }, i) => ({
    name,
    ...mapMatrix(workspace, input, exact[i], bits, job.coding, job.everyStep),
  }));
  return { input, coded };
}
