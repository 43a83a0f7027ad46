/** Reading and writing of files that are not what they should be. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { jsonOf, readTextFile, writeFileAtomic } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('a text is read up to its bound, and one that never ends is refused there', () => {
  const path = join(folder, 'text');
  writeFileSync(path, 'a\u00e9b');
  expect(readTextFile(path, 'text', 4)).toBe('a\u00e9b');
  const tooLarge = expect.objectContaining({ kind: 'input', code: 'TEXT_SIZE' });
  expect(() => readTextFile(path, 'text', 3)).toThrow(tooLarge);
  expect(() => readTextFile('/dev/zero', 'text', 1 << 20)).toThrow(tooLarge);
  expect(() => readTextFile(join(folder, 'none'), 'text', 3)).toThrow(
    expect.objectContaining({ code: 'FILE_UNREADABLE', message: expect.stringContaining('ENOENT') }),
  );
  expect(() => readTextFile(folder, 'text', 1 << 20)).toThrow(/cannot read text .*EISDIR/);
});

it('a file that cannot be put in its place leaves nothing behind', () => {
  const path = join(folder, 'occupied');
  writeFileAtomic(join(path, 'inside'), 'x');
  expect(() => writeFileAtomic(path, 'y')).toThrow(expect.objectContaining({ code: 'FILE_UNWRITABLE' }));
  expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
});

it('JSON with a number that is none is refused by its path, and never written as null', () => {
  expect(jsonOf({ a: [1, { b: null, c: 'x' }] }, 'the result')).toBe('{"a":[1,{"b":null,"c":"x"}]}');
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => jsonOf({ chips: [{ kl: 0 }, { kl: bad }] }, 'the result')).toThrow(
      expect.objectContaining({
        kind: 'input',
        code: 'NOT_FINITE',
        message: `the result: chips.1.kl is ${bad}`,
      }),
    );
  }
});
