/**
 * The digital model's files in a run folder, baseline.f32, states.f32 and layers.f32: which rows a job has there, and what they
 * are known by. The rows of a job are hashed and on the disk before the line that says that it is finished.
 */

import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../files.ts';
import type { ModelShape } from '../model/shape.ts';
import { stateStride } from './block-error.ts';
import type { Job, RowHashes } from './job.ts';
import { seesLayers } from './layer-error.ts';

export interface DigitalFiles {
  /** [scored positions][vocab] f32. */
  readonly baseline: string;
  /** [every stride-th scored position][blocks][D] f32. */
  readonly states: string;
  /** Of the first job alone: layer-error.ts. */
  readonly layers: string;
  readonly stride: number;
  readonly baselineRowBytes: number;
  readonly stateRowBytes: number;
  /** Of whole files. */
  readonly baselineBytes: number;
  readonly statesBytes: number;
}

export function digitalFiles(
  folder: string,
  shape: Pick<ModelShape, 'layers' | 'dim' | 'vocab'>,
  scored: number,
): DigitalFiles {
  const stride = stateStride(shape, scored);
  const baselineRowBytes = 4 * shape.vocab;
  const stateRowBytes = 4 * shape.layers * shape.dim;
  return {
    baseline: join(folder, 'baseline.f32'),
    states: join(folder, 'states.f32'),
    layers: join(folder, 'layers.f32'),
    stride,
    baselineRowBytes,
    stateRowBytes,
    baselineBytes: scored * baselineRowBytes,
    statesBytes: Math.ceil(scored / stride) * stateRowBytes,
  };
}

/** Hashes the rows of a digital job as they stand in the files; undefined where the files end before. */
export function hashRows(files: DigitalFiles, job: Job): RowHashes | undefined {
  const rows = job.windows.reduce((sum, { scoreFrom, scoreTo }) => sum + scoreTo - scoreFrom, 0);
  const from = job.baselineRow;
  const firstState = Math.ceil(from / files.stride);
  const endState = Math.ceil((from + rows) / files.stride);
  const baselineSha256 = hashPart(
    files.baseline,
    from * files.baselineRowBytes,
    rows * files.baselineRowBytes,
  );
  const statesSha256 = hashPart(
    files.states,
    firstState * files.stateRowBytes,
    (endState - firstState) * files.stateRowBytes,
  );
  if (!baselineSha256 || !statesSha256) return undefined;
  if (!seesLayers(job)) return { baselineSha256, statesSha256 };
  const layersSha256 = existsSync(files.layers) ? sha256(readFileSync(files.layers)) : undefined;
  return layersSha256 ? { baselineSha256, statesSha256, layersSha256 } : undefined;
}

/** Are the rows of a finished digital job what they were when it was finished? */
export function rowsHold(files: DigitalFiles, job: Job, known: RowHashes | undefined): boolean {
  const now = hashRows(files, job);
  return (
    now !== undefined &&
    known !== undefined &&
    now.baselineSha256 === known.baselineSha256 &&
    now.statesSha256 === known.statesSha256 &&
    now.layersSha256 === known.layersSha256
  );
}

/** Files that a digital job may write in place: there, and not shared with the cache through a hard link. */
export function makeWritable({ baseline, states }: DigitalFiles): void {
  for (const path of [baseline, states]) {
    if (!existsSync(path)) closeSync(openSync(path, 'a'));
    else if (statSync(path).nlink > 1) {
      copyFileSync(path, `${path}.part`);
      renameSync(`${path}.part`, path);
    }
  }
}

export function syncFiles({ baseline, states }: DigitalFiles): void {
  for (const path of [baseline, states]) {
    const handle = openSync(path, 'r+');
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  }
}

const CHUNK_BYTES = 1 << 22;

function hashPart(path: string, from: number, bytes: number): string | undefined {
  if (!existsSync(path)) return undefined;
  const handle = openSync(path, 'r');
  try {
    if (fstatSync(handle).size < from + bytes) return undefined;
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(1, bytes)));
    for (let done = 0; done < bytes; ) {
      const count = readSync(handle, chunk, 0, Math.min(chunk.length, bytes - done), from + done);
      if (count === 0) return undefined;
      hash.update(chunk.subarray(0, count));
      done += count;
    }
    return hash.digest('hex');
  } finally {
    closeSync(handle);
  }
}
