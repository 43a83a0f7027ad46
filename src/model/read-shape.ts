/** Reads the shape of a model from a GGUF's metadata and checks it against the file's tensors. */
import { nearestName, OnefetError } from '../error.ts';
import { ARCHITECTURES, type Architecture, REFUSED_ARCHITECTURES } from './architecture.ts';
import type { GgufFile, GgufTensor, GgufValue } from './gguf-file.ts';
import {
  type AttentionWindow,
  blockMatrices,
  headMatrix,
  type ModelShape,
  modelShape,
  type Scales,
  type SoftCaps,
} from './shape.ts';

/** Bounds that no Llama exceeds by far; they keep a damaged file from asking for absurd buffers. */
const LIMITS = { dim: 2 ** 17, ffnDim: 2 ** 20, layers: 1024, heads: 4096, context: 2 ** 26 } as const;

/** Reads and checks the shape; errors are OnefetError('input', 'MODEL_...') naming the key or tensor. */
export function readShape(file: GgufFile): ModelShape {
  const architecture = readArchitecture(file);
  const fields = metadataReader(file, architecture.name);
  refuseVariants(file, fields);
  refuseUnknownKeys(file, fields, architecture);
  const dim = fields.count('embedding_length', LIMITS.dim);
  const layers = fields.count('block_count', LIMITS.layers);
  const heads = readHeads(file, fields, dim, architecture);
  const trainedTokens = fields.count('context_length', LIMITS.context);
  const ropeBase = fields.positive('rope.freq_base', 10000); // llama.cpp's default
  const shape = modelShape({
    architecture,
    dim,
    ffnDim: fields.count('feed_forward_length', LIMITS.ffnDim),
    layers,
    ...heads,
    // As in llama.cpp the vocabulary is what the tensors have; vocab_size is not read.
    vocab: requireTensor(file, 'token_embd.weight').shape[0],
    contextTokens: usableTokens(file, fields, architecture, trainedTokens),
    normEpsilon: fields.positive('attention.layer_norm_rms_epsilon'),
    ropeBase,
    ...readRope(file, fields, architecture, trainedTokens),
    tied: !file.tensors.has('output.weight'),
    biases: readBiases(file, architecture),
    ...readWindow(file, fields, architecture, layers, ropeBase),
    ...readSoftCaps(fields, architecture),
    ...readScales(fields, architecture, { dim, layers, ...heads }),
  });
  checkTensors(file, shape);
  return shape;
}

function readArchitecture(file: GgufFile): Architecture {
  const name = file.metadata.get('general.architecture');
  const type = file.metadata.get('general.type') ?? 'model';
  if (type !== 'model') {
    fail(file, 'MODEL_ARCHITECTURE', `is no model: its general.type is ${JSON.stringify(type)}`);
  }
  const known = typeof name === 'string' ? ARCHITECTURES.get(name) : undefined;
  if (known) return known;
  const names = [...ARCHITECTURES.keys()];
  const why = typeof name === 'string' && REFUSED_ARCHITECTURES.find(([pattern]) => pattern.test(name))?.[1];
  fail(
    file,
    'MODEL_ARCHITECTURE',
    `architecture ${JSON.stringify(name)} is not supported${why ? `: ${why}` : ''} (${names.join(', ')} are)`,
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

/** Keys that are read, whatever the architecture. */
const UNDERSTOOD = [
  'context_length',
  'embedding_length',
  'block_count',
  'feed_forward_length',
  'attention.head_count',
  'attention.head_count_kv',
  'attention.key_length',
  'attention.value_length',
  'attention.layer_norm_rms_epsilon',
  'attention.causal',
  'attention.sliding_window',
  'expert_count',
  'rope.dimension_count',
  'rope.freq_base',
  'rope.scale_linear',
  'rope.scaling.type',
  'rope.scaling.factor',
  'rope.scaling.original_context_length',
  'rope.scaling.attn_factor',
  'rope.scaling.yarn_ext_factor',
  'rope.scaling.yarn_attn_factor',
  'rope.scaling.yarn_beta_fast',
  'rope.scaling.yarn_beta_slow',
  'rope.scaling.yarn_log_multiplier',
] as const;

/** Keys that no computation depends on. */
const HARMLESS = ['vocab_size', 'tensor_data_layout', 'rope.scaling.finetuned'] as const;

/** Values of other keys that mean that something is not done. */
const OFF: Readonly<Record<string, GgufValue>> = {
  expert_used_count: 0,
  expert_shared_count: 0,
  leading_dense_block_count: 0,
  nextn_predict_layers: 0,
  pooling_type: 0,
  use_parallel_residual: false,
  attn_logit_softcapping: 0,
  final_logit_softcapping: 0,
  embedding_scale: 1,
  residual_scale: 1,
  logit_scale: 1,
  'attention.scale': 0,
  'attention.clamp_kqv': 0,
  'attention.max_alibi_bias': 0,
  'attention.shared_kv_layers': 0,
  'attention.temperature_scale': 0,
};

/** Keys that this architecture reads beside UNDERSTOOD. */
function ownKeys({ name, window, softCaps, scales }: Architecture): string[] {
  return [
    ...(window ? ['attention.sliding_window_pattern', 'rope.freq_base_swa'] : []),
    ...(softCaps?.scores === undefined ? [] : ['attn_logit_softcapping']),
    ...(softCaps?.logits === undefined ? [] : ['final_logit_softcapping']),
    ...(scales?.embedding === 'key' ? ['embedding_scale'] : []),
    ...(scales?.residual === 'key' ? ['residual_scale'] : []),
    ...(scales?.scores === 'key' ? ['attention.scale'] : []),
    ...(scales?.logits === 'key' ? ['logit_scale'] : []),
    ...(name === 'mistral3' ? ['attention.temperature_scale'] : []),
  ];
}

/** Every key of the architecture is one that is read, or has no effect: others may change what the model computes. */
function refuseUnknownKeys(file: GgufFile, fields: MetadataReader, architecture: Architecture): void {
  const prefix = `${architecture.name}.`;
  const known = new Set<string>([...UNDERSTOOD, ...HARMLESS, ...ownKeys(architecture)]);
  for (const key of Object.keys(architecture.offKeys ?? {})) known.delete(key);
  const off: Readonly<Record<string, GgufValue>> = { ...OFF, ...architecture.offKeys };
  for (const key of file.metadata.keys()) {
    const own = key.slice(prefix.length);
    if (!key.startsWith(prefix) || known.has(own)) continue;
    const value = fields.value(own);
    if (Object.hasOwn(off, own) && value === off[own]) continue;
    fail(
      file,
      'MODEL_METADATA_UNKNOWN',
      `metadata ${key} is ${shown(value)}: what it changes in the computation is not supported`,
      'a model that does not have this key, or has it without effect, can be run',
    );
  }
}

function shown(value: GgufValue | undefined): string {
  const text = typeof value === 'bigint' ? String(value) : JSON.stringify(value, jsonable);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
const jsonable = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);

/**
 * Tokens up to which the metadata leave no doubt. Beyond it, a window where the architecture has none (llama.cpp ignores
 * it, the model's authors do not), RoPE's long factors, and queries that grow with their position would count.
 */
function usableTokens(
  file: GgufFile,
  fields: MetadataReader,
  { name, window }: Architecture,
  trained: number,
): number {
  let tokens = trained;
  if (!window)
    tokens = Math.min(tokens, fields.count('attention.sliding_window', LIMITS.context, 0) || tokens);
  const original = fields.count('rope.scaling.original_context_length', LIMITS.context, trained) || trained;
  if (file.tensors.has(SHORT_FACTORS)) tokens = Math.min(tokens, original);
  const growing = name === 'mistral3' && fields.number('attention.temperature_scale', 0) !== 0;
  return growing ? Math.min(tokens, Math.max(1, original - 1)) : tokens;
}

function readWindow(
  file: GgufFile,
  fields: MetadataReader,
  { window }: Architecture,
  layers: number,
  ropeBase: number,
): { window?: AttentionWindow } {
  if (!window) return {};
  const tokens = fields.count('attention.sliding_window', LIMITS.context, window.tokens ?? 0);
  const fullEvery = readPattern(file, fields, layers) ?? window.fullEvery;
  if (tokens === 0 || fullEvery === 1) return {};
  return {
    window: {
      tokens,
      fullEvery,
      ropeBase: fields.positive('rope.freq_base_swa', window.ropeBase ?? ropeBase),
    },
  };
}

/** Every how many blocks one sees all tokens: a number, or by block whether it has a window. */
function readPattern(file: GgufFile, fields: MetadataReader, layers: number): number | undefined {
  const key = 'attention.sliding_window_pattern';
  const value = fields.value(key);
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return fields.count(key, LIMITS.layers, 0);
  const windowed = (layer: number) => value[layer] === true || value[layer] === 1;
  const every = Array.from({ length: layers }, (_, i) => i).find((layer) => !windowed(layer));
  const fullEvery = every === undefined ? 0 : every + 1;
  const regular = (layer: number) => windowed(layer) === (fullEvery === 0 || (layer + 1) % fullEvery !== 0);
  const odd = Array.from({ length: layers }, (_, i) => i).find((layer) => !regular(layer));
  if (odd !== undefined || value.length < layers) {
    fail(
      file,
      'MODEL_ATTENTION',
      `metadata ${fields.key(key)} is irregular${odd === undefined ? '' : ` at block ${odd}`}: a window in all blocks but every n-th is supported`,
    );
  }
  return fullEvery;
}

function readSoftCaps(fields: MetadataReader, { softCaps }: Architecture): { softCaps?: SoftCaps } {
  if (!softCaps) return {};
  const scores = softCaps.scores === undefined ? 0 : fields.number('attn_logit_softcapping', softCaps.scores);
  const logits =
    softCaps.logits === undefined ? 0 : fields.number('final_logit_softcapping', softCaps.logits);
  const found = { ...(scores > 0 ? { scores } : {}), ...(logits > 0 ? { logits } : {}) };
  return Object.keys(found).length > 0 ? { softCaps: found } : {};
}

function readScales(
  fields: MetadataReader,
  { scales }: Architecture,
  { dim, heads, layers }: Pick<ModelShape, 'dim' | 'heads' | 'layers'>,
): { scales?: Scales } {
  if (!scales) return {};
  // 0 means "not given" in llama.cpp.
  const given = (key: string) => fields.number(key, 0) || undefined;
  const perHead = typeof scales.scores === 'object' && layers === scales.scores.dimPerHeadAtLayers;
  const logits = scales.logits && fields.positive('logit_scale');
  const read = {
    embedding:
      scales.embedding === 'sqrt-dim' ? Math.sqrt(dim) : scales.embedding && given('embedding_scale'),
    residual: scales.residual && given('residual_scale'),
    scores: scales.scores === 'key' ? given('attention.scale') : perHead ? (dim / heads) ** -0.5 : undefined,
    logits: logits && 1 / logits,
  };
  const found = Object.entries(read).filter(([, value]) => value !== undefined);
  return found.length > 0 ? { scales: Object.fromEntries(found) } : {};
}

/** Heads and their widths: keys and values of a head must be equally wide. */
function readHeads(
  file: GgufFile,
  fields: MetadataReader,
  dim: number,
  { rotary, title }: Architecture,
): Pick<ModelShape, 'heads' | 'kvHeads' | 'headDim' | 'ropeDim'> {
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
  const whole = ropeDim === headDim;
  if (
    !(whole || (rotary.partial && ropeDim < headDim && ropeDim > 0)) ||
    ropeDim % 2 !== 0 ||
    headDim % 2 !== 0
  ) {
    // llama.cpp refuses partial rotation as well, where its graph has none.
    fail(
      file,
      'MODEL_SHAPE',
      `rope.dimension_count is ${ropeDim}; ${title} needs an even number, ${rotary.partial ? 'at most' : ''} the head's ${headDim}`,
    );
  }
  return { heads, kvHeads, headDim, ...(whole ? {} : { ropeDim }) };
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

/** RoPE's factors, of which a file has one of these: the short ones hold up to the original context. */
const SHORT_FACTORS = 'rope_factors_short.weight';
const LONG_FACTORS = 'rope_factors_long.weight';
export const ROPE_FACTORS = ['rope_freqs.weight', SHORT_FACTORS] as const;

/** Keys that stretch RoPE beyond its defaults: [key, the value that means nothing]. */
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
  { rotary: { scaling }, title }: Architecture,
  contextTokens: number,
): Pick<ModelShape, 'ropeLinearFactor' | 'yarn' | 'ropeMagnitude'> {
  const type = fields.value('rope.scaling.type') ?? 'linear';
  const longShort = scaling.includes('long-short') && file.tensors.has(SHORT_FACTORS);
  // 0 means "not given" in llama.cpp.
  const factor = fields.number('rope.scaling.factor', fields.number('rope.scale_linear', 0)) || 1;
  const way =
    type === 'longrope' && longShort ? 'long-short' : type === 'linear' && factor === 1 ? 'none' : type;
  if (!(scaling as readonly unknown[]).includes(way)) {
    const ways = scaling.filter((one) => one !== 'factors' && one !== 'long-short');
    fail(
      file,
      'MODEL_ROPE',
      `rope scaling of type ${JSON.stringify(type)} is not supported in ${title}`,
      `supported: ${ways.join(', ')}${scaling.includes('factors') ? ', and per-dimension factors in a rope_freqs.weight tensor (Llama 3.1)' : ''}`,
    );
  }
  for (const [key, plain] of ROPE_EXTRAS) {
    const value = fields.value(key) ?? plain;
    if (value === plain || (key === 'rope.scaling.attn_factor' && longShort)) continue;
    // Mistral's: the length that YaRN gives is divided out again.
    if (key === 'rope.scaling.yarn_log_multiplier' && value === 1 && way === 'yarn') continue;
    fail(file, 'MODEL_ROPE', `metadata ${fields.key(key)} is ${shown(value)}: only ${plain} is supported`);
  }
  if (longShort) {
    return { ropeLinearFactor: 1, ropeMagnitude: fields.positive('rope.scaling.attn_factor', 1) };
  }
  if (type === 'none') return { ropeLinearFactor: 1 };
  if (!(factor > 0)) fail(file, 'MODEL_ROPE', `rope scaling factor ${factor} is not positive`);
  if (type === 'linear') return { ropeLinearFactor: factor };
  const key = 'rope.scaling.original_context_length';
  const originalContextTokens = fields.count(key, LIMITS.context, contextTokens) || contextTokens;
  const plainLength = fields.number('rope.scaling.yarn_log_multiplier', 0) === 1;
  return {
    ropeLinearFactor: 1,
    yarn: { factor, originalContextTokens },
    ...(plainLength ? { ropeMagnitude: 1 } : {}),
  };
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
  const { dim, vocab, headDim, ropeDim = headDim, queryDim, kvDim, architecture } = shape;
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
  if (architecture.rotary.scaling.includes('long-short') && file.tensors.has(SHORT_FACTORS)) {
    expected.set(SHORT_FACTORS, [ropeDim / 2]);
    expected.set(LONG_FACTORS, [ropeDim / 2]);
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
