/**
 * A whole model from statistics to a chip image, block by block and stage by stage, on one or more threads.
 *
 * What is done goes to the sink in the order of the data flow, whatever the threads; what an earlier run left in the image
 * is not done again.
 */
import type { LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import { STAGES, type Stage } from '../model/architecture.ts';
import type { MatrixShape, ModelShape } from '../model/shape.ts';
import type { WeightBits } from '../tile/weight-code.ts';
import type { ImageMatrix } from './image-matrix.ts';
import type { MatrixReport } from './map-matrix.ts';
import { panelElements, type WorkspaceLimits } from './numerics/workspace.ts';
import { type MappingMethod, requireAllowed, stageInput } from './plan.ts';
import { type MappingSource, stageJob, stageMatrices } from './stage-job.ts';
import { newTeam, type StageResult } from './team.ts';

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
  /** Stages are shared out among so many threads, at most four; 1 works in this one. */
  readonly threads?: number;
  /** Measure the error after each step, not only at the end. */
  readonly everyStep?: boolean;
  /** Keep what a correction of single chips needs of the second moments. */
  readonly moments?: boolean;
  onProgress?(done: number, total: number, label: string): void;
  readonly signal?: AbortSignal;
}

/** Name of the gain vector of a stage in the image. */
export const gainKey = (layer: number, stage: Stage): string => `blk.${layer}.${stage}.gain`;

/** Name of what the image keeps of a stage's second moments (moments-factor.ts). */
export const momentsKey = (layer: number, stage: Stage): string => `blk.${layer}.${stage}.moments`;

/** What the matrices of some stages need of a workspace. */
export function workspaceLimits(
  shape: ModelShape,
  tileRows: number,
  stages: readonly Stage[] = STAGES,
): WorkspaceLimits {
  const matrices = stages.flatMap((stage) => stageMatrices(shape, 0, stage));
  return {
    outputs: Math.max(...matrices.map(({ outputs }) => outputs)),
    inputs: Math.max(...matrices.map(({ inputs }) => inputs)),
    tileRows,
    elements: Math.max(...matrices.map(({ outputs, inputs }) => panelElements(outputs, inputs))),
  };
}

/**
 * Which thread does which stages: the longest first, each to the thread with the least. Two threads of an 8B model get 56
 * and 44 % of the work, and only one of them needs the memory of the widest inputs.
 */
export function shareStages(shape: ModelShape, threads: number): Stage[][] {
  const shares = Array.from({ length: Math.max(1, Math.min(threads, STAGES.length)) }, (): Stage[] => []);
  const load = (stages: readonly Stage[]): number =>
    stages.reduce((sum, stage) => sum + stageWork(shape, stage), 0);
  for (const stage of [...STAGES].sort((a, b) => stageWork(shape, b) - stageWork(shape, a))) {
    shares.reduce((least, share) => (load(share) < load(least) ? share : least)).push(stage);
  }
  return shares;
}

/** Stages in work or waiting at a time: one block. */
const MOST_PENDING = STAGES.length;

/** Maps all matrices of all blocks; the head stays digital. */
export async function mapModel(
  source: MappingSource,
  sink: MappingSink,
  options: MapModelOptions,
): Promise<void> {
  const { shape } = source;
  const { method, tileRows, threads = 1 } = options;
  requireAllowed(shape, method);
  const shares = shareStages(shape, threads).map((stages) => ({
    stages,
    limits: workspaceLimits(shape, tileRows, stages),
  }));
  const team = await newTeam(
    threads > 1 ? shares : [{ stages: STAGES, limits: workspaceLimits(shape, tileRows) }],
    threads > 1,
  );
  const total = shape.layers * STAGES.reduce((sum, stage) => sum + stageWork(shape, stage), 0);
  let done = 0;
  // Inputs of a mapped model are there when the stages before are mapped.
  const oneByOne = threads === 1 || source.drift !== undefined;
  const pending: { layer: number; stage: Stage; result: Promise<StageResult> | undefined }[] = [];
  const finishFirst = async (): Promise<void> => {
    const { layer, stage, result } = pending.shift()!;
    const found = await unlessAborted(result, options.signal);
    if (found) deliver(source, sink, method, layer, stage, found);
    done += stageWork(shape, stage);
    if (found) options.onProgress?.(done, total, `mapped block ${layer}, ${stage}`);
  };
  try {
    for (let layer = 0; layer < shape.layers; layer++) {
      for (const stage of STAGES) {
        options.signal?.throwIfAborted();
        const result = isWhole(source, sink, layer, stage, options.moments ?? false)
          ? undefined
          : team.run(
              stage,
              await stageJob(source, method, layer, stage, options.bits, {
                everyStep: options.everyStep ?? false,
                moments: options.moments ?? false,
                wanted: (name) => !sink.has(name),
              }),
            );
        // Its error is met where its turn comes.
        result?.catch(() => undefined);
        pending.push({ layer, stage, result });
        if (oneByOne || pending.length >= MOST_PENDING) await finishFirst();
      }
    }
    while (pending.length > 0) await finishFirst();
  } finally {
    await team.stop();
  }
}

/** Ctrl-C does not wait for a matrix that takes minutes: the team's threads are ended with it. */
async function unlessAborted<T>(result: Promise<T> | undefined, signal: AbortSignal | undefined) {
  if (!result || !signal) return result;
  signal.throwIfAborted();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([result, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function isWhole(
  source: MappingSource,
  sink: MappingSink,
  layer: number,
  stage: Stage,
  moments: boolean,
): boolean {
  if (moments && !sink.has(momentsKey(layer, stage))) return false;
  const missing = stageMatrices(source.shape, layer, stage).some(({ name }) => !sink.has(tensorKey(name)));
  return !missing && (source.gain(layer, stage) === undefined || sink.has(gainKey(layer, stage)));
}

function deliver(
  source: MappingSource,
  sink: MappingSink,
  method: MappingMethod,
  layer: number,
  stage: Stage,
  { factors, coded, moments }: StageResult,
): void {
  const gain = source.gain(layer, stage);
  // 1 / f, or ones: what the digital part multiplies the normalised stream by.
  if (gain && !sink.has(gainKey(layer, stage))) {
    sink.vector(gainKey(layer, stage), factors?.map((f) => 1 / f) ?? new Float32Array(gain.length).fill(1));
  }
  if (moments && !sink.has(momentsKey(layer, stage))) sink.vector(momentsKey(layer, stage), moments);
  const { rotation } = stageInput(source.shape, method, stage);
  for (const { name, mapped, report } of coded) {
    sink.matrix({ ...mapped, name, rotation, steps: report.steps }, report);
  }
}

/** In proportion to the time of a stage's matrices: K^2 N. */
const stageWork = (shape: ModelShape, stage: Stage): number =>
  stageMatrices(shape, 0, stage).reduce((sum, matrix) => sum + workOf(matrix), 0);
const workOf = ({ outputs, inputs }: MatrixShape): number => outputs * inputs * inputs;
