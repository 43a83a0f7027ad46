/** What of an architecture each backend takes: all features, the WebAssembly engine where its vectors fit. */

import { expect, test } from 'vitest';
import { loadFabric } from '../fabric/registry.ts';
import { ARCHITECTURES, LLAMA } from '../model/architecture.ts';
import { type ModelShape, modelShape, requiredFeatures } from '../model/shape.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { refusal } from './backend.ts';
import { findBackend } from './create.ts';

const fabric = loadFabric(loadLogDomainDesign('log-domain', []).design);
const { norms, rotary, matrices } = LLAMA;
const [first, , value, ...others] = matrices;
const halves = { ...LLAMA, rotary: { ...rotary, pairs: 'halves' as const } };
const needs = (shape: ModelShape) =>
  ({ model: { shape }, fabric, mode: 'digital', threads: 1, contextTokens: 32 }) as const;

test.each<[string, Partial<ModelShape>]>([
  ['a plain Llama', {}],
  ['biases', { biases: ['attn_q', 'ffn_down'] }],
  ['yarn', { yarn: { factor: 4, originalContextTokens: 512 } }],
  [
    'fused-matrices',
    { architecture: { ...LLAMA, matrices: [{ ...first, gives: ['query', 'key'] }, value, ...others] } },
  ],
  [
    'head-norms',
    { architecture: { ...LLAMA, norms: { ...norms, query: { tensor: 'attn_q_norm', over: 'head' } } } },
  ],
  [
    'norm-places',
    { architecture: { ...LLAMA, norms: { ...norms, attentionOutput: 'post_attention_norm' } } },
  ],
  ['halves-rotation', { architecture: halves }],
  ['partial-rotation', { ropeDim: 32 }],
  ['gelu', { architecture: { ...LLAMA, activation: 'gelu' } }],
  ['window', { window: { tokens: 64, fullEvery: 0, ropeBase: 10_000 } }],
  ['soft-caps', { softCaps: { logits: 30 } }],
  ['scales', { scales: { residual: 0.5 } }],
])('%s', (feature, changes) => {
  const shape = modelShape({ ...MODEL_SHAPES.tiny, ...changes });
  if (feature !== 'a plain Llama') expect(requiredFeatures(shape)).toContain(feature);
  expect(refusal(findBackend('scalar'), needs(shape))).toBeUndefined();
  expect(refusal(findBackend('wasm'), needs(shape))).toBeUndefined();
});

test.each<[string, string, number, Partial<ModelShape>]>([
  ['vectors that a half does not fill', 'model rotating elements, in halves', 12, { ropeDim: 12 }],
  ['panels that a part does not fill', 'model part of a fused matrix', 520, { ffnDim: 520 }],
])('%s are left to the scalar engine', (_, key, value, changes) => {
  const { phi3 } = Object.fromEntries(ARCHITECTURES);
  const shape = modelShape({ ...MODEL_SHAPES.tiny, architecture: phi3, ...changes });
  expect(refusal(findBackend('scalar'), needs(shape))).toBeUndefined();
  expect(refusal(findBackend('wasm'), needs(shape))).toMatchObject({ key, value });
});
