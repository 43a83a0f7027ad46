import { expect, test } from 'vitest';
import { fixtureModel } from '../testing/models.ts';
import { type GenerateOptions, generate } from './generate.ts';

const options: GenerateOptions = {
  model: fixtureModel('small'),
  prompt: 'Once upon a time, there was a little girl named Lily.',
  design: 'log-domain',
  settings: [],
  rangeText: 'experiments/texts/range.txt',
  tokens: 24,
  chips: 1,
  seed: 1,
  temperature: 0,
  topP: 1,
  kernel: 'auto',
  threads: 2,
};

test('fast engine and scalar kernels say the same, digital and recoded; a chip is itself again', async () => {
  const fast = await generate(options);
  const scalar = await generate({ ...options, kernel: 'baked' });
  expect(fast.kernel).toBe('fast');
  expect(scalar.kernel).toBe('baked');
  for (const i of [0, 1]) expect(fast.texts[i].tokens).toEqual(scalar.texts[i].tokens);
  expect(fast.texts[0].sameTokens).toBe(fast.texts[0].tokens.length);
  const again = await generate({ ...options, threads: 1 });
  expect(again.texts[2].tokens).toEqual(fast.texts[2].tokens);
  expect(fast.texts[2].tokensPerSecond).toBeGreaterThan(0);
});

test('what the fast engine cannot do goes to the scalar kernel with the reason, or is refused when fast was asked', async () => {
  const settings = ['tile.sign=two-conversion'];
  const { kernel, kernelReason } = await generate({ ...options, settings, tokens: 2 });
  expect(kernel).toBe('baked');
  expect(kernelReason).toContain('two-conversion');
  await expect(generate({ ...options, settings, kernel: 'fast' })).rejects.toMatchObject({
    code: 'ENGINE_DESIGN',
  });
});
