import { OnefetError } from '../error.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { readAt } from '../files.ts';
import {
  codeRowBytes,
  type MatrixMeta,
  matrixLengths,
  matrixSchema,
  packCodes,
  payloadBytes,
  type RangesMeta,
  rangesSchema,
  unpackCodes,
} from './image-format.ts';
import { fail, type Section } from './image-sections.ts';
import type { SidePath } from './low-rank.ts';
import type { MappedMatrix, MapStep } from './map-matrix.ts';

/** One matrix in an image. */
export interface ImageMatrix extends MappedMatrix {
  /** Tensor key, such as blk.0.attn_q. */
  readonly name: string;
  readonly rotation: MatrixMeta['rotation'];
  readonly steps: readonly MapStep[];
}

/** A matrix without its codes: what the digital part of a chip holds of it. */
export type DigitalPart = Omit<ImageMatrix, 'codes'>;

export const bytesOf = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

export function encodeMatrix(matrix: ImageMatrix): { meta: MatrixMeta; payload: Uint8Array[] } {
  const { outputs, inputs, tileRows, bits, centre, side, principal } = matrix;
  const meta = matrixSchema.parse({
    name: matrix.name,
    outputs,
    inputs,
    tileRows,
    bits,
    centre: centre !== undefined,
    side: side?.rank ?? 0,
    principal: principal?.rank ?? 0,
    rotation: matrix.rotation,
    steps: matrix.steps,
  });
  const arrays = [
    matrix.scales,
    centre?.mean,
    centre?.addend,
    side?.down,
    side?.up,
    principal?.down,
    principal?.up,
  ].filter((x) => x !== undefined);
  const payload = [packCodes(matrix.codes, outputs, inputs, bits), ...arrays.map(bytesOf)];
  const bytes = payload.reduce((sum, part) => sum + part.length, 0);
  if (bytes !== payloadBytes(meta)) {
    throw new OnefetError(
      'internal',
      'IMAGE_SHAPE',
      `${matrix.name}: ${bytes} bytes, not ${payloadBytes(meta)}`,
    );
  }
  return { meta, payload };
}

export function decodeDigital(path: string, handle: number, meta: MatrixMeta, section: Section): DigitalPart {
  const lengths = matrixLengths(meta);
  let at = section.payloadAt + lengths.codeBytes;
  const take = (length: number): Float32Array => {
    const values = finite(path, meta.name, readFloats(path, handle, at, length));
    at += 4 * length;
    return values;
  };
  const scales = take(lengths.scales);
  const centre = meta.centre ? { mean: take(lengths.mean), addend: take(lengths.addend) } : undefined;
  const sidePath = (rank: number, down: number, up: number): SidePath | undefined =>
    rank > 0 ? { rank, down: take(down), up: take(up) } : undefined;
  const side = sidePath(meta.side, lengths.sideDown, lengths.sideUp);
  const principal = sidePath(meta.principal, lengths.principalDown, lengths.principalUp);
  const { name, outputs, inputs, tileRows, bits, rotation } = meta;
  return {
    name,
    outputs,
    inputs,
    tileRows,
    bits,
    rotation,
    steps: meta.steps,
    scales,
    centre,
    side,
    principal,
  };
}

export function encodeRanges(
  about: Omit<RangesMeta, 'matrices'>,
  table: RangeTable,
): { meta: RangesMeta; values: Float32Array } {
  const entries = Object.entries(table);
  const matrices = entries.map(([name, tiles]) => ({ name, tiles: tiles.length, cells: tiles[0].length }));
  const meta = rangesSchema.parse({ ...about, matrices });
  return { meta, values: Float32Array.from(entries.flatMap(([, tiles]) => tiles.flat())) };
}

export function decodeRanges({ matrices }: RangesMeta, values: Float32Array): RangeTable {
  const table: RangeTable = {};
  let at = 0;
  for (const { name, tiles, cells } of matrices) {
    table[name] = Array.from({ length: tiles }, () => {
      at += cells;
      return [...values.subarray(at - cells, at)];
    });
  }
  return table;
}

export function readCodeRows(
  path: string,
  handle: number,
  meta: MatrixMeta,
  section: Section,
  first: number,
  count: number,
): Int8Array {
  const rowBytes = codeRowBytes(meta);
  const packed = new Uint8Array(count * rowBytes);
  if (!readAt(handle, packed, section.payloadAt + first * rowBytes)) {
    fail(path, 'IMAGE_DAMAGED', `ends inside ${meta.name}`);
  }
  const codes = unpackCodes(packed, count, meta.inputs, meta.bits);
  if (codes === undefined) fail(path, 'IMAGE_DAMAGED', `${meta.name} has codes outside their range`);
  return codes;
}

export function readFloats(path: string, handle: number, at: number, count: number): Float32Array {
  const values = new Float32Array(count);
  if (!readAt(handle, new Uint8Array(values.buffer), at)) fail(path, 'IMAGE_DAMAGED', 'ends too early');
  return values;
}

export function finite(path: string, name: string, values: Float32Array): Float32Array {
  if (!values.every(Number.isFinite)) fail(path, 'IMAGE_DAMAGED', `${name} has numbers that are not finite`);
  return values;
}
