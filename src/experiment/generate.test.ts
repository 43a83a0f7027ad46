import { join } from 'node:path';
import { expect, test } from 'vitest';
import { F16 } from '../model/codecs/f16.ts';
import { fixtureModel, writeFixture } from '../testing/models.ts';
import { runFolder } from '../testing/run-folder.ts';
import { generate } from './generate.ts';
import type { GenerateOptions } from './options.ts';

const options: GenerateOptions = {
  model: fixtureModel('small'),
  prompt: 'Once upon a time, there was a little girl named Lily.',
  design: 'log-domain',
  settings: ['mapping.method=round'],
  rangeText: 'experiments/texts/range.txt',
  tokens: 16,
  chips: 1,
  seed: 1,
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
  engine: 'auto',
  threads: 2,
};

test('the WebAssembly and the scalar engine say the same, digital and recoded; a chip is itself again', async () => {
  const fast = await generate(options);
  const scalar = await generate({ ...options, engine: 'scalar' });
  expect(fast.engine).toBe('wasm');
  expect(scalar.engine).toBe('scalar');
  for (const i of [0, 1]) expect(fast.texts[i].tokens).toEqual(scalar.texts[i].tokens);
  expect(fast.texts[0].sameTokens).toBe(fast.texts[0].tokens.length);
  const again = await generate({ ...options, threads: 1 });
  expect(again.texts[2].tokens).toEqual(fast.texts[2].tokens);
  expect(fast.texts[2].tokensPerSecond).toBeGreaterThan(0);
});

test('a chip says the same alone and behind others, greedy and sampled, for any number of threads', async () => {
  for (const change of [{}, { temperature: 0.9, topK: 20, repeatPenalty: 1.2 }]) {
    const together = await generate({ ...options, ...change, chips: 3 });
    const alone = await generate({ ...options, ...change, chips: 1, threads: 1 });
    expect(together.texts.slice(0, 3).map(({ tokens }) => tokens)).toEqual(
      alone.texts.map(({ tokens }) => tokens),
    );
    expect(new Set(together.texts.map(({ seed }) => seed)).size).toBe(4);
    expect(new Set(together.texts.slice(2).map(({ tokens }) => tokens.join())).size).toBeGreaterThan(1);
  }
});

test('a prompt never ends in EOS, and its special tokens are tokens', async () => {
  const tokensOf = async (change: Partial<GenerateOptions>) =>
    (await generate({ ...options, model: fixtureModel('tiny'), chips: 0, tokens: 8, threads: 1, ...change }))
      .texts[0].tokens;
  const expected = await tokensOf({});
  const withEos = join(runFolder('generate'), 'eos.gguf');
  writeFixture(withEos, {
    ...{ dim: 64, ffnDim: 96, layers: 1, heads: 4, kvHeads: 2, codec: F16 },
    fields: {
      'llama.context_length': { type: 'u32', value: 512 },
      'tokenizer.ggml.add_eos_token': { type: 'bool', value: true },
    },
  });
  expect(await tokensOf({ model: withEos })).toEqual(expected);
  expect(await tokensOf({ prompt: `<|begin_of_text|>${options.prompt}` })).toEqual(expected);
  expect(await tokensOf({ prompt: `${options.prompt}<|end_of_text|>` })).not.toEqual(expected);
});

test('what the WebAssembly engine cannot do goes to the scalar one with the reason, or is refused when wasm was asked for', async () => {
  const settings = [...options.settings, 'tile.rows=100'];
  const { engine, engineReason } = await generate({ ...options, settings, tokens: 2 });
  expect(engine).toBe('scalar');
  expect(engineReason).toContain('tile.rows = 100');
  await expect(generate({ ...options, settings, engine: 'wasm' })).rejects.toMatchObject({
    code: 'ENGINE_REFUSAL',
  });
});
