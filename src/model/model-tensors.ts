/** The tensors that a model of a shape has, held against those of its file. */
import { fail, type GgufFile, type GgufTensor } from './gguf-file.ts';
import { LONG_FACTORS, SHORT_FACTORS } from './read-rope.ts';
import { blockMatrices, headMatrix, type ModelShape } from './shape.ts';

/** Every tensor of the architecture is there with its shape, and none that would be ignored. */
export function checkTensors(file: GgufFile, shape: ModelShape): void {
  const expected = expectedTensors(file, shape);
  for (const [name, extents] of expected) {
    const found = withoutLeadingOnes(requireTensor(file, name).shape, extents.length);
    if (found.length !== extents.length || found.some((extent, i) => extent !== extents[i])) {
      fail(
        file.path,
        'MODEL_SHAPE',
        `tensor ${name} is [${found.join(', ')}] where the metadata give [${extents.join(', ')}]`,
      );
    }
  }
  for (const name of file.tensors.keys()) {
    if (!expected.has(name)) {
      fail(
        file.path,
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
  if (tensor === undefined) fail(file.path, 'MODEL_TENSOR_MISSING', `tensor ${name} is missing`);
  return tensor;
}
