/**
 * Statistics of the inputs of every stage of every block, from digital passes over the calibration text: as many blocks
 * at once as their second moments fit in memory.
 */
import { freemem } from 'node:os';
import { interrupted } from '../error.ts';
import type { MappingSource } from '../mapping/stage-job.ts';
import { collectorBytes, type InputStatistics, newStatistics } from '../mapping/statistics.ts';
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';

/** Runs the calibration text through the model as shipped; `visit` sees inputs x [tokens][K] of what `wants`. */
export type InputPass = (
  wants: (layer: number, stage: Stage) => boolean,
  visit: (layer: number, stage: Stage, x: Float32Array, tokens: number) => void,
  onProgress: (share: number) => void,
) => Promise<void>;

export interface StatisticsOptions {
  /** Memory for the second moments; default: half of what is free, at most 8 GB. */
  readonly mostBytes?: number;
  readonly onProgress: (share: number, what: string) => void;
  readonly signal: AbortSignal | undefined;
}

export type StatisticsOf = (layer: number, stage: Stage) => Promise<InputStatistics>;

const keyOf = (layer: number, stage: Stage): string => `${layer} ${stage}`;

export const bytesPerBlock = (shape: ModelShape): number =>
  STAGES.reduce((sum, stage) => {
    const inputs = inputsOf(shape, stage);
    return sum + collectorBytes(inputs) + 4 * inputs ** 2;
  }, 0);

const inputsOf = (shape: ModelShape, stage: Stage): number =>
  blockMatrices(shape, 0)[matricesReading(shape.architecture, stage)[0]].inputs;

/** Blocks of one pass. */
export function blocksPerPass(shape: ModelShape, mostBytes = Math.min(8e9, freemem() / 2)): number {
  return Math.max(1, Math.min(shape.layers, Math.floor(mostBytes / bytesPerBlock(shape))));
}

/**
 * Statistics on demand: what is asked for and not held is gathered in a new pass, of that block and those behind it, or of
 * `first` alone where given (the probes of an automatic choice).
 */
export function statisticsOf(
  shape: ModelShape,
  gain: MappingSource['gain'],
  pass: InputPass,
  options: StatisticsOptions,
): { readonly of: StatisticsOf; gather(layers: readonly number[]): Promise<void> } {
  const perPass = blocksPerPass(shape, options.mostBytes);
  let held = new Map<string, Awaited<ReturnType<typeof newStatistics>>>();
  const gather = async (layers: readonly number[]): Promise<void> => {
    held = new Map();
    for (const layer of layers) {
      for (const stage of STAGES) held.set(keyOf(layer, stage), await newStatistics(inputsOf(shape, stage)));
    }
    const gains = new Map(
      layers.flatMap((layer) => STAGES.map((stage) => [keyOf(layer, stage), gain(layer, stage)] as const)),
    );
    let scratch = new Float32Array(0);
    const what =
      layers.length === shape.layers
        ? 'inputs of all blocks'
        : `inputs of blocks ${layers[0]} to ${layers.at(-1)}`;
    await pass(
      (layer, stage) => held.has(keyOf(layer, stage)),
      (layer, stage, x, tokens) => {
        const key = keyOf(layer, stage);
        const collector = held.get(key)!;
        const g = gains.get(key);
        if (g === undefined) {
          collector.add(x, tokens);
          return;
        }
        // Before the gain; an input with gain zero has no weight that counts.
        if (scratch.length < x.length) scratch = new Float32Array(x.length);
        const K = g.length;
        for (let i = 0; i < tokens * K; i++) scratch[i] = g[i % K] === 0 ? 0 : x[i] / g[i % K];
        collector.add(scratch.subarray(0, tokens * K), tokens);
      },
      (share) => options.onProgress(share, what),
    );
  };
  return {
    gather,
    async of(layer, stage) {
      // Lets Ctrl-C and the progress in between two stages.
      await new Promise((resolve) => setImmediate(resolve));
      if (options.signal?.aborted) throw interrupted();
      if (!held.has(keyOf(layer, stage))) {
        const last = Math.min(shape.layers, layer + perPass);
        await gather(Array.from({ length: last - layer }, (_, i) => layer + i));
      }
      return held.get(keyOf(layer, stage))!.result();
    },
  };
}
