/** The vectors of a model; its matrices the workers read themselves. */
import type { LinearName } from '../../fabric/linear.ts';
import type { ImageReader } from '../../mapping/image.ts';
import { type BlockGains, buildLayers, type Model, type ModelBlock } from '../../model/model.ts';
import { ropeFrequencies } from '../../model/rope.ts';
import { type ModelShape, normWidths, sourceTensor, windowTokens } from '../../model/shape.ts';
import { type EngineNeeds, type EngineRequest, isShapeOnly } from '../backend.ts';
import { readGain } from '../image.ts';

export interface ModelVectors {
  embedding(id: number, out: Float32Array): void;
  /** By block: the gains of its norms. */
  readonly norms: readonly BlockGains[];
  readonly outputNorm: Float32Array;
  /** Of all blocks' matrices in the order of the data flow: [outputs] where there is one. */
  readonly biases: readonly (Float32Array | undefined)[];
  /** Of blocks that see all tokens, and of those with a window. */
  readonly rotations: Readonly<Record<'full' | 'local', Rotation | undefined>>;
}

export type Rotation = Pick<ModelBlock, 'ropeFrequencies' | 'ropeMagnitude'>;

export const modelVectors = (model: EngineRequest['model']): ModelVectors =>
  isShapeOnly(model) ? madeUpVectors(model.shape) : vectorsOfFile(model);

function vectorsOfFile(model: Model): ModelVectors {
  const layers = buildLayers(model, (_name, outputs, inputs) => ({ outputs, inputs, apply: () => {} }));
  const factor = model.shape.scales?.embedding;
  const isLocal = (_: unknown, layer: number) => windowTokens(model.shape, layer) !== undefined;
  return {
    embedding(id, out) {
      layers.embedding(id, out);
      if (factor !== undefined) for (let i = 0; i < out.length; i++) out[i] *= factor;
    },
    norms: layers.blocks.map(({ norms }) => norms),
    outputNorm: layers.outputNorm,
    biases: layers.blocks.flatMap(({ biases }) => biases),
    rotations: {
      full: layers.blocks.find((block, layer) => !isLocal(block, layer)),
      local: layers.blocks.find(isLocal),
    },
  };
}

/** The same with an image's gains in the place of the norms' in front of the blocks' matrices. */
export function withImageGains(vectors: ModelVectors, image: ImageReader, shape: ModelShape): ModelVectors {
  const norms = vectors.norms.map((own, layer) => {
    const attentionInput = own.attentionInput && readGain(image, shape, layer, 'attention-input');
    const feedForwardInput = own.feedForwardInput && readGain(image, shape, layer, 'feed-forward-input');
    return {
      ...own,
      ...(attentionInput ? { attentionInput } : {}),
      ...(feedForwardInput ? { feedForwardInput } : {}),
    };
  });
  return { ...vectors, norms };
}

function madeUpVectors(shape: ModelShape): ModelVectors {
  const ones = (width: number) => new Float32Array(width).fill(1);
  const widths = normWidths(shape);
  const gains = () =>
    Object.fromEntries(Object.entries(widths).map(([place, width]) => [place, ones(width)])) as BlockGains;
  const rotation = { ropeFrequencies: ropeFrequencies(shape), ropeMagnitude: 1 };
  return {
    embedding(id, out) {
      for (let i = 0; i < out.length; i++) out[i] = Math.sin(id + 1.3 * i);
    },
    norms: Array.from({ length: shape.layers }, gains),
    outputNorm: ones(shape.dim),
    biases: [],
    rotations: { full: rotation, local: rotation },
  };
}

const isOpen = (model: EngineNeeds['model']): model is Model => 'tokenizer' in model;

/** GGUF type of a layer's weights; undefined where a model is planned of which only the shape is known. */
export function layerCodec(model: EngineNeeds['model'], name: LinearName): string | undefined {
  if (isShapeOnly(model)) return model.madeUpType;
  if (!isOpen(model)) return model.codecs?.get(sourceTensor(name, model.shape));
  const { file, shape } = model;
  return file.tensors.get(sourceTensor(name, shape))?.codec.name;
}
