/** Reads and checks the header of a GGUF file: all but the tensors' data. */
import { fstatSync } from 'node:fs';
import { OnefetError } from '../error.ts';
import { CODECS } from './codecs/registry.ts';
import { Cursor } from './gguf-cursor.ts';
import {
  fail,
  GGUF_LIMITS,
  type GgufTensor,
  type GgufValue,
  type Header,
  show,
  type UnreadableTensor,
} from './gguf-file.ts';

export function readHeader(path: string, handle: number, sizeBytes: number, lenient: boolean): Header {
  const refused: OnefetError[] = [];
  const unreadable: UnreadableTensor[] = [];
  const cursor = new Cursor(path, handle, sizeBytes);
  if (sizeBytes < 4 || cursor.u32('magic') !== 0x46554747) {
    fail(path, 'GGUF_NOT_GGUF', 'not a GGUF file (it does not start with "GGUF")');
  }
  const version = cursor.u32('version');
  if (version !== 2 && version !== 3) {
    const bigEndian = version !== 0 && (version & 0xffff) === 0;
    fail(
      path,
      'GGUF_VERSION',
      bigEndian
        ? 'big-endian GGUF is not supported'
        : `GGUF version ${version} is not supported (2 and 3 are)`,
      "convert it again with llama.cpp's converter",
    );
  }
  const tensorCount = cursor.count('tensor count', GGUF_LIMITS.tensors, 24);
  const entryCount = cursor.count('metadata count', GGUF_LIMITS.entries, 13);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = cursor.string(`key ${i}`, GGUF_LIMITS.keyBytes);
    if (metadata.has(key)) fail(path, 'GGUF_DUPLICATE', `metadata key ${show(key)} occurs twice`);
    metadata.set(key, cursor.value(key, cursor.u32(`type of ${show(key)}`), 0));
  }

  const alignment = metadata.get('general.alignment') ?? 32;
  if (
    typeof alignment !== 'number' ||
    alignment < 1 ||
    alignment > GGUF_LIMITS.alignment ||
    !Number.isInteger(Math.log2(alignment))
  ) {
    fail(
      path,
      'GGUF_ALIGNMENT',
      `general.alignment is ${show(alignment)}; a power of two up to ${GGUF_LIMITS.alignment} is needed`,
    );
  }

  const relative: GgufTensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const tensor = cursor.tensor(i);
    if (names.has(tensor.name)) fail(path, 'GGUF_DUPLICATE', `tensor ${show(tensor.name)} occurs twice`);
    names.add(tensor.name);
    if ('codec' in tensor) {
      relative.push(tensor);
      continue;
    }
    const error = unsupportedType(path, tensor);
    if (!lenient) throw error;
    if (!unreadable.some(({ type }) => type === tensor.type)) refused.push(error);
    unreadable.push(tensor);
  }
  const dataOffset = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map(
    relative.map((tensor) => [tensor.name, { ...tensor, offset: dataOffset + tensor.offset }]),
  );
  checkPlacement(path, [...tensors.values()], dataOffset, alignment, sizeBytes);

  const identity = fileIdentity(handle);
  return {
    path,
    sizeBytes,
    identity,
    version,
    alignment,
    dataOffset,
    metadata,
    tensors,
    refused,
    unreadable,
  };
}

function fileIdentity(handle: number): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(handle, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

function unsupportedType(path: string, { name, type }: UnreadableTensor): OnefetError {
  return new OnefetError(
    'input',
    'GGUF_TENSOR_TYPE',
    `${path}: tensor ${show(name)} is of type ${type}, which is not supported`,
    { hint: `supported types: ${[...CODECS.values()].map((codec) => codec.name).join(', ')}` },
  );
}

/** Tensors must be aligned, inside the file, and disjoint. */
function checkPlacement(
  path: string,
  tensors: GgufTensor[],
  dataOffset: number,
  alignment: number,
  sizeBytes: number,
): void {
  tensors.sort((a, b) => a.offset - b.offset);
  let previous: GgufTensor | undefined;
  for (const tensor of tensors) {
    const name = show(tensor.name);
    if ((tensor.offset - dataOffset) % alignment !== 0) {
      fail(
        path,
        'GGUF_ALIGNMENT',
        `tensor ${name} is at offset ${tensor.offset - dataOffset}, not a multiple of ${alignment}`,
      );
    }
    const end = tensor.offset + tensor.sizeBytes;
    if (end > sizeBytes) {
      fail(
        path,
        'GGUF_TRUNCATED',
        `tensor ${name} ends at byte ${end} but the file has ${sizeBytes}`,
        'the download or copy is incomplete: fetch the file again',
      );
    }
    if (previous && tensor.offset < previous.offset + previous.sizeBytes) {
      fail(path, 'GGUF_OVERLAP', `tensors ${show(previous.name)} and ${name} overlap`);
    }
    previous = tensor;
  }
}
