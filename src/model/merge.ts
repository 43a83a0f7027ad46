/**
 * A model with adapters merged in, as a file of its own: the bytes of the model, with the adapted matrices once more behind
 * them in float32, W + s B A, and their entries in the header pointing there. All that reads a model reads it unchanged.
 */
import { closeSync, constants, copyFileSync, openSync, renameSync, rmSync } from 'node:fs';
import { pid } from 'node:process';
import { OnefetError } from '../error.ts';
import { displayPath, reasonOf, writeAt } from '../files.ts';
import { F32 } from './codecs/f32.ts';
import { readRow } from './gguf.ts';
import type { GgufFile, GgufTensor } from './gguf-file.ts';
import { type Adapter, joinParts } from './lora.ts';

/** Writes the merged model to `target`, whole or not at all. */
export function writeMerged(file: GgufFile, adapters: readonly Adapter[], target: string): void {
  if (file.metadata.has('split.count') && Number(file.metadata.get('split.count')) > 1) {
    throw new OnefetError(
      'usage',
      'LORA_SPLIT',
      `${displayPath(file.path)} is split: adapters are not merged into it`,
      {
        hint: "join it first, with llama.cpp's gguf-split --merge",
      },
    );
  }
  const temporary = `${target}.${pid}.part`;
  let handle: number | undefined;
  try {
    copyFileSync(file.path, temporary, constants.COPYFILE_FICLONE);
    handle = openSync(temporary, 'r+');
    const header = new Uint8Array(file.dataOffset);
    file.read(0, header);
    let end = Math.ceil(file.sizeBytes / file.alignment) * file.alignment;
    const names = new Set(adapters.flatMap(({ ranks }) => [...ranks.keys()]));
    for (const name of names) {
      const tensor = file.tensors.get(name)!;
      patchEntry(header, tensor, end - file.dataOffset);
      end = writeSum(file, tensor, adapters, handle, end, temporary);
      end = Math.ceil(end / file.alignment) * file.alignment;
    }
    writeAt(handle, header, 0, temporary);
    closeSync(handle);
    handle = undefined;
    renameSync(temporary, target);
  } catch (cause) {
    if (handle !== undefined) closeSync(handle);
    rmSync(temporary, { force: true });
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${target}: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

/** Type and offset behind u64 length, name, u32 dimensions and u64 extents (innermost first). */
function patchEntry(header: Uint8Array, { name, shape }: GgufTensor, offset: number): void {
  const text = new TextEncoder().encode(name);
  const entry = new Uint8Array(8 + text.length + 4 + 8 * shape.length);
  const view = new DataView(entry.buffer);
  view.setBigUint64(0, BigInt(text.length), true);
  entry.set(text, 8);
  view.setUint32(8 + text.length, shape.length, true);
  [...shape].reverse().forEach((extent, i) => {
    view.setBigUint64(12 + text.length + 8 * i, BigInt(extent), true);
  });
  // The last one: a text of the metadata, which come first, may hold the same bytes.
  const at = Buffer.from(header.buffer, header.byteOffset, header.length).lastIndexOf(entry);
  if (at < 0) throw new OnefetError('internal', 'LORA_HEADER', `the header has no entry of ${name}`);
  const target = new DataView(header.buffer, header.byteOffset + at + entry.length);
  target.setUint32(0, F32.typeId, true);
  target.setBigUint64(4, BigInt(offset), true);
}

/** Writes W + sum s B A row by row from byte `at` on; returns where it ends. */
function writeSum(
  file: GgufFile,
  tensor: GgufTensor,
  adapters: readonly Adapter[],
  handle: number,
  at: number,
  path: string,
): number {
  const [outputs, inputs] = tensor.shape;
  const parts = adapters
    .filter(({ ranks }) => ranks.has(tensor.name))
    .map((adapter) => adapter.read(tensor.name));
  const { rank, up, down } = joinParts(parts, outputs, inputs);
  const sums = new Float64Array(inputs);
  const row = new Float32Array(inputs);
  for (let n = 0; n < outputs; n++) {
    readRow(file, tensor, n, row);
    sums.set(row);
    for (let r = 0; r < rank; r++) {
      const factor = up[n * rank + r];
      for (let j = 0; j < inputs; j++) sums[j] += factor * down[r * inputs + j];
    }
    row.set(sums);
    writeAt(handle, new Uint8Array(row.buffer), at, path);
    at += row.byteLength;
  }
  return at;
}
