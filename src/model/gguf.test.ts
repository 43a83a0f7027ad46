/**
 * The reader against files built byte by byte from the specification, against @huggingface/gguf as an independent
 * reader, and against damage of every kind: a bad file must give an OnefetError, never a crash or a huge allocation.
 */

import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { platform } from 'node:process';
import { gguf as parseWithHuggingface } from '@huggingface/gguf';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { packageRoot } from '../files.ts';
import { needs } from '../testing/needs.ts';
import { F16 } from './codecs/f16.ts';
import { F32 } from './codecs/f32.ts';
import { Q8_0 } from './codecs/q8_0.ts';
import { openGguf, readRow } from './gguf.ts';
import type { GgufFile, GgufValue } from './gguf-file.ts';
import { GGUF_LIMITS } from './gguf-file.ts';
import type { GgufField } from './gguf-writer.ts';
import { writeGguf } from './gguf-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-gguf-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// --- bytes by the specification -------------------------------------------------------------------------------
type Bytes = number[];
const u8 = (v: number): Bytes => [v & 255];
const u16 = (v: number): Bytes => [v & 255, (v >>> 8) & 255];
const u32 = (v: number): Bytes => [...u16(v), ...u16(v >>> 16)];
const u64 = (v: number | bigint): Bytes => [
  ...new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, BigInt(v))).buffer),
];
const f32 = (v: number): Bytes => [...new Uint8Array(Float32Array.of(v).buffer)];
const f64 = (v: number): Bytes => [...new Uint8Array(Float64Array.of(v).buffer)];
const str = (v: string): Bytes => {
  const bytes = [...new TextEncoder().encode(v)];
  return [...u64(bytes.length), ...bytes];
};
const entry = (key: string, type: number, value: Bytes): Bytes => [...str(key), ...u32(type), ...value];
const tensor = (name: string, extents: number[], type: number, offset: number): Bytes => [
  ...str(name),
  ...u32(extents.length),
  ...extents.flatMap(u64),
  ...u32(type),
  ...u64(offset),
];

interface Parts {
  magic?: Bytes;
  version?: number;
  tensorCount?: number | bigint;
  entryCount?: number | bigint;
  entries?: Bytes[];
  tensors?: Bytes[];
  alignment?: number;
  data?: Bytes;
}

function assemble(parts: Parts): Uint8Array {
  const { entries = [], tensors = [], alignment = 32, data = [] } = parts;
  const header = [
    ...(parts.magic ?? [...new TextEncoder().encode('GGUF')]),
    ...u32(parts.version ?? 3),
    ...u64(parts.tensorCount ?? tensors.length),
    ...u64(parts.entryCount ?? entries.length),
    ...entries.flat(),
    ...tensors.flat(),
  ];
  while (header.length % alignment !== 0) header.push(0);
  return Uint8Array.from([...header, ...data]);
}

let count = 0;
function store(bytes: Uint8Array): string {
  const path = join(folder, `${count++}.gguf`);
  writeFileSync(path, bytes);
  return path;
}

function opened<T>(bytes: Uint8Array, use: (file: GgufFile) => T): T {
  const file = openGguf(store(bytes));
  try {
    return use(file);
  } finally {
    file.close();
  }
}

function codeOf(bytes: Uint8Array): string {
  try {
    opened(bytes, () => undefined);
  } catch (error) {
    expect(error).toBeInstanceOf(OnefetError);
    const { kind, code, message } = error as OnefetError;
    expect(kind).toBe('input');
    expect(message).not.toContain('\n');
    return code;
  }
  return 'opened';
}

const everyType: Bytes[] = [
  entry('t.u8', 0, u8(200)),
  entry('t.i8', 1, u8(-100)),
  entry('t.u16', 2, u16(60000)),
  entry('t.i16', 3, u16(-30000)),
  entry('t.u32', 4, u32(4000000000)),
  entry('t.i32', 5, u32(-2000000000)),
  entry('t.f32', 6, f32(0.5)),
  entry('t.bool', 7, u8(1)),
  entry('t.string', 8, str('naïve \u{1f600}')),
  entry('t.strings', 9, [...u32(8), ...u64(2), ...str('a'), ...str('')]),
  entry('t.nested', 9, [...u32(9), ...u64(2), ...u32(4), ...u64(1), ...u32(7), ...u32(0), ...u64(2), 1, 2]),
  entry('t.u64', 10, u64(2n ** 53n - 1n)),
  entry('t.i64', 11, u64(-5)),
  entry('t.f64', 12, f64(-Math.PI)),
  entry('t.u64.large', 10, u64(2n ** 63n)),
];
const values = Float32Array.from({ length: 8 }, (_, i) => i - 3.5);
const small = assemble({
  entries: everyType,
  tensors: [tensor('m', [4, 2], 0, 0), tensor('v', [3], 1, 32)],
  data: [...[...values].flatMap(f32), ...u16(0x3c00), ...u16(0xc000), ...u16(0x0001)],
});

describe('what a file says', () => {
  test('every value type, shapes outermost first, rows by position', () => {
    opened(small, (file) => {
      expect(Object.fromEntries(file.metadata)).toEqual({
        't.u8': 200,
        't.i8': -100,
        't.u16': 60000,
        't.i16': -30000,
        't.u32': 4000000000,
        't.i32': -2000000000,
        't.f32': 0.5,
        't.bool': true,
        't.string': 'naïve \u{1f600}',
        't.strings': ['a', ''],
        't.nested': [[7], [1, 2]],
        't.u64': 2 ** 53 - 1,
        't.i64': -5,
        't.f64': -Math.PI,
        't.u64.large': 2n ** 63n,
      });
      const m = file.tensors.get('m')!;
      expect(m.shape).toEqual([2, 4]);
      const row = new Float32Array(4);
      readRow(file, m, 1, row);
      expect(row).toEqual(values.subarray(4));
      const v = new Float32Array(3);
      readRow(file, file.tensors.get('v')!, 0, v);
      expect([...v]).toEqual([1, -2, 2 ** -24]);
    });
  });

  test('version 2 and another alignment', () => {
    const bytes = assemble({
      version: 2,
      entries: [entry('general.alignment', 4, u32(256))],
      tensors: [tensor('a', [1], 0, 0), tensor('b', [1], 0, 256)],
      alignment: 256,
      data: [...f32(1), ...Array(252).fill(0), ...f32(2)],
    });
    opened(bytes, (file) => {
      const out = new Float32Array(1);
      readRow(file, file.tensors.get('b')!, 0, out);
      expect([file.version, file.alignment, out[0]]).toEqual([2, 256, 2]);
    });
  });

  test.each(['f16', 'q8_0'])(
    'metadata and tensors of onefet-stories-%s equal @huggingface/gguf',
    async (type) => {
      const path = join(packageRoot, `experiments/models/onefet-stories-${type}.gguf`);
      const oracle = await parseWithHuggingface(path, { allowLocalFile: true });
      const file = openGguf(path);
      const { version, tensor_count, kv_count, ...metadata } = oracle.metadata as Record<string, unknown>;
      expect(Object.fromEntries(file.metadata)).toEqual(metadata);
      expect([file.version, BigInt(file.tensors.size), BigInt(file.metadata.size)]).toEqual([
        version,
        tensor_count,
        kv_count,
      ]);
      const dataOffset = Number(oracle.tensorDataOffset);
      for (const info of oracle.tensorInfos) {
        const found = file.tensors.get(info.name)!;
        expect([...found.shape].reverse()).toEqual(info.shape.map(Number));
        expect(found.codec.typeId).toBe(info.dtype);
        expect(found.offset).toBe(dataOffset + Number(info.offset));
      }
      file.close();
    },
  );

  // Windows would fill the hole with 5 GiB of zeros.
  const filled = process.platform === 'win32' ? 'Windows fills a hole with zeros' : undefined;
  test('a tensor beyond 4 GiB', needs(filled), () => {
    const far = 5 * 2 ** 30;
    const bytes = assemble({ tensors: [tensor('far', [2], 0, far)] });
    const path = store(bytes);
    const handle = openSync(path, 'r+');
    ftruncateSync(handle, bytes.length + far + 8); // a sparse file
    writeSync(handle, Uint8Array.from([...f32(1.5), ...f32(-2.5)]), 0, 8, bytes.length + far);
    closeSync(handle);
    const file = openGguf(path);
    const out = new Float32Array(2);
    readRow(file, file.tensors.get('far')!, 0, out);
    expect([...out]).toEqual([1.5, -2.5]);
    file.close();
    rmSync(path);
  });

  test('reading after close is an internal error', () => {
    const file = openGguf(store(small));
    file.close();
    file.close();
    expect(() => file.read(0, new Uint8Array(1))).toThrowError(/after it was closed/);
  });
});

describe('damage', () => {
  test('missing file and folder', () => {
    expect(() => openGguf(join(folder, 'none.gguf'))).toThrowError(
      expect.objectContaining({ kind: 'input', code: 'GGUF_MISSING' }),
    );
    expect(() => openGguf(folder)).toThrowError(
      expect.objectContaining({ kind: 'input', code: 'GGUF_MISSING' }),
    );
  });

  test(
    'a pipe is no model, and nobody waits for its writer',
    needs(platform === 'win32' ? 'no pipes' : undefined),
    () => {
      const pipe = join(folder, 'pipe.gguf');
      execFileSync('mkfifo', [pipe]);
      expect(() => openGguf(pipe)).toThrowError(expect.objectContaining({ code: 'GGUF_MISSING' }));
    },
  );

  test('arrays are bounded together, before they are read', () => {
    const path = join(folder, 'arrays.gguf');
    const ints = Array.from({ length: 5 }, (_, i): [string, GgufField] => [
      `a${i}`,
      { type: 'i32s', value: new Array(2 ** 20).fill(1) },
    ]);
    writeGguf(path, new Map(ints), []);
    expect(() => openGguf(path)).toThrowError(
      /arrays of the header have more than 4194304 elements, in "a4"/,
    );
    rmSync(path);
  });

  const many = 2n ** 60n;
  const cases: [string, string, Parts][] = [
    ['another format', 'GGUF_NOT_GGUF', { magic: [80, 75, 3, 4] }],
    ['version 1', 'GGUF_VERSION', { version: 1 }],
    ['version 4', 'GGUF_VERSION', { version: 4 }],
    ['big endian', 'GGUF_VERSION', { version: 0x03000000 }],
    ['absurd tensor count', 'GGUF_LIMIT', { tensorCount: many }],
    ['absurd entry count', 'GGUF_LIMIT', { entryCount: many }],
    ['more entries than bytes', 'GGUF_TRUNCATED', { entryCount: 60000 }],
    ['absurd key length', 'GGUF_LIMIT', { entryCount: 1, entries: [[...u64(many), ...Array(20).fill(0)]] }],
    [
      'key beyond the file',
      'GGUF_TRUNCATED',
      { entryCount: 1, entries: [[...u64(60000), ...Array(20).fill(65)]] },
    ],
    ['absurd string', 'GGUF_LIMIT', { entries: [entry('s', 8, u64(many))] }],
    ['string beyond the file', 'GGUF_TRUNCATED', { entries: [entry('s', 8, u64(10000000))] }],
    ['absurd array', 'GGUF_LIMIT', { entries: [entry('a', 9, [...u32(0), ...u64(many)])] }],
    ['array beyond the file', 'GGUF_TRUNCATED', { entries: [entry('a', 9, [...u32(4), ...u64(1000000)])] }],
    [
      'arrays too deep',
      'GGUF_LIMIT',
      {
        entries: [
          entry(
            'a',
            9,
            Array(GGUF_LIMITS.arrayDepth + 1)
              .fill([...u32(9), ...u64(1)])
              .flat()
              .concat(Array(40).fill(0)),
          ),
        ],
      },
    ],
    ['unknown value type', 'GGUF_VALUE', { entries: [entry('x', 13, u64(0))] }],
    ['boolean of 2', 'GGUF_VALUE', { entries: [entry('x', 7, u8(2))] }],
    ['key twice', 'GGUF_DUPLICATE', { entries: [entry('x', 0, u8(2)), entry('x', 0, u8(2))] }],
    ['alignment 0', 'GGUF_ALIGNMENT', { entries: [entry('general.alignment', 4, u32(0))] }],
    ['alignment 24', 'GGUF_ALIGNMENT', { entries: [entry('general.alignment', 4, u32(24))] }],
    ['alignment a word', 'GGUF_ALIGNMENT', { entries: [entry('general.alignment', 8, str('32'))] }],
    [
      'tensor twice',
      'GGUF_DUPLICATE',
      { tensors: [tensor('t', [1], 0, 0), tensor('t', [1], 0, 32)], data: Array(64).fill(0) },
    ],
    ['no dimensions', 'GGUF_SHAPE', { tensors: [tensor('t', [], 0, 0)] }],
    ['five dimensions', 'GGUF_SHAPE', { tensors: [tensor('t', [1, 1, 1, 1, 1], 0, 0)] }],
    ['extent 0', 'GGUF_SHAPE', { tensors: [tensor('t', [0], 0, 0)] }],
    ['extents that overflow', 'GGUF_SHAPE', { tensors: [tensor('t', [2 ** 30, 2 ** 30], 0, 0)] }],
    ['rows that split a block', 'GGUF_SHAPE', { tensors: [tensor('t', [48], 8, 0)] }],
    [
      'data beyond the file',
      'GGUF_TRUNCATED',
      { tensors: [tensor('t', [8], 0, 0)], data: Array(31).fill(0) },
    ],
    [
      'offset beyond the file',
      'GGUF_TRUNCATED',
      { tensors: [tensor('t', [1], 0, 2 ** 40)], data: Array(32).fill(0) },
    ],
    ['offset not aligned', 'GGUF_ALIGNMENT', { tensors: [tensor('t', [1], 0, 4)], data: Array(32).fill(0) }],
    [
      'overlap',
      'GGUF_OVERLAP',
      { tensors: [tensor('a', [16], 0, 0), tensor('b', [1], 0, 32)], data: Array(64).fill(0) },
    ],
  ];
  test.each(cases)('%s gives %s', (_, code, parts) => {
    expect(codeOf(assemble(parts))).toBe(code);
  });

  test('an unsupported type is named with its tensor and the types that are supported', () => {
    const bytes = assemble({
      tensors: [tensor('blk.0.ffn_up.weight', [256], 16, 0)],
      data: Array(96).fill(0),
    });
    expect(() => opened(bytes, () => undefined)).toThrowError(
      expect.objectContaining({
        code: 'GGUF_TENSOR_TYPE',
        message: expect.stringMatching(/"blk\.0\.ffn_up\.weight" is of type IQ2_XXS/),
        hint: expect.stringContaining('Q8_0'),
      }),
    );
  });

  test('every prefix of a small file is refused', () => {
    for (let length = 0; length < small.length; length++) {
      expect(['GGUF_TRUNCATED', 'GGUF_NOT_GGUF']).toContain(codeOf(small.subarray(0, length)));
    }
    expect(codeOf(small)).toBe('opened');
  });

  test('any overwritten bytes give a file or an input error, quickly', () => {
    const path = join(folder, 'mutant.gguf');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        (changes) => {
          const bytes = small.slice();
          for (const [at, value] of changes) bytes[at] = value;
          writeFileSync(path, bytes);
          try {
            openGguf(path).close();
          } catch (error) {
            expect(error).toMatchObject({ name: 'OnefetError', kind: 'input' });
          }
        },
      ),
      { numRuns: 2000, seed: 1 },
    );
  });
});

describe('the writer', () => {
  const fields = new Map<string, GgufField>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.onefet.synthetic', { type: 'bool', value: true }],
    ['n', { type: 'u32', value: 7 }],
    ['i', { type: 'i32', value: -7 }],
    ['long', { type: 'u64', value: 2 ** 40 }],
    ['epsilon', { type: 'f32', value: 0.25 }],
    ['tokens', { type: 'strings', value: ['é', '', 'b'] }],
    ['types', { type: 'i32s', value: [1, -1] }],
    ['scores', { type: 'f32s', value: [0.5, -1] }],
  ]);
  // Small integers survive every codec when 127 is the largest magnitude of each block (Q8_0: d = 1).
  const row = (n: number, out: Float32Array): void => {
    for (let k = 0; k < out.length; k++) out[k] = k % 32 === 0 ? 127 : ((k + n) % 5) - 2;
  };

  test('both readers get back what was written', async () => {
    const path = join(folder, 'written.gguf');
    writeGguf(path, fields, [
      { name: 'a', shape: [5, 64], codec: Q8_0, row },
      { name: 'b', shape: [3, 7], codec: F16, row },
      { name: 'c', shape: [9], codec: F32, row },
    ]);
    const file = openGguf(path);
    const expected = Object.fromEntries([...fields].map(([key, { value }]) => [key, value as GgufValue]));
    expect(Object.fromEntries(file.metadata)).toEqual(expected);
    for (const { name, shape } of file.tensors.values()) {
      const columns = shape[shape.length - 1];
      const got = new Float32Array(columns);
      const want = new Float32Array(columns);
      for (let n = 0; n < (shape.length > 1 ? shape[0] : 1); n++) {
        readRow(file, file.tensors.get(name)!, n, got);
        row(n, want);
        expect(got).toEqual(want);
      }
    }
    file.close();
    const oracle = await parseWithHuggingface(path, { allowLocalFile: true });
    expect(oracle.tensorInfos.map((t) => [t.name, t.shape.map(Number), t.dtype])).toEqual([
      ['a', [64, 5], 8],
      ['b', [7, 3], 1],
      ['c', [9], 0],
    ]);
    expect((oracle.metadata as Record<string, unknown>).tokens).toEqual(['é', '', 'b']);
  });

  test('same input, same bytes; an impossible tensor leaves no file', () => {
    const [first, second, none] = ['1', '2', '3'].map((name) => join(folder, `same-${name}.gguf`));
    const source = { name: 'a', shape: [5, 64], codec: Q8_0, row };
    writeGguf(first, fields, [source]);
    writeGguf(second, fields, [source]);
    expect(readFileSync(first).equals(readFileSync(second))).toBe(true);
    expect(() => writeGguf(none, fields, [{ ...source, shape: [5, 60] }])).toThrowError(
      /cannot be written as Q8_0/,
    );
    expect(() => readFileSync(none)).toThrowError(/ENOENT/);
  });
});
