/**
 * A Llama-architecture model in a GGUF file: shape and tokenizer at once, weights by row when asked for.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { OnefetError } from '../error.ts';
import type { Linear, LinearBuilder, LinearName } from '../fabric/linear.ts';
import { HEAD, LLAMA } from './architecture.ts';
import type { GgufFile, GgufTensor } from './gguf.ts';
import { openGguf, readRow } from './gguf.ts';
import type { LlamaShape } from './shape.ts';
import { readShape, requireTensor } from './shape.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';
import { createTokenizer } from './tokenizer/tokenizer.ts';

export interface LlamaModel {
  readonly file: GgufFile;
  /** general.name, or the file's name. */
  readonly name: string;
  readonly shape: LlamaShape;
  readonly tokenizer: Tokenizer;
  /** Type of most of the matrix elements, such as Q8_0. */
  readonly fileType: string;
  /** The weights are made up (`general.onefet.synthetic`): such a model has no accuracy to report. */
  readonly synthetic: boolean;
  /** Elements of all tensors but rope_freqs. */
  readonly parameterCount: number;
  /** Of the whole file, in hex; computed by streaming at the first call, then remembered. */
  sha256(): string;
  close(): void;
}

/** The matrices of one block, and the vectors between them. */
export interface LlamaBlock {
  readonly attnNorm: Float32Array; // [D]
  readonly attnQ: Linear; // [heads d][D]
  readonly attnK: Linear; // [kvHeads d][D]
  readonly attnV: Linear; // [kvHeads d][D]
  readonly attnOutput: Linear; // [D][heads d]
  readonly ffnNorm: Float32Array; // [D]
  readonly ffnGate: Linear; // [F][D]
  readonly ffnUp: Linear; // [F][D]
  readonly ffnDown: Linear; // [D][F]
}

export interface LlamaLayers {
  readonly blocks: readonly LlamaBlock[];
  readonly outputNorm: Float32Array; // [D]
  readonly output: Linear; // [vocab][D]
  /** Fills out[D] with the embedding of a token. */
  embedding(tokenId: number, out: Float32Array): void;
  /** RoPE's angle per position of each pair, radians: [headDim / 2]. */
  readonly ropeFrequencies: Float64Array;
}

/** Opens and checks a model file; close() it after use. Errors are OnefetError('input', ...). */
export function openModel(path: string): LlamaModel {
  const file = openGguf(path);
  try {
    const shape = readShape(file);
    const tokenizer = createTokenizer(file.metadata);
    if (tokenizer.size !== shape.vocab) {
      throw new OnefetError(
        'input',
        'MODEL_SHAPE',
        `${path}: the vocabulary has ${tokenizer.size} tokens but token_embd.weight has ${shape.vocab} rows`,
      );
    }
    const name = file.metadata.get('general.name');
    let digest: string | undefined;
    return {
      file,
      name: typeof name === 'string' && name !== '' ? name : basename(path, '.gguf'),
      shape,
      tokenizer,
      fileType: commonestType(file),
      synthetic: file.metadata.get('general.onefet.synthetic') === true,
      parameterCount: parameterCount(file),
      sha256: () => {
        digest ??= hashFile(file);
        return digest;
      },
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * Builds all linear layers with `build`, which gets each matrix row by row and may recode the rows as they come, so
 * that no float32 copy of the model need exist. Layers are asked for in the order in which a token passes them.
 */
export function buildLayers(model: LlamaModel, build: LinearBuilder): LlamaLayers {
  const { file, shape } = model;
  const vector = (name: string): Float32Array => {
    const tensor = requireTensor(file, name);
    const out = new Float32Array(tensor.elements);
    readRow(file, tensor, 0, out);
    return out;
  };
  const count = LLAMA.matrices.length;
  const matrix = (name: LinearName, source: GgufTensor): Linear =>
    build(name, source.shape[0], source.shape[1], (n, out) => readRow(file, source, n, out));
  const inBlock = (layer: number, tensor: string): Linear => {
    const ordinal = LLAMA.matrices.findIndex((matrix) => matrix.tensor === tensor);
    return matrix({ layer, tensor, ordinal, count }, requireTensor(file, `blk.${layer}.${tensor}.weight`));
  };

  const blocks: LlamaBlock[] = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    blocks.push({
      attnNorm: vector(`blk.${layer}.attn_norm.weight`),
      attnQ: inBlock(layer, 'attn_q'),
      attnK: inBlock(layer, 'attn_k'),
      attnV: inBlock(layer, 'attn_v'),
      attnOutput: inBlock(layer, 'attn_output'),
      ffnNorm: vector(`blk.${layer}.ffn_norm.weight`),
      ffnGate: inBlock(layer, 'ffn_gate'),
      ffnUp: inBlock(layer, 'ffn_up'),
      ffnDown: inBlock(layer, 'ffn_down'),
    });
  }
  const embedding = requireTensor(file, 'token_embd.weight');
  return {
    blocks,
    outputNorm: vector('output_norm.weight'),
    output: matrix(
      { layer: -1, tensor: HEAD, ordinal: count, count },
      shape.tied ? embedding : requireTensor(file, 'output.weight'),
    ),
    embedding: (tokenId, out) => readRow(file, embedding, tokenId, out),
    ropeFrequencies: ropeFrequencies(
      shape,
      file.tensors.has('rope_freqs.weight') ? vector('rope_freqs.weight') : undefined,
    ),
  };
}

/**
 * Angle per position of pair j: base^(-2j / headDim) / (linear factor * factor_j). The factors of `rope_freqs.weight`
 * carry Llama 3.1's scaling: 1 for short wavelengths, 8 for long ones, a ramp between (llama.cpp's converter).
 */
function ropeFrequencies(shape: LlamaShape, factors: Float32Array | undefined): Float64Array {
  return Float64Array.from(
    { length: shape.headDim / 2 },
    (_, j) => shape.ropeBase ** ((-2 * j) / shape.headDim) / (shape.ropeLinearFactor * (factors?.[j] ?? 1)),
  );
}

function parameterCount(file: GgufFile): number {
  let count = 0;
  for (const tensor of file.tensors.values())
    if (tensor.name !== 'rope_freqs.weight') count += tensor.elements;
  return count;
}

function commonestType(file: GgufFile): string {
  const elements = new Map<string, number>();
  for (const { shape, codec, elements: count } of file.tensors.values()) {
    if (shape.length > 1) elements.set(codec.name, (elements.get(codec.name) ?? 0) + count);
  }
  return [...elements].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

function hashFile(file: GgufFile): string {
  const hash = createHash('sha256');
  const chunk = new Uint8Array(2 ** 20);
  for (let position = 0; position < file.sizeBytes; position += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, file.sizeBytes - position));
    file.read(position, part);
    hash.update(part);
  }
  return hash.digest('hex');
}
