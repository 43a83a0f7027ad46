/**
 * What a decoder-only transformer consists of, as data: the matrices of a block and what flows between them. Both forward
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

/** What a matrix gives: `attention` and `feed-forward` are what its half of a block adds to the stream. */
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
  /** Ways to stretch the positions that its models use; `factors` are a tensor rope_freqs.weight. */
  readonly scaling: readonly ('none' | 'linear' | 'yarn' | 'factors')[];
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

/** Architectures that a model file may have, by `general.architecture`. */
export const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([LLAMA].map((a) => [a.name, a]));

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
