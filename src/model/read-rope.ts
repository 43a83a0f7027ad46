/** Reads how positions are rotated, and how their scaling is asked for. */
import type { Architecture } from './architecture.ts';
import { fail, type GgufFile } from './gguf-file.ts';
import { LIMITS, type MetadataReader, shown } from './metadata-reader.ts';
import type { ModelShape } from './shape.ts';

/** RoPE's factors, of which a file has one of these: the short ones hold up to the original context. */
export const SHORT_FACTORS = 'rope_factors_short.weight';
export const LONG_FACTORS = 'rope_factors_long.weight';
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
export function readRope(
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
      file.path,
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
    fail(
      file.path,
      'MODEL_ROPE',
      `metadata ${fields.key(key)} is ${shown(value)}: only ${plain} is supported`,
    );
  }
  if (longShort) {
    return { ropeLinearFactor: 1, ropeMagnitude: fields.positive('rope.scaling.attn_factor', 1) };
  }
  if (type === 'none') return { ropeLinearFactor: 1 };
  if (!(factor > 0)) fail(file.path, 'MODEL_ROPE', `rope scaling factor ${factor} is not positive`);
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
