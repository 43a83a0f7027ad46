/**
 * Every feature of an architecture description against a second forward pass: whole texts at once, plain arrays in double
 * precision, rotations as complex numbers, written from the papers and not from forward.ts.
 */
import { describe, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import { gaussian, nameCoordinate, streamKey } from '../random.ts';
import { type Architecture, LLAMA, matricesReading, tensorNames } from './architecture.ts';
import { FORWARD_FEATURES, forward, newSession } from './forward.ts';
import type { Model, ModelLayers } from './model.ts';
import { ropeFrequencies, ropeMagnitude } from './rope.ts';
import {
  blockMatrices,
  headMatrix,
  type ModelShape,
  missingFeatures,
  modelMatrices,
  modelShape,
  requiredFeatures,
  windowTokens,
} from './shape.ts';

const SHAPE = {
  dim: 12,
  ffnDim: 20,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  headDim: 6,
  vocab: 11,
  contextTokens: 16,
  normEpsilon: 1e-3,
  ropeBase: 100,
  tied: false,
};
const IDS = [3, 7, 1, 7, 10, 0, 2, 5];

const PHI: Architecture = {
  ...LLAMA,
  name: 'fused',
  matrices: [
    { tensor: 'attn_qkv', reads: 'attention-input', gives: ['query', 'key', 'value'], bias: 'always' },
    { tensor: 'attn_output', reads: 'attention-output', gives: ['attention'], bias: 'none' },
    { tensor: 'ffn_up', reads: 'feed-forward-input', gives: ['gate', 'up'], bias: 'none' },
    { tensor: 'ffn_down', reads: 'feed-forward-hidden', gives: ['feed-forward'], bias: 'none' },
  ],
};
const headNorms = (over: 'head' | 'row'): Architecture['norms'] => ({
  ...LLAMA.norms,
  query: { tensor: 'attn_q_norm', over },
  key: { tensor: 'attn_k_norm', over },
});
const OUTPUT_NORMS = { attentionOutput: 'post_attention_norm', feedForwardOutput: 'post_ffw_norm' };
const HALVES = { ...LLAMA.rotary, pairs: 'halves' as const };
const WINDOW = { tokens: 3, fullEvery: 3, ropeBase: 30 };
const YARN = { factor: 8, originalContextTokens: 64 };
const SCALES = { embedding: 3.5, residual: 0.3, scores: 0.2, logits: 0.125 };

const VARIANTS: [string, Partial<ModelShape>, string[]][] = [
  ['a plain Llama', {}, []],
  ['biases', { biases: ['attn_q', 'attn_k', 'attn_v', 'ffn_down'] }, ['biases']],
  ['fused matrices', { architecture: PHI, biases: ['attn_qkv'] }, ['biases', 'fused-matrices']],
  ['norms of each head', { architecture: { ...LLAMA, norms: headNorms('head') } }, ['head-norms']],
  ['norms of all heads', { architecture: { ...LLAMA, norms: headNorms('row') } }, ['head-norms']],
  [
    'norms before and after a layer',
    { architecture: { ...LLAMA, norms: { ...LLAMA.norms, ...OUTPUT_NORMS } } },
    ['norm-places'],
  ],
  ['norms only after a layer', { architecture: { ...LLAMA, norms: OUTPUT_NORMS } }, ['norm-places']],
  ['halves', { architecture: { ...LLAMA, rotary: HALVES } }, ['halves-rotation']],
  ['a part of each head turns', { ropeDim: 4 }, ['partial-rotation']],
  [
    'halves of a part',
    { ropeDim: 4, architecture: { ...LLAMA, rotary: HALVES } },
    ['halves-rotation', 'partial-rotation'],
  ],
  ['YaRN', { yarn: YARN }, ['yarn']],
  ['gelu', { architecture: { ...LLAMA, activation: 'gelu' } }, ['gelu']],
  ['a window in all blocks', { window: { ...WINDOW, fullEvery: 0 } }, ['window']],
  ['a window in two blocks of three', { window: WINDOW }, ['window']],
  ['soft caps', { softCaps: { scores: 0.5, logits: 1.5 } }, ['soft-caps']],
  ['scales', { scales: SCALES }, ['scales']],
  [
    'all at once',
    {
      architecture: {
        ...PHI,
        norms: { ...headNorms('head'), ...OUTPUT_NORMS },
        rotary: HALVES,
        activation: 'gelu',
      },
      biases: ['attn_qkv'],
      window: WINDOW,
      ropeDim: 4,
      yarn: YARN,
      softCaps: { scores: 2, logits: 4 },
      scales: SCALES,
    },
    [...FORWARD_FEATURES],
  ],
];

/** N(0, 1/K) rows and biases, gains near 1: a function of the name and the place. */
const weight = (name: string, n: number, k: number, inputs: number) =>
  Math.fround(gaussian(streamKey(5, nameCoordinate(name), n), k) / Math.sqrt(inputs));
const bias = (name: string, n: number) => Math.fround(0.5 * gaussian(streamKey(6, nameCoordinate(name)), n));
const gain = (name: string, k: number) =>
  Math.fround(1 + 0.3 * gaussian(streamKey(7, nameCoordinate(name)), k));

function layersOf(shape: ModelShape): ModelLayers {
  const { norms } = shape.architecture;
  const linear = ({ name, outputs, inputs }: ReturnType<typeof headMatrix>) =>
    buildDigital(name, outputs, inputs, (n, out) => {
      for (let k = 0; k < inputs; k++) out[k] = weight(`${name.layer}.${name.tensor}`, n, k, inputs);
    });
  const gains = (name: string, width: number) =>
    Float32Array.from({ length: width }, (_, k) => gain(name, k));
  const rotation = (layer: number) => {
    if (windowTokens(shape, layer) === undefined) {
      return { ropeFrequencies: ropeFrequencies(shape), ropeMagnitude: ropeMagnitude(shape) };
    }
    const local = modelShape({ ...SHAPE, ropeBase: shape.window!.ropeBase });
    return {
      ropeFrequencies: ropeFrequencies({ ...local, ...(shape.ropeDim ? { ropeDim: shape.ropeDim } : {}) }),
      ropeMagnitude: 1,
    };
  };
  return {
    blocks: Array.from({ length: shape.layers }, (_, layer) => ({
      linears: blockMatrices(shape, layer).map(linear),
      biases: blockMatrices(shape, layer).map(({ name: { tensor }, outputs }) =>
        shape.biases.includes(tensor)
          ? Float32Array.from({ length: outputs }, (_, n) => bias(`${layer}.${tensor}`, n))
          : undefined,
      ),
      norms: Object.fromEntries(
        Object.keys(norms).map((place) => {
          const heads = place === 'query' ? norms.query : place === 'key' ? norms.key : undefined;
          const row = place === 'query' ? shape.queryDim : shape.kvDim;
          const width = heads === undefined ? shape.dim : heads.over === 'head' ? shape.headDim : row;
          return [place, gains(`${layer}.${place}`, width)];
        }),
      ),
      ...rotation(layer),
    })),
    outputNorm: gains('output', shape.dim),
    output: linear(headMatrix(shape)),
    embedding: (id, out) => {
      for (let i = 0; i < out.length; i++) out[i] = weight('embedding', id, i, 1);
    },
  };
}

const sum = (x: number[]) => x.reduce((a, b) => a + b, 0);
const add = (x: number[], y: number[]) => x.map((v, i) => v + y[i]);

/**
 * What YaRN leaves of an angle, as transformers computes it (_compute_yarn_parameters): a blend of 1 and 1 / factor
 * between the pairs that turn 32 times and once within the original context, at whole dimensions.
 */
function yarnShare(pair: number, n: number, base: number, yarn: ModelShape['yarn']): number {
  if (!yarn) return 1;
  const dimension = (turns: number) =>
    (n * Math.log(yarn.originalContextTokens / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const [low, high] = [Math.max(Math.floor(dimension(32)), 0), Math.min(Math.ceil(dimension(1)), n - 1)];
  const ramp = Math.min(1, Math.max(0, (pair - low) / (high === low ? 0.001 : high - low)));
  return ramp / yarn.factor + (1 - ramp);
}

/** Logits behind a text. */
function reference(shape: ModelShape, ids: readonly number[]): number[] {
  const { dim, headDim: d, heads, kvHeads, ffnDim, queryDim, kvDim, scales = {}, softCaps = {} } = shape;
  const { architecture: form } = shape;
  const rms = (x: number[], name: string) => {
    const scale = 1 / Math.sqrt(sum(x.map((v) => v * v)) / x.length + shape.normEpsilon);
    return x.map((v, i) => v * scale * gain(name, i));
  };
  const cap = (z: number, c: number | undefined) => (c === undefined ? z : c * Math.tanh(z / c));
  /** Outputs `from` to `from + count` of a matrix. */
  const rows = (layer: number, tensor: string, a: number[], from: number, count: number) =>
    Array.from({ length: count }, (_, i) => {
      const name = `${layer}.${tensor}`;
      const product = sum(a.map((v, k) => v * weight(name, from + i, k, a.length)));
      return product + (shape.biases.includes(tensor) ? bias(name, from + i) : 0);
    });
  const fused = form.name === 'fused';
  const qkv = (layer: number, a: number[]) =>
    fused
      ? [
          rows(layer, 'attn_qkv', a, 0, queryDim),
          rows(layer, 'attn_qkv', a, queryDim, kvDim),
          rows(layer, 'attn_qkv', a, queryDim + kvDim, kvDim),
        ]
      : [
          rows(layer, 'attn_q', a, 0, queryDim),
          rows(layer, 'attn_k', a, 0, kvDim),
          rows(layer, 'attn_v', a, 0, kvDim),
        ];
  const gateUp = (layer: number, b: number[]) =>
    fused
      ? [rows(layer, 'ffn_up', b, 0, ffnDim), rows(layer, 'ffn_up', b, ffnDim, ffnDim)]
      : [rows(layer, 'ffn_gate', b, 0, ffnDim), rows(layer, 'ffn_up', b, 0, ffnDim)];
  const norms = (x: number[], norm: { over: 'head' | 'row' } | undefined, name: string) => {
    if (!norm) return x;
    if (norm.over === 'row') return rms(x, name);
    return Array.from({ length: x.length / d }, (_, h) => rms(x.slice(h * d, (h + 1) * d), name)).flat();
  };
  /** Multiplies the complex numbers that the pairs of a head are by e^(i p theta_j). */
  const turn = (x: number[], position: number, base: number, yarn: ModelShape['yarn']) => {
    const y = [...x];
    const n = shape.ropeDim ?? d;
    for (let h = 0; h < x.length / d; h++) {
      for (let j = 0; j < n / 2; j++) {
        const theta = position * base ** ((-2 * j) / n) * yarnShare(j, n, base, yarn);
        const length = yarn ? 0.1 * Math.log(yarn.factor) + 1 : 1;
        const [re, im] = form.rotary.pairs === 'adjacent' ? [2 * j, 2 * j + 1] : [j, j + n / 2];
        const [a, b] = [x[h * d + re], x[h * d + im]];
        y[h * d + re] = length * (a * Math.cos(theta) - b * Math.sin(theta));
        y[h * d + im] = length * (a * Math.sin(theta) + b * Math.cos(theta));
      }
    }
    return y;
  };
  const act = (z: number) =>
    form.activation === 'silu'
      ? z / (1 + Math.exp(-z))
      : (z / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)));
  const after = (x: number[], name: string | undefined, key: string) => {
    const y = name === undefined ? x : rms(x, key);
    return y.map((v) => v * (scales.residual ?? 1));
  };

  let stream = ids.map((id) =>
    Array.from({ length: dim }, (_, i) => weight('embedding', id, i, 1) * (scales.embedding ?? 1)),
  );
  for (let layer = 0; layer < shape.layers; layer++) {
    const { window } = shape;
    // Blocks 2, 5, ... of `fullEvery: 3` see everything.
    const local = window !== undefined && !(window.fullEvery === 3 && layer % 3 === 2);
    const base = local ? window.ropeBase : shape.ropeBase;
    const yarn = local ? undefined : shape.yarn;
    const inputs = stream.map((x) => (form.norms.attentionInput ? rms(x, `${layer}.attentionInput`) : x));
    const parts = inputs.map((a, p) => {
      const [q, k, v] = qkv(layer, a);
      return {
        q: turn(norms(q, form.norms.query, `${layer}.query`), p, base, yarn),
        k: turn(norms(k, form.norms.key, `${layer}.key`), p, base, yarn),
        v,
      };
    });
    const mixed = parts.map(({ q }, p) =>
      Array.from({ length: heads }, (_, h) => {
        const kv = Math.floor((h * kvHeads) / heads);
        const seen = parts.slice(local ? Math.max(0, p - window.tokens + 1) : 0, p + 1);
        const scores = seen.map(({ k }) => {
          const dot = sum(Array.from({ length: d }, (_, i) => q[h * d + i] * k[kv * d + i]));
          return Math.exp(cap(dot * (scales.scores ?? d ** -0.5), softCaps.scores));
        });
        const total = sum(scores);
        return Array.from({ length: d }, (_, i) =>
          sum(seen.map(({ v }, t) => (scores[t] / total) * v[kv * d + i])),
        );
      }).flat(),
    );
    stream = stream.map((x, p) => {
      const out = rows(layer, 'attn_output', mixed[p], 0, dim);
      return add(x, after(out, form.norms.attentionOutput, `${layer}.attentionOutput`));
    });
    stream = stream.map((x) => {
      const b = form.norms.feedForwardInput ? rms(x, `${layer}.feedForwardInput`) : x;
      const [gate, up] = gateUp(layer, b);
      const hidden = gate.map((z, i) => act(z) * up[i]);
      const out = rows(layer, 'ffn_down', hidden, 0, dim);
      return add(x, after(out, form.norms.feedForwardOutput, `${layer}.feedForwardOutput`));
    });
  }
  const last = rms(stream[stream.length - 1], 'output');
  return rows(-1, 'output', last, 0, shape.vocab).map((z) => cap(z * (scales.logits ?? 1), softCaps.logits));
}

describe('the forward pass of each feature equals the formula', () => {
  const plain = reference(modelShape(SHAPE), IDS);
  test.each(VARIANTS)('%s', (_, changes, features) => {
    const shape = modelShape({ ...SHAPE, ...changes });
    expect(requiredFeatures(shape).sort()).toEqual([...features].sort());
    const model = { name: 'drawn', shape } as Model;
    const session = newSession(model, layersOf(shape), SHAPE.contextTokens);
    let logits: Float32Array = new Float32Array(0);
    for (const [position, id] of IDS.entries()) logits = forward(session, id, { window: 0, position });
    const expected = reference(shape, IDS);
    const scale = Math.max(...expected.map(Math.abs));
    for (const [i, z] of expected.entries()) expect(Math.abs(logits[i] - z) / scale).toBeLessThan(3e-6);
    // The feature matters here: without it the logits are others.
    const difference = Math.max(...expected.map((z, i) => Math.abs(z - plain[i]) / scale));
    if (features.length > 0) expect(difference).toBeGreaterThan(1e-2);
  });
});

test('a pass says by name what it lacks', () => {
  const shape = modelShape({ ...SHAPE, biases: ['attn_q'], architecture: { ...LLAMA, activation: 'gelu' } });
  expect(missingFeatures(shape, FORWARD_FEATURES)).toBeUndefined();
  expect(missingFeatures(shape, ['gelu'])).toBe('architecture llama: biases of linear layers');
  expect(missingFeatures(shape, [])).toBe('architecture llama: biases of linear layers, GELU');
});

test('the matrices of a Llama, and which of them share inputs', () => {
  const shape = modelShape(SHAPE);
  const all = modelMatrices(shape);
  expect(all.length).toBe(7 * 3 + 1);
  expect(all.slice(7, 14).map(({ name, outputs, inputs }) => [name.tensor, outputs, inputs])).toEqual([
    ['attn_q', 24, 12],
    ['attn_k', 12, 12],
    ['attn_v', 12, 12],
    ['attn_output', 12, 24],
    ['ffn_gate', 20, 12],
    ['ffn_up', 20, 12],
    ['ffn_down', 12, 20],
  ]);
  expect(all[13].name).toEqual({ layer: 1, tensor: 'ffn_down', ordinal: 6, count: 7 });
  expect(all[21]).toEqual({
    name: { layer: -1, tensor: 'output', ordinal: 7, count: 7 },
    outputs: 11,
    inputs: 12,
  });
  expect(matricesReading(LLAMA, 'attention-input')).toEqual([0, 1, 2]);
  expect(matricesReading(LLAMA, 'feed-forward-input')).toEqual([4, 5]);
  expect(tensorNames(PHI)).toEqual(['attn_qkv', 'attn_output', 'ffn_up', 'ffn_down', 'output']);
});
