/** Places of the parts of a synthetic model's file, and the pieces in which it is made. */
import type { GgufField, GgufTensorSource } from '../model/gguf-writer.ts';
import { encodeHeader } from '../model/gguf-writer.ts';

/** encodeHeader's alignment of the tensor data. */
const ALIGNMENT = 32;
/** Bytes per piece: some 20 ms of work, so that progress and load balance are fine and messages few. */
const PIECE_BYTES = 2 ** 20;

/** Rows from .. to - 1 of a tensor, at `position` in the file. */
export interface Piece {
  readonly tensor: number;
  readonly from: number;
  readonly to: number;
  readonly position: number;
  readonly sizeBytes: number;
}

export interface Layout {
  readonly header: Uint8Array;
  readonly pieces: readonly Piece[];
  readonly sizeBytes: number;
  /** Elements of all tensors but rope_freqs. */
  readonly parameters: number;
}

export function layOut(
  metadata: ReadonlyMap<string, GgufField>,
  tensors: readonly GgufTensorSource[],
): Layout {
  const header = encodeHeader(metadata, tensors);
  const pieces: Piece[] = [];
  let position = header.length;
  let parameters = 0;
  tensors.forEach((tensor, index) => {
    const rows = rowCount(tensor);
    const width = rowBytes(tensor);
    const rowsPerPiece = Math.max(1, Math.floor(PIECE_BYTES / width));
    for (let from = 0; from < rows; from += rowsPerPiece) {
      const to = Math.min(rows, from + rowsPerPiece);
      const sizeBytes = (to - from) * width;
      pieces.push({ tensor: index, from, to, position: position + from * width, sizeBytes });
    }
    position = Math.ceil((position + rows * width) / ALIGNMENT) * ALIGNMENT;
    if (tensor.name !== 'rope_freqs.weight') parameters += rows * columnCount(tensor);
  });
  return { header, pieces, sizeBytes: position, parameters };
}

/** The bytes of a piece. */
export function makePiece(tensor: GgufTensorSource, { from, to, sizeBytes }: Piece): Uint8Array {
  const width = rowBytes(tensor);
  const values = new Float32Array(columnCount(tensor));
  const bytes = new Uint8Array(sizeBytes);
  for (let n = from; n < to; n++) {
    tensor.row(n, values);
    // Only types with a quantiser are in SYNTH_TYPES.
    tensor.codec.quantise!(values, bytes.subarray((n - from) * width, (n - from + 1) * width));
  }
  return bytes;
}

function columnCount({ shape }: GgufTensorSource): number {
  return shape[shape.length - 1];
}

function rowCount({ shape }: GgufTensorSource): number {
  return shape.slice(0, -1).reduce((product, extent) => product * extent, 1);
}

function rowBytes(tensor: GgufTensorSource): number {
  return (columnCount(tensor) / tensor.codec.blockSize) * tensor.codec.blockBytes;
}
