/** Walks the header of a GGUF file, value by value; every length is checked before anything is allocated. */
import { CODECS, typeName } from './codecs/registry.ts';
import {
  fail,
  GGUF_LIMITS,
  type GgufTensor,
  type GgufValue,
  readFully,
  show,
  type UnreadableTensor,
} from './gguf-file.ts';

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
export class Cursor {
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
