/** A model split by llama.cpp's gguf-split, read as one file: its parts one behind the other. */
import { closeSync } from 'node:fs';
import { basename } from 'node:path';
import { OnefetError } from '../error.ts';
import {
  asFile,
  fail,
  GGUF_LIMITS,
  type GgufFile,
  type GgufTensor,
  type Header,
  openFile,
  readFully,
  show,
} from './gguf-file.ts';
import { readHeader } from './gguf-header.ts';

export function splitCount({ path, metadata }: Header): number {
  const parts = metadata.get('split.count') ?? 1;
  if (typeof parts === 'number' && Number.isInteger(parts) && parts >= 0 && parts <= GGUF_LIMITS.parts) {
    return parts;
  }
  fail(path, 'MODEL_SPLIT', `split.count is ${show(parts)}; at most ${GGUF_LIMITS.parts} parts are accepted`);
}

/** Parts of a split model that are open at a time. */
const OPEN_PARTS = 8;

/** The file that the parts are together; `lenient`: undefined where they are not, and `first` says why. */
export function joinParts(first: Header, count: number, lenient: boolean): GgufFile | undefined {
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
