/**
 * Writes GGUF v3 files: the test fixtures and synthetic models. Rows are produced one at a time, so a model larger
 * than memory can be written.
 */

import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { pid } from 'node:process';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import type { Codec } from './codecs/codec.ts';

/** A metadata value with the type it is stored as. */
export type GgufField =
  | { readonly type: 'u32' | 'i32' | 'u64' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s' | 'f32s'; readonly value: readonly number[] };

export interface GgufTensorSource {
  readonly name: string;
  /** Outermost first: [N, K] for a matrix, [K] for a vector. */
  readonly shape: readonly number[];
  /** Must be able to quantise. */
  readonly codec: Codec;
  /** Fills out[K] with row n, n = 0 .. product of the outer extents - 1. */
  row(n: number, out: Float32Array): void;
}

const ALIGNMENT = 32;

/** Writes the file through a temporary name: whole or not at all. Same input, same bytes. */
export function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, GgufField>,
  tensors: readonly GgufTensorSource[],
): void {
  const temporary = `${path}.${pid}.part`;
  try {
    const handle = openSync(temporary, 'w');
    try {
      writeFully(handle, encodeHeader(metadata, tensors));
      for (const tensor of tensors) writeTensor(handle, tensor);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${path}: ${reasonOf(cause)}`, { cause });
  }
}

/** Everything before the tensor data, padded to the alignment. */
export function encodeHeader(
  metadata: ReadonlyMap<string, GgufField>,
  tensors: readonly GgufTensorSource[],
): Uint8Array {
  const out = new ByteWriter();
  out.raw(new TextEncoder().encode('GGUF'));
  out.u32(3);
  out.u64(tensors.length);
  out.u64(metadata.size);
  for (const [key, field] of metadata) {
    out.string(key);
    out.field(field);
  }
  let offset = 0;
  for (const tensor of tensors) {
    out.string(tensor.name);
    out.u32(tensor.shape.length);
    for (const extent of [...tensor.shape].reverse()) out.u64(extent);
    out.u32(tensor.codec.typeId);
    out.u64(offset);
    offset = padded(offset + rowBytes(tensor) * rowCount(tensor));
  }
  out.pad(ALIGNMENT);
  return out.bytes();
}

function writeTensor(handle: number, tensor: GgufTensorSource): void {
  const { codec, shape, name } = tensor;
  const columns = shape[shape.length - 1];
  if (codec.quantise === undefined || columns % codec.blockSize !== 0) {
    throw new OnefetError('usage', 'GGUF_WRITE', `tensor ${name} cannot be written as ${codec.name}`, {
      hint: `rows of ${columns} values, blocks of ${codec.blockSize}`,
    });
  }
  const values = new Float32Array(columns);
  const width = rowBytes(tensor);
  const rows = rowCount(tensor);
  // About 1 MiB per write: one system call per row would dominate for small rows.
  const rowsPerChunk = Math.max(1, Math.floor(2 ** 20 / width));
  const chunk = new Uint8Array(rowsPerChunk * width);
  for (let start = 0; start < rows; start += rowsPerChunk) {
    const end = Math.min(rows, start + rowsPerChunk);
    for (let n = start; n < end; n++) {
      tensor.row(n, values);
      codec.quantise(values, chunk.subarray((n - start) * width, (n - start + 1) * width));
    }
    writeFully(handle, chunk.subarray(0, (end - start) * width));
  }
  writeFully(handle, new Uint8Array(padded(rows * width) - rows * width));
}

function writeFully(handle: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
}

function rowBytes({ shape, codec }: GgufTensorSource): number {
  return (shape[shape.length - 1] / codec.blockSize) * codec.blockBytes;
}

function rowCount({ shape }: GgufTensorSource): number {
  return shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
}

function padded(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

const FIELD_TYPE = {
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  strings: 9,
  i32s: 9,
  f32s: 9,
  u64: 10,
} as const;

class ByteWriter {
  private buffer = new Uint8Array(4096);
  private view = new DataView(this.buffer.buffer);
  private length = 0;
  private readonly text = new TextEncoder();

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  /** Room for `count` more bytes; returns where they start. */
  private grow(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.buffer.length) {
      const larger = new Uint8Array(2 * this.length);
      larger.set(this.buffer);
      this.buffer = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  raw(bytes: Uint8Array): void {
    const at = this.grow(bytes.length);
    this.buffer.set(bytes, at);
  }

  u32(value: number): void {
    const at = this.grow(4);
    this.view.setUint32(at, value, true);
  }

  i32(value: number): void {
    const at = this.grow(4);
    this.view.setInt32(at, value, true);
  }

  f32(value: number): void {
    const at = this.grow(4);
    this.view.setFloat32(at, value, true);
  }

  u64(value: number): void {
    const at = this.grow(8);
    this.view.setBigUint64(at, BigInt(value), true);
  }

  string(value: string): void {
    const bytes = this.text.encode(value);
    this.u64(bytes.length);
    this.raw(bytes);
  }

  pad(alignment: number): void {
    this.grow((alignment - (this.length % alignment)) % alignment);
  }

  field(field: GgufField): void {
    this.u32(FIELD_TYPE[field.type]);
    switch (field.type) {
      case 'u32':
      case 'i32':
      case 'u64':
      case 'f32':
        this[field.type](field.value);
        break;
      case 'bool':
        this.raw(Uint8Array.of(field.value ? 1 : 0));
        break;
      case 'string':
        this.string(field.value);
        break;
      case 'strings':
        this.u32(FIELD_TYPE.string);
        this.u64(field.value.length);
        for (const text of field.value) this.string(text);
        break;
      case 'i32s':
      case 'f32s': {
        const element = field.type === 'i32s' ? 'i32' : 'f32';
        this.u32(FIELD_TYPE[element]);
        this.u64(field.value.length);
        for (const number of field.value) this[element](number);
        break;
      }
    }
  }
}
