import { expect, test } from 'vitest';
import { checkOverrides } from './common-design.ts';
import { designSchema } from './registry.ts';

test('bits of a matrix that the model does not have are refused by name', () => {
  const design = (overrides: object) =>
    designSchema.parse({ name: 'd', process: 'p', cell: 'c', weights: { overrides } });
  const tensors = ['attn_q', 'attn_k', 'attn_v', 'ffn_up', 'ffn_down', 'output'];
  checkOverrides(design({ attn_v: 6, output: 3 }), tensors);
  expect(() => checkOverrides(design({ ffn_dwon: 6 }), tensors)).toThrowError(
    expect.objectContaining({
      kind: 'usage',
      code: 'DESIGN_TENSOR',
      message: expect.stringContaining('weights.overrides names "ffn_dwon"'),
      hint: 'did you mean ffn_down?',
    }),
  );
  expect(() => checkOverrides(design({ attn_qkv_bias_all: 6 }), tensors)).toThrowError(
    expect.objectContaining({ hint: `its matrices are ${tensors.join(', ')}` }),
  );
});
