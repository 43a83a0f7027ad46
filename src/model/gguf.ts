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
 * A model split by llama.cpp's gguf-split (`<name>-00001-of-00003.gguf`, ...; split.no, split.count, split.tensors.count
 * in each part, all other metadata in the first) is read as one file: the parts one behind the other.
 *
 * Every length and count is checked against its limit and against the bytes left in the file before anything is
 * allocated, so a damaged file gives an error and not an exhausted machine.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { allFinite } from '../numbers.ts';
import type { Codec } from './codecs/codec.ts';
import { CODECS, typeName } from './codecs/registry.ts';

/** Limits of a header. All are far above any published model; beyond them a file is damaged or hostile. */
export const GGUF_LIMITS = {
  /** Metadata entries; models have 20 to 60. */
  entries: 65_536,
  /** Bytes of a key: the specification's bound. */
  keyBytes: 65_535,
  /** Bytes of a string value; chat templates reach some 100 kB. */
  stringBytes: 16 * 2 ** 20,
  /** Elements of an array; the largest vocabularies have 262,144 tokens and about twice as many merges. */
  arrayLength: 4 * 2 ** 20,
  /** Elements of all arrays together: strings of a few bytes take ten times their place in memory. */
  values: 4 * 2 ** 20,
  /** Arrays within arrays; none is in use. */
  arrayDepth: 4,
  /** Tensors; an 8B Llama has 292, mixtures of experts a few thousand. */
  tensors: 65_536,
  /** Bytes of a tensor name: ggml's GGML_MAX_NAME is 64. */
  nameBytes: 256,
  /** Dimensions: ggml's GGML_MAX_DIMS. */
  dimensions: 4,
  /** Bytes of the whole header: a vocabulary of 262,144 tokens with its merges takes about 16 MB. */
  headerBytes: 2 ** 26,
  /** Parts of a split model; the largest have about 100. */
  parts: 1024,
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
  /** Absolute position in the file; of a split model, in all parts one behind the other. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A tensor of a type that cannot be read. */
export interface UnreadableTensor {
  readonly name: string;
  readonly type: string;
  readonly elements: number;
}

export interface GgufFile {
  readonly path: string;
  /** Of all parts. */
  readonly sizeBytes: number;
  /** Of all parts as they were opened: device, inode, size and times. Another text is another file, or another content. */
  readonly identity: string;
  readonly version: number;
  readonly alignment: number;
  /** Absolute position of the data section. */
  readonly dataOffset: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Only with `lenient`: what a strict opening refuses. */
  readonly refused: readonly OnefetError[];
  readonly unreadable: readonly UnreadableTensor[];
  /** Reads out.length bytes at an absolute position. */
  read(position: number, out: Uint8Array): void;
  close(): void;
}

export interface GgufOptions {
  /** Takes a part of a split model by itself and passes over tensors of unknown types: to tell what a file holds. */
  readonly lenient?: boolean;
}

/**
 * Opens and checks a file, or by its first part a split model. Errors are OnefetError('input', 'GGUF_...') with the path
 * and the place, 'MODEL_SPLIT' naming a part that is missing or does not belong to the others.
 */
export function openGguf(path: string, { lenient = false }: GgufOptions = {}): GgufFile {
  const { handle, sizeBytes } = openFile(path);
  try {
    const header = readHeader(path, handle, sizeBytes, lenient);
    const parts = splitCount(header);
    const whole = parts > 1 ? joinParts(header, parts, lenient) : undefined;
    if (whole) {
      closeSync(handle);
      return whole;
    }
    return asFile(path, header, sizeBytes, {
      read: (position, out) => readFully(path, handle, position, out),
      close: () => closeSync(handle),
    });
  } catch (error) {
    closeSync(handle);
    throw error;
  }
}

function openFile(path: string): { handle: number; sizeBytes: number } {
  let handle: number;
  try {
    // Before it is opened: to open a pipe is to wait for its writer.
    if (!statSync(path).isFile()) fail(path, 'GGUF_MISSING', 'not a file');
    handle = openSync(path, 'r');
  } catch (cause) {
    if (cause instanceof OnefetError) throw cause;
    throw new OnefetError('input', 'GGUF_MISSING', `cannot open model ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'give the path of a .gguf file',
    });
  }
  return { handle, sizeBytes: fstatSync(handle).size };
}

function fileIdentity(handle: number): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(handle, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

/** The part that is read at opening: all but the tensors' data. */
interface Header extends Omit<GgufFile, 'read' | 'close' | 'refused' | 'unreadable'> {
  readonly refused: OnefetError[];
  readonly unreadable: UnreadableTensor[];
}

function asFile(
  path: string,
  header: Header,
  sizeBytes: number,
  { read, close }: Pick<GgufFile, 'read' | 'close'>,
): GgufFile {
  let open = true;
  return {
    ...header,
    path,
    sizeBytes,
    read(position, out) {
      if (!open) throw new OnefetError('internal', 'GGUF_CLOSED', `${path} is read after it was closed`);
      read(position, out);
    },
    close() {
      if (open) close();
      open = false;
    },
  };
}

function splitCount({ path, metadata }: Header): number {
  const parts = metadata.get('split.count') ?? 1;
  if (typeof parts === 'number' && Number.isInteger(parts) && parts >= 0 && parts <= GGUF_LIMITS.parts) {
    return parts;
  }
  fail(path, 'MODEL_SPLIT', `split.count is ${show(parts)}; at most ${GGUF_LIMITS.parts} parts are accepted`);
}

/** Parts of a split model that are open at a time. */
const OPEN_PARTS = 8;

/** The file that the parts are together; `lenient`: undefined where they are not, and `first` says why. */
function joinParts(first: Header, count: number, lenient: boolean): GgufFile | undefined {
  try {
    return joinAll(first, count, lenient);
  } catch (error) {
    if (!lenient || !(error instanceof OnefetError) || error.kind !== 'input') throw error;
    first.refused.push(error);
    return undefined;
  }
}

function joinAll(first: Header, count: number, lenient: boolean): GgufFile {
  const numbered = /-(\d{5})-of-(\d{5})\.gguf$/;
  const named = numbered.exec(first.path);
  const partPath = (part: number) =>
    first.path.replace(numbered, `-${digits(part + 1)}-of-${digits(count)}.gguf`);
  const wanted = named ? `, beginning with ${basename(partPath(0))}` : '';
  if (
    first.metadata.get('split.no') !== 0 ||
    !named ||
    Number(named[1]) !== 1 ||
    Number(named[2]) !== count
  ) {
    fail(
      first.path,
      'MODEL_SPLIT',
      `is one of ${count} parts of a split model, and not its first by number and name`,
      `give the first of its parts${wanted}; they are named <name>-00001-of-${digits(count)}.gguf and so on`,
    );
  }
  const headers = Array.from({ length: count }, (_, part) =>
    part === 0 ? first : readPart(first, partPath(part), part, lenient),
  );
  const tensors = new Map<string, GgufTensor>();
  const starts: number[] = [];
  let sizeBytes = 0;
  for (const header of headers) {
    starts.push(sizeBytes);
    for (const [name, tensor] of header.tensors) {
      if (tensors.has(name))
        fail(header.path, 'MODEL_SPLIT', `tensor ${show(name)} is in an earlier part too`);
      tensors.set(name, { ...tensor, offset: sizeBytes + tensor.offset });
    }
    sizeBytes += header.sizeBytes;
  }
  const unreadable = headers.flatMap((header) => header.unreadable);
  const promised = first.metadata.get('split.tensors.count');
  const found = tensors.size + unreadable.length;
  if (promised !== undefined && promised !== found) {
    fail(
      first.path,
      'MODEL_SPLIT',
      `split.tensors.count is ${show(promised)}, the ${count} parts have ${found}`,
    );
  }
  const refused = headers.flatMap((header) => header.refused);
  const identity = headers.map((header) => header.identity).join(' ');
  const whole = { ...first, identity, tensors, refused, unreadable };
  return asFile(first.path, whole, sizeBytes, partsReader(headers, starts));
}

const digits = (part: number): string => String(part).padStart(5, '0');

function readPart(first: Header, path: string, part: number, lenient: boolean): Header {
  let opened: ReturnType<typeof openFile>;
  try {
    opened = openFile(path);
  } catch (cause) {
    throw new OnefetError('input', 'MODEL_SPLIT', `part ${part + 1} of the model is missing: ${path}`, {
      cause,
      hint: 'all parts must be in one folder: fetch it',
    });
  }
  try {
    const header = readHeader(path, opened.handle, opened.sizeBytes, lenient);
    for (const [key, value] of [
      ['split.no', part],
      ['split.count', first.metadata.get('split.count')],
      ['split.tensors.count', first.metadata.get('split.tensors.count')],
    ] as const) {
      const own = header.metadata.get(key);
      if (own === value) continue;
      fail(
        path,
        'MODEL_SPLIT',
        `does not belong to ${basename(first.path)}: ${key} is ${show(own)} where ${show(value)} is needed`,
        'fetch all parts of one model again',
      );
    }
    return header;
  } finally {
    closeSync(opened.handle);
  }
}

/** Reads from parts that lie one behind the other; few of them are open at a time. */
function partsReader(
  headers: readonly Header[],
  starts: readonly number[],
): Pick<GgufFile, 'read' | 'close'> {
  /** Handles by part; the one used last is the last. */
  const open = new Map<number, number>();
  const handleOf = (part: number): number => {
    const handle = open.get(part) ?? reopen(headers[part]);
    open.delete(part);
    open.set(part, handle);
    if (open.size > OPEN_PARTS) {
      const [[oldest, unused]] = open;
      open.delete(oldest);
      closeSync(unused);
    }
    return handle;
  };
  return {
    read(position, out) {
      for (let done = 0; done < out.length; ) {
        const at = position + done;
        const part = starts.findLastIndex((start) => start <= at);
        const { path, sizeBytes } = headers[part];
        const within = at - starts[part];
        const count = Math.min(out.length - done, sizeBytes - within);
        if (count <= 0) fail(path, 'GGUF_TRUNCATED', `ends at byte ${within}, inside what is being read`);
        readFully(path, handleOf(part), within, out.subarray(done, done + count));
        done += count;
      }
    },
    close() {
      for (const handle of open.values()) closeSync(handle);
      open.clear();
    },
  };
}

function reopen({ path, sizeBytes }: Header): number {
  const opened = openFile(path);
  if (opened.sizeBytes === sizeBytes) return opened.handle;
  closeSync(opened.handle);
  fail(path, 'MODEL_SPLIT', 'has changed while it was in use');
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

function readHeader(path: string, handle: number, sizeBytes: number, lenient: boolean): Header {
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
  private values = 0;
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
    this.values += length;
    if (this.values > GGUF_LIMITS.values) {
      fail(
        this.path,
        'GGUF_LIMIT',
        `the arrays of the header have more than ${GGUF_LIMITS.values} elements, in ${show(key)}`,
      );
    }
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
  tensor(index: number): GgufTensor | UnreadableTensor {
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
      this.u64(`offset of ${what}`);
      return { name, type: typeName(typeId), elements };
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
