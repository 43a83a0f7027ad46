/** Small Llama models with drawn weights, written with this project's own writer. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import { packageRoot } from '../files.ts';
import type { Codec } from '../model/codecs/codec.ts';
import { F16 } from '../model/codecs/f16.ts';
import { F32 } from '../model/codecs/f32.ts';
import type { GgufValue } from '../model/gguf.ts';
import { openGguf } from '../model/gguf.ts';
import type { GgufField, GgufTensorSource } from '../model/gguf-writer.ts';
import { writeGguf } from '../model/gguf-writer.ts';
import { blockMatrices, modelShape } from '../model/shape.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import { runFolder } from './run-folder.ts';

export const EMBEDDED_F16 = join(packageRoot, 'experiments/models/onefet-stories-f16.gguf');
export const EMBEDDED_Q8_0 = join(packageRoot, 'experiments/models/onefet-stories-q8_0.gguf');
export const EMBEDDED_GOLDEN = join(packageRoot, 'experiments/models/onefet-stories-golden.json');

export interface FixtureOptions {
  dim?: number;
  ffnDim?: number;
  layers?: number;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  codec?: Codec;
  tied?: boolean;
  /** Matrices of a block whose outputs get biases N(0, 1/4). */
  biases?: readonly string[];
  /** [headDim / 2], written as rope_freqs.weight. */
  ropeFactors?: number[];
  /** More metadata, or changes to it; undefined leaves a key out. */
  fields?: Record<string, GgufField | undefined>;
  /** Last changes to the tensors. */
  tensors?: (tensors: GgufTensorSource[]) => GgufTensorSource[];
}

/** The order of tensors in llama.cpp's files. */
const NORM_BEFORE: Readonly<Record<string, string>> = { attn_q: 'attn_norm', ffn_gate: 'ffn_norm' };

/**
 * Matrices are N(0, 1/K), embeddings N(0, 1) and the head N(0, 4/K), so that logits have a standard deviation near 2
 * and the next-token distribution depends on every part of the network. The vocabulary is the embedded model's.
 */
export function writeFixture(path: string, options: FixtureOptions = {}): void {
  const { dim = 64, ffnDim = 96, layers = 2, heads = 4, kvHeads = 2, codec = F32 } = options;
  const headDim = options.headDim ?? dim / heads;
  const vocab = 1024;
  const u32 = (value: number): GgufField => ({ type: 'u32', value });
  const fields = new Map<string, GgufField>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.name', { type: 'string', value: 'fixture' }],
    ['llama.context_length', u32(128)],
    ['llama.embedding_length', u32(dim)],
    ['llama.block_count', u32(layers)],
    ['llama.feed_forward_length', u32(ffnDim)],
    ['llama.attention.head_count', u32(heads)],
    ['llama.attention.head_count_kv', u32(kvHeads)],
    ['llama.attention.key_length', u32(headDim)],
    ['llama.attention.value_length', u32(headDim)],
    ['llama.rope.dimension_count', u32(headDim)],
    ['llama.rope.freq_base', { type: 'f32', value: 10000 }],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'f32', value: 1e-5 }],
    ...embeddedVocabulary(),
  ]);
  for (const [key, field] of Object.entries(options.fields ?? {})) {
    if (field === undefined) fields.delete(key);
    else fields.set(key, field);
  }
  const matrix = (name: string, rows: number, columns: number, sigma: number): GgufTensorSource => ({
    name,
    shape: [rows, columns],
    codec,
    row(n, out) {
      const key = streamKey(1, nameCoordinate(name), n);
      for (let k = 0; k < columns; k++) out[k] = sigma * gaussian(key, k);
    },
  });
  const gains = (name: string): GgufTensorSource => ({
    name,
    shape: [dim],
    codec: F32,
    row(_, out) {
      const key = streamKey(2, nameCoordinate(name));
      for (let k = 0; k < dim; k++) out[k] = 1 + 0.2 * gaussian(key, k);
    },
  });
  const bias = (name: string, width: number): GgufTensorSource => ({
    name,
    shape: [width],
    codec: F32,
    row(_, out) {
      const key = streamKey(3, nameCoordinate(name));
      for (let k = 0; k < width; k++) out[k] = 0.5 * gaussian(key, k);
    },
  });
  const shape = modelShape({
    ...{ dim, ffnDim, layers, heads, kvHeads, headDim, vocab },
    ...{ contextTokens: 128, normEpsilon: 1e-5, ropeBase: 10_000, tied: options.tied === true },
  });
  const tensors = [matrix('token_embd.weight', vocab, dim, options.tied ? 2 / Math.sqrt(dim) : 1)];
  for (let layer = 0; layer < layers; layer++) {
    for (const { name, outputs, inputs } of blockMatrices(shape, layer)) {
      const matrixName = `blk.${layer}.${name.tensor}`;
      const norm = NORM_BEFORE[name.tensor];
      if (norm) tensors.push(gains(`blk.${layer}.${norm}.weight`));
      tensors.push(matrix(`${matrixName}.weight`, outputs, inputs, 1 / Math.sqrt(inputs)));
      if (options.biases?.includes(name.tensor)) tensors.push(bias(`${matrixName}.bias`, outputs));
    }
  }
  tensors.push(gains('output_norm.weight'));
  if (!options.tied) tensors.push(matrix('output.weight', vocab, dim, 2 / Math.sqrt(dim)));
  const factors = options.ropeFactors;
  if (factors) {
    tensors.push({
      name: 'rope_freqs.weight',
      shape: [factors.length],
      codec: F32,
      row: (_, out) => out.set(factors),
    });
  }
  writeGguf(path, fields, options.tensors?.(tensors) ?? tensors);
}

const CONTEXT: Record<string, GgufField> = { 'llama.context_length': { type: 'u32', value: 512 } };

/**
 * The models that most tests run: SMALL has two blocks whose feed-forward needs two tiles of 256 rows (0.5 million
 * weights, a sixth of the embedded model), TINY one block of 30,000.
 */
const FIXTURES = {
  small: { dim: 128, ffnDim: 320, layers: 2, heads: 4, kvHeads: 2, codec: F16, fields: CONTEXT },
  tiny: { dim: 64, ffnDim: 96, layers: 1, heads: 4, kvHeads: 2, codec: F16, fields: CONTEXT },
} satisfies Record<string, FixtureOptions>;

/** Returns the path of a fixture; the first caller of a run writes it for all test files. */
export function fixtureModel(name: keyof typeof FIXTURES): string {
  const path = join(runFolder('models'), `${name}.gguf`);
  if (!existsSync(path)) {
    const own = `${path}.${pid}`;
    writeFixture(own, FIXTURES[name]);
    renameSync(own, path);
  }
  return path;
}

let vocabularyFields: [string, GgufField][] | undefined;

function embeddedVocabulary(): [string, GgufField][] {
  if (vocabularyFields === undefined) {
    const file = openGguf(EMBEDDED_F16);
    vocabularyFields = [...file.metadata]
      .filter(([key]) => key.startsWith('tokenizer.'))
      .map(([key, value]) => [key, fieldOf(value)]);
    file.close();
  }
  return vocabularyFields;
}

function fieldOf(value: GgufValue): GgufField {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'boolean') return { type: 'bool', value };
  if (typeof value === 'number') return { type: 'u32', value };
  if (Array.isArray(value) && typeof value[0] === 'string')
    return { type: 'strings', value: value as string[] };
  return { type: 'i32s', value: value as number[] };
}
