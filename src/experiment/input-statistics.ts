/**
 * Statistics of the inputs of every stage of every block, from one digital pass over the calibration text: as many blocks
 * at once as their second moments fit in memory, and their memory is used again for the next blocks.
 */
import { interrupted } from '../error.ts';
import type { MappingSource } from '../mapping/stage-job.ts';
import {
  collectorBytes,
  type InputStatistics,
  newStatistics,
  type StatisticsCollector,
} from '../mapping/statistics.ts';
import { matricesReading, STAGES, type Stage } from '../model/architecture.ts';
import { blockMatrices, type ModelShape } from '../model/shape.ts';
import type { InputLook, InputPass } from './input-pass.ts';

export interface StatisticsOptions {
  /** Memory for second moments; default MOST_BYTES. */
  readonly mostBytes?: number | undefined;
  readonly onProgress: (share: number, what: string) => void;
  readonly signal: AbortSignal | undefined;
}

export type StatisticsOf = (layer: number, stage: Stage) => Promise<InputStatistics>;

/** Of sums of second moments that are held at a time: one block of an 8B model, all blocks of a small one. */
const MOST_BYTES = 1.5e9;

const inputsOf = (shape: ModelShape, stage: Stage): number =>
  blockMatrices(shape, 0)[matricesReading(shape.architecture, stage)[0]].inputs;

/** Sums of second moments of one block. */
export const bytesPerBlock = (shape: ModelShape): number =>
  STAGES.reduce((sum, stage) => sum + collectorBytes(inputsOf(shape, stage)), 0);

/** Blocks whose statistics are gathered together. */
export const blocksPerPass = (shape: ModelShape, mostBytes = MOST_BYTES): number =>
  Math.max(1, Math.min(shape.layers, Math.floor(mostBytes / bytesPerBlock(shape))));

/** Of the blocks to be probed those whose statistics fit in memory together, the middle ones first. */
export function affordableBlocks(shape: ModelShape, blocks: readonly number[]): number[] {
  const count = Math.max(1, Math.min(blocks.length, blocksPerPass(shape)));
  const from = Math.floor((blocks.length - count) / 2);
  return blocks.slice(from, from + count);
}

/** Statistics on demand: what is asked for and not held is gathered, of that block and those behind it. */
export function statisticsOf(
  shape: ModelShape,
  gain: MappingSource['gain'],
  pass: InputPass,
  options: StatisticsOptions,
): { readonly of: StatisticsOf; gather(layers: readonly number[]): Promise<void> } {
  const perPass = blocksPerPass(shape, options.mostBytes);
  const spare: Record<Stage, StatisticsCollector>[] = [];
  let held = new Map<number, Record<Stage, StatisticsCollector>>();
  const gather = async (layers: readonly number[]): Promise<void> => {
    spare.push(...held.values());
    held = new Map();
    for (const layer of layers) {
      const block = spare.pop() ?? (await newBlock(shape));
      for (const stage of STAGES) block[stage].reset();
      held.set(layer, block);
    }
    const look = withoutGains(gain, (layer, stage, x, tokens) => held.get(layer)![stage].add(x, tokens));
    const [first, last] = [Math.min(...layers), Math.max(...layers)];
    const what =
      layers.length === shape.layers
        ? 'inputs of all blocks'
        : first === last
          ? `inputs of block ${first}`
          : `inputs of blocks ${first} to ${last}`;
    const wants = (layer: number) => held.has(layer);
    // Runs of blocks that follow one another.
    for (let at = first; at <= last; at++) {
      if (!wants(at)) continue;
      let count = 1;
      while (wants(at + count)) count++;
      const start = at;
      const onProgress = (share: number) => options.onProgress((start + share * count) / shape.layers, what);
      await pass.run({ first: at, count }, { wants, look, onProgress });
      at += count;
    }
  };
  return {
    gather,
    async of(layer, stage) {
      // Lets Ctrl-C and the progress in between two stages.
      await new Promise((resolve) => setImmediate(resolve));
      if (options.signal?.aborted) throw interrupted();
      if (!held.has(layer)) {
        const last = Math.min(shape.layers, layer + perPass);
        await gather(Array.from({ length: last - layer }, (_, i) => layer + i));
      }
      return held.get(layer)![stage].result();
    },
  };
}

async function newBlock(shape: ModelShape): Promise<Record<Stage, StatisticsCollector>> {
  const block: Partial<Record<Stage, StatisticsCollector>> = {};
  for (const stage of STAGES) block[stage] = await newStatistics(inputsOf(shape, stage));
  return block as Record<Stage, StatisticsCollector>;
}

/** Looks at inputs before the norm's gain; one with gain zero has no weight that counts. */
function withoutGains(gain: MappingSource['gain'], look: InputLook): InputLook {
  const inverses = new Map<string, Float32Array | undefined>();
  let scratch = new Float32Array(0);
  return (layer, stage, x, tokens) => {
    const key = `${layer} ${stage}`;
    if (!inverses.has(key)) {
      inverses.set(
        key,
        gain(layer, stage)?.map((g) => (g === 0 ? 0 : 1 / g)),
      );
    }
    const inverse = inverses.get(key);
    if (inverse === undefined) return look(layer, stage, x, tokens);
    if (scratch.length < x.length) scratch = new Float32Array(x.length);
    const K = inverse.length;
    for (let t = 0, i = 0; t < tokens; t++) for (let j = 0; j < K; j++, i++) scratch[i] = x[i] * inverse[j];
    look(layer, stage, scratch.subarray(0, tokens * K), tokens);
  };
}
