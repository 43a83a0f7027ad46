import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bits32, streamKey } from '../../../random.ts';
import type { Operation } from '../plan/operations.ts';
import {
  dropCodesFile,
  finishCodesFile,
  packCodes,
  prepareCodesFile,
  readCodes,
  type TileCodes,
  unpackCodes,
  writeCodes,
} from './codes-cache.ts';
import { openPanelCodes } from './panel-codes.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-codes-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What of an operation decides a record; wide enough to be worth a file. */
const operation = (outputs: number, inputs = 600): Operation =>
  ({
    name: { layer: 0, tensor: 'ffn_up' },
    outputs,
    inputs,
    panels: Math.ceil(outputs / 16),
    kind: 'tile',
    bits: 6,
    rows: 256,
    lastRows: 88,
    tiles: 3,
    cells: 2,
  }) as unknown as Operation;

const draw = (seed: number, count: number) =>
  Int8Array.from({ length: count }, (_, i) => (bits32(streamKey(seed), i) % 15) - 7);

test('nibbles hold the codes, ragged tiles and two cells included', () => {
  for (const rows of [1, 6, 88, 256]) {
    const codes = draw(rows, rows * 32);
    const back = new Int8Array(rows * 32);
    for (const first of [0, 16]) unpackCodes(packCodes(codes, first, 32, rows), back, first, 32, rows);
    expect(back).toEqual(codes);
  }
});

test('a file is read again by the same model and formats only, whole or not at all', () => {
  const operations = [operation(120_000)];
  const [o] = operations;
  const file = prepareCodesFile(folder, 'a', operations)!;
  expect(file.mode).toBe('write');
  const tiles: TileCodes[] = [256, 256, 88].map((rows, tile) => {
    const codes = draw(tile, rows * 32);
    return {
      rows,
      scales: Float32Array.from({ length: 16 }, (_, n) => n + tile / 8),
      nibbles: [0, 16].map((first) => packCodes(codes, first, 32, rows)),
    };
  });
  const handle = openSync(file.path, 'r+');
  writeCodes(handle, file, 0, 5, tiles);
  closeSync(handle);
  // Not finished: nobody else sees it.
  expect(prepareCodesFile(folder, 'a', operations)!.mode).toBe('write');
  finishCodesFile(file);
  const known = prepareCodesFile(folder, 'a', operations)!;
  expect(known.mode).toBe('read');
  const reader = openSync(known.path, 'r');
  const found = readCodes(reader, known, o, 0, 5)!;
  closeSync(reader);
  expect(found.map(({ rows }) => rows)).toEqual([256, 256, 88]);
  found.forEach(({ scales, nibbles }, i) => {
    expect(scales).toEqual(tiles[i].scales);
    nibbles.forEach((part, cell) => {
      expect(Buffer.compare(part, tiles[i].nibbles[cell])).toBe(0);
    });
  });
  expect(prepareCodesFile(folder, 'b', operations)!.mode).toBe('write');
  expect(prepareCodesFile(folder, 'a', [{ ...o, bits: 4 }])!.mode).toBe('write');
  // One that was cut is made anew.
  truncateSync(known.path, 1000);
  expect(prepareCodesFile(folder, 'a', operations)!.mode).toBe('write');
});

test('small models are not worth a file; old files and parts of dead processes go', () => {
  expect(prepareCodesFile(folder, 'a', [operation(160)])).toBeUndefined();
  const own = mkdtempSync(join(folder, 'old-'));
  for (const [name, age] of [
    ['one.codes', 3],
    ['two.codes', 2],
    ['three.codes', 1],
  ] as const) {
    writeFileSync(join(own, name), name);
    const time = Date.now() / 1e3 - age * 1000;
    utimesSync(join(own, name), time, time);
  }
  writeFileSync(join(own, 'x.codes.4194305-1.part'), ''); // above the largest process number
  const file = prepareCodesFile(own, 'a', [operation(120_000)])!;
  expect(file.mode).toBe('write');
  expect(readdirSync(own).sort()).toEqual(['three.codes', file.path.split('/').at(-1)].sort());
  expect(existsSync(file.path)).toBe(true);
});

test('one flipped bit anywhere in a record, or a record in the place of another, is not believed', () => {
  const own = mkdtempSync(join(folder, 'bits-'));
  const operations = [operation(32)];
  const tiles: TileCodes[] = [256, 256, 88].map((rows, tile) => ({
    rows,
    scales: new Float32Array(16).fill(tile + 1),
    nibbles: [0, 16].map((first) => packCodes(draw(tile, rows * 32), first, 32, rows)),
  }));
  const file = prepareCodesFile(own, 'a', operations, 0)!;
  const writer = openSync(file.path, 'r+');
  for (const panel of [0, 1]) writeCodes(writer, file, 0, panel, tiles);
  closeSync(writer);
  finishCodesFile(file);
  const known = prepareCodesFile(own, 'a', operations, 0)!;
  const bytes = readFileSync(known.path);
  const read = (content: Uint8Array) => {
    writeFileSync(known.path, content);
    known.spoilt[0] = 0;
    const reader = openSync(known.path, 'r');
    const found = [0, 1].map((panel) => readCodes(reader, known, operations[0], 0, panel) !== undefined);
    closeSync(reader);
    return [...found, known.spoilt[0]];
  };
  expect(read(bytes)).toEqual([true, true, 0]);
  const size = file.recordBytes[0];
  for (let i = 0; i < 500; i++) {
    const at = bits32(streamKey(9), i) % size;
    const flipped = Buffer.from(bytes);
    flipped[at] ^= 1 << (i & 7);
    expect(read(flipped), `bit ${i & 7} of byte ${at}`).toEqual([false, true, 1]);
  }
  expect(read(Buffer.concat([bytes.subarray(size), bytes.subarray(0, size)]))).toEqual([false, false, 1]);
  expect(read(Buffer.alloc(bytes.length))).toEqual([false, false, 1]);
  expect(read(bytes.subarray(0, size + 5))).toEqual([true, false, 1]);
  // A spoilt file is made anew the next time.
  finishCodesFile(known);
  expect(prepareCodesFile(own, 'a', operations, 0)!.mode).toBe('write');
});

test('no state of the folder is an error', () => {
  const operations = [operation(32)];
  const inPlace = join(folder, 'a-file');
  writeFileSync(inPlace, '');
  expect(prepareCodesFile(inPlace, 'a', operations, 0)).toBeUndefined();
  expect(prepareCodesFile('/proc/none', 'a', operations, 0)).toBeUndefined();
  const own = mkdtempSync(join(folder, 'gone-'));
  const file = prepareCodesFile(own, 'a', operations, 0)!;
  rmSync(own, { recursive: true });
  const codes = openPanelCodes(file, operations);
  const recoded = [256, 256, 88].map((rows) => ({
    rows,
    scales: new Float32Array(16),
    codes: new Int8Array(rows * 32),
  }));
  expect(codes.of(0, 0, () => recoded)).toHaveLength(3);
  codes.close();
  finishCodesFile(file);
  dropCodesFile(file);
  // The disk is full: nothing more is written, and nothing is kept.
  const full = { ...prepareCodesFile(join(folder, 'full'), 'a', operations, 0)!, path: '/dev/full' };
  const writer = openPanelCodes(full, operations);
  expect(writer.of(0, 0, () => recoded)).toHaveLength(3);
  expect(full.spoilt[0]).toBe(1);
  writer.close();
});
