/** The vectors of a model; its matrices the workers read themselves. */
import type { LinearName } from '../../fabric/linear.ts';
import type { ImageReader } from '../../mapping/image.ts';
import type { Stage } from '../../model/architecture.ts';
import { buildLayers, type Model } from '../../model/model.ts';
import { ropeFrequencies } from '../../model/rope.ts';
import { type ModelShape, sourceTensor } from '../../model/shape.ts';
import { type EngineNeeds, type EngineRequest, isShapeOnly } from '../backend.ts';
import { readGain } from '../image.ts';

export interface ModelVectors {
  embedding(id: number, out: Float32Array): void;
  /** [layers] of [D]. */
  readonly attnNorm: readonly Float32Array[];
  readonly ffnNorm: readonly Float32Array[];
  readonly outputNorm: Float32Array;
  /** Of all blocks' matrices in the order of the data flow: [outputs] where there is one. */
  readonly biases: readonly (Float32Array | undefined)[];
  /** Radians per position, [headDim / 2]. */
  readonly ropeFrequencies: Float64Array;
  /** Length of rotated pairs over that of unrotated ones. */
  readonly ropeMagnitude: number;
}

export const modelVectors = (model: EngineRequest['model']): ModelVectors =>
  isShapeOnly(model) ? madeUpVectors(model.shape) : vectorsOfFile(model);

function vectorsOfFile(model: Model): ModelVectors {
  const layers = buildLayers(model, (_name, outputs, inputs) => ({ outputs, inputs, apply: () => {} }));
  return {
    embedding: layers.embedding,
    attnNorm: layers.blocks.map(({ norms }) => norms.attentionInput!),
    ffnNorm: layers.blocks.map(({ norms }) => norms.feedForwardInput!),
    outputNorm: layers.outputNorm,
    biases: layers.blocks.flatMap(({ biases }) => biases),
    ropeFrequencies: layers.blocks[0].ropeFrequencies,
    ropeMagnitude: layers.blocks[0].ropeMagnitude,
  };
}

/** The same with an image's gains in the place of the norms' in front of the blocks' matrices. */
export function withImageGains(vectors: ModelVectors, image: ImageReader, shape: ModelShape): ModelVectors {
  const gains = (own: readonly Float32Array[], stage: Stage) =>
    own.map((gain, layer) => readGain(image, shape, layer, stage) ?? gain);
  return {
    ...vectors,
    attnNorm: gains(vectors.attnNorm, 'attention-input'),
    ffnNorm: gains(vectors.ffnNorm, 'feed-forward-input'),
  };
}

function madeUpVectors(shape: ModelShape): ModelVectors {
  const ones = () => new Float32Array(shape.dim).fill(1);
  const each = () => Array.from({ length: shape.layers }, ones);
  return {
    embedding(id, out) {
      for (let i = 0; i < out.length; i++) out[i] = Math.sin(id + 1.3 * i);
    },
    attnNorm: each(),
    ffnNorm: each(),
    outputNorm: ones(),
    biases: [],
    ropeFrequencies: ropeFrequencies(shape),
    ropeMagnitude: 1,
  };
}

const isOpen = (model: EngineNeeds['model']): model is Model => 'tokenizer' in model;

/** GGUF type of a layer's weights; undefined while a model is planned that is not open. */
export function layerCodec(model: EngineNeeds['model'], name: LinearName): string | undefined {
  if (isShapeOnly(model)) return model.madeUpType;
  if (!isOpen(model)) return undefined;
  const { file, shape } = model;
  return file.tensors.get(sourceTensor(name, shape.tied))?.codec.name;
}
