/** LoRA adapters: llama.cpp's answers with the same adapter, and what is refused. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import { type AdapterSizes, FIXTURE_ADAPTER, writeAdapter as write } from '../testing/adapters.ts';
import { writeFixture } from '../testing/models.ts';
import { openOracle } from '../testing/oracle.ts';
import { negativeLogLikelihood, runWindow } from '../testing/scoring.ts';
import { parseAdapterChoice } from './adapter-choice.ts';
import { newSession } from './forward.ts';
import type { GgufField } from './gguf-writer.ts';
import { openAdapter } from './lora.ts';
import { writeMerged } from './merge.ts';
import { buildLayers, type Model, openModel } from './model.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-lora-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const base = join(folder, 'base.gguf');
let model: Model;
beforeAll(() => {
  writeFixture(base);
  model = openModel(base);
});
afterAll(() => model.close());

const SIZES = FIXTURE_ADAPTER;
const writeAdapter = (
  name: string,
  sizes: AdapterSizes,
  fields?: Readonly<Record<string, GgufField | undefined>>,
): string => write(join(folder, name), sizes, fields);

test('the merged model is llama.cpp with the same adapter, at any scale', async () => {
  const adapter = writeAdapter('adapter.gguf', SIZES);
  const flat = writeAdapter('flat.gguf', SIZES, { 'adapter.lora.alpha': { type: 'f32', value: 0 } });
  const ids = Array.from({ length: 40 }, (_, i) => (i === 0 ? 1 : 3 + ((i * 97) % 1000)));
  const oracle = openOracle('lora');
  const nllOf = (path: string): number[] => {
    const merged = openModel(path);
    const session = newSession(merged, buildLayers(merged, buildDigital), 64);
    const own: number[] = [];
    runWindow(
      session,
      { window: 0, ids: Int32Array.from(ids), scoreFrom: 0, scoreTo: ids.length - 1 },
      (_, logits, target) => own.push(negativeLogLikelihood(logits, target)),
    );
    merged.close();
    return own;
  };
  const plain = nllOf(base);
  for (const [name, choices] of [
    ['half', [{ path: adapter, scale: 0.5 }]],
    ['alpha of zero', [{ path: flat, scale: 0.7 }]],
    [
      'two adapters',
      [
        { path: adapter, scale: 1 },
        { path: flat, scale: -0.5 },
      ],
    ],
  ] as const) {
    const answer = await oracle.ask(name, base, {
      score: [ids],
      adapters: choices.map(({ path, scale }) => ({ filePath: path, scale })),
    });
    const adapters = choices.map((choice) => openAdapter(choice, model.shape));
    const target = join(folder, `${name}.gguf`);
    writeMerged(model.file, adapters, target);
    for (const open of adapters) open.close();
    const found = nllOf(target);
    const theirs = answer.score[0].nll;
    expect(Math.max(...found.map((x, i) => Math.abs(x - theirs[i]))), name).toBeLessThan(1e-4);
    // And the adapter matters.
    expect(Math.max(...found.map((x, i) => Math.abs(x - plain[i]))), name).toBeGreaterThan(0.05);
  }
});

test('what is no adapter of this model is refused by name', () => {
  const code = (path: string): string => {
    try {
      openAdapter({ path, scale: 1 }, model.shape).close();
      return 'taken';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const q = { 'blk.0.attn_q.weight': [64, 3, 64] } as const;
  expect(code(writeAdapter('whole.gguf', q))).toBe('taken');
  expect(code(base)).toBe('LORA_TYPE');
  const text = (value: string): GgufField => ({ type: 'string', value });
  expect(code(writeAdapter('a.gguf', q, { 'general.architecture': text('qwen2') }))).toBe('LORA_MODEL');
  expect(code(writeAdapter('b.gguf', q, { 'adapter.lora.alpha': undefined }))).toBe('LORA_ALPHA');
  expect(code(writeAdapter('c.gguf', q, { 'adapter.lora.alpha': { type: 'f32', value: Number.NaN } }))).toBe(
    'LORA_ALPHA',
  );
  const invocation: GgufField = { type: 'i32s', value: [1, 2] };
  expect(code(writeAdapter('d.gguf', q, { 'adapter.alora.invocation_tokens': invocation }))).toBe(
    'LORA_TYPE',
  );
  expect(code(writeAdapter('e.gguf', { 'blk.0.attn_q.weight': [64, 3, 32] }))).toBe('LORA_TENSOR');
  expect(code(writeAdapter('f.gguf', { 'blk.0.attn_q.weight': [32, 3, 64] }))).toBe('LORA_TENSOR');
  expect(code(writeAdapter('g.gguf', { 'blk.9.attn_q.weight': [64, 3, 64] }))).toBe('LORA_TENSOR');
  expect(code(writeAdapter('h.gguf', { 'token_embd.weight': [1024, 3, 64] }))).toBe('LORA_TENSOR');
  expect(code(writeAdapter('i.gguf', {}))).toBe('LORA_TENSOR');
  expect(() => openAdapter({ path: join(folder, 'none.gguf'), scale: 1 }, model.shape)).toThrow(
    'cannot open',
  );
});

test('a scale stands behind a colon', () => {
  expect(parseAdapterChoice('a.gguf')).toEqual({ path: 'a.gguf', scale: 1 });
  expect(parseAdapterChoice('a.gguf:0.25')).toEqual({ path: 'a.gguf', scale: 0.25 });
  expect(parseAdapterChoice('c:/a.gguf')).toEqual({ path: 'c:/a.gguf', scale: 1 });
  expect(parseAdapterChoice('c:/a.gguf:-1')).toEqual({ path: 'c:/a.gguf', scale: -1 });
});
