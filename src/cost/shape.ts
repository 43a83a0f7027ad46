/**
 * Counts that follow from the shape of a Llama-architecture model.
 */
/** Shape of a Llama-architecture model, as far as cost depends on it. */
export interface CostShape {
  name: string;
  layers: number;
  /** Model width. */
  embeddingLength: number;
  feedForwardLength: number;
  heads: number;
  kvHeads: number;
  headLength: number;
  vocabulary: number;
}

/** Llama 3.1 8B (Meta, model card; hardware facts section 5): 7,504,658,432 MAC per token without attention. */
export const LLAMA_3_1_8B: CostShape = {
  name: 'llama-3.1-8b',
  layers: 32,
  embeddingLength: 4096,
  feedForwardLength: 14336,
  heads: 32,
  kvHeads: 8,
  headLength: 128,
  vocabulary: 128256,
};

export interface TensorShape {
  tensor: string;
  outputs: number;
  inputs: number;
}

/** The linear layers of one transformer block. */
export function blockTensors(shape: CostShape): TensorShape[] {
  const { embeddingLength: d, feedForwardLength: ffn, heads, kvHeads, headLength } = shape;
  const q = heads * headLength;
  const kv = kvHeads * headLength;
  return [
    { tensor: 'attn_q', outputs: q, inputs: d },
    { tensor: 'attn_k', outputs: kv, inputs: d },
    { tensor: 'attn_v', outputs: kv, inputs: d },
    { tensor: 'attn_output', outputs: d, inputs: q },
    { tensor: 'ffn_gate', outputs: ffn, inputs: d },
    { tensor: 'ffn_up', outputs: ffn, inputs: d },
    { tensor: 'ffn_down', outputs: d, inputs: ffn },
  ];
}

export function headTensor(shape: CostShape): TensorShape {
  return { tensor: 'output', outputs: shape.vocabulary, inputs: shape.embeddingLength };
}

/** Weight multiplications of one token in the blocks. */
export function blockMacPerToken(shape: CostShape): number {
  return shape.layers * blockTensors(shape).reduce((sum, t) => sum + t.outputs * t.inputs, 0);
}

/** Weight multiplications of one token, head included, attention not. */
export function macPerToken(shape: CostShape): number {
  return blockMacPerToken(shape) + shape.vocabulary * shape.embeddingLength;
}

/** Multiplications of attention (scores and mix) at a context length. */
export function attentionMacPerToken(shape: CostShape, contextTokens: number): number {
  return 2 * shape.layers * shape.heads * shape.headLength * contextTokens;
}

/** Key and value elements that one token adds to the cache. */
export function kvElementsPerToken(shape: CostShape): number {
  return 2 * shape.layers * shape.kvHeads * shape.headLength;
}

/** Linear layers that wait for one another: qkv, output, gate and up, down in each block, and the head. */
export function dependentSteps(shape: CostShape): number {
  return 4 * shape.layers + 1;
}
