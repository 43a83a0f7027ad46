/**
 * A decoder-only transformer as data: the matrices of a block and what flows between them. Both forward
 * passes, the engine's plan, the cost, synthetic models and benchmarks read it; none has a table of matrices of its own.
 *
 * A block takes the residual stream x[D] through four stages, at each of which matrices read:
 *   attention-input       norm(x)              [D]
 *   attention-output      the heads' mixes     [heads d]
 *   feed-forward-input    norm(x)              [D]
 *   feed-forward-hidden   act(gate) * up       [F]
 * The extents of a matrix follow from the stage that it reads and the parts that it gives.
 */

export type Stage = 'attention-input' | 'attention-output' | 'feed-forward-input' | 'feed-forward-hidden';

/** Output of a matrix: `attention` and `feed-forward` are what its half of a block adds to the stream. */
export type Part = 'query' | 'key' | 'value' | 'attention' | 'gate' | 'up' | 'feed-forward';

export interface BlockMatrix {
  /** GGUF name without block and ".weight". */
  readonly tensor: string;
  readonly reads: Stage;
  /** One part, or several whose rows lie one behind the other in the file (phi3's attn_qkv). */
  readonly gives: readonly Part[];
  /** A bias `blk.N.<tensor>.bias` that is added to the outputs. */
  readonly bias: 'none' | 'optional' | 'always';
}

/** A norm of queries or keys: over each head by itself [d], or over all of them together [heads d]. */
export interface HeadNorm {
  readonly tensor: string;
  readonly over: 'head' | 'row';
}

/** RMS norms of a block by place: GGUF names without block and ".weight". Absent: nothing is done there. */
export interface BlockNorms {
  readonly attentionInput?: string;
  /** Of what attention adds to the stream, before it is added. */
  readonly attentionOutput?: string;
  readonly feedForwardInput?: string;
  readonly feedForwardOutput?: string;
  /** Before the rotation. */
  readonly query?: HeadNorm;
  readonly key?: HeadNorm;
}

export interface Rotary {
  /** Which elements of a head turn together: (2j, 2j + 1), or (j, j + d / 2). */
  readonly pairs: 'adjacent' | 'halves';
  /** Whether only the first elements of a head may turn (`rope.dimension_count`). */
  readonly partial: boolean;
  /**
   * Ways to stretch the positions that its models use. `factors` are a tensor rope_freqs.weight; `long-short` are two of
   * them, of which the short ones hold up to the original context.
   */
  readonly scaling: readonly ('none' | 'linear' | 'yarn' | 'factors' | 'long-short')[];
}

/** Multipliers that an architecture has beyond 1 / sqrt(d) of the scores; `key` reads one from the metadata. */
export interface ScaleSources {
  /** Of the embeddings: sqrt(D), or `embedding_scale`. */
  readonly embedding?: 'sqrt-dim' | 'key';
  /** Of what a layer adds to the stream: `residual_scale`. */
  readonly residual?: 'key';
  /** Of the scores: `attention.scale`; or 1 / sqrt(D / heads) in the model with so many blocks. */
  readonly scores?: 'key' | { readonly dimPerHeadAtLayers: number };
  /** The logits are divided by `logit_scale`. */
  readonly logits?: 'key';
}

/** Blocks that see only the last `attention.sliding_window` tokens. */
export interface WindowSource {
  /** Default where the metadata give no window; absent: then there is none. */
  readonly tokens?: number;
  /** Every n-th block sees all tokens, unless `attention.sliding_window_pattern` says otherwise. */
  readonly fullEvery: number;
  /** RoPE's base in the blocks with a window where `rope.freq_base_swa` is absent; absent: that of the others. */
  readonly ropeBase?: number;
}

/** silu(z) = z / (1 + e^-z); gelu(z) = z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))). */
export type Activation = 'silu' | 'gelu';

export interface Architecture {
  /** `general.architecture`, and the prefix of the metadata keys. */
  readonly name: string;
  /** In messages: "a plain Llama". */
  readonly title: string;
  /** In the order of the data flow: a matrix's place here is a coordinate of its random draws. */
  readonly matrices: readonly BlockMatrix[];
  readonly norms: BlockNorms;
  readonly rotary: Rotary;
  readonly activation: Activation;
  readonly scales?: ScaleSources;
  readonly window?: WindowSource;
  /** Metadata keys of its own, without prefix, by the value with which they mean what is computed here. */
  readonly offKeys?: Readonly<Record<string, boolean | number>>;
  /** Soft caps by the keys `attn_logit_softcapping` and `final_logit_softcapping`, with their values where absent; 0: none. */
  readonly softCaps?: { readonly scores?: number; readonly logits?: number };
}

/** Llama 1 to 3 and what follows them: Touvron et al. 2023, arXiv:2302.13971; GQA: arXiv:2305.13245. */
export const LLAMA: Architecture = {
  name: 'llama',
  title: 'a plain Llama',
  matrices: [
    { tensor: 'attn_q', reads: 'attention-input', gives: ['query'], bias: 'optional' },
    { tensor: 'attn_k', reads: 'attention-input', gives: ['key'], bias: 'optional' },
    { tensor: 'attn_v', reads: 'attention-input', gives: ['value'], bias: 'optional' },
    { tensor: 'attn_output', reads: 'attention-output', gives: ['attention'], bias: 'optional' },
    { tensor: 'ffn_gate', reads: 'feed-forward-input', gives: ['gate'], bias: 'optional' },
    { tensor: 'ffn_up', reads: 'feed-forward-input', gives: ['up'], bias: 'optional' },
    { tensor: 'ffn_down', reads: 'feed-forward-hidden', gives: ['feed-forward'], bias: 'optional' },
  ],
  norms: { attentionInput: 'attn_norm', feedForwardInput: 'ffn_norm' },
  rotary: { pairs: 'adjacent', partial: false, scaling: ['none', 'linear', 'yarn', 'factors'] },
  activation: 'silu',
};

/** The matrices of a Llama with biases where `biased` says so. */
const llamaMatrices = (biased: readonly string[], bias: BlockMatrix['bias']): BlockMatrix[] =>
  LLAMA.matrices.map((matrix) => ({ ...matrix, bias: biased.includes(matrix.tensor) ? bias : 'none' }));

const QUERY_KEY_VALUE = ['attn_q', 'attn_k', 'attn_v'];

const headNorms = (over: HeadNorm['over']): Pick<BlockNorms, 'query' | 'key'> => ({
  query: { tensor: 'attn_q_norm', over },
  key: { tensor: 'attn_k_norm', over },
});
const OUTPUT_NORMS = { attentionOutput: 'post_attention_norm', feedForwardOutput: 'post_ffw_norm' };

/** Mistral 7B (arXiv:2310.06825) is a Llama, in most files by that name; its successors have a name of their own. */
const MISTRAL3: Architecture = { ...LLAMA, name: 'mistral3', title: 'a Mistral' };

/** Qwen Team 2024, arXiv:2407.10671. */
const QWEN2: Architecture = {
  ...LLAMA,
  name: 'qwen2',
  title: 'a Qwen 2',
  matrices: llamaMatrices(QUERY_KEY_VALUE, 'always'),
  rotary: { pairs: 'halves', partial: false, scaling: ['none', 'linear', 'yarn'] },
};

/** Qwen Team 2025, arXiv:2505.09388. */
const QWEN3: Architecture = {
  ...QWEN2,
  name: 'qwen3',
  title: 'a Qwen 3',
  matrices: llamaMatrices([], 'none'),
  norms: { ...LLAMA.norms, ...headNorms('head') },
};

/** Abdin et al. 2024, arXiv:2404.14219; Phi-4: arXiv:2412.08905. */
const PHI3: Architecture = {
  ...LLAMA,
  name: 'phi3',
  title: 'a Phi-3',
  matrices: [
    { tensor: 'attn_qkv', reads: 'attention-input', gives: ['query', 'key', 'value'], bias: 'none' },
    { tensor: 'attn_output', reads: 'attention-output', gives: ['attention'], bias: 'none' },
    { tensor: 'ffn_up', reads: 'feed-forward-input', gives: ['gate', 'up'], bias: 'none' },
    { tensor: 'ffn_down', reads: 'feed-forward-hidden', gives: ['feed-forward'], bias: 'none' },
  ],
  rotary: { pairs: 'halves', partial: true, scaling: ['none', 'long-short'] },
};

/** Gemma Team 2024, arXiv:2403.08295. The gains in the files are those of the papers plus 1. */
const GEMMA: Architecture = {
  ...LLAMA,
  name: 'gemma',
  title: 'a Gemma',
  matrices: llamaMatrices([], 'none'),
  rotary: { pairs: 'halves', partial: false, scaling: ['none'] },
  activation: 'gelu',
  scales: { embedding: 'sqrt-dim' },
};

/** Gemma Team 2024, arXiv:2408.00118. */
const GEMMA2: Architecture = {
  ...GEMMA,
  name: 'gemma2',
  title: 'a Gemma 2',
  norms: { ...LLAMA.norms, ...OUTPUT_NORMS },
  scales: { embedding: 'sqrt-dim', scores: { dimPerHeadAtLayers: 46 } },
  window: { tokens: 4096, fullEvery: 2 },
  softCaps: { scores: 50, logits: 30 },
};

/** Gemma Team 2025, arXiv:2503.19786. */
const GEMMA3: Architecture = {
  ...GEMMA,
  name: 'gemma3',
  title: 'a Gemma 3',
  norms: { ...LLAMA.norms, ...OUTPUT_NORMS, ...headNorms('head') },
  rotary: { pairs: 'halves', partial: false, scaling: ['none', 'linear'] },
  scales: { embedding: 'sqrt-dim', scores: { dimPerHeadAtLayers: 62 } },
  window: { fullEvery: 6, ropeBase: 10_000 },
  softCaps: { logits: 0 },
};

/** IBM 2024, Granite 3.0 language models. */
const GRANITE: Architecture = {
  ...LLAMA,
  name: 'granite',
  title: 'a Granite',
  rotary: { pairs: 'adjacent', partial: false, scaling: ['none', 'factors'] },
  scales: { embedding: 'key', residual: 'key', scores: 'key', logits: 'key' },
  // Models without a rotation say so here.
  offKeys: { 'rope.scaling.finetuned': true },
};

/** OLMo Team 2024, arXiv:2501.00656; with windows: OLMo 3. */
const OLMO2: Architecture = {
  ...LLAMA,
  name: 'olmo2',
  title: 'an OLMo 2',
  matrices: llamaMatrices([], 'none'),
  norms: { ...OUTPUT_NORMS, ...headNorms('row') },
  rotary: { pairs: 'halves', partial: false, scaling: ['none', 'linear', 'yarn'] },
  window: { fullEvery: 4 },
};

/** Architectures that a model file may have, by `general.architecture`. */
export const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map(
  [LLAMA, MISTRAL3, QWEN2, QWEN3, PHI3, GEMMA, GEMMA2, GEMMA3, GRANITE, OLMO2].map((a) => [a.name, a]),
);

/** Why others are refused, by the words in their names; the first that fits. */
export const REFUSED_ARCHITECTURES: readonly (readonly [RegExp, string])[] = [
  [/moe|mixtral|dbrx|grok|arctic|gpt-oss|llama4/, 'its feed-forward is a mixture of experts'],
  [/deepseek2|minicpm3|plm|kimi|glm-dsa/, 'its attention compresses keys and values (MLA)'],
  [/mamba|rwkv|jamba|plamo|falcon-h1|hybrid|nemotron_h|lfm2|qwen3next|qwen35/, 'it has recurrent layers'],
  [/bert|t5|embedding|wavtokenizer|nomic/, 'it is an encoder and predicts no next token'],
  [/vl$|clip|cogvlm/, 'it reads images'],
  [/smollm3|cohere|command-r/, 'some of its blocks do not rotate, or run beside each other'],
  [/gemma3n|gemma4/, 'its blocks have inputs of their own'],
  [/gpt2|gptj|gptneox|starcoder|falcon|bloom|mpt|phi2|stablelm|olmo$/, 'its norms subtract the mean'],
];

/** Name of the output head among the linear layers. */
export const HEAD = 'output';

/** Names of the linear layers of a model: those of a block, then the head. */
export function tensorNames({ matrices }: Architecture): string[] {
  return [...matrices.map(({ tensor }) => tensor), HEAD];
}

/** Places in `matrices` of those that read at a stage: they share their inputs. */
export function matricesReading({ matrices }: Architecture, stage: Stage): number[] {
  return [...matrices.keys()].filter((i) => matrices[i].reads === stage);
}

/** The stages in the order of the data flow. */
export const STAGES: readonly Stage[] = [
  'attention-input',
  'attention-output',
  'feed-forward-input',
  'feed-forward-hidden',
];
