/** Merged models in the cache: believed while they are what was written. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FIXTURE_ADAPTER, writeAdapter } from '../testing/adapters.ts';
import { writeFixture } from '../testing/models.ts';
import { adaptModel } from './adapters.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-adapted-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a merged model with a changed bit, or without its seal, is merged again; no folder for it is a typed error', () => {
  const base = join(folder, 'base.gguf');
  writeFixture(base);
  const choices = [{ path: writeAdapter(join(folder, 'adapter.gguf'), FIXTURE_ADAPTER), scale: 0.5 }];
  const cache = join(folder, 'cache');
  const { path } = adaptModel(base, choices, cache)!;
  const written = readFileSync(path);
  const again = () => {
    expect(adaptModel(base, choices, cache)!.path).toBe(path);
    return readFileSync(path).equals(written);
  };
  for (const at of [3, 40, written.length - 5]) {
    const changed = Buffer.from(written);
    changed[at] ^= 4;
    writeFileSync(path, changed);
    expect(again(), `byte ${at}`).toBe(true);
  }
  writeFileSync(path, written.subarray(0, 100));
  expect(again()).toBe(true);
  writeFileSync(`${path}.json`, '{}');
  expect(again()).toBe(true);
  writeFileSync(join(folder, 'file'), '');
  expect(() => adaptModel(base, choices, join(folder, 'file'))).toThrow(
    expect.objectContaining({ kind: 'input', code: 'FILE_UNWRITABLE' }),
  );
});
