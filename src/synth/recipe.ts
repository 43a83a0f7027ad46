/**
 * The recipe of a synthetic model: its metadata, and its tensors with a rule for every row that depends on the
 * seed, the tensor and the row only. Plain data describes it, so that every thread can rebuild it.
 */
import { OnefetError } from '../error.ts';
import type { BlockNorms, Stage } from '../model/architecture.ts';
import type { Codec } from '../model/codecs/codec.ts';
import { F32 } from '../model/codecs/f32.ts';
import { codecByName } from '../model/codecs/registry.ts';
import type { GgufField, GgufTensorSource } from '../model/gguf-writer.ts';
import { ropeFactors } from '../model/rope.ts';
import {
  blockMatrices,
  type Feature,
  headMatrix,
  missingFeatures,
  normWidths,
  sourceTensor,
} from '../model/shape.ts';
import type { NamedShape } from '../model/shapes.ts';
import { bits32, nameCoordinate, streamKey } from '../random.ts';
import type { QuantileTable } from './draws.ts';
import { buildQuantileTable, fillDraws } from './draws.ts';
import type { MatrixKind, WeightStatistics } from './statistics.ts';
import { SMALLEST_VOCABULARY, vocabularyFields } from './vocabulary.ts';

/** Types of the matrices, and llama.cpp's number for a file of that type. */
export const SYNTH_TYPES = { F32: 0, F16: 1, Q8_0: 7, Q4_0: 2, Q4_K: 14, Q6_K: 18 } as const;
export type SynthType = keyof typeof SYNTH_TYPES;

export interface SynthRecipe {
  readonly shape: NamedShape;
  readonly type: SynthType;
  readonly seed: number;
  readonly statistics: WeightStatistics;
}

/** First coordinates of the streams. */
const STREAM = { matrix: 0x73796e01, norm: 0x73796e02, outliers: 0x73796e03 } as const;

/**
 * The tensors in the order of the file. Matrices have the recipe's type; the head (in a tied model the embedding) is
 * Q6_K in the 4-bit types, as llama.cpp's quantize makes it. Vectors are F32.
 * Throws OnefetError('usage', 'SYNTH_SHAPE') for a shape that is not a Llama or does not fit the type's blocks.
 */
export function recipeTensors(recipe: SynthRecipe): GgufTensorSource[] {
  const { shape, type } = recipe;
  checkShape(shape);
  const codec = codecByName(type)!;
  const headCodec = type === 'Q4_0' || type === 'Q4_K' ? codecByName('Q6_K')! : codec;
  const tableOf = quantileTables();
  const matrix = matrixMaker(recipe, tableOf);
  const widths = normWidths(shape);
  const tensors = [
    matrix('token_embd', 'token_embd.weight', shape.vocab, shape.dim, shape.tied ? headCodec : codec),
  ];
  for (let layer = 0; layer < shape.layers; layer++) {
    let stage: Stage | undefined;
    for (const { name, outputs, inputs } of blockMatrices(shape, layer)) {
      const { reads } = shape.architecture.matrices[name.ordinal];
      for (const place of reads === stage ? [] : NORMS_BEFORE[reads]) {
        const norm = shape.architecture.norms[place];
        if (!norm) continue;
        const tensor = typeof norm === 'string' ? norm : norm.tensor;
        tensors.push(normTensor(recipe, `blk.${layer}.${tensor}.weight`, widths[place]!, tableOf));
      }
      stage = reads;
      tensors.push(
        matrix(LAW_OF[name.tensor] ?? name.tensor, sourceTensor(name, shape), outputs, inputs, codec),
      );
    }
  }
  tensors.push(normTensor(recipe, 'output_norm.weight', shape.dim, tableOf));
  const head = headMatrix(shape);
  if (!shape.tied) {
    const name = sourceTensor(head.name, { tied: false });
    tensors.push(matrix(head.name.tensor, name, head.outputs, head.inputs, headCodec));
  }
  if (shape.ropeScaling) tensors.push(factorsTensor(ropeFactors(shape, shape.ropeScaling)));
  return tensors;
}

/** Where the norms of a block stand among its matrices. */
const NORMS_BEFORE: Readonly<Record<Stage, readonly (keyof BlockNorms)[]>> = {
  'attention-input': ['attentionInput', 'query', 'key'],
  'attention-output': [],
  'feed-forward-input': ['attentionOutput', 'feedForwardInput'],
  'feed-forward-hidden': ['feedForwardOutput'],
};

/** Matrices of several parts have the statistics of their first. */
const LAW_OF: Readonly<Record<string, MatrixKind>> = { attn_qkv: 'attn_q' };

/** What shapes may have beyond a plain Llama: no metadata go with it. */
const SYNTH_FEATURES: readonly Feature[] = ['fused-matrices', 'head-norms', 'norm-places', 'halves-rotation'];

type TableOf = (exponent: number) => QuantileTable;

/** Quantile tables by exponent, each built when first used. */
function quantileTables(): TableOf {
  const tables = new Map<number, QuantileTable>();
  return (exponent) => {
    const table = tables.get(exponent) ?? buildQuantileTable(exponent);
    tables.set(exponent, table);
    return table;
  };
}

/** Makes matrices [rows][columns] whose rows are drawn by the law of their kind. */
function matrixMaker(recipe: SynthRecipe, tableOf: TableOf) {
  const { shape, seed, statistics } = recipe;
  const outliers = outlierChannels(recipe);
  const writesResidual = new Set(
    shape.architecture.matrices
      .filter(({ gives }) => gives.includes('attention') || gives.includes('feed-forward'))
      .map(({ tensor }) => tensor),
  );
  return (kind: string, name: string, rows: number, columns: number, codec: Codec): GgufTensorSource => {
    if (columns % codec.blockSize !== 0) {
      throw new OnefetError(
        'usage',
        'SYNTH_SHAPE',
        `${name} of shape ${shape.name} has rows of ${columns} values, not a multiple of ${codec.name}'s block of ${codec.blockSize}`,
        { hint: 'choose another type' },
      );
    }
    const law = statistics.tensors[kind as MatrixKind];
    const sigma = law.sigma * Math.sqrt(law.fanIn / columns);
    const tensor = nameCoordinate(name);
    return {
      name,
      shape: [rows, columns],
      codec,
      row(n, out) {
        const factor = writesResidual.has(kind) && outliers.has(n) ? statistics.outliers.factor : 1;
        fillDraws(tableOf(law.shape), streamKey(STREAM.matrix, seed, tensor, n), factor * sigma, out);
      },
    };
  };
}

function normTensor(
  { seed, statistics }: SynthRecipe,
  name: string,
  width: number,
  tableOf: TableOf,
): GgufTensorSource {
  return {
    name,
    shape: [width],
    codec: F32,
    row(_, out) {
      const { gain, sigma } = statistics.norms;
      fillDraws(tableOf(2), streamKey(STREAM.norm, seed, nameCoordinate(name)), sigma, out);
      for (let i = 0; i < width; i++) out[i] += gain;
    },
  };
}

function factorsTensor(factors: Float32Array): GgufTensorSource {
  return {
    name: 'rope_freqs.weight',
    shape: [factors.length],
    codec: F32,
    row: (_, out) => out.set(factors),
  };
}

/** The metadata; `general.onefet.synthetic` marks the model wherever it is used. */
export function recipeMetadata({ shape, type, seed, statistics }: SynthRecipe): Map<string, GgufField> {
  const u32 = (value: number): GgufField => ({ type: 'u32', value });
  const text = (value: string): GgufField => ({ type: 'string', value });
  const architecture = shape.architecture.name;
  return new Map<string, GgufField>([
    ['general.architecture', text(architecture)],
    ['general.name', text(`synthetic ${shape.name}`)],
    ['general.description', text('Random weights with the statistics of a trained model: it says nothing.')],
    ['general.file_type', u32(SYNTH_TYPES[type])],
    ['general.quantization_version', u32(2)],
    ['general.onefet.synthetic', { type: 'bool', value: true }],
    ['general.onefet.shape', text(shape.name)],
    ['general.onefet.seed', { type: 'u64', value: seed }],
    ['general.onefet.statistics_sha256', text(statistics.sha256)],
    [`${architecture}.context_length`, u32(shape.contextTokens)],
    [`${architecture}.embedding_length`, u32(shape.dim)],
    [`${architecture}.block_count`, u32(shape.layers)],
    [`${architecture}.feed_forward_length`, u32(shape.ffnDim)],
    [`${architecture}.attention.head_count`, u32(shape.heads)],
    [`${architecture}.attention.head_count_kv`, u32(shape.kvHeads)],
    [`${architecture}.attention.key_length`, u32(shape.headDim)],
    [`${architecture}.attention.value_length`, u32(shape.headDim)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, { type: 'f32', value: shape.normEpsilon }],
    [`${architecture}.rope.dimension_count`, u32(shape.headDim)],
    [`${architecture}.rope.freq_base`, { type: 'f32', value: shape.ropeBase }],
    [`${architecture}.vocab_size`, u32(shape.vocab)],
    ...vocabularyFields(shape.vocab),
  ]);
}

/** The outlier channels of the residual stream, the same in all layers. */
export function outlierChannels({ shape, seed, statistics }: SynthRecipe): ReadonlySet<number> {
  const wanted = statistics.outliers.channelsPer4096;
  const count = wanted === 0 ? 0 : Math.min(shape.dim, Math.max(1, Math.round((wanted * shape.dim) / 4096)));
  const key = streamKey(STREAM.outliers, seed);
  const channels = new Set<number>();
  for (let i = 0; channels.size < count; i++) channels.add(bits32(key, i) % shape.dim);
  return channels;
}

function checkShape(shape: NamedShape): void {
  const refuse = (what: string): never => {
    throw new OnefetError('usage', 'SYNTH_SHAPE', `shape ${shape.name}: ${what}`);
  };
  const bounds: [
    'dim' | 'ffnDim' | 'layers' | 'heads' | 'kvHeads' | 'headDim' | 'vocab' | 'contextTokens',
    number,
    number,
  ][] = [
    ['dim', 1, 2 ** 17],
    ['ffnDim', 1, 2 ** 20],
    ['layers', 1, 1024],
    ['heads', 1, 4096],
    ['kvHeads', 1, 4096],
    ['headDim', 2, 4096],
    ['vocab', SMALLEST_VOCABULARY, 2 ** 20],
    ['contextTokens', 1, 2 ** 26],
  ];
  for (const [key, least, most] of bounds) {
    const value = shape[key];
    if (!Number.isInteger(value) || value < least || value > most) {
      refuse(`${key} is ${value}; a whole number from ${least} to ${most} is needed`);
    }
  }
  if (shape.heads % shape.kvHeads !== 0) {
    refuse(`${shape.heads} heads cannot share ${shape.kvHeads} key/value heads evenly`);
  }
  const missing = missingFeatures(shape, SYNTH_FEATURES);
  if (missing !== undefined) refuse(`${missing} cannot be made up`);
  if (shape.headDim % 2 !== 0) refuse(`headDim is ${shape.headDim}; an even number is needed`);
}
