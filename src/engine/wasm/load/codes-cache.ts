/**
 * Hardware codes of a model on disk, so that the second engine on the same weights need not read and recode them again:
 * .onefet/cache/codes/<key>.codes, the key being the hash of the model, the formats and the recoding's own text.
 *
 * A record per panel, at a place that follows from its number:
 *   for tile: scales [16] f32; for cell: codes [quads] of QUAD_BYTES.codes nibbles (kernels/prepare.ts)
 *   CRC-32 of all that, begun at a number of the panel's own (u32)
 *
 * The first load writes a file of another name and renames it when all of it is there. Files beyond the newest few are
 * removed. It is a cache: a record that is not what was written is recoded and the file made anew the next time, and
 * where nothing can be read or written (no room, no permission, something else in its place) the engine goes on without.
 */

import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import { crc32 } from 'node:zlib';
import { isProcessAlive, makeFolder, readAt, removeFile, sha256, writeAt } from '../../../files.ts';
import { PANEL_COLUMNS } from '../kernels/gemm.ts';
import { QUAD_BYTES } from '../kernels/prepare.ts';
import type { CodesFile } from '../plan/context.ts';
import { countQuads, type Operation } from '../plan/operations.ts';
import { tileRows } from '../plan/tile-place.ts';

/** Files that are kept: one of Llama 3.1 8B in 4 bits has 3.7 GB. */
const KEPT_FILES = 2;
/** Smaller models are recoded in less time than a file is worth. */
const LEAST_WEIGHTS = 2 ** 26;
/** Left free on the disk beside the file. */
const SPARE_BYTES = 1e9;
const SCALE_BYTES = PANEL_COLUMNS * 4;
const CHECK_BYTES = 4;

/** One tile of a panel: [rows][16 cells] codes side by side in nibbles per cell, and a scale per column. */
export interface TileCodes {
  readonly rows: number;
  readonly scales: Float32Array;
  /** Per cell. */
  readonly nibbles: readonly Uint8Array[];
}

const hasCodes = (o: Operation) => o.kind !== 'int8';

function tileBytes(o: Operation, tile: number): number {
  return SCALE_BYTES + o.cells * countQuads(tileRows(o, tile)) * QUAD_BYTES.codes;
}

function panelRecordBytes(o: Operation): number {
  if (!hasCodes(o)) return 0;
  return Array.from({ length: o.tiles }, (_, tile) => tileBytes(o, tile)).reduce(
    (sum, x) => sum + x,
    CHECK_BYTES,
  );
}

/** Files that this process began: two at a time do not share a name. */
let parts = 0;

/** Opens the file of a model's codes, or prepares to write it; undefined where neither is worth it or possible. */
export function prepareCodesFile(
  folder: string,
  modelSha256: string,
  operations: readonly Operation[],
  leastWeights = LEAST_WEIGHTS,
): CodesFile | undefined {
  const weights = operations.filter(hasCodes).reduce((sum, o) => sum + o.outputs * o.inputs, 0);
  if (weights < leastWeights) return undefined;
  const recordBytes = operations.map(panelRecordBytes);
  const starts: number[] = [];
  let bytes = 0;
  operations.forEach((o, i) => {
    starts.push(bytes);
    bytes += o.panels * recordBytes[i];
  });
  const formats = operations.map(({ name, outputs, inputs, bits, rows, kind }) => [
    name,
    outputs,
    inputs,
    kind === 'int8' ? null : [bits, rows],
  ]);
  const key = sha256(modelSha256, JSON.stringify(formats), CODES_REVISION).slice(0, 32);
  const path = join(folder, `${key}.codes`);
  const spoilt = new Int32Array(new SharedArrayBuffer(4));
  const file = { starts, recordBytes, bytes, spoilt };
  if (isWhole(path, bytes)) {
    touch(path);
    return { ...file, path, mode: 'read' };
  }
  const part = `${path}.${pid}-${++parts}.part`;
  try {
    makeFolder(folder);
    removeOld(folder, KEPT_FILES - 1);
    const { bavail, bsize } = statfsSync(folder);
    if (bavail * bsize < bytes + SPARE_BYTES) return undefined;
    const handle = openSync(part, 'w');
    try {
      ftruncateSync(handle, bytes);
    } finally {
      closeSync(handle);
    }
  } catch {
    // A folder that cannot be written: the run goes on without a cache.
    removeFile(part);
    return undefined;
  }
  return { ...file, path: part, mode: 'write' };
}

function isWhole(path: string, bytes: number): boolean {
  try {
    const stat = statSync(path);
    return stat.isFile() && stat.size === bytes;
  } catch {
    return false;
  }
}

function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // A folder that cannot be written keeps its ages.
  }
}

/** After all panels were written or read: gives a written file its name, removes one that is spoilt. */
export function finishCodesFile(file: CodesFile): void {
  if (file.spoilt[0] !== 0) {
    removeFile(file.path);
    return;
  }
  if (file.mode === 'read') return;
  try {
    const handle = openSync(file.path, 'r+');
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(file.path, file.path.replace(/\.\d+-\d+\.part$/, ''));
  } catch {
    removeFile(file.path);
  }
}

/** After a load that failed. */
export function dropCodesFile(file: CodesFile): void {
  if (file.mode === 'write') removeFile(file.path);
}

/** Says for all threads that the file is not to be used or finished. */
export function spoil({ spoilt }: CodesFile): void {
  Atomics.store(spoilt, 0, 1);
}

/** Begins the CRC: a record in another panel's place does not fit. */
const seedOf = (index: number, panel: number): number => (index * 0x9e3779b1 + panel + 1) >>> 0;

/** Removes all but the newest files, and parts whose process is gone. */
function removeOld(folder: string, keep: number): void {
  const whole: { path: string; time: number }[] = [];
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const part = /\.(\d+)-\d+\.part$/.exec(name);
    if (part && !isProcessAlive(Number(part[1]))) rmSync(path, { force: true });
    if (name.endsWith('.codes')) whole.push({ path, time: statSync(path).mtimeMs });
  }
  whole.sort((a, b) => b.time - a.time);
  for (const { path } of whole.slice(keep)) rmSync(path, { force: true });
}

/** Raise it with any change of the recoding (kernels/recode.ts, tile/weight-code.ts) or of this file's records. */
const CODES_REVISION = 'codes 3';

/** Reads a panel's record; undefined, and the file spoilt, where it is not what was written. */
export function readCodes(
  handle: number,
  file: CodesFile,
  o: Operation,
  index: number,
  panel: number,
): TileCodes[] | undefined {
  const record = new Uint8Array(file.recordBytes[index]);
  if (!readRecord(handle, file, index, panel, record)) {
    spoil(file);
    return undefined;
  }
  let at = 0;
  return Array.from({ length: o.tiles }, (_, tile) => {
    const rows = tileRows(o, tile);
    const size = countQuads(rows) * QUAD_BYTES.codes;
    const scales = new Float32Array(record.slice(at, at + SCALE_BYTES).buffer);
    at += SCALE_BYTES;
    const nibbles = Array.from({ length: o.cells }, () => {
      const part = record.subarray(at, at + size);
      at += size;
      return part;
    });
    return { rows, scales, nibbles };
  });
}

function readRecord(
  handle: number,
  { starts }: CodesFile,
  index: number,
  panel: number,
  record: Uint8Array,
): boolean {
  try {
    if (!readAt(handle, record, starts[index] + panel * record.length)) return false;
  } catch {
    return false;
  }
  const body = record.subarray(0, record.length - CHECK_BYTES);
  return viewOf(record).getUint32(body.length, true) === crc32(body, seedOf(index, panel));
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  new DataView(buffer, byteOffset, byteLength);

/** Writes a panel's record; where that cannot be done the file is spoilt, and no more is written. */
export function writeCodes(
  handle: number,
  file: CodesFile,
  index: number,
  panel: number,
  tiles: readonly TileCodes[],
): void {
  if (Atomics.load(file.spoilt, 0) !== 0) return;
  const record = new Uint8Array(file.recordBytes[index]);
  let at = 0;
  for (const { scales, nibbles } of tiles) {
    record.set(new Uint8Array(scales.buffer, scales.byteOffset, SCALE_BYTES), at);
    at += SCALE_BYTES;
    for (const part of nibbles) {
      record.set(part, at);
      at += part.length;
    }
  }
  const body = record.subarray(0, at);
  viewOf(record).setUint32(at, crc32(body, seedOf(index, panel)), true);
  try {
    writeAt(handle, record, file.starts[index] + panel * record.length, file.path);
  } catch {
    spoil(file);
  }
}

const EVEN_BYTES = 0x00ff00ff;

/**
 * codes[rows][stride] from column `first` on to the nibbles of kernels/prepare.ts, a word of four codes at a time: columns n
 * and n + 4 of a row share a byte, and the four rows of a quad a word. `first` and `stride` are multiples of 4.
 */
export function packCodes(codes: Int8Array, first: number, stride: number, rows: number): Uint8Array {
  const quads = countQuads(rows);
  const words = new Int32Array((quads * QUAD_BYTES.codes) / 4);
  const from = new Int32Array(codes.buffer, codes.byteOffset, codes.length >> 2);
  const step = stride >> 2;
  const pack = (row: number, at: number): number =>
    row < rows ? (from[at] & 0x0f0f0f0f) | ((from[at + 1] & 0x0f0f0f0f) << 4) : 0;
  for (let quad = 0, to = 0; 4 * quad < rows; quad++) {
    const row = 4 * quad;
    for (let half = 0; half < 2; half++, to += 4) {
      const at = row * step + (first >> 2) + 2 * half;
      const a = pack(row, at);
      const b = pack(row + 1, at + step);
      const c = pack(row + 2, at + 2 * step);
      const d = pack(row + 3, at + 3 * step);
      // The bytes of four words, transposed: first those of two rows by turns, then pairs of them.
      const even = (a & EVEN_BYTES) | ((b & EVEN_BYTES) << 8);
      const odd = ((a >>> 8) & EVEN_BYTES) | (b & ~EVEN_BYTES);
      const evenBelow = (c & EVEN_BYTES) | ((d & EVEN_BYTES) << 8);
      const oddBelow = ((c >>> 8) & EVEN_BYTES) | (d & ~EVEN_BYTES);
      words[to] = (even & 0xffff) | (evenBelow << 16);
      words[to + 1] = (odd & 0xffff) | (oddBelow << 16);
      words[to + 2] = (even >>> 16) | (evenBelow & ~0xffff);
      words[to + 3] = (odd >>> 16) | (oddBelow & ~0xffff);
    }
  }
  return new Uint8Array(words.buffer);
}

/** The other way round, to codes[rows][stride] from column `first` on. */
export function unpackCodes(
  nibbles: Uint8Array,
  codes: Int8Array,
  first: number,
  stride: number,
  rows: number,
): void {
  for (let j = 0; j < rows; j++) {
    const base = (j >> 2) * QUAD_BYTES.codes + (j & 3);
    const to = j * stride + first;
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      const nibble = nibbles[base + (n >> 3) * 16 + (n & 3) * 4] >> (n & 4);
      codes[to + n] = (nibble << 28) >> 28;
    }
  }
}
