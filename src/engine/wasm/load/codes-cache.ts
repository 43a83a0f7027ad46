/**
 * Hardware codes of a model on disk, so that the second engine on the same weights need not read and recode them again:
 * .onefet/cache/codes/<key>.codes, the key being the hash of the model, the formats and the recoding's own text.
 *
 * A record per panel, at a place that follows from its number:
 *   for tile: scales [16] f32; for cell: codes [quads] of QUAD_BYTES.codes nibbles (kernels/prepare.ts)
 *
 * The first load writes a file of another name and renames it when all of it is there. Files beyond the newest few are
 * removed; without room on the disk nothing is written.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
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
import { OnefetError } from '../../../error.ts';
import { isProcessAlive, readAt, sha256, writeAt } from '../../../files.ts';
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
  return Array.from({ length: o.tiles }, (_, tile) => tileBytes(o, tile)).reduce((sum, x) => sum + x, 0);
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
  const file = { starts, recordBytes, bytes };
  if (existsSync(path) && statSync(path).size === bytes) {
    const now = new Date();
    utimesSync(path, now, now);
    return { ...file, path, mode: 'read' };
  }
  const part = `${path}.${pid}-${++parts}.part`;
  try {
    mkdirSync(folder, { recursive: true });
    removeOld(folder, KEPT_FILES - 1);
    const { bavail, bsize } = statfsSync(folder);
    if (bavail * bsize < bytes + SPARE_BYTES) return undefined;
    const handle = openSync(part, 'w');
    ftruncateSync(handle, bytes);
    closeSync(handle);
  } catch {
    // A folder that cannot be written: the run goes on without a cache.
    return undefined;
  }
  return { ...file, path: part, mode: 'write' };
}

/** After all panels were written. */
export function finishCodesFile(file: CodesFile): void {
  if (file.mode !== 'write') return;
  const handle = openSync(file.path, 'r+');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(file.path, file.path.replace(/\.\d+-\d+\.part$/, ''));
}

export function dropCodesFile(file: CodesFile): void {
  if (file.mode === 'write') rmSync(file.path, { force: true });
}

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
const CODES_REVISION = 'codes 1';

/** Reads a panel's record. */
export function readCodes(
  handle: number,
  file: CodesFile,
  o: Operation,
  index: number,
  panel: number,
): TileCodes[] {
  const record = new Uint8Array(file.recordBytes[index]);
  const from = file.starts[index] + panel * record.length;
  if (!readAt(handle, record, from)) {
    throw new OnefetError('input', 'CODES_SHORT', `${file.path} is shorter than it was`, {
      hint: 'remove it and run again: it is a cache',
    });
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

/** Writes a panel's record. A full disk ends the run: what was computed is in the run's folder. */
export function writeCodes(
  handle: number,
  file: CodesFile,
  index: number,
  panel: number,
  tiles: readonly TileCodes[],
): void {
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
  writeAt(handle, record, file.starts[index] + panel * record.length, file.path);
}

/** codes[rows][stride] from column `first` on to the nibbles of kernels/prepare.ts. */
export function packCodes(codes: Int8Array, first: number, stride: number, rows: number): Uint8Array {
  const nibbles = new Uint8Array(countQuads(rows) * QUAD_BYTES.codes);
  for (let j = 0; j < rows; j++) {
    const base = (j >> 2) * QUAD_BYTES.codes + (j & 3);
    const from = j * stride + first;
    for (let n = 0; n < PANEL_COLUMNS; n++) {
      nibbles[base + (n >> 3) * 16 + (n & 3) * 4] |= (codes[from + n] & 15) << (n & 4);
    }
  }
  return nibbles;
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
