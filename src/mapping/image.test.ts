import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { OnefetError } from '../error.ts';
import { bits32, gaussian, streamKey } from '../random.ts';
import { weightFormat } from '../tile/weight-code.ts';
import { createImage, openImage } from './image.ts';
import { type ImageHeader, packCodes, unpackCodes } from './image-format.ts';
import type { ImageMatrix } from './image-matrix.ts';

const folder = mkdtempSync(join(tmpdir(), 'onefet-image-'));
afterAll(() => rmSync(folder, { recursive: true }));

const HASH = 'ab'.repeat(32);
const header: ImageHeader = {
  model: { name: 'fixture', sha256: HASH },
  design: { name: 'log-domain', sha256: HASH },
  text: { name: 'text', sha256: HASH, tokens: 12_288 },
  method: { name: 'auto', settings: { centre: true, sweeps: 2 }, reasons: ['rotated: .11 against .27'] },
  residual: { length: 24, repeat: 1, seed: 7 },
};

function drawMatrix(name: string, bits: 3 | 4 | 6, seed: number, full: boolean): ImageMatrix {
  const [outputs, inputs, tileRows, rank] = [5, 24, 10, 2];
  const { magnitudeMax } = weightFormat(bits);
  const floats = (length: number, stream: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => gaussian(streamKey(seed, stream), i));
  const codes = Int8Array.from(
    { length: outputs * inputs },
    (_, i) => (bits32(streamKey(seed, 9), i) % (2 * magnitudeMax + 1)) - magnitudeMax,
  );
  const path = (stream: number) => ({
    rank,
    down: floats(rank * inputs, stream),
    up: floats(outputs * rank, stream + 1),
  });
  return {
    name,
    outputs,
    inputs,
    tileRows,
    bits,
    codes,
    scales: floats(outputs * 3, 1),
    centre: full ? { mean: floats(inputs, 2), addend: floats(outputs, 3) } : undefined,
    side: full ? path(4) : undefined,
    principal: full ? path(6) : undefined,
    rotation: full ? { length: 12, repeat: 2, seed: 3, online: true } : null,
    steps: [{ step: 'gptq', error: 0.0115 }],
  };
}

const MATRICES = ([3, 4, 6] as const).flatMap((bits, i) =>
  [false, true].map((full) => drawMatrix(`blk.${i}.${full ? 'ffn_down' : 'attn_q'}`, bits, 10 * i + 1, full)),
);
const GAIN = Float32Array.from({ length: 24 }, (_, j) => 1 + j / 100);

const RANGES = {
  fabric: 'log-domain',
  conditions: { 'input.bits': 6, cell: 't1', driver: null },
  text: { name: 'range.txt', sha256: HASH, tokens: 7 },
};
/** By matrix [tiles][cells per weight], exact in f32. */
const TABLE = { 'blk.0.attn_q': [[1.5], [0.25], [3]], 'blk.2.ffn_down': [[1, 0.5]] };

function writeWhole(path: string): void {
  const writer = createImage(path, header);
  for (const matrix of MATRICES) writer.writeMatrix(matrix);
  writer.writeVector('blk.0.attn_norm', GAIN);
  writer.writeRanges(RANGES, TABLE);
  writer.finish();
}

test('round trip: every array as it was, and the same bytes again', () => {
  const path = join(folder, 'whole.image');
  writeWhole(path);
  const image = openImage(path);
  expect(image.header).toEqual(header);
  expect([...image.matrices.keys()]).toEqual(MATRICES.map(({ name }) => name));
  for (const matrix of MATRICES) {
    expect(image.readMatrix(matrix.name)).toEqual(matrix);
    expect(image.readCodes(matrix.name, 2, 2)).toEqual(matrix.codes.subarray(2 * 24, 4 * 24));
  }
  expect(image.readVector('blk.0.attn_norm')).toEqual(GAIN);
  expect(image.ranges).toMatchObject(RANGES);
  expect(image.readRanges()).toEqual(TABLE);
  expect(() => image.readMatrix('blk.9.attn_q')).toThrow('there is no blk.9.attn_q');
  expect(() => image.readVector(MATRICES[0].name)).toThrow('there is no');
  expect(() => image.readCodes(MATRICES[0].name, 4, 2)).toThrow('outputs 4 to 6 of 5');
  image.close();
  writeWhole(join(folder, 'again.image'));
  expect(readFileSync(join(folder, 'again.image'))).toEqual(readFileSync(path));
});

test('a run that stopped anywhere goes on to the same bytes', () => {
  const whole = readFileSync(join(folder, 'whole.image'));
  for (const share of [0, 0.001, 0.1, 0.35, 0.5, 0.9, 0.999]) {
    const path = join(folder, 'resumed.image');
    writeFileSync(`${path}.part`, whole.subarray(0, Math.floor(share * whole.length)));
    const writer = createImage(path, header);
    for (const matrix of MATRICES) if (!writer.resumed.has(matrix.name)) writer.writeMatrix(matrix);
    if (!writer.resumed.has('blk.0.attn_norm')) writer.writeVector('blk.0.attn_norm', GAIN);
    writer.writeRanges(RANGES, TABLE);
    if (share === 0.9) expect(writer.resumed.size).toBeGreaterThan(3);
    writer.finish();
    expect(readFileSync(path)).toEqual(whole);
  }
  writeFileSync(join(folder, 'other.image.part'), whole);
  const other = { ...header, design: { name: 'other', sha256: HASH } };
  expect(() => createImage(join(folder, 'other.image'), other)).toThrow('was begun for another');
});

/** Reads all that is in an image; the error's code, or undefined. */
function refusal(path: string): string | undefined {
  try {
    const image = openImage(path);
    try {
      for (const name of image.matrices.keys()) image.readMatrix(name);
      for (const name of image.vectors.keys()) image.readVector(name);
      image.readRanges();
    } finally {
      image.close();
    }
    return undefined;
  } catch (error) {
    if (error instanceof OnefetError && error.kind === 'input') return error.code;
    throw error;
  }
}

test('an image that is cut short or changed in any byte is refused', () => {
  const path = join(folder, 'whole.image');
  const bytes = readFileSync(path);
  const changed = join(folder, 'changed.image');
  expect(refusal(path)).toBeUndefined();
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const copy = Buffer.from(bytes);
      copy[at] ^= change;
      writeFileSync(changed, copy);
      expect(refusal(changed)).toMatch(/^IMAGE_/);
      copyFileSync(path, changed);
      truncateSync(changed, at);
      expect(refusal(changed)).toMatch(/^IMAGE_/);
    }),
    { numRuns: 300 },
  );
  const old = Buffer.from(bytes);
  old[8] = 1;
  writeFileSync(changed, old);
  expect(() => openImage(changed)).toThrowError(
    expect.objectContaining({
      code: 'IMAGE_VERSION',
      message: expect.stringContaining('is an onefet.image/1; this program reads onefet.image/2'),
      hint: 'make it again: onefet map',
    }),
  );
  writeFileSync(changed, Buffer.concat([bytes, Buffer.from('more')]));
  expect(refusal(changed)).toBe('IMAGE_DAMAGED');
  expect(refusal(join(folder, 'missing.image'))).toBe('FILE_UNREADABLE');
});

test('a section that claims more than the file holds is refused before anything is allocated', () => {
  const bytes = readFileSync(join(folder, 'whole.image'));
  const claimed = join(folder, 'claimed.image');
  for (const [offset, value] of [
    [8, 2 ** 32 - 1],
    [20, 2 ** 20],
  ]) {
    const copy = Buffer.from(bytes);
    copy.writeUInt32LE(value, 16 + offset);
    writeFileSync(claimed, copy);
    expect(refusal(claimed)).toBe('IMAGE_DAMAGED');
  }
});

test('codes pack to their bits, and a code outside its range is not read', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(3, 4, 6),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 4 }),
      fc.infiniteStream(fc.integer({ min: -31, max: 31 })),
      (bits, inputs, rows, stream) => {
        const { magnitudeMax } = weightFormat(bits);
        const codes = Int8Array.from({ length: rows * inputs }, () =>
          Math.max(-magnitudeMax, Math.min(magnitudeMax, stream.next().value ?? 0)),
        );
        const packed = packCodes(codes, rows, inputs, bits);
        expect(packed.length).toBe(rows * Math.ceil((inputs * bits) / 8));
        expect(unpackCodes(packed, rows, inputs, bits)).toEqual(codes);
      },
    ),
  );
  expect(unpackCodes(new Uint8Array([0xff]), 1, 2, 4)).toBeUndefined();
  expect(unpackCodes(new Uint8Array([0x18]), 1, 1, 4)).toBeUndefined(); // a spare bit
  expect(() => packCodes(new Int8Array([8]), 1, 1, 4)).toThrow('does not fit 4 bits');
});
