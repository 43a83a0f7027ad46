/**
 * What the code of each matrix costs a model: a text through the model as shipped, and beside it, for every matrix of a chip image,
 * through the model in which that one alone is as the image has it.
 *
 *   harm_m = KL(shipped || block with m coded) - KL(shipped || block without),   nats per prediction
 *
 * The other matrices of m's block stand in six bits (fine-codes.ts), in the image's own bases; what they cost together is taken off.
 * Blocks before and behind it are those of the model as shipped. Harms of single matrices add up to the whole model's as long
 * as they are small and independent; what they are for is the choice of bits (mixed-bits.ts). Of a deep model some blocks may be
 * measured, and what lies between two of them taken on the line between theirs.
 *
 * Block by block, one engine of one block in memory; the streams of all variants advance together.
 *   Passes: a block is passed once as shipped and M + 1 times for each measured block before it; itself M + 1 times mapped where
 *   it is measured; M matrices a block.
 *   Memory: M + 1 streams of T D f32 for each measured block, and the log-probabilities of half of the text.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import { requireImageFits } from '../engine/image.ts';
import { tensorKey } from '../fabric/placement.ts';
import { fineMatrix, imageOutputRotation } from '../mapping/fine-codes.ts';
import { createImage, type ImageReader, openImage } from '../mapping/image.ts';
import type { ImageMatrix } from '../mapping/image-matrix.ts';
import { gainKey } from '../mapping/map-model.ts';
import { modelSource } from '../mapping/model-source.ts';
import { stageMatrices } from '../mapping/stage-job.ts';
import { STAGES, type Stage } from '../model/architecture.ts';
import { type Model, modelPart } from '../model/model.ts';
import { blockMatrices, blockWeights, type ModelShape } from '../model/shape.ts';
import { embed, type PassEngine, partRequest, passStream } from './input-pass.ts';
import { klDivergence, logSoftmax } from './metrics.ts';

/** A text on its way through the model in which one matrix is coded; without `key` none is. */
interface Variant {
  readonly layer: number;
  readonly key: string | undefined;
  /** By window: x [tokens][D] behind the block that was passed last. */
  readonly streams: Float32Array[];
}

export interface HarmHooks {
  readonly onProgress?: ((share: number, what: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The first two blocks and the last two, which are unlike the others, and every so many between. */
export const measuredBlocks = (layers: number, every: number): number[] =>
  Array.from({ length: layers }, (_, layer) => layer).filter(
    (layer) => layer < 2 || layer >= layers - 2 || (layer - 1) % every === 0,
  );

/** Multiplications and additions of a measurement over `tokens` tokens, the head included. */
export function harmOperations(shape: ModelShape, blocks: readonly number[], tokens: number): number {
  const { layers } = shape;
  const variants = blockMatrices(shape, 0).length + 1;
  const passes = blocks.reduce((sum, block) => sum + variants * (layers - block), layers);
  const head = ((variants * blocks.length + 1) * shape.dim * shape.vocab) / 2;
  return 2 * tokens * ((passes * blockWeights(shape)) / layers + head);
}

/** Bytes of streams and log-probabilities; an engine of one block and the head comes on top. */
export function harmBytes(shape: ModelShape, blocks: readonly number[], tokens: number): number {
  const variants = (blockMatrices(shape, 0).length + 1) * blocks.length + 1;
  return 4 * tokens * (variants * shape.dim + shape.vocab / 2);
}

/**
 * Harm of each matrix of an image, by tensor key, over windows of tokens whose second halves are scored; `blocks` are measured
 * (measuredBlocks). Error: IMAGE_FIT (usage).
 */
export async function measureHarm(
  model: Model,
  image: ImageReader,
  windows: readonly Int32Array[],
  blocks: readonly number[],
  on: PassEngine,
  { onProgress, signal }: HarmHooks = {},
): Promise<Record<string, number>> {
  const { shape } = model;
  requireImageFits({ model, fabric: on.fabric }, image);
  const folder = mkdtempSync(join(tmpdir(), 'onefet-harm-'));
  const contextTokens = Math.max(...windows.map((ids) => ids.length));
  const request = (layer: number) => {
    const part = partRequest(model, { first: layer, count: 1 }, on);
    const last = layer === shape.layers - 1;
    const one = { int8Terms: 1 } as const;
    return {
      ...part,
      model: modelPart(model, layer, 1, last),
      // What both texts meet alike may be a little off.
      ...(on.backend.capabilities['tuning.int8Terms'] ? {} : { tuning: one }),
      contextTokens,
      signal,
    };
  };
  let shipped = windows.map((ids) => embed(model, ids));
  const variants: Variant[] = [];
  const kl = new Map<Variant, number>();
  try {
    for (let layer = 0; layer < shape.layers; layer++) {
      onProgress?.((layer / shape.layers) ** 2, `block ${layer}`);
      const matrices = blocks.includes(layer) ? blockOf(model, image, layer) : [];
      const keys = matrices.length > 0 ? [undefined, ...matrices.map(({ coded }) => coded.name)] : [];
      const own = keys.map((key): Variant => ({ layer, key, streams: shipped.map((x) => x.slice()) }));
      const last = layer === shape.layers - 1;
      const asShipped = await createEngine(on.backend.name, { ...request(layer), mode: 'digital' });
      let score: ((engine: Engine, streams: Float32Array[]) => Promise<number>) | undefined;
      try {
        if (last) score = await newScore(asShipped, shipped, shape);
        else shipped = await advanced(asShipped, shipped, shape);
        for (const variant of variants) {
          if (score) kl.set(variant, await score(asShipped, variant.streams));
          else await advanced(asShipped, variant.streams, shape);
        }
      } finally {
        await asShipped.close();
      }
      for (const variant of own) {
        const block = writeBlock(join(folder, 'block.image'), image, matrices, variant);
        const engine = await createEngine(on.backend.name, {
          ...request(layer),
          mode: 'mapped',
          image: block,
        }).finally(() => block.close());
        try {
          if (score) kl.set(variant, await score(engine, variant.streams));
          else await advanced(engine, variant.streams, shape);
        } finally {
          await engine.close();
        }
      }
      variants.push(...own);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const measured = new Map<string, number>();
  let without = 0;
  for (const variant of variants) {
    // The first of each block has none coded.
    if (variant.key === undefined) without = kl.get(variant)!;
    else measured.set(variant.key, Math.max(0, kl.get(variant)! - without));
  }
  return betweenBlocks([...image.matrices.keys()], blocks, measured);
}

/** Of every matrix: as measured, or between that of the blocks around it. */
function betweenBlocks(
  keys: readonly string[],
  blocks: readonly number[],
  measured: ReadonlyMap<string, number>,
): Record<string, number> {
  const harm = (key: string): number => {
    const layer = Number(key.split('.')[1]);
    const own = measured.get(key);
    if (own !== undefined) return own;
    const at = (block: number) => measured.get(key.replace(/^blk\.\d+\./, `blk.${block}.`))!;
    const before = Math.max(...blocks.filter((block) => block < layer));
    const behind = Math.min(...blocks.filter((block) => block > layer));
    return at(before) + ((at(behind) - at(before)) * (layer - before)) / (behind - before);
  };
  return Object.fromEntries(keys.map((key) => [key, harm(key)]));
}

/** Takes streams through a block, in place. */
async function advanced(
  engine: Engine,
  streams: Float32Array[],
  { dim }: ModelShape,
): Promise<Float32Array[]> {
  for (const [window, x] of streams.entries()) await passStream(engine, window, x, dim, true);
  return streams;
}

/** KL per prediction of streams in front of the last block, on an engine of that block, against those as shipped. */
async function newScore(shippedEngine: Engine, shipped: readonly Float32Array[], { dim, vocab }: ModelShape) {
  const known = new Map<string, Float32Array>();
  const own = new Float32Array(vocab);
  const visit = async (
    engine: Engine,
    streams: readonly Float32Array[],
    see: (key: string, logits: Float32Array) => void,
  ): Promise<void> => {
    for (const [window, x] of streams.entries()) {
      const tokens = x.length / dim;
      await engine.prefill(
        new Int32Array(tokens),
        window,
        (position, logits) => see(`${window} ${position}`, logits),
        Math.floor(tokens / 2),
        { stream: (position, out) => out.set(x.subarray(position * dim, (position + 1) * dim)) },
      );
    }
  };
  await visit(shippedEngine, shipped, (key, logits) => {
    logSoftmax(own, logits);
    known.set(key, own.slice());
  });
  return async (engine: Engine, streams: readonly Float32Array[]): Promise<number> => {
    let sum = 0;
    await visit(engine, streams, (key, logits) => {
      logSoftmax(own, logits);
      sum += klDivergence(known.get(key)!, own);
    });
    return sum / known.size;
  };
}

interface BlockCodes {
  readonly coded: ImageMatrix;
  readonly fine: ImageMatrix;
}

/** The matrices of a block as the image has them, and in six bits. */
function blockOf(model: Model, image: ImageReader, layer: number): BlockCodes[] {
  const { shape } = model;
  const source = modelSource(model, () => {
    throw new TypeError('no statistics here');
  });
  const [reader] = stageMatrices(shape, layer, 'attention-output');
  const heads = image.matrices.get(tensorKey(reader.name))!.rotation;
  return STAGES.flatMap((stage) => {
    const gain = gainRatio(source.gain(layer, stage), image, layer, stage);
    return stageMatrices(shape, layer, stage).map(({ name }): BlockCodes => {
      const coded = image.readMatrix(tensorKey(name));
      const { codes: _, ...part } = coded;
      const outputRotation = imageOutputRotation(
        shape,
        image.header,
        heads,
        shape.architecture.matrices[name.ordinal],
      );
      return { coded, fine: fineMatrix({ part, weights: source.weights(name), gain, outputRotation }) };
    });
  });
}

/** g / g' [K]: what is folded in the weights behind a norm. */
function gainRatio(
  gain: Float32Array | undefined,
  image: ImageReader,
  layer: number,
  stage: Stage,
): Float32Array | undefined {
  if (!gain) return undefined;
  const kept = image.readVector(gainKey(layer, stage));
  return gain.map((g, j) => g / kept[j]);
}

/** Name of a section in the image of its block alone. */
const inBlock = (name: string): string => name.replace(/^blk\.\d+\./, 'blk.0.');

function writeBlock(
  path: string,
  image: ImageReader,
  matrices: readonly BlockCodes[],
  { layer, key }: Variant,
): ImageReader {
  rmSync(path, { force: true });
  const writer = createImage(path, image.header);
  for (const stage of STAGES) {
    if (!image.vectors.has(gainKey(layer, stage))) continue;
    writer.writeVector(gainKey(0, stage), image.readVector(gainKey(layer, stage)));
  }
  for (const { coded, fine } of matrices) {
    writer.writeMatrix({ ...(coded.name === key ? coded : fine), name: inBlock(coded.name) });
  }
  writer.finish();
  return openImage(path);
}
