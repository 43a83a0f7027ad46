import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { EMBEDDED_Q8_0, writeFixture } from '../testing/models.ts';
import { inspectModel } from './inspect.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-inspect-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a model that is supported', () => {
  const { shape, tokenizer, unsupported, metadata, tensorTypes } = inspectModel(EMBEDDED_Q8_0);
  expect(shape).toMatchObject({ architecture: 'llama', dim: 256, layers: 4, kvHeads: 4, tied: false });
  expect(tokenizer).toEqual({ model: 'gpt2', size: 1024, bosId: 1022 });
  expect([unsupported, metadata]).toEqual([[], {}]);
  expect(tensorTypes.Q8_0).toBeGreaterThan(20);
});

test('what is not supported is said behind all that can be told', () => {
  const path = join(folder, 'other.gguf');
  writeFixture(path, {
    fields: {
      'general.architecture': { type: 'string', value: 'qwen9' },
      'tokenizer.ggml.pre': { type: 'string', value: 'no-such-cut' },
    },
  });
  const inspection = inspectModel(path);
  expect(inspection).toMatchObject({
    name: 'fixture',
    fileType: 'F32',
    shape: null,
    tokenizer: null,
    metadata: { 'general.architecture': 'qwen9', 'llama.embedding_length': 64 },
  });
  expect(inspection.unsupported.map(({ message }) => message)).toEqual([
    expect.stringContaining('architecture "qwen9" is not supported'),
    expect.stringContaining('no-such-cut'),
  ]);
  expect(inspection.parameters).toBeGreaterThan(1e5);
});

test('a type of weights that is not supported does not hide the rest', () => {
  const path = join(folder, 'type.gguf');
  writeFixture(path);
  const bytes = readFileSync(path);
  // The type behind name, dimensions and extents of one matrix: IQ2_XXS.
  const name = 'blk.0.ffn_up.weight';
  bytes.writeUInt32LE(16, bytes.indexOf(name) + name.length + 4 + 2 * 8);
  writeFileSync(path, bytes);
  const inspection = inspectModel(path);
  expect(inspection.tensorTypes).toMatchObject({ IQ2_XXS: 1 });
  expect(inspection).toMatchObject({ name: 'fixture', tokenizer: { size: 1024 } });
  expect(inspection.unsupported.map(({ code }) => code)).toEqual(['GGUF_TENSOR_TYPE']);
});

test('what is no GGUF is an error', () => {
  const path = join(folder, 'garbage.gguf');
  writeFileSync(path, 'this is not a model');
  expect(() => inspectModel(path)).toThrowError(expect.objectContaining({ kind: 'input' }));
});
