/**
 * Writes a Llama of a given shape with made-up weights, for runs that need the size and statistics of a model but not
 * its knowledge: energy, speed, layer errors. Same shape, type, seed and statistics file, same bytes, whatever the
 * number of threads.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { pid } from 'node:process';
import { Worker } from 'node:worker_threads';
import { fromPlainError, interrupted, nearestName, OnefetError } from '../error.ts';
import { makeFolder, reasonOf, sourceExtension } from '../files.ts';
import type { NamedShape } from '../model/shapes.ts';
import { shapeByName } from '../model/shapes.ts';
import type { Layout } from './layout.ts';
import { layOut } from './layout.ts';
import type { SynthRecipe, SynthType } from './recipe.ts';
import { recipeMetadata, recipeTensors, SYNTH_TYPES } from './recipe.ts';
import { loadWeightStatistics } from './statistics.ts';
import type { SynthWorkerData, SynthWorkerMessage } from './worker.ts';

export interface SynthOptions {
  /** A name of MODEL_SHAPES, or dimensions of one's own. */
  readonly shape: string | NamedShape;
  /** A name of SYNTH_TYPES. Default Q4_0. */
  readonly type?: string;
  /** A whole number from 0. Default 1. */
  readonly seed?: number;
  /** The file to write; its folder is made when it is missing. */
  readonly path: string;
  /** Worker threads. Default: as many as the machine runs in parallel, 16 at most. */
  readonly threads?: number;
  /** Bytes of the file that are done, and in all. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
  /** Replace an existing file. Default false. */
  readonly force?: boolean;
}

export interface SynthResult {
  /** Absolute. */
  readonly path: string;
  readonly shape: string;
  readonly type: SynthType;
  readonly seed: number;
  readonly parameters: number;
  readonly sizeBytes: number;
  /** Of the statistics file. */
  readonly statisticsSha256: string;
}

/** Returns what synthesise() would write: for --dry-run, and to ask before gigabytes are written. */
export function planSynthesis(options: Pick<SynthOptions, 'shape' | 'type' | 'seed' | 'path'>): SynthResult {
  return planFile(options).result;
}

/**
 * Writes the file through a temporary name: whole or not at all. Errors are OnefetErrors:
 * usage SYNTH_SHAPE, SYNTH_TYPE, SYNTH_SEED, SYNTH_THREADS, SYNTH_EXISTS; input SYNTH_STATISTICS, SYNTH_DISK (too
 * little room), FILE_UNWRITABLE; interrupted INTERRUPTED.
 */
export async function synthesise(options: SynthOptions): Promise<SynthResult> {
  const { signal, onProgress } = options;
  const { recipe, layout, result } = planFile(options);
  const threads = options.threads ?? Math.min(16, availableParallelism());
  if (!Number.isInteger(threads) || threads < 1 || threads > 256) {
    throw new OnefetError('usage', 'SYNTH_THREADS', `threads is ${threads}; 1 to 256 are possible`);
  }
  if (signal?.aborted) throw nothingWritten();
  prepareFolder(result.path, options.force ?? false, layout.sizeBytes);
  const temporary = `${result.path}.${pid}.part`;
  try {
    createFile(temporary, layout);
    await fillFile({ recipe, path: temporary }, layout, threads, signal, onProgress);
    flush(temporary);
    if (signal?.aborted) throw nothingWritten();
    renameSync(temporary, result.path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    if (cause instanceof OnefetError) throw cause;
    throw unwritable(result.path, cause);
  }
  return result;
}

function planFile(options: Pick<SynthOptions, 'shape' | 'type' | 'seed' | 'path'>): {
  recipe: SynthRecipe;
  layout: Layout;
  result: SynthResult;
} {
  const { type = 'Q4_0', seed = 1 } = options;
  const shape = typeof options.shape === 'string' ? shapeByName(options.shape) : options.shape;
  if (!isSynthType(type)) {
    const known = Object.keys(SYNTH_TYPES);
    const nearest = nearestName(type, known);
    throw new OnefetError('usage', 'SYNTH_TYPE', `cannot write weights of type "${type}"`, {
      hint: nearest ? `did you mean ${nearest}?` : `types are ${known.join(', ')}`,
    });
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new OnefetError('usage', 'SYNTH_SEED', `seed is ${seed}; a whole number from 0 is needed`);
  }
  const recipe = { shape, type, seed, statistics: loadWeightStatistics() };
  const layout = layOut(recipeMetadata(recipe), recipeTensors(recipe));
  const result = {
    path: resolve(options.path),
    shape: shape.name,
    type,
    seed,
    parameters: layout.parameters,
    sizeBytes: layout.sizeBytes,
    statisticsSha256: recipe.statistics.sha256,
  };
  return { recipe, layout, result };
}

function isSynthType(type: string): type is SynthType {
  return Object.hasOwn(SYNTH_TYPES, type);
}

/** The folder is there, the name is free or may be replaced, and the disk has room. */
function prepareFolder(path: string, force: boolean, sizeBytes: number): void {
  const folder = dirname(path);
  if (existsSync(path)) {
    if (statSync(path).isDirectory()) {
      throw new OnefetError('usage', 'SYNTH_EXISTS', `${path} is a folder`, { hint: 'give a file name' });
    }
    if (!force) {
      throw new OnefetError('usage', 'SYNTH_EXISTS', `${path} exists already`, {
        hint: 'choose another name, or replace it with --force',
      });
    }
  }
  let freeBytes: number;
  try {
    makeFolder(folder);
    const disk = statfsSync(folder);
    freeBytes = disk.bavail * disk.bsize;
  } catch (cause) {
    throw unwritable(path, cause);
  }
  if (freeBytes < sizeBytes) {
    const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
    throw new OnefetError(
      'input',
      'SYNTH_DISK',
      `${path} needs ${gb(sizeBytes)}; ${folder} has ${gb(freeBytes)} free`,
      { hint: 'free disk space, or choose another folder, shape or type' },
    );
  }
}

/** Header, then zeros up to the final size: what no piece covers is alignment. */
function createFile(path: string, { header, sizeBytes }: Layout): void {
  const handle = openSync(path, 'w');
  try {
    for (let at = 0; at < header.length; ) at += writeSync(handle, header, at);
    ftruncateSync(handle, sizeBytes);
  } finally {
    closeSync(handle);
  }
}

function flush(path: string): void {
  const handle = openSync(path, 'r+');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Hands out the pieces, one at a time per worker; returns when all are written and the workers have ended. */
async function fillFile(
  workerData: SynthWorkerData,
  layout: Layout,
  threads: number,
  signal: AbortSignal | undefined,
  onProgress: SynthOptions['onProgress'],
): Promise<void> {
  const { pieces, sizeBytes, header } = layout;
  const count = Math.min(threads, pieces.length);
  const workers: Worker[] = [];
  let onAbort = (): void => {};
  try {
    while (workers.length < count) {
      workers.push(new Worker(new URL(`./worker${sourceExtension}`, import.meta.url), { workerData }));
    }
    await new Promise<void>((done, fail) => {
      let next = 0;
      let left = pieces.length;
      let doneBytes = header.length;
      onAbort = () => fail(nothingWritten());
      signal?.addEventListener('abort', onAbort);
      for (const worker of workers) {
        worker.on('message', (message: SynthWorkerMessage) => {
          if ('error' in message) return fail(fromPlainError(message.error));
          doneBytes += message.doneBytes;
          left--;
          try {
            onProgress?.(left === 0 ? sizeBytes : doneBytes, sizeBytes);
          } catch (error) {
            return fail(error);
          }
          if (left === 0) done();
          else if (next < pieces.length) worker.postMessage(pieces[next++]);
        });
        worker.on('error', fail);
        worker.on('exit', (code) => fail(new Error(`a worker thread ended with code ${code}`)));
        worker.postMessage(pieces[next++]);
      }
    });
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

const nothingWritten = () => interrupted('interrupted; no file was written');

function unwritable(path: string, cause: unknown): OnefetError {
  return new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${path}: ${reasonOf(cause)}`, {
    cause,
    hint: 'free disk space or choose another output folder',
  });
}
