/**
 * The dimensions of a Llama-architecture model, read from a GGUF's metadata and checked against its tensors.
 */
import { OnefetError } from '../error.ts';
import type { GgufFile, GgufTensor, GgufValue } from './gguf.ts';

export interface LlamaShape {
  /** D: width of the residual stream. */
  readonly dim: number;
  /** F: width of the feed-forward layer. */
  readonly ffnDim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** d: width of one head, an even number; heads * headDim need not equal dim. */
  readonly headDim: number;
  /** heads * headDim. */
  readonly queryDim: number;
  /** kvHeads * headDim. */
  readonly kvDim: number;
  readonly vocab: number;
  /** Tokens the model was made for. */
  readonly contextTokens: number;
  readonly normEpsilon: number;
  readonly ropeBase: number;
  /** Positions are divided by this (linear scaling); 1 = none. */
  readonly ropeLinearFactor: number;
  /** The head is the embedding matrix. */
  readonly tied: boolean;
}

/** Bounds that no Llama exceeds by far; they keep a damaged file from asking for absurd buffers. */
const LIMITS = { dim: 2 ** 17, ffnDim: 2 ** 20, layers: 1024, heads: 4096, context: 2 ** 26 } as const;

const BLOCK_TENSORS = [
  'attn_norm',
  'attn_q',
  'attn_k',
  'attn_v',
  'attn_output',
  'ffn_norm',
  'ffn_gate',
  'ffn_up',
  'ffn_down',
] as const;

/** Reads and checks the shape; errors are OnefetError('input', 'MODEL_...') naming the key or tensor. */
export function readShape(file: GgufFile): LlamaShape {
  const fields = metadataReader(file);
  const architecture = file.metadata.get('general.architecture');
  if (architecture !== 'llama') {
    fail(
      file,
      'MODEL_ARCHITECTURE',
      `architecture ${JSON.stringify(architecture)} is not supported (llama is)`,
    );
  }
  if (fields.count('expert_count', LIMITS.layers, 0) > 0) {
    fail(file, 'MODEL_ARCHITECTURE', 'mixtures of experts are not supported');
  }
  const parts = file.metadata.get('split.count') ?? 1;
  if (parts !== 1) {
    fail(
      file,
      'MODEL_SPLIT',
      `is one of ${parts} parts of a split model`,
      "join the parts with llama.cpp's gguf-split --merge",
    );
  }
  const dim = fields.count('embedding_length', LIMITS.dim);
  const ffnDim = fields.count('feed_forward_length', LIMITS.ffnDim);
  const layers = fields.count('block_count', LIMITS.layers);
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
  const embedding = requireTensor(file, 'token_embd.weight');
  const vocab = embedding.shape[0];
  const stated = fields.count('vocab_size', 2 ** 22, vocab);
  if (stated !== vocab) {
    fail(file, 'MODEL_SHAPE', `vocab_size is ${stated} but token_embd.weight has ${vocab} rows`);
  }
  const shape: LlamaShape = {
    dim,
    ffnDim,
    layers,
    heads,
    kvHeads,
    headDim,
    queryDim: heads * headDim,
    kvDim: kvHeads * headDim,
    vocab,
    contextTokens: fields.count('context_length', LIMITS.context),
    normEpsilon: fields.positive('attention.layer_norm_rms_epsilon'),
    ropeBase: fields.positive('rope.freq_base', 10000), // llama.cpp's default
    ropeLinearFactor: linearFactor(file, fields),
    tied: !file.tensors.has('output.weight'),
  };
  checkTensors(file, shape);
  return shape;
}

/** Scaling of positions as llama.cpp reads it: without a type, a factor means linear scaling. */
function linearFactor(file: GgufFile, fields: MetadataReader): number {
  const type = file.metadata.get('llama.rope.scaling.type') ?? 'linear';
  // 0 means "not given" in llama.cpp.
  const factor = fields.number('rope.scaling.factor', fields.number('rope.scale_linear', 0)) || 1;
  if (type === 'none') return 1;
  if (type !== 'linear') {
    fail(
      file,
      'MODEL_ROPE',
      `rope scaling of type ${JSON.stringify(type)} is not supported`,
      'supported: none, linear, and per-dimension factors in a rope_freqs.weight tensor (Llama 3.1)',
    );
  }
  if (!(factor > 0)) fail(file, 'MODEL_ROPE', `rope scaling factor ${factor} is not positive`);
  return factor;
}

/** Every tensor of the architecture is there with its shape, and none that would be ignored. */
function checkTensors(file: GgufFile, s: LlamaShape): void {
  const expected = new Map<string, readonly number[]>([
    ['token_embd.weight', [s.vocab, s.dim]],
    ['output_norm.weight', [s.dim]],
  ]);
  const blockShapes: Record<(typeof BLOCK_TENSORS)[number], readonly number[]> = {
    attn_norm: [s.dim],
    attn_q: [s.queryDim, s.dim],
    attn_k: [s.kvDim, s.dim],
    attn_v: [s.kvDim, s.dim],
    attn_output: [s.dim, s.queryDim],
    ffn_norm: [s.dim],
    ffn_gate: [s.ffnDim, s.dim],
    ffn_up: [s.ffnDim, s.dim],
    ffn_down: [s.dim, s.ffnDim],
  };
  for (let layer = 0; layer < s.layers; layer++) {
    for (const name of BLOCK_TENSORS) expected.set(`blk.${layer}.${name}.weight`, blockShapes[name]);
  }
  if (!s.tied) expected.set('output.weight', [s.vocab, s.dim]);
  if (file.tensors.has('rope_freqs.weight')) expected.set('rope_freqs.weight', [s.headDim / 2]);
  for (const [name, shape] of expected) {
    const found = requireTensor(file, name).shape;
    if (found.length !== shape.length || found.some((extent, i) => extent !== shape[i])) {
      fail(
        file,
        'MODEL_SHAPE',
        `tensor ${name} is [${found.join(', ')}] where the metadata give [${shape.join(', ')}]`,
      );
    }
  }
  for (const name of file.tensors.keys()) {
    if (!expected.has(name)) {
      fail(
        file,
        'MODEL_TENSOR_UNKNOWN',
        `tensor ${JSON.stringify(name)} is not part of a plain Llama; ignoring it would change the results`,
        'biases, adapters and other variants of the architecture are not supported',
      );
    }
  }
}

export function requireTensor(file: GgufFile, name: string): GgufTensor {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) fail(file, 'MODEL_TENSOR_MISSING', `tensor ${name} is missing`);
  return tensor;
}

interface MetadataReader {
  /** A whole number from 1 (0 where `absent` is given) to `limit`. */
  count(key: string, limit: number, absent?: number): number;
  positive(key: string, absent?: number): number;
  number(key: string, absent?: number): number;
}

function metadataReader(file: GgufFile): MetadataReader {
  function number(key: string, absent?: number): number {
    const value: GgufValue | undefined = file.metadata.get(`llama.${key}`) ?? absent;
    if (value === undefined) fail(file, 'MODEL_METADATA', `metadata llama.${key} is missing`);
    if (typeof value !== 'number') fail(file, 'MODEL_METADATA', `metadata llama.${key} is not a number`);
    return value;
  }
  return {
    number,
    count(key, limit, absent) {
      const value = number(key, absent);
      const least = absent === undefined ? 1 : 0;
      if (value === absent) return value; // checked by the caller where it is computed
      if (!Number.isInteger(value) || value < least || value > limit) {
        fail(
          file,
          'MODEL_METADATA',
          `metadata llama.${key} is ${value}; a whole number from ${least} to ${limit} is needed`,
        );
      }
      return value;
    },
    positive(key, absent) {
      const value = number(key, absent);
      if (!(value > 0 && Number.isFinite(value))) {
        fail(file, 'MODEL_METADATA', `metadata llama.${key} is ${value}; a positive number is needed`);
      }
      return value;
    },
  };
}

function fail(file: GgufFile, code: string, what: string, hint?: string): never {
  throw new OnefetError('input', code, `${file.path}: ${what}`, hint === undefined ? {} : { hint });
}
