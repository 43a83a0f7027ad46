/** What of a GGUF file all its readers share: its limits, its values and tensors, an open file and reads by position. */
import { fstatSync, openSync, readSync, statSync } from 'node:fs';
import { OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import type { Codec } from './codecs/codec.ts';

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

/** The part that is read at opening: all but the tensors' data. */
export interface Header extends Omit<GgufFile, 'read' | 'close' | 'refused' | 'unreadable'> {
  readonly refused: OnefetError[];
  readonly unreadable: UnreadableTensor[];
}

export function openFile(path: string): { handle: number; sizeBytes: number } {
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

export function asFile(
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

export function readFully(path: string, handle: number, position: number, out: Uint8Array): void {
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

export function fail(path: string, code: string, what: string, hint?: string): never {
  throw new OnefetError('input', code, `${path}: ${what}`, hint === undefined ? {} : { hint });
}

/** A name from the file, quoted and shortened, fit for a one-line message. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
