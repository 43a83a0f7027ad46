/** Reads the shape of a model from a GGUF's metadata and checks it against the file's tensors. */
import { nearestName } from '../error.ts';
import { ARCHITECTURES, type Architecture, REFUSED_ARCHITECTURES } from './architecture.ts';
import { fail, type GgufFile, type GgufValue } from './gguf-file.ts';
import { LIMITS, type MetadataReader, metadataReader, shown } from './metadata-reader.ts';
import { checkTensors, requireTensor } from './model-tensors.ts';
import { readRope, SHORT_FACTORS } from './read-rope.ts';
import { type AttentionWindow, type ModelShape, modelShape, type Scales, type SoftCaps } from './shape.ts';

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
    fail(file.path, 'MODEL_ARCHITECTURE', `is no model: its general.type is ${JSON.stringify(type)}`);
  }
  const known = typeof name === 'string' ? ARCHITECTURES.get(name) : undefined;
  if (known) return known;
  const names = [...ARCHITECTURES.keys()];
  const why = typeof name === 'string' && REFUSED_ARCHITECTURES.find(([pattern]) => pattern.test(name))?.[1];
  fail(
    file.path,
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
    fail(file.path, 'MODEL_ARCHITECTURE', 'mixtures of experts are not supported');
  }
  const causal = fields.value('attention.causal') ?? true;
  if (causal !== true) {
    fail(
      file.path,
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
      file.path,
      'MODEL_METADATA_UNKNOWN',
      `metadata ${key} is ${shown(value)}: what it changes in the computation is not supported`,
      'a model that does not have this key, or has it without effect, can be run',
    );
  }
}

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
      file.path,
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
    fail(file.path, 'MODEL_SHAPE', `${heads} heads cannot share ${kvHeads} key/value heads evenly`);
  }
  const headDim = fields.count('attention.key_length', LIMITS.dim, dim / heads);
  const valueDim = fields.count('attention.value_length', LIMITS.dim, dim / heads);
  if (!Number.isInteger(headDim) || headDim !== valueDim) {
    fail(
      file.path,
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
      file.path,
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
