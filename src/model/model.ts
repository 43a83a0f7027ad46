/**
 * A model in a GGUF file: shape and tokenizer at once, weights by row when asked for.
 */
import { basename } from 'node:path';
import { OnefetError } from '../error.ts';
import type { Linear, LinearBuilder } from '../fabric/linear.ts';
import type { BlockNorms, HeadNorm } from './architecture.ts';
import { fileDigest } from './digest.ts';
import { openGguf, readRow } from './gguf.ts';
import type { GgufFile } from './gguf-file.ts';
import { requireTensor } from './model-tensors.ts';
import { ROPE_FACTORS } from './read-rope.ts';
import { readShape } from './read-shape.ts';
import { ropeFrequencies, ropeMagnitude } from './rope.ts';
import {
  blockMatrices,
  headMatrix,
  type MatrixShape,
  type ModelShape,
  sourceTensor,
  windowTokens,
} from './shape.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import { createTokenizer } from './tokenizer/tokenizer.ts';

/** Facts of a model file, whatever its architecture. */
export interface FileFacts {
  readonly file: GgufFile;
  /** general.name, or the file's name. */
  readonly name: string;
  /** Type of most of the matrix elements, such as Q8_0. */
  readonly fileType: string;
  /** The weights are made up (`general.onefet.synthetic`): such a model has no accuracy to report. */
  readonly synthetic: boolean;
  /** Elements of all tensors but RoPE's factors. */
  readonly parameterCount: number;
  /** Of the whole file, of a split model all parts one behind the other, in hex; computed by streaming at the first call, then remembered (digest.ts). */
  sha256(): string;
}

export interface Model extends FileFacts {
  readonly shape: ModelShape;
  readonly tokenizer: Tokenizer;
  close(): void;
}

/** The matrices of one block, in the order of its architecture, and the vectors between them. */
export interface ModelBlock {
  readonly linears: readonly Linear[];
  /** [outputs] of each matrix that has one. */
  readonly biases: readonly (Float32Array | undefined)[];
  readonly norms: BlockGains;
  /** RoPE's angle per position of each pair, radians: [ropeDim / 2]. */
  readonly ropeFrequencies: Float64Array;
  /** Length of rotated pairs over that of unrotated ones. */
  readonly ropeMagnitude: number;
}

/** Gains of the norms that the architecture has, [D]; of queries and keys [headDim], or the whole row. */
export type BlockGains = { readonly [place in keyof BlockNorms]?: Float32Array };

export interface ModelLayers {
  readonly blocks: readonly ModelBlock[];
  readonly outputNorm: Float32Array; // [D]
  readonly output: Linear; // [vocab][D]
  /** Fills out[D] with the embedding of a token. */
  embedding(tokenId: number, out: Float32Array): void;
}

/** Opens and checks a model file; close() it after use. Errors are OnefetError('input', ...). */
export function openModel(path: string): Model {
  const file = openGguf(path);
  try {
    const shape = readShape(file);
    const tokenizer = createTokenizer(file.metadata);
    checkVocabulary(file, tokenizer, shape);
    return { ...fileFacts(file), shape, tokenizer, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Rows of the output head that a part of a model keeps: nobody asks for its logits. */
const PART_VOCABULARY = 16;

/**
 * Blocks `first` to `first + count` - 1 of a model as one of their own, which takes residual streams in place of tokens
 * (whose scale is thus behind them) and gives no logits that mean anything, unless it ends with the last block and has the
 * `head`. The file is the whole model's.
 */
export function modelPart(model: Model, first: number, count: number, head = false): Model {
  const shape = shapePart(model.shape, first, count);
  return { ...model, shape: head ? { ...shape, vocab: model.shape.vocab } : shape };
}

export function shapePart({ scales, ...shape }: ModelShape, first: number, count: number): ModelShape {
  const { embedding: _, ...rest } = scales ?? {};
  return {
    ...shape,
    ...(scales ? { scales: rest } : {}),
    layers: count,
    firstBlock: first,
    vocab: Math.min(shape.vocab, PART_VOCABULARY),
  };
}

/** Throws OnefetError('input', 'MODEL_SHAPE') where the tokenizer and the embedding differ in size. */
export function checkVocabulary({ path }: GgufFile, { size }: Tokenizer, { vocab }: ModelShape): void {
  if (size === vocab) return;
  throw new OnefetError(
    'input',
    'MODEL_SHAPE',
    `${path}: the vocabulary has ${size} tokens but token_embd.weight has ${vocab} rows`,
  );
}

export function fileFacts(file: GgufFile): FileFacts {
  const name = file.metadata.get('general.name');
  let digest: string | undefined;
  return {
    file,
    name: typeof name === 'string' && name !== '' ? name : basename(file.path, '.gguf'),
    fileType: commonestType(file),
    synthetic: file.metadata.get('general.onefet.synthetic') === true,
    parameterCount: parameterCount(file),
    sha256: () => {
      digest ??= fileDigest(file);
      return digest;
    },
  };
}

/**
 * Builds all linear layers with `build`, which gets each matrix row by row and may recode the rows as they come, so
 * that no float32 copy of the model need exist. Layers are asked for in the order in which a token passes them.
 */
export function buildLayers(model: Model, build: LinearBuilder): ModelLayers {
  const { file, shape } = model;
  const linear = ({ name }: MatrixShape): Linear => {
    const source = requireTensor(file, sourceTensor(name, shape));
    return build(name, source.shape[0], source.shape[1], (n, out) => readRow(file, source, n, out));
  };
  const rotations = blockRotations(file, shape);
  const { firstBlock = 0 } = shape;
  const blocks = Array.from({ length: shape.layers }, (_, layer): ModelBlock => {
    const matrices = blockMatrices(shape, layer);
    return {
      linears: matrices.map(linear),
      biases: matrices.map(({ name: { tensor } }) =>
        shape.biases.includes(tensor) ? vector(file, `blk.${firstBlock + layer}.${tensor}.bias`) : undefined,
      ),
      norms: blockGains(file, shape.architecture.norms, firstBlock + layer),
      ...rotations(layer),
    };
  });
  const embedding = requireTensor(file, 'token_embd.weight');
  return {
    blocks,
    outputNorm: vector(file, 'output_norm.weight'),
    output: linear(headMatrix(shape)),
    embedding: (tokenId, out) => readRow(file, embedding, tokenId, out),
  };
}

function vector(file: GgufFile, name: string): Float32Array {
  const tensor = requireTensor(file, name);
  const out = new Float32Array(tensor.elements);
  readRow(file, tensor, 0, out);
  return out;
}

function blockGains(file: GgufFile, norms: BlockNorms, layer: number): BlockGains {
  const gains = Object.entries(norms).map(([place, norm]: [string, string | HeadNorm]) => [
    place,
    vector(file, `blk.${layer}.${typeof norm === 'string' ? norm : norm.tensor}.weight`),
  ]);
  return Object.fromEntries(gains) as BlockGains;
}

/** RoPE by block: blocks with a window may have their own base, and no stretching. */
function blockRotations(
  file: GgufFile,
  shape: ModelShape,
): (layer: number) => Pick<ModelBlock, 'ropeFrequencies' | 'ropeMagnitude'> {
  const name = ROPE_FACTORS.find((tensor) => file.tensors.has(tensor));
  const factors = name === undefined ? undefined : vector(file, name);
  const full = { ropeFrequencies: ropeFrequencies(shape, factors), ropeMagnitude: ropeMagnitude(shape) };
  const { window } = shape;
  if (!window) return () => full;
  const {
    yarn: _,
    ropeMagnitude: __,
    ...plain
  } = { ...shape, ropeBase: window.ropeBase, ropeLinearFactor: 1 };
  const local = { ropeFrequencies: ropeFrequencies(plain), ropeMagnitude: 1 };
  return (layer) => (windowTokens(shape, layer) === undefined ? full : local);
}

function parameterCount(file: GgufFile): number {
  let count = file.unreadable.reduce((sum, { elements }) => sum + elements, 0);
  for (const tensor of file.tensors.values()) if (!tensor.name.startsWith('rope_')) count += tensor.elements;
  return count;
}

function commonestType(file: GgufFile): string {
  const elements = new Map<string, number>();
  for (const { shape, codec, elements: count } of file.tensors.values()) {
    if (shape.length > 1) elements.set(codec.name, (elements.get(codec.name) ?? 0) + count);
  }
  for (const { type, elements: count } of file.unreadable) {
    elements.set(type, (elements.get(type) ?? 0) + count);
  }
  return [...elements].reduce((a, b) => (b[1] > a[1] ? b : a), ['none', 0])[0];
}
