import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { sha256 } from '../files.ts';
import { fixtureModel } from '../testing/models.ts';
import { fileDigest } from './digest.ts';
import { openGguf } from './gguf.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-digest-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bytes = readFileSync(fixtureModel('tiny'));

/** A file as it was opened, and how much of it was read. */
function digestOf(path: string, record: string, age = 60): { digest: string; read: number } {
  const file = openGguf(path);
  try {
    let read = 0;
    // The time of the last change of a file cannot be set: told as long ago as the test wants it.
    const identity = file.identity.replace(/\d+$/, (ns) => String(BigInt(ns) - BigInt(age) * 1_000_000_000n));
    const watched = {
      sizeBytes: file.sizeBytes,
      identity,
      read(position: number, out: Uint8Array) {
        read += out.length;
        file.read(position, out);
      },
    };
    return { digest: fileDigest(watched, record, 0), read };
  } finally {
    file.close();
  }
}

const old = new Date(Date.now() - 3_600_000);

test('a file is hashed once; another content of the same size and age is another digest', () => {
  const [model, record] = [join(folder, 'a.gguf'), join(folder, 'cache', 'digests.json')];
  writeFileSync(model, bytes);
  utimesSync(model, old, old);
  expect(digestOf(model, record)).toEqual({ digest: sha256(bytes), read: bytes.length });
  expect(digestOf(model, record)).toEqual({ digest: sha256(bytes), read: 0 });
  const changed = Buffer.from(bytes);
  changed[changed.length - 2] ^= 1;
  writeFileSync(model, changed);
  utimesSync(model, old, old);
  expect(digestOf(model, record)).toEqual({ digest: sha256(changed), read: bytes.length });
});

test('what was just written is not kept, and a record that is none or cannot be written stops nothing', () => {
  const [model, record] = [join(folder, 'b.gguf'), join(folder, 'record.json')];
  writeFileSync(model, bytes);
  utimesSync(model, old, old);
  for (let i = 0; i < 2; i++) expect(digestOf(model, record, 0).read).toBe(bytes.length);
  writeFileSync(record, '{"schema":"onefet.digests/1","digests":[["x","y"]]}');
  expect(digestOf(model, record)).toEqual({ digest: sha256(bytes), read: bytes.length });
  expect(digestOf(model, record).read).toBe(0);
  const blocked = join(folder, 'blocked');
  mkdirSync(join(blocked, 'digests.json'), { recursive: true });
  expect(digestOf(model, join(blocked, 'digests.json')).digest).toBe(sha256(bytes));
  writeFileSync(join(folder, 'file'), '');
  expect(digestOf(model, join(folder, 'file', 'digests.json')).digest).toBe(sha256(bytes));
});

test('the newest sixty-four are kept', () => {
  const record = join(folder, 'many.json');
  const file = (n: number) => ({
    identity: `1:${n}:3:4:5`,
    sizeBytes: 1,
    read: (_: number, out: Uint8Array) => out.fill(n),
  });
  for (let n = 0; n < 70; n++) fileDigest(file(n), record, 0);
  const { digests } = JSON.parse(readFileSync(record, 'utf8')) as { digests: string[][] };
  expect(digests.map(([identity]) => identity)).toEqual(
    Array.from({ length: 64 }, (_, i) => file(6 + i).identity),
  );
});
