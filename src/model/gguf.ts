/**
 * GGUF v2/v3 files, read by range: only the header is parsed, tensor data is fetched by position when asked for, so
 * files larger than memory (or than 4 GiB) open in the time their vocabulary takes.
 *
 * Layout (little endian; ggml's docs/gguf.md):
 *   "GGUF" u32 version u64 tensors u64 entries
 *   entries x { string key, u32 type, value }
 *   tensors x { string name, u32 dims, u64 extent[dims] (innermost first), u32 type, u64 offset }
 *   padding to `general.alignment` (32), then tensor data; offsets count from there.
 *
 * Every length and count is checked against its limit and against the bytes left in the file before anything is
 * allocated, so a damaged file gives an error and not an exhausted machine.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { allFinite } from '../numbers.ts';
import type { Codec } from './codecs/codec.ts';
import { CODECS, typeName } from './codecs/registry.ts';

/** What a header may hold. All are far above any published model; beyond them a file is damaged or hostile. */
export const GGUF_LIMITS = {
  /** Metadata entries; models have 20 to 60. */
  entries: 65_536,
  /** Bytes of a key: the specification's bound. */
  keyBytes: 65_535,
  /** Bytes of a string value; chat templates reach some 100 kB. */
  stringBytes: 16 * 2 ** 20,
  /** Elements of an array; the largest vocabularies have 262,144 tokens and about twice as many merges. */
  arrayLength: 4 * 2 ** 20,
  /** Arrays within arrays; none is in use. */
  arrayDepth: 4,
  /** Tensors; an 8B Llama has 292, mixtures of experts a few thousand. */
  tensors: 65_536,
  /** Bytes of a tensor name: ggml's GGML_MAX_NAME is 64. */
  nameBytes: 256,
  /** Dimensions: ggml's GGML_MAX_DIMS. */
  dimensions: 4,
  /** Bytes of the whole header: a vocabulary of 262,144 tokens with its merges takes about 16 MB. */
  headerBytes: 2 ** 28,
  /** Alignment of the data section; 32 is the default, pages of 64 KiB the largest seen. */
  alignment: 2 ** 20,
} as const;

/** 64-bit integers are numbers while they are safe integers, else bigint. */
export type GgufValue = number | bigint | boolean | string | GgufValue[];

export interface GgufTensor {
  readonly name: string;
  readonly codec: Codec;
  /** Outermost first, so a matrix is [rows N, columns K] and its rows are contiguous. */
  readonly shape: readonly number[];
  /** Product of the shape. */
  readonly elements: number;
  /** Absolute position in the file. */
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface GgufFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly version: number;
  readonly alignment: number;
  /** Absolute position of the data section. */
  readonly dataOffset: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Reads out.length bytes at an absolute position. */
  read(position: number, out: Uint8Array): void;
  close(): void;
}

/** Opens and checks a file. Errors are OnefetError('input', 'GGUF_...') with the path and the place. */
export function openGguf(path: string): GgufFile {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (cause) {
    throw new OnefetError('input', 'GGUF_MISSING', `cannot open model ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'give the path of a .gguf file',
    });
  }
  try {
    const stat = fstatSync(handle);
    if (!stat.isFile()) fail(path, 'GGUF_MISSING', 'not a file');
    return parse(path, handle, stat.size);
  } catch (error) {
    closeSync(handle);
    throw error;
  }
}

/**
 * Reads row `n` of a matrix [N, K] (or all of a vector, n = 0) into out[K], dequantised. All weights, whatever computes
 * with them, come through here, so this is where a value that is no number is refused: a file with one would else give a
 * result that looks right. Throws OnefetError('input', 'MODEL_NOT_FINITE') with tensor, row and column.
 */
export function readRow(file: GgufFile, tensor: GgufTensor, n: number, out: Float32Array): void {
  const columns = tensor.shape[tensor.shape.length - 1];
  const rowBytes = (columns / tensor.codec.blockSize) * tensor.codec.blockBytes;
  const bytes = scratchBytes(rowBytes);
  file.read(tensor.offset + n * rowBytes, bytes);
  tensor.codec.dequantise(bytes, out);
  const values = out.length === columns ? out : out.subarray(0, columns);
  if (!allFinite(values)) failNotFinite(file.path, tensor, n, values);
}

function failNotFinite(
  path: string,
  { name, shape, codec }: GgufTensor,
  n: number,
  values: Float32Array,
): never {
  const at = values.findIndex((value) => !Number.isFinite(value));
  const place = shape.length > 1 ? `row ${n}, column ${at}` : `value ${at}`;
  const scale = codec.blockSize > 1 ? ` (the scale of its block in ${codec.name} may be the cause)` : '';
  fail(
    path,
    'MODEL_NOT_FINITE',
    `tensor ${show(name)} holds ${values[at]} in ${place}, counted from 0${scale}`,
    'the file is damaged, or its conversion overflowed: fetch it again, or convert it from a type with more range',
  );
}

let scratch = new Uint8Array(0);
function scratchBytes(length: number): Uint8Array {
  if (scratch.length < length) scratch = new Uint8Array(length);
  return scratch.length === length ? scratch : scratch.subarray(0, length);
}

function fail(path: string, code: string, what: string, hint?: string): never {
  throw new OnefetError('input', code, `${path}: ${what}`, hint === undefined ? {} : { hint });
}

function parse(path: string, handle: number, sizeBytes: number): GgufFile {
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
    relative.push(tensor);
  }
  const dataOffset = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map(
    relative.map((tensor) => [tensor.name, { ...tensor, offset: dataOffset + tensor.offset }]),
  );
  checkPlacement(path, [...tensors.values()], dataOffset, alignment, sizeBytes);

  let open = true;
  return {
    path,
    sizeBytes,
    version,
    alignment,
    dataOffset,
    metadata,
    tensors,
    read(position, out) {
      if (!open) throw new OnefetError('internal', 'GGUF_CLOSED', `${path} is read after it was closed`);
      readFully(path, handle, position, out);
    },
    close() {
      if (open) closeSync(handle);
      open = false;
    },
  };
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

function readFully(path: string, handle: number, position: number, out: Uint8Array): void {
  for (let done = 0; done < out.length; ) {
    let got: number;
    try {
      got = readSync(handle, out, done, out.length - done, position + done);
    } catch (cause) {
      throw new OnefetError('input', 'GGUF_UNREADABLE', `${path}: read failed: ${reasonOf(cause)}`, {
        cause,
      });
    }
    if (got === 0) fail(path, 'GGUF_TRUNCATED', `ends at byte ${position + done}, inside what is being read`);
    done += got;
  }
}

/** A name from the file, quoted and shortened, fit for a one-line message. */
function show(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** Bytes of the fixed-size metadata types by id; strings (8) and arrays (9) are variable. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};

/** Walks the header through a window of the file. */
class Cursor {
  position = 0;
  private readonly path: string;
  private readonly handle: number;
  private readonly sizeBytes: number;
  private window = new Uint8Array(0);
  private view = new DataView(this.window.buffer);
  private windowStart = 0;
  private readonly text = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(path: string, handle: number, sizeBytes: number) {
    this.path = path;
    this.handle = handle;
    this.sizeBytes = sizeBytes;
  }

  /** Makes `length` bytes available and steps over them; returns their index in the window. */
  private take(length: number, what: string): number {
    if (length > this.sizeBytes - this.position) {
      fail(
        this.path,
        'GGUF_TRUNCATED',
        `header ends inside ${what}: ${length} bytes needed at byte ${this.position}, the file has ${this.sizeBytes}`,
        'the download or copy is incomplete: fetch the file again',
      );
    }
    if (this.position + length > GGUF_LIMITS.headerBytes) {
      fail(this.path, 'GGUF_LIMIT', `the header exceeds ${GGUF_LIMITS.headerBytes} bytes, inside ${what}`);
    }
    if (this.position + length > this.windowStart + this.window.length) {
      const wanted = Math.min(Math.max(length, 2 ** 18), this.sizeBytes - this.position);
      this.window = new Uint8Array(wanted);
      this.view = new DataView(this.window.buffer);
      readFully(this.path, this.handle, this.position, this.window);
      this.windowStart = this.position;
    }
    const index = this.position - this.windowStart;
    this.position += length;
    return index;
  }

  u32(what: string): number {
    const at = this.take(4, what);
    return this.view.getUint32(at, true);
  }

  private u64(what: string): number | bigint {
    const at = this.take(8, what);
    return safe(this.view.getBigUint64(at, true));
  }

  /** A u64 count of things that take at least `leastBytes` each. */
  count(what: string, limit: number, leastBytes: number): number {
    const value = this.u64(what);
    if (value > limit) {
      fail(this.path, 'GGUF_LIMIT', `${what} is ${value}; at most ${limit} is accepted`);
    }
    const count = Number(value);
    const left = this.sizeBytes - this.position;
    if (count * leastBytes > left) {
      fail(
        this.path,
        'GGUF_TRUNCATED',
        `${what} is ${count}, which needs ${count * leastBytes} bytes; ${left} are left in the file`,
        'the download or copy is incomplete: fetch the file again',
      );
    }
    return count;
  }

  string(what: string, limit: number): string {
    const length = this.count(`length of ${what}`, limit, 1);
    const at = this.take(length, what);
    return this.text.decode(this.window.subarray(at, at + length));
  }

  value(key: string, type: number, depth: number): GgufValue {
    const size = VALUE_BYTES[type];
    if (size !== undefined) {
      const at = this.take(size, show(key));
      return this.scalar(key, type, at);
    }
    if (type === 8) return this.string(`value of ${show(key)}`, GGUF_LIMITS.stringBytes);
    if (type !== 9) fail(this.path, 'GGUF_VALUE', `metadata ${show(key)} has unknown value type ${type}`);
    if (depth >= GGUF_LIMITS.arrayDepth) {
      fail(
        this.path,
        'GGUF_LIMIT',
        `metadata ${show(key)} nests arrays deeper than ${GGUF_LIMITS.arrayDepth}`,
      );
    }
    const elementType = this.u32(`element type of ${show(key)}`);
    const leastBytes = VALUE_BYTES[elementType] ?? (elementType === 8 ? 8 : 12);
    const length = this.count(`length of array ${show(key)}`, GGUF_LIMITS.arrayLength, leastBytes);
    const array = new Array<GgufValue>(length);
    for (let i = 0; i < length; i++) array[i] = this.value(key, elementType, depth + 1);
    return array;
  }

  private scalar(key: string, type: number, at: number): GgufValue {
    const view = this.view;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7: {
        const byte = view.getUint8(at);
        if (byte > 1) fail(this.path, 'GGUF_VALUE', `metadata ${show(key)} is a boolean of value ${byte}`);
        return byte === 1;
      }
      case 10:
        return safe(view.getBigUint64(at, true));
      case 11:
        return safe(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }

  /** A tensor's entry; its offset is still relative to the data section. */
  tensor(index: number): GgufTensor {
    const name = this.string(`name of tensor ${index}`, GGUF_LIMITS.nameBytes);
    const what = `tensor ${show(name)}`;
    const dimensions = this.u32(`dimensions of ${what}`);
    if (dimensions < 1 || dimensions > GGUF_LIMITS.dimensions) {
      fail(
        this.path,
        'GGUF_SHAPE',
        `${what} has ${dimensions} dimensions; 1 to ${GGUF_LIMITS.dimensions} are accepted`,
      );
    }
    const shape: number[] = [];
    let elements = 1;
    for (let d = 0; d < dimensions; d++) {
      const extent = Number(this.u64(`shape of ${what}`));
      elements *= extent;
      if (extent < 1 || !Number.isSafeInteger(elements)) {
        fail(this.path, 'GGUF_SHAPE', `${what} has an impossible extent ${extent}`);
      }
      shape.unshift(extent);
    }
    const typeId = this.u32(`type of ${what}`);
    const codec = CODECS.get(typeId);
    if (codec === undefined) {
      const known = [...CODECS.values()].map((c) => c.name).join(', ');
      fail(
        this.path,
        'GGUF_TENSOR_TYPE',
        `${what} is of type ${typeName(typeId)}, which is not supported`,
        `supported types: ${known}`,
      );
    }
    const columns = shape[shape.length - 1];
    if (columns % codec.blockSize !== 0) {
      fail(
        this.path,
        'GGUF_SHAPE',
        `${what} has rows of ${columns} values, not a multiple of ${codec.name}'s block of ${codec.blockSize}`,
      );
    }
    const offset = Number(this.u64(`offset of ${what}`));
    const sizeBytes = (elements / codec.blockSize) * codec.blockBytes;
    return { name, codec, shape, elements, offset, sizeBytes };
  }
}

function safe(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
