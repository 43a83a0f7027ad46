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
import { closeSync } from 'node:fs';
import { allFinite } from '../numbers.ts';
import { asFile, fail, type GgufFile, type GgufTensor, openFile, readFully, show } from './gguf-file.ts';
import { readHeader } from './gguf-header.ts';
import { joinParts, splitCount } from './gguf-split.ts';

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
