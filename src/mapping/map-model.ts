/**
 * A whole model from statistics to a chip image, block by block and matrix by matrix.
 *
 * With all of a method's parts on, in the notation of prepare.ts:
 *   norm gains    folded in the matrices that read them; the image's gain vector holds 1 / f instead
 *   residual      every reader of the stream has W Q, every writer Q^T W; the embedding's rows are rotated after the
 *                 look-up and the stream is rotated back before the head's norm (an RMS norm without gain does not see Q)
 *   heads         the value's rows of each head are rotated and attention-output's columns with them: nothing to do online
 *   hidden        the feed-forward's hidden vector is rotated online, by a fast transform
 *
 * A matrix is written as soon as it is done; what an earlier run left in the image is not done again.
 */
import { OnefetError } from '../error.ts';
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { type BlockMatrix, matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { blockMatrices, type MatrixShape, type ModelShape } from '../model/shape.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import { scaleWeightColumns } from './fold.ts';
import { type RotationSpec, rotationOf } from './hadamard.ts';
import type { ImageMatrix } from './image.ts';
import { type CodingOptions, loadInput, type MatrixReport, mapMatrix } from './map-matrix.ts';
import { type Rotator, rotateManyColumns } from './numerics/rotate.ts';
import { newWorkspace, type Workspace, type WorkspaceLimits } from './numerics/workspace.ts';
import { type InputOptions, type PreparedInput, prepareInput } from './prepare.ts';
import type { InputStatistics } from './statistics.ts';

export interface MappingMethod {
  readonly name: string;
  readonly centre: boolean;
  /** Exponent of the loudness scales of inputs behind a norm; none where the stream is rotated. */
  readonly loudness: number;
  readonly rotate: { readonly residual: boolean; readonly heads: boolean; readonly hidden: boolean };
  /** Rank of the principal part in the digital path. */
  readonly principal: number;
  readonly coding: CodingOptions;
  /** Of the rotations' signs. */
  readonly seed: number;
}

/** What mapping needs of a model. */
export interface MappingSource {
  readonly shape: ModelShape;
  /** W [N][K] as in the file, the caller's to change. */
  weights(name: LinearName): Float32Array;
  /** Gain [D] of the norm in front of a stage; undefined where there is none. */
  gain(layer: number, stage: Stage): Float32Array | undefined;
  /** Of the stage's inputs before the norm's gain. */
  statistics(layer: number, stage: Stage): InputStatistics | Promise<InputStatistics>;
}

/** Where the results go: an ImageWriter, or a test. */
export interface MappingSink {
  has(name: string): boolean;
  vector(name: string, values: Float32Array): void;
  matrix(matrix: ImageMatrix, report: MatrixReport): void;
}

export interface MapModelOptions {
  readonly method: MappingMethod;
  readonly tileRows: number;
  bits(name: LinearName): WeightBits;
  /** Measure the error after each step, not only at the end. */
  readonly everyStep?: boolean;
  onProgress?(done: number, total: number, label: string): void;
  readonly signal?: AbortSignal;
}

/** Name of the gain vector of a stage in the image. */
export const gainKey = (layer: number, stage: Stage): string => `blk.${layer}.${stage}.gain`;

/** Rotation of the residual stream, or null. */
export const residualRotation = (shape: ModelShape, method: MappingMethod): RotationSpec | null =>
  method.rotate.residual ? { length: shape.dim, repeat: 1, seed: method.seed } : null;

const headRotation = (shape: ModelShape, method: MappingMethod, heads: number): RotationSpec => ({
  length: shape.headDim,
  repeat: heads,
  seed: method.seed + 1,
});

/**
 * Which rotations a model allows: the stream's only where nothing but RMS norms with foldable gains reads it and nothing
 * scales or shifts what is added to it element by element; the heads' where values are a matrix of their own without
 * bias.
 */
export function allowedRotations(shape: ModelShape): MappingMethod['rotate'] {
  const { matrices, norms } = shape.architecture;
  const biased = (part: string): boolean =>
    matrices.some(({ tensor, gives }) => gives.some((p) => p === part) && shape.biases.includes(tensor));
  const values = matrices.find(({ gives }) => gives.includes('value'));
  return {
    residual:
      norms.attentionInput !== undefined &&
      norms.feedForwardInput !== undefined &&
      norms.attentionOutput === undefined &&
      norms.feedForwardOutput === undefined &&
      !biased('attention') &&
      !biased('feed-forward'),
    heads: values?.gives.length === 1 && !biased('value'),
    hidden: true,
  };
}

/** Throws OnefetError('usage', 'MAPPING_ROTATION') for a rotation that the model does not allow. */
export function requireRotations(shape: ModelShape, method: MappingMethod): void {
  const allowed = allowedRotations(shape);
  for (const part of ['residual', 'heads', 'hidden'] as const) {
    if (method.rotate[part] && !allowed[part]) {
      throw new OnefetError(
        'usage',
        'MAPPING_ROTATION',
        `a model of architecture ${shape.architecture.name} does not allow a rotation of its ${part}`,
        { hint: 'norms with gains or biases stand in the way; leave the rotation out' },
      );
    }
  }
}

/** What happens to the inputs of a stage. */
export function stageInput(
  shape: ModelShape,
  method: MappingMethod,
  stage: Stage,
): { input: InputOptions; rotation: ImageMatrix['rotation'] } {
  const behindNorm = stage === 'attention-input' || stage === 'feed-forward-input';
  let rotation: ImageMatrix['rotation'] = null;
  if (behindNorm) {
    const residual = residualRotation(shape, method);
    if (residual) rotation = { ...residual, online: false };
  } else if (stage === 'attention-output') {
    if (method.rotate.heads) rotation = { ...headRotation(shape, method, shape.heads), online: false };
  } else if (method.rotate.hidden) {
    rotation = { length: shape.ffnDim, repeat: 1, seed: method.seed + 2, online: true };
  }
  return {
    input: {
      centre: method.centre,
      loudness: behindNorm && !method.rotate.residual ? method.loudness : 0,
      rotation: rotation ? rotationOf(rotation) : undefined,
      principal: method.principal,
    },
    rotation,
  };
}

/** Rotates the rows of what a matrix gives, in place: W <- Q^T W. */
export function rotateOutputs(
  rotator: Rotator,
  shape: ModelShape,
  method: MappingMethod,
  { gives }: BlockMatrix,
  weights: Float32Array,
  inputs: number,
): void {
  const residual = residualRotation(shape, method);
  if ((gives.includes('attention') || gives.includes('feed-forward')) && residual) {
    rotateManyColumns(rotator, weights, inputs, rotationOf(residual));
  }
  if (gives.includes('value') && method.rotate.heads) {
    rotateManyColumns(rotator, weights, inputs, rotationOf(headRotation(shape, method, shape.kvHeads)));
  }
}

/** Of the largest matrices of a model's blocks. */
export function workspaceLimits(shape: ModelShape, tileRows: number): WorkspaceLimits {
  const matrices = blockMatrices(shape, 0);
  return {
    outputs: Math.max(...matrices.map(({ outputs }) => outputs)),
    inputs: Math.max(...matrices.map(({ inputs }) => inputs)),
    tileRows,
  };
}

/** Maps all matrices of all blocks; the head stays digital. */
export async function mapModel(
  source: MappingSource,
  sink: MappingSink,
  options: MapModelOptions,
): Promise<void> {
  const { shape } = source;
  requireRotations(shape, options.method);
  const workspace = await newWorkspace(workspaceLimits(shape, options.tileRows));
  const total = shape.layers * blockWork(shape);
  let done = 0;
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const stage of STAGES) {
      await mapStage(workspace, source, sink, options, layer, stage, (matrix, mapped) => {
        done += workOf(matrix);
        if (mapped) options.onProgress?.(done, total, `mapping ${tensorKey(matrix.name)}`);
      });
    }
  }
}

/** Maps what is missing of the matrices that read at a stage; `onDone` is called for every one of them. */
async function mapStage(
  workspace: Workspace,
  source: MappingSource,
  sink: MappingSink,
  options: MapModelOptions,
  layer: number,
  stage: Stage,
  onDone: (matrix: MatrixShape, mapped: boolean) => void,
): Promise<void> {
  const { shape } = source;
  const matrices = blockMatrices(shape, layer);
  const readers = matricesReading(shape.architecture, stage).map((i) => matrices[i]);
  const isMissing = ({ name }: MatrixShape): boolean => !sink.has(tensorKey(name));
  const gain = source.gain(layer, stage);
  const whole = !readers.some(isMissing) && (gain === undefined || sink.has(gainKey(layer, stage)));
  if (whole) {
    for (const matrix of readers) onDone(matrix, false);
    return;
  }
  options.signal?.throwIfAborted();
  const { input: inputOptions, rotation } = stageInput(shape, options.method, stage);
  const input = prepareInput(workspace, await source.statistics(layer, stage), inputOptions);
  writeGain(sink, gainKey(layer, stage), gain, input);
  loadInput(workspace, input);
  for (const matrix of readers) {
    const missing = isMissing(matrix);
    if (missing) {
      options.signal?.throwIfAborted();
      const { mapped, report } = mapOne(workspace, source, options, matrix, input, gain);
      const name = tensorKey(matrix.name);
      sink.matrix({ ...mapped, name, rotation, ranges: undefined, steps: report.steps }, report);
    }
    onDone(matrix, missing);
  }
}

function mapOne(
  workspace: Workspace,
  source: MappingSource,
  options: MapModelOptions,
  { name, outputs, inputs }: MatrixShape,
  input: PreparedInput,
  gain: Float32Array | undefined,
) {
  const { shape } = source;
  const weights = source.weights(name);
  if (gain) scaleWeightColumns(weights, outputs, gain);
  rotateOutputs(workspace, shape, options.method, shape.architecture.matrices[name.ordinal], weights, inputs);
  const exact = { weights, outputs };
  return mapMatrix(workspace, input, exact, options.bits(name), options.method.coding, options.everyStep);
}

/** 1 / f, or ones: what the digital part multiplies the normalised stream by. */
function writeGain(
  sink: MappingSink,
  key: string,
  gain: Float32Array | undefined,
  input: PreparedInput,
): void {
  if (gain === undefined || sink.has(key)) return;
  sink.vector(key, input.factors ? input.factors.map((f) => 1 / f) : new Float32Array(gain.length).fill(1));
}

/** In proportion to a matrix's time: K^2 N. */
const workOf = ({ outputs, inputs }: MatrixShape): number => outputs * inputs * inputs;
const blockWork = (shape: ModelShape): number =>
  blockMatrices(shape, 0).reduce((sum, matrix) => sum + workOf(matrix), 0);
