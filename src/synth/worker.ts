/** A thread of `synthesise`: makes the pieces that it is sent and writes them to their places in the file. */
import { openSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { PlainError } from '../error.ts';
import { OnefetError, toPlainError } from '../error.ts';
import { reasonOf } from '../files.ts';
import type { GgufTensorSource } from '../model/gguf-writer.ts';
import type { Piece } from './layout.ts';
import { makePiece } from './layout.ts';
import type { SynthRecipe } from './recipe.ts';
import { recipeTensors } from './recipe.ts';

export interface SynthWorkerData {
  readonly recipe: SynthRecipe;
  /** An existing file of the final size. */
  readonly path: string;
}

/** An answer to every piece. */
export type SynthWorkerMessage = { readonly doneBytes: number } | { readonly error: PlainError };

const { recipe, path } = workerData as SynthWorkerData;
let tensors: GgufTensorSource[] | undefined;
let handle: number | undefined;

parentPort?.on('message', (piece: Piece) => {
  parentPort?.postMessage(work(piece));
});

function work(piece: Piece): SynthWorkerMessage {
  try {
    tensors ??= recipeTensors(recipe);
    const bytes = makePiece(tensors[piece.tensor], piece);
    write(bytes, piece.position);
    return { doneBytes: bytes.length };
  } catch (error) {
    return { error: toPlainError(error) };
  }
}

function write(bytes: Uint8Array, position: number): void {
  try {
    handle ??= openSync(path, 'r+');
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(handle, bytes, at, bytes.length - at, position + at);
    }
  } catch (cause) {
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'free disk space or choose another output folder',
    });
  }
}
