/** Reads the shape of a model from a GGUF's metadata and checks it against the file's tensors. */
import { basename } from 'node:path';
import { nearestName, OnefetError } from '../error.ts';
import { ARCHITECTURES, type Architecture } from './architecture.ts';
import type { GgufFile, GgufTensor, GgufValue } from './gguf.ts';
import { blockMatrices, headMatrix, type ModelShape, modelShape } from './shape.ts';

/** Bounds that no Llama exceeds by far; they keep a damaged file from asking for absurd buffers. */
const LIMITS = { dim: 2 ** 17, ffnDim: 2 ** 20, layers: 1024, heads: 4096, context: 2 ** 26 } as const;

/** Reads and checks the shape; errors are OnefetError('input', 'MODEL_...') naming the key or tensor. */
export function readShape(file: GgufFile): ModelShape {
  refuseParts(file);
  const architecture = readArchitecture(file);
  const fields = metadataReader(file, architecture.name);
  refuseVariants(file, fields);
  const dim = fields.count('embedding_length', LIMITS.dim);
  const heads = readHeads(file, fields, dim);
  const contextTokens = fields.count('context_length', LIMITS.context);
  const shape = modelShape({
    architecture,
    dim,
    ffnDim: fields.count('feed_forward_length', LIMITS.ffnDim),
    layers: fields.count('block_count', LIMITS.layers),
    ...heads,
    // As in llama.cpp the vocabulary is what the tensors have; vocab_size is not read.
    vocab: requireTensor(file, 'token_embd.weight').shape[0],
    contextTokens,
    normEpsilon: fields.positive('attention.layer_norm_rms_epsilon'),
    ropeBase: fields.positive('rope.freq_base', 10000), // llama.cpp's default
    ...readRope(file, fields, architecture, contextTokens),
    tied: !file.tensors.has('output.weight'),
    biases: readBiases(file, architecture),
  });
  checkTensors(file, shape);
  return shape;
}

/** A part of a split model has metadata of its own only in the first of them. */
function refuseParts(file: GgufFile): void {
  const parts = file.metadata.get('split.count') ?? 1;
  if (parts === 1) return;
  const first = basename(file.path).replace(/-\d{5}-of-(\d{5}\.gguf)$/, '-00001-of-$1');
  fail(
    file,
    'MODEL_SPLIT',
    `is one of ${parts} parts of a split model`,
    `join the parts with llama.cpp's gguf-split --merge ${first}`,
  );
}

function readArchitecture(file: GgufFile): Architecture {
  const name = file.metadata.get('general.architecture');
  const known = typeof name === 'string' ? ARCHITECTURES.get(name) : undefined;
  if (known) return known;
  const names = [...ARCHITECTURES.keys()];
  fail(
    file,
    'MODEL_ARCHITECTURE',
    `architecture ${JSON.stringify(name)} is not supported (${names.join(', ')} ${names.length > 1 ? 'are' : 'is'})`,
    nearestHint(name, names),
  );
}

function nearestHint(name: GgufValue | undefined, names: readonly string[]): string | undefined {
  const nearest = typeof name === 'string' ? nearestName(name, names) : undefined;
  return nearest && `did you mean ${nearest}?`;
}

/** Refuses by key what would change the computation. */
function refuseVariants(file: GgufFile, fields: MetadataReader): void {
  if (fields.count('expert_count', LIMITS.layers, 0) > 0) {
    fail(file, 'MODEL_ARCHITECTURE', 'mixtures of experts are not supported');
  }
  const causal = fields.value('attention.causal') ?? true;
  if (causal !== true) {
    fail(
      file,
      'MODEL_ATTENTION',
      `metadata ${fields.key('attention.causal')} is ${JSON.stringify(causal)}: each token would see those behind it`,
      'only causal attention is supported; an embedding model predicts no next token',
    );
  }
}

/** Heads and their widths: keys and values of a head must be equally wide, and rotate as a whole. */
function readHeads(
  file: GgufFile,
  fields: MetadataReader,
  dim: number,
): Pick<ModelShape, 'heads' | 'kvHeads' | 'headDim'> {
  const heads = fields.count('attention.head_count', LIMITS.heads);
  const kvHeads = fields.count('attention.head_count_kv', LIMITS.heads, heads);
  if (kvHeads < 1 || heads % kvHeads !== 0) {
    fail(file, 'MODEL_SHAPE', `${heads} heads cannot share ${kvHeads} key/value heads evenly`);
  }
  const headDim = fields.count('attention.key_length', LIMITS.dim, dim / heads);
  const valueDim = fields.count('attention.value_length', LIMITS.dim, dim / heads);
  if (!Number.isInteger(headDim) || headDim !== valueDim) {
    fail(
      file,
      'MODEL_SHAPE',
      `heads of ${headDim} key and ${valueDim} value elements (${dim} / ${heads}) are not supported`,
    );
  }
  const ropeDim = fields.count('rope.dimension_count', LIMITS.dim, headDim);
  if (ropeDim !== headDim || headDim % 2 !== 0) {
    // llama.cpp refuses partial rotation as well.
    fail(
      file,
      'MODEL_SHAPE',
      `rope.dimension_count is ${ropeDim}; the head's ${headDim}, an even number, is needed`,
    );
  }
  return { heads, kvHeads, headDim };
}

/** Matrices with biases; optional ones are there in all blocks or in none (checkTensors). */
function readBiases(file: GgufFile, { matrices }: Architecture): string[] {
  return matrices
    .filter(
      ({ tensor, bias }) =>
        bias === 'always' || (bias === 'optional' && file.tensors.has(`blk.0.${tensor}.bias`)),
    )
    .map(({ tensor }) => tensor);
}

/** What stretches RoPE beyond its defaults: [key, the value that means nothing]. */
const ROPE_EXTRAS = [
  ['rope.scaling.attn_factor', 1],
  ['rope.scaling.yarn_ext_factor', 1],
  ['rope.scaling.yarn_attn_factor', 1],
  ['rope.scaling.yarn_beta_fast', 32],
  ['rope.scaling.yarn_beta_slow', 1],
  ['rope.scaling.yarn_log_multiplier', 0],
] as const;

/** Scaling of positions as llama.cpp reads it: without a type, a factor means linear scaling. */
function readRope(
  file: GgufFile,
  fields: MetadataReader,
  { rotary: { scaling } }: Architecture,
  contextTokens: number,
): Pick<ModelShape, 'ropeLinearFactor' | 'yarn'> {
  const type = fields.value('rope.scaling.type') ?? 'linear';
  if (type !== 'none' && type !== 'linear' && type !== 'yarn') {
    fail(
      file,
      'MODEL_ROPE',
      `rope scaling of type ${JSON.stringify(type)} is not supported`,
      `supported: ${scaling.filter((way) => way !== 'factors').join(', ')}, and per-dimension factors in a rope_freqs.weight tensor (Llama 3.1)`,
    );
  }
  for (const [key, plain] of ROPE_EXTRAS) {
    const value = fields.value(key) ?? plain;
    if (value !== plain) {
      fail(file, 'MODEL_ROPE', `metadata ${fields.key(key)} is ${value}: only ${plain} is supported`);
    }
  }
  // 0 means "not given" in llama.cpp.
  const factor = fields.number('rope.scaling.factor', fields.number('rope.scale_linear', 0)) || 1;
  if (type === 'none') return { ropeLinearFactor: 1 };
  if (!(factor > 0)) fail(file, 'MODEL_ROPE', `rope scaling factor ${factor} is not positive`);
  if (type === 'linear') return { ropeLinearFactor: factor };
  const key = 'rope.scaling.original_context_length';
  const originalContextTokens = fields.count(key, LIMITS.context, contextTokens) || contextTokens;
  return { ropeLinearFactor: 1, yarn: { factor, originalContextTokens } };
}

/** Every tensor of the architecture is there with its shape, and none that would be ignored. */
function checkTensors(file: GgufFile, shape: ModelShape): void {
  const expected = expectedTensors(file, shape);
  for (const [name, extents] of expected) {
    const found = withoutLeadingOnes(requireTensor(file, name).shape, extents.length);
    if (found.length !== extents.length || found.some((extent, i) => extent !== extents[i])) {
      fail(
        file,
        'MODEL_SHAPE',
        `tensor ${name} is [${found.join(', ')}] where the metadata give [${extents.join(', ')}]`,
      );
    }
  }
  for (const name of file.tensors.keys()) {
    if (!expected.has(name)) {
      fail(
        file,
        'MODEL_TENSOR_UNKNOWN',
        `tensor ${JSON.stringify(name)} is not part of ${shape.architecture.title}; ignoring it would change the results`,
        'adapters, further biases and other variants of the architecture are not supported',
      );
    }
  }
}

/** Vectors may be stored as matrices of one row. */
function withoutLeadingOnes(shape: readonly number[], rank: number): readonly number[] {
  const extra = shape.length - rank;
  return extra > 0 && shape.slice(0, extra).every((extent) => extent === 1) ? shape.slice(extra) : shape;
}

/** Names and extents of all tensors, in the order in which a missing one is best reported. */
function expectedTensors(file: GgufFile, shape: ModelShape): Map<string, readonly number[]> {
  const { dim, vocab, headDim, queryDim, kvDim, architecture } = shape;
  const { query, key, ...places } = architecture.norms;
  const expected = new Map<string, readonly number[]>([
    ['token_embd.weight', [vocab, dim]],
    ['output_norm.weight', [dim]],
  ]);
  for (let layer = 0; layer < shape.layers; layer++) {
    const block = `blk.${layer}.`;
    for (const norm of Object.values(places)) expected.set(`${block}${norm}.weight`, [dim]);
    if (query) expected.set(`${block}${query.tensor}.weight`, [query.over === 'head' ? headDim : queryDim]);
    if (key) expected.set(`${block}${key.tensor}.weight`, [key.over === 'head' ? headDim : kvDim]);
    for (const { name, outputs, inputs } of blockMatrices(shape, layer)) {
      expected.set(`${block}${name.tensor}.weight`, [outputs, inputs]);
      if (shape.biases.includes(name.tensor)) expected.set(`${block}${name.tensor}.bias`, [outputs]);
    }
  }
  const head = headMatrix(shape);
  if (!shape.tied) expected.set(`${head.name.tensor}.weight`, [head.outputs, head.inputs]);
  const factors = 'rope_freqs.weight';
  if (architecture.rotary.scaling.includes('factors') && file.tensors.has(factors)) {
    expected.set(factors, [headDim / 2]);
  }
  return expected;
}

export function requireTensor(file: GgufFile, name: string): GgufTensor {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) fail(file, 'MODEL_TENSOR_MISSING', `tensor ${name} is missing`);
  return tensor;
}

interface MetadataReader {
  /** The whole name of a key of the architecture. */
  key(key: string): string;
  value(key: string): GgufValue | undefined;
  /** A whole number from 1 (0 where `absent` is given) to `limit`. */
  count(key: string, limit: number, absent?: number): number;
  positive(key: string, absent?: number): number;
  number(key: string, absent?: number): number;
}

function metadataReader(file: GgufFile, prefix: string): MetadataReader {
  const keyOf = (key: string) => `${prefix}.${key}`;
  const valueAt = (key: string) => file.metadata.get(keyOf(key));
  function number(key: string, absent?: number): number {
    const value = sameInAllBlocks(file, keyOf(key), valueAt(key)) ?? absent;
    if (value === undefined) fail(file, 'MODEL_METADATA', `metadata ${keyOf(key)} is missing`);
    if (typeof value !== 'number') fail(file, 'MODEL_METADATA', `metadata ${keyOf(key)} is not a number`);
    return value;
  }
  return {
    key: keyOf,
    value: valueAt,
    number,
    count(key, limit, absent) {
      const value = number(key, absent);
      const least = absent === undefined ? 1 : 0;
      if (value === absent) return value; // checked by the caller where it is computed
      if (!Number.isInteger(value) || value < least || value > limit) {
        fail(
          file,
          'MODEL_METADATA',
          `metadata ${keyOf(key)} is ${value}; a whole number from ${least} to ${limit} is needed`,
        );
      }
      return value;
    },
    positive(key, absent) {
      const value = number(key, absent);
      if (!(value > 0 && Number.isFinite(value))) {
        fail(file, 'MODEL_METADATA', `metadata ${keyOf(key)} is ${value}; a positive number is needed`);
      }
      return value;
    },
  };
}

/** A value by block, as some converters write heads and feed-forward widths: of equal values, the value. */
function sameInAllBlocks(file: GgufFile, key: string, value: GgufValue | undefined): GgufValue | undefined {
  if (!Array.isArray(value) || value.length === 0) return value;
  const [first] = value;
  const other = value.findIndex((one) => one !== first);
  if (other >= 0) {
    fail(
      file,
      'MODEL_METADATA',
      `metadata ${key} is ${first} in block 0 and ${value[other]} in block ${other}; equal blocks are supported`,
    );
  }
  return first;
}

function fail(file: GgufFile, code: string, what: string, hint?: string): never {
  throw new OnefetError('input', code, `${file.path}: ${what}`, hint === undefined ? {} : { hint });
}
