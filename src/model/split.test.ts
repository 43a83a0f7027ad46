/** Models in several files, as llama.cpp's gguf-split writes them. */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { buildDigital } from '../fabric/build-digital.ts';
import { sha256 } from '../files.ts';
import { splitFixture, writeFixture } from '../testing/models.ts';
import { forward, newSession } from './forward.ts';
import { openGguf } from './gguf.ts';
import { inspectModel } from './inspect.ts';
import { buildLayers, openModel } from './model.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-split-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const logits = (path: string): Float32Array => {
  const model = openModel(path);
  const session = newSession(model, buildLayers(model, buildDigital), 8);
  forward(session, 1022, { window: 0, position: 0 });
  const out = forward(session, 7, { window: 0, position: 1 }).slice();
  model.close();
  return out;
};

/** A split model in a folder of its own. */
function parts(name: string, count = 3): string[] {
  return splitFixture(join(mkdtempSync(join(folder, 'm-')), `${name}.gguf`), {}, count);
}

test('a split model is the model; more parts than are open at a time', () => {
  const path = join(folder, 'whole.gguf');
  writeFixture(path);
  const expected = logits(path);
  for (const count of [2, 3, 21]) {
    const paths = parts('split', count);
    expect(logits(paths[0])).toEqual(expected);
    const model = openModel(paths[0]);
    expect(model.sha256()).toBe(sha256(Buffer.concat(paths.map((part) => readFileSync(part)))));
    expect(model.file.tensors.size).toBe(21);
    model.close();
    expect(() => model.file.read(0, new Uint8Array(1))).toThrowError(/after it was closed/);
  }
});

describe('parts that do not fit are named', () => {
  const refused = (path: string) => expect(() => openGguf(path));
  const error = (message: RegExp) =>
    expect.objectContaining({ kind: 'input', code: 'MODEL_SPLIT', message: expect.stringMatching(message) });

  test('a missing part', () => {
    const paths = parts('missing');
    rmSync(paths[1]);
    refused(paths[0]).toThrowError(error(/part 2 of the model is missing: .*missing-00002-of-00003\.gguf/));
  });

  test('not the first part, or a part under another name', () => {
    const paths = parts('second');
    refused(paths[1]).toThrowError(
      expect.objectContaining({
        code: 'MODEL_SPLIT',
        hint: expect.stringContaining('second-00001-of-00003.gguf'),
      }),
    );
    const renamed = join(folder, 'renamed.gguf');
    renameSync(paths[0], renamed);
    refused(renamed).toThrowError(error(/not its first/));
  });

  test('a part of another model, and the same part twice', () => {
    const paths = parts('foreign');
    const others = parts('others', 4);
    writeFileSync(paths[1], readFileSync(others[1]));
    refused(paths[0]).toThrowError(
      error(/foreign-00002-of-00003\.gguf: does not belong .*split\.count is 4/),
    );
    writeFileSync(paths[1], readFileSync(paths[2]));
    refused(paths[0]).toThrowError(error(/foreign-00002.*split\.no is 2 where 1/));
  });

  test('tensors that are there twice, or not at all', () => {
    const paths = parts('twice');
    const smaller = splitFixture(join(folder, 'smaller.gguf'), { tensors: (all) => all.slice(0, 18) }, 3);
    const patched = readFileSync(smaller[2]);
    // The number of all tensors, as the others have it.
    patched.writeInt32LE(21, patched.indexOf('split.tensors.count') + 'split.tensors.count'.length + 4);
    writeFileSync(paths[2], patched);
    refused(paths[0]).toThrowError(error(/twice-00003.*is in an earlier part too/));
    const short = splitFixture(join(folder, 'short.gguf'), { tensors: (all) => all.slice(0, 20) }, 3);
    for (const path of short) {
      const bytes = readFileSync(path);
      bytes.writeInt32LE(22, bytes.indexOf('split.tensors.count') + 'split.tensors.count'.length + 4);
      writeFileSync(path, bytes);
    }
    refused(short[0]).toThrowError(error(/split\.tensors\.count is 22, the 3 parts have 20/));
  });

  test('a part that ends early', () => {
    const paths = parts('early');
    writeFileSync(paths[2], readFileSync(paths[2]).subarray(0, -64));
    refused(paths[0]).toThrowError(expect.objectContaining({ code: 'GGUF_TRUNCATED' }));
  });
});

test('inspect tells what the parts that are there say', () => {
  const paths = parts('inspected');
  expect(inspectModel(paths[0]).unsupported).toEqual([]);
  rmSync(paths[2]);
  const inspection = inspectModel(paths[0]);
  expect(inspection).toMatchObject({ name: 'fixture', fileType: 'F32', tokenizer: { size: 1024 } });
  expect(inspection.unsupported).toEqual([expect.objectContaining({ code: 'MODEL_SPLIT' })]);
});
