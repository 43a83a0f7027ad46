/**
 * The calibration text through the model as shipped and, beside it, through the model as far as it is mapped: what the
 * matrices of a stage read of both, stage by stage as they are mapped (src/mapping/retarget.ts).
 *
 *   block   once as shipped, with the inputs of its stages kept
 *   stage   on the mapped streams, the stages before it mapped: the inputs x^ beside x
 *   and with all its stages mapped, once more to the next block
 *
 * The mapped part is an engine on an image of one block, in which the matrices that are still to come are zero: nothing that
 * is looked at lies behind them.
 *
 * Memory: two streams of T D f32, the inputs of a block's stages, and an engine of one block.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngine } from '../engine/create.ts';
import { OnefetError } from '../error.ts';
import { tensorKey } from '../fabric/placement.ts';
import { driftBytes, type InputDrift, newDrift } from '../mapping/drift.ts';
import { rotationOf, unrotateRows } from '../mapping/hadamard.ts';
import { createImage, type ImageReader, openImage } from '../mapping/image.ts';
import type { ImageHeader } from '../mapping/image-format.ts';
import type { ImageMatrix } from '../mapping/image-matrix.ts';
import { gainKey } from '../mapping/map-model.ts';
import { type MappingMethod, stageInput } from '../mapping/plan.ts';
import { type MappingSource, stageMatrices } from '../mapping/stage-job.ts';
import { collectorBytes, type InputStatistics, newStatistics } from '../mapping/statistics.ts';
import { STAGES, type Stage } from '../model/architecture.ts';
import type { Model } from '../model/model.ts';
import type { ModelShape } from '../model/shape.ts';
import { joinArrays } from '../numbers.ts';
import { embed, type PassEngine, partRequest, passStream } from './input-pass.ts';
import type { MappingPlan } from './mapping-plan.ts';

export interface FollowPass {
  /** Of the mapped model's inputs of a stage; the stages before it must have been taken. */
  statistics(layer: number, stage: Stage): Promise<InputStatistics>;
  drift(layer: number, stage: Stage): Promise<InputDrift>;
  /** Takes what a stage was mapped to. */
  vector(name: string, values: Float32Array): void;
  matrix(matrix: ImageMatrix): void;
  /** Removes what lies in the system's folder for passing files. */
  close(): void;
}

export interface FollowOptions {
  /** Share of all blocks that was passed. */
  onProgress(share: number, what: string): void;
  readonly signal: AbortSignal | undefined;
}

/** Two streams, the inputs of a block's stages, and the sums of the widest stage; an engine comes on top. */
export function followBytes(shape: ModelShape, tokens: number): number {
  const inputs = STAGES.map((stage) => stageMatrices(shape, 0, stage)[0].inputs);
  const sums = inputs.map((own) => collectorBytes(own) + driftBytes(own));
  return 4 * tokens * (2 * shape.dim + inputs.reduce((sum, own) => sum + own, 0)) + Math.max(...sums);
}

/** Name of a section in the image of its block alone. */
const inBlock = (name: string): string => name.replace(/^blk\.\d+\./, 'blk.0.');

export function newFollowPass(
  model: Model,
  gainOf: MappingSource['gain'],
  plan: Pick<MappingPlan, 'text' | 'bits' | 'tileRows'>,
  method: MappingMethod,
  header: ImageHeader,
  on: PassEngine,
  { onProgress, signal }: FollowOptions,
): FollowPass {
  const { shape } = model;
  const { windows } = plan.text;
  const contextTokens = Math.max(...windows.map((ids) => ids.length));
  const folder = mkdtempSync(join(tmpdir(), 'onefet-follow-'));
  const streams = windows.map((ids) => ({ exact: embed(model, ids), mapped: embed(model, ids) }));
  let reached = -1;
  /** Inputs of the block's stages of the model as shipped, by window. */
  let exact = new Map<Stage, Float32Array[]>();
  const taken = { matrices: new Map<string, ImageMatrix>(), vectors: new Map<string, Float32Array>() };
  let found: { layer: number; stage: Stage; statistics: InputStatistics; drift: InputDrift } | undefined;

  const blockImage = (layer: number): ImageReader => {
    const path = join(folder, 'block.image');
    rmSync(path, { force: true });
    const writer = createImage(path, header);
    for (const stage of STAGES) {
      if (gainOf(layer, stage)) {
        const gain = taken.vectors.get(gainKey(layer, stage)) ?? new Float32Array(shape.dim).fill(1);
        writer.writeVector(gainKey(0, stage), gain);
      }
      for (const { name, outputs, inputs } of stageMatrices(shape, layer, stage)) {
        const key = tensorKey(name);
        const matrix = taken.matrices.get(key) ?? zeroMatrix(key, outputs, inputs, plan);
        writer.writeMatrix({ ...matrix, name: inBlock(key) });
      }
    }
    writer.finish();
    return openImage(path);
  };

  const mappedEngine = async (layer: number) => {
    const image = blockImage(layer);
    try {
      return await createEngine(on.backend.name, {
        ...partRequest(model, { first: layer, count: 1 }, on),
        mode: 'mapped',
        image,
        contextTokens,
        signal,
      });
    } finally {
      image.close();
    }
  };

  const advanceMapped = async (layer: number): Promise<void> => {
    const engine = await mappedEngine(layer);
    try {
      for (const [window, { mapped }] of streams.entries()) {
        await passStream(engine, window, mapped, shape.dim, true);
      }
    } finally {
      await engine.close();
    }
  };

  const passExact = async (layer: number): Promise<void> => {
    exact = new Map(STAGES.map((stage) => [stage, []]));
    const gains = new Map(STAGES.map((stage) => [stage, gainOf(layer, stage)]));
    const engine = await createEngine(on.backend.name, {
      ...partRequest(model, { first: layer, count: 1 }, on),
      mode: 'digital',
      contextTokens,
      signal,
    });
    try {
      for (const [window, { exact: stream }] of streams.entries()) {
        const parts = new Map<Stage, Float32Array[]>(STAGES.map((stage) => [stage, []]));
        await passStream(engine, window, stream, shape.dim, layer + 1 < shape.layers, {
          wants: () => true,
          visit: (_layer, stage, x) => {
            parts.get(stage)!.push(beforeGain(x, gains.get(stage)));
          },
        });
        for (const [stage, own] of parts) exact.get(stage)!.push(joinArrays(own, (n) => new Float32Array(n)));
        onProgress((layer + (window + 1) / windows.length / 2) / shape.layers, `inputs of block ${layer}`);
      }
    } finally {
      await engine.close();
    }
  };

  const gather = async (layer: number, stage: Stage): Promise<void> => {
    if (layer !== reached) {
      if (layer !== reached + 1)
        throw new OnefetError('internal', 'FOLLOW', `block ${layer} after ${reached}`);
      if (reached >= 0) await advanceMapped(reached);
      taken.matrices.clear();
      taken.vectors.clear();
      await passExact(layer);
      reached = layer;
    }
    const { rotation } = stageInput(shape, method, stage);
    const offline = rotation && !rotation.online ? rotationOf(rotation) : undefined;
    const { inputs } = stageMatrices(shape, layer, stage)[0];
    const [statistics, drift] = [await newStatistics(inputs), await newDrift(inputs)];
    const engine = await mappedEngine(layer);
    try {
      for (const [window, { mapped }] of streams.entries()) {
        const own = exact.get(stage)![window];
        let at = 0;
        await passStream(engine, window, mapped, shape.dim, false, {
          alone: true,
          wants: (_layer, other) => other === stage,
          visit(_layer, _stage, a, tokens) {
            const x = a.slice(0, tokens * inputs);
            if (offline) unrotateRows(x, tokens, offline);
            statistics.add(x, tokens);
            drift.add(own.subarray(at, at + x.length), x, tokens);
            at += x.length;
          },
        });
      }
    } finally {
      await engine.close();
    }
    exact.get(stage)!.length = 0;
    found = { layer, stage, statistics: statistics.result(), drift: drift.result() };
  };
  const of = async (layer: number, stage: Stage) => {
    if (found?.layer !== layer || found.stage !== stage) await gather(layer, stage);
    return found!;
  };
  return {
    statistics: async (layer, stage) => (await of(layer, stage)).statistics,
    drift: async (layer, stage) => (await of(layer, stage)).drift,
    vector: (name, values) => taken.vectors.set(name, values),
    matrix: (matrix) => taken.matrices.set(matrix.name, matrix),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A matrix that is still to come. */
const zeroMatrix = (
  name: string,
  outputs: number,
  inputs: number,
  { bits, tileRows }: Pick<MappingPlan, 'bits' | 'tileRows'>,
): ImageMatrix => ({
  name,
  outputs,
  inputs,
  tileRows,
  bits: bits.get(name)!,
  codes: new Int8Array(outputs * inputs),
  scales: new Float32Array(outputs * Math.ceil(inputs / tileRows)),
  centre: undefined,
  side: undefined,
  principal: undefined,
  rotation: null,
  steps: [],
});

/** x / gain [tokens][K]; an input with gain zero has no weight that counts. */
function beforeGain(x: Float32Array, gain: Float32Array | undefined): Float32Array {
  if (!gain) return x.slice();
  return x.map((value, i) => {
    const g = gain[i % gain.length];
    return g === 0 ? 0 : value / g;
  });
}
