/** Reading and writing of files that are not what they should be. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { keepFile, makeFolder, readTextFile, toJson, writeFileAtomic } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, bytes: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

it('a text is read up to its bound; devices and folders are no texts', () => {
  const path = write('text', 'a\u00e9b');
  expect(readTextFile(path, 'text', { mostBytes: 4 })).toBe('a\u00e9b');
  const fails = (where: string, code: string, message: RegExp) =>
    expect(() => readTextFile(where, 'text', { mostBytes: 3 })).toThrow(
      expect.objectContaining({ kind: 'input', code, message: expect.stringMatching(message) }),
    );
  fails(path, 'TEXT_SIZE', /larger than the limit of 3 bytes/);
  fails('/dev/zero', 'FILE_UNREADABLE', /it is a device/);
  fails(join(folder, 'none'), 'FILE_UNREADABLE', /ENOENT/);
  fails(folder, 'FILE_UNREADABLE', /it is a folder/);
});

it('a pipe is read to its end, and up to the bound if it has none', () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const through = (command: string, mostBytes: number) => {
    const writer = spawn('sh', ['-c', `{ ${command}; } > ${pipe}`], { stdio: 'ignore' });
    try {
      return readTextFile(pipe, 'text', { mostBytes });
    } finally {
      writer.kill();
    }
  };
  expect(through('printf abc; sleep 0.1; printf def', 100)).toBe('abcdef');
  expect(() => through('yes', 1 << 20)).toThrow(expect.objectContaining({ code: 'TEXT_SIZE' }));
});

it('text that is not UTF-8 is refused with its place and the way to convert it', () => {
  const text = 'Once upon\na caf\u00e9';
  const read = (bytes: Uint8Array | string, options = {}) =>
    readTextFile(write('odd', bytes), 'text', options);
  const fails = (bytes: Uint8Array, message: RegExp, hint: RegExp) =>
    expect(() => read(bytes)).toThrow(
      expect.objectContaining({
        kind: 'input',
        code: 'TEXT_ENCODING',
        message: expect.stringMatching(message),
        hint: expect.stringMatching(hint),
      }),
    );
  expect(read(`\ufeff${text}`)).toBe(text);
  expect(read(`${text}\ufeff`)).toBe(`${text}\ufeff`);
  const wide = Buffer.from(text, 'utf16le');
  fails(Buffer.concat([Buffer.of(0xff, 0xfe), wide]), /is UTF-16/, /iconv -f utf-16 -t utf-8/);
  fails(Buffer.concat([Buffer.of(0xfe, 0xff), Buffer.from(wide).swap16()]), /is UTF-16/, /-f utf-16 /);
  fails(wide, /UTF-16 without a mark/, /-f utf-16le /);
  fails(Buffer.from(wide).swap16(), /UTF-16 without a mark/, /-f utf-16be /);
  fails(Buffer.from(text, 'latin1'), /byte 0xE9 at byte 15, line 2/, /iconv -f latin1 -t utf-8/);
  fails(Buffer.from('ab\ncd\0ef'), /NUL at byte 5, line 2/, /not a text file/);
  // A lone surrogate, an overlong form, a character that is cut, a byte that starts none.
  for (const [bytes, at] of [
    [[0x61, 0xed, 0xa0, 0x80], 1],
    [[0xc0, 0xaf], 0],
    [[0x61, 0x62, 0xe2, 0x82], 2],
    [[0xc3, 0xa9, 0xff, 0x61], 2],
  ] as const) {
    fails(Uint8Array.from(bytes), new RegExp(`at byte ${at}, line 1`), /latin1/);
  }
  expect(read(Buffer.from('* 1 \u00b5m', 'latin1'), { orLatin1: true })).toBe('* 1 \u00b5m');
});

it('a file that cannot be put in its place leaves nothing behind', () => {
  const path = join(folder, 'occupied');
  writeFileAtomic(join(path, 'inside'), 'x');
  expect(() => writeFileAtomic(path, 'y')).toThrow(expect.objectContaining({ code: 'FILE_UNWRITABLE' }));
  expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
});

it('JSON with a number that is none is refused by its path, and never written as null', () => {
  expect(toJson({ a: [1, { b: null, c: 'x' }] }, 'the result')).toBe('{"a":[1,{"b":null,"c":"x"}]}');
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => toJson({ chips: [{ kl: 0 }, { kl: bad }] }, 'the result')).toThrow(
      expect.objectContaining({
        kind: 'input',
        code: 'NOT_FINITE',
        message: `the result: chips.1.kl is ${bad}`,
      }),
    );
  }
});

it('a folder is made with those above it, and one that cannot be is an error and no endless try', () => {
  makeFolder(join(folder, 'a', 'b', 'c'));
  makeFolder(join(folder, 'a', 'b'));
  expect(existsSync(join(folder, 'a', 'b', 'c'))).toBe(true);
  expect(() => makeFolder('/proc/x/y')).toThrow(/ENOENT/);
  expect(() => makeFolder(join(write('file', ''), 'below'))).toThrow(/ENOTDIR/);
  expect(() => makeFolder(write('file', ''))).toThrow(/EEXIST/);
  const unwritable = expect.objectContaining({ kind: 'input', code: 'FILE_UNWRITABLE' });
  expect(() => writeFileAtomic('/proc/x/y', '')).toThrow(unwritable);
  expect(() => writeFileAtomic(join(write('file', ''), 'below', 'y'), '')).toThrow(unwritable);
});

it('what a cache cannot keep is no error', () => {
  for (const place of ['/proc/x/y', join(write('file', ''), 'below'), folder]) keepFile(place, 'x');
  keepFile(join(folder, 'kept', 'x'), 'x');
  expect(readFileSync(join(folder, 'kept', 'x'), 'utf8')).toBe('x');
});
