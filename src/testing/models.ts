/** Small models with drawn weights, written with this project's own writer. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import { packageRoot } from '../files.ts';
import { ARCHITECTURES, type Architecture, type Stage } from '../model/architecture.ts';
import type { Codec } from '../model/codecs/codec.ts';
import { F16 } from '../model/codecs/f16.ts';
import { F32 } from '../model/codecs/f32.ts';
import { openGguf } from '../model/gguf.ts';
import type { GgufValue } from '../model/gguf-file.ts';
import type { GgufField, GgufTensorSource } from '../model/gguf-writer.ts';
import { writeGguf } from '../model/gguf-writer.ts';
import { blockMatrices, type ModelShape, modelShape } from '../model/shape.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import { runFolder } from './run-folder.ts';

export const EMBEDDED_F16 = join(packageRoot, 'experiments/models/onefet-stories-f16.gguf');
export const EMBEDDED_Q8_0 = join(packageRoot, 'experiments/models/onefet-stories-q8_0.gguf');
export const EMBEDDED_GOLDEN = join(packageRoot, 'experiments/models/onefet-stories-golden.json');

export interface FixtureOptions {
  /** Default: llama. */
  architecture?: string;
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

/** Norms [name, width] by the matrix in front of which llama.cpp's files of a Llama have them. */
function normsByMatrix(
  { matrices, norms }: Architecture,
  { dim, headDim, queryDim, kvDim }: ModelShape,
): Record<string, [string, number][]> {
  const reader = (stage: Stage) => matrices.find(({ reads }) => reads === stage)!.tensor;
  const { query, key } = norms;
  const named = (...names: (string | undefined)[]): [string, number][] =>
    names.filter((name) => name !== undefined).map((name) => [name, dim]);
  return {
    [reader('attention-input')]: [
      ...named(norms.attentionInput),
      ...(query ? [[query.tensor, query.over === 'head' ? headDim : queryDim] as [string, number]] : []),
      ...(key ? [[key.tensor, key.over === 'head' ? headDim : kvDim] as [string, number]] : []),
    ],
    [reader('feed-forward-input')]: named(norms.attentionOutput, norms.feedForwardInput),
    [reader('feed-forward-hidden')]: named(norms.feedForwardOutput),
  };
}

/**
 * Matrices are N(0, 1/K), embeddings N(0, 1) and the head N(0, 4/K), so that logits have a standard deviation near 2
 * and the next-token distribution depends on every part of the network. The vocabulary is the embedded model's.
 */
export function writeFixture(path: string, options: FixtureOptions = {}): void {
  const { fields, tensors } = fixtureParts(options);
  writeGguf(path, fields, tensors);
}

function fixtureParts(options: FixtureOptions): {
  fields: Map<string, GgufField>;
  tensors: GgufTensorSource[];
} {
  const { dim = 64, ffnDim = 96, layers = 2, heads = 4, kvHeads = 2, codec = F32 } = options;
  const headDim = options.headDim ?? dim / heads;
  const vocab = 1024;
  const form = ARCHITECTURES.get(options.architecture ?? 'llama')!;
  const prefix = form.name;
  const fields = new Map<string, GgufField>([
    ['general.architecture', { type: 'string', value: prefix }],
    ['general.name', { type: 'string', value: 'fixture' }],
    [`${prefix}.context_length`, u32(128)],
    [`${prefix}.embedding_length`, u32(dim)],
    [`${prefix}.block_count`, u32(layers)],
    [`${prefix}.feed_forward_length`, u32(ffnDim)],
    [`${prefix}.attention.head_count`, u32(heads)],
    [`${prefix}.attention.head_count_kv`, u32(kvHeads)],
    [`${prefix}.attention.key_length`, u32(headDim)],
    [`${prefix}.attention.value_length`, u32(headDim)],
    [`${prefix}.rope.dimension_count`, u32(headDim)],
    [`${prefix}.rope.freq_base`, { type: 'f32', value: 10000 }],
    [`${prefix}.attention.layer_norm_rms_epsilon`, { type: 'f32', value: 1e-5 }],
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
  const gains = (name: string, width = dim): GgufTensorSource => ({
    name,
    shape: [width],
    codec: F32,
    row(_, out) {
      const key = streamKey(2, nameCoordinate(name));
      for (let k = 0; k < width; k++) out[k] = 1 + 0.2 * gaussian(key, k);
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
    architecture: form,
    ...{ dim, ffnDim, layers, heads, kvHeads, headDim, vocab },
    ...{ contextTokens: 128, normEpsilon: 1e-5, ropeBase: 10_000, tied: options.tied === true },
  });
  const tensors = [matrix('token_embd.weight', vocab, dim, options.tied ? 2 / Math.sqrt(dim) : 1)];
  for (let layer = 0; layer < layers; layer++) {
    const norms = normsByMatrix(form, shape);
    for (const { name, outputs, inputs } of blockMatrices(shape, layer)) {
      const matrixName = `blk.${layer}.${name.tensor}`;
      for (const [norm, width] of norms[name.tensor] ?? []) {
        tensors.push(gains(`blk.${layer}.${norm}.weight`, width));
      }
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
  return { fields, tensors: options.tensors?.(tensors) ?? tensors };
}

/** Writes a model's tensors to parts, as llama.cpp's gguf-split does; returns their paths. */
export function splitFixture(path: string, options: FixtureOptions, count: number): string[] {
  const { fields, tensors } = fixtureParts(options);
  const per = Math.ceil(tensors.length / count);
  const digits = (part: number) => String(part).padStart(5, '0');
  return Array.from({ length: count }, (_, part) => {
    const partPath = path.replace(/\.gguf$/, `-${digits(part + 1)}-of-${digits(count)}.gguf`);
    const own = new Map<string, GgufField>([
      ...(part === 0 ? fields : []),
      ['split.no', u32(part)],
      ['split.count', u32(count)],
      ['split.tensors.count', { type: 'i32', value: tensors.length }],
    ]);
    writeGguf(partPath, own, tensors.slice(part * per, (part + 1) * per));
    return partPath;
  });
}

const f32 = (value: number): GgufField => ({ type: 'f32', value });
const u32 = (value: number): GgufField => ({ type: 'u32', value });
const yarn = (architecture: string, factor: number, context: number): Record<string, GgufField> => ({
  [`${architecture}.rope.scaling.type`]: { type: 'string', value: 'yarn' },
  [`${architecture}.rope.scaling.factor`]: f32(factor),
  [`${architecture}.rope.scaling.original_context_length`]: u32(context),
});
const vector = (name: string, values: readonly number[]): GgufTensorSource => ({
  name,
  shape: [values.length],
  codec: F32,
  row: (_, out) => out.set(values),
});
const QKV = ['attn_q', 'attn_k', 'attn_v'];

/** A small model of each architecture but the Llama, with what its published models have; windows are shorter than a test's texts. */
export const ARCHITECTURE_FIXTURES: readonly [string, FixtureOptions][] = [
  ['mistral3', { architecture: 'mistral3' }],
  [
    'mistral3 with YaRN',
    {
      architecture: 'mistral3',
      fields: {
        ...yarn('mistral3', 4, 121),
        'mistral3.rope.scaling.yarn_log_multiplier': f32(1),
        'mistral3.attention.temperature_scale': f32(0.1),
      },
    },
  ],
  ['qwen2', { architecture: 'qwen2', biases: QKV, tied: true }],
  ['qwen2 with YaRN', { architecture: 'qwen2', biases: QKV, fields: yarn('qwen2', 4, 32) }],
  ['qwen3', { architecture: 'qwen3', headDim: 32, tied: true }],
  ['phi3', { architecture: 'phi3', kvHeads: 4 }],
  [
    'phi3 with short factors and a part of each head',
    {
      architecture: 'phi3',
      fields: {
        'phi3.rope.dimension_count': u32(12),
        // Above the context that llama.cpp makes of 128 tokens, so that it takes the short factors.
        'phi3.rope.scaling.original_context_length': u32(512),
        'phi3.rope.scaling.attn_factor': f32(1.19),
      },
      tensors: (all) => [
        ...all,
        vector('rope_factors_long.weight', [4, 4, 5, 6, 7, 8]),
        vector('rope_factors_short.weight', [1, 1, 1.1, 1.4, 2, 3]),
      ],
    },
  ],
  ['gemma', { architecture: 'gemma', tied: true, headDim: 32, kvHeads: 1 }],
  [
    'gemma2',
    {
      architecture: 'gemma2',
      tied: true,
      headDim: 32,
      fields: { 'gemma2.attention.sliding_window': u32(24) },
    },
  ],
  [
    'gemma3',
    {
      architecture: 'gemma3',
      tied: true,
      layers: 7,
      headDim: 32,
      kvHeads: 1,
      fields: {
        'gemma3.attention.sliding_window': u32(24),
        'gemma3.rope.freq_base': f32(1e6),
        'gemma3.rope.scaling.type': { type: 'string', value: 'linear' },
        'gemma3.rope.scaling.factor': f32(8),
      },
    },
  ],
  [
    'granite',
    {
      architecture: 'granite',
      tied: true,
      fields: {
        'granite.embedding_scale': f32(3),
        'granite.residual_scale': f32(0.6),
        'granite.attention.scale': f32(0.3),
        'granite.logit_scale': f32(2.5),
      },
    },
  ],
  ['olmo2', { architecture: 'olmo2', kvHeads: 4 }],
  [
    'olmo2 with a window and YaRN',
    {
      architecture: 'olmo2',
      layers: 4,
      fields: { ...yarn('olmo2', 4, 32), 'olmo2.attention.sliding_window': u32(24) },
    },
  ],
];

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
