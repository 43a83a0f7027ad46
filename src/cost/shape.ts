/** Counts that follow from the shape of a model. */
import { STAGES } from '../model/architecture.ts';
import { blockWeights, type ModelShape } from '../model/shape.ts';

/** Weight multiplications of one token, head included, attention not. */
export function macPerToken(shape: ModelShape): number {
  return blockWeights(shape) + shape.vocab * shape.dim;
}

/** Multiplications of attention (scores and mix) at a context length. */
export function attentionMacPerToken(shape: ModelShape, contextTokens: number): number {
  return 2 * shape.layers * shape.heads * shape.headDim * contextTokens;
}

/** Key and value elements that one token adds to the cache. */
export function kvElementsPerToken(shape: ModelShape): number {
  return 2 * shape.layers * shape.kvHeads * shape.headDim;
}

/** Linear layers that wait for one another: those of each stage (qkv; output; gate and up; down), and the head. */
export function dependentSteps(shape: ModelShape): number {
  return STAGES.length * shape.layers + 1;
}
