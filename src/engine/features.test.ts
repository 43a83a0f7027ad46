/** What of an architecture each backend takes: the WebAssembly engine refuses by name, the scalar one takes all. */

import { expect, test } from 'vitest';
import { loadFabric } from '../fabric/registry.ts';
import { LLAMA } from '../model/architecture.ts';
import { type ModelShape, modelShape, requiredFeatures } from '../model/shape.ts';
import { MODEL_SHAPES } from '../model/shapes.ts';
import { loadLogDomainDesign } from '../testing/designs.ts';
import { refusal } from './backend.ts';
import { findBackend } from './create.ts';

const fabric = loadFabric(loadLogDomainDesign('log-domain', []).design);
const { norms, rotary, matrices } = LLAMA;
const [first, ...others] = matrices;

test.each<[string, Partial<ModelShape>, boolean]>([
  ['a plain Llama', {}, true],
  ['biases', { biases: ['attn_q', 'ffn_down'] }, true],
  ['yarn', { yarn: { factor: 4, originalContextTokens: 512 } }, true],
  [
    'fused-matrices',
    { architecture: { ...LLAMA, matrices: [{ ...first, gives: ['query', 'key'] }, ...others] } },
    false,
  ],
  [
    'head-norms',
    { architecture: { ...LLAMA, norms: { ...norms, query: { tensor: 'attn_q_norm', over: 'head' } } } },
    false,
  ],
  [
    'norm-places',
    { architecture: { ...LLAMA, norms: { ...norms, attentionOutput: 'post_attention_norm' } } },
    false,
  ],
  ['halves-rotation', { architecture: { ...LLAMA, rotary: { ...rotary, pairs: 'halves' } } }, false],
  ['partial-rotation', { ropeDim: 32 }, false],
  ['gelu', { architecture: { ...LLAMA, activation: 'gelu' } }, false],
  ['window', { window: { tokens: 64, fullEvery: 0, ropeBase: 10_000 } }, false],
  ['soft-caps', { softCaps: { logits: 30 } }, false],
  ['scales', { scales: { residual: 0.5 } }, false],
])('%s', (feature, changes, taken) => {
  const shape = modelShape({ ...MODEL_SHAPES.tiny, ...changes });
  if (feature !== 'a plain Llama') expect(requiredFeatures(shape)).toContain(feature);
  const needs = { model: { shape }, fabric, mode: 'digital', threads: 1, contextTokens: 32 } as const;
  expect(refusal(findBackend('scalar'), needs)).toBeUndefined();
  const refused = refusal(findBackend('wasm'), needs);
  if (taken) expect(refused).toBeUndefined();
  else expect(refused).toMatchObject({ key: 'model features', value: feature });
});
