/**
 * The chip image file, onefet.image/2: what the masks and the digital part of a chip hold for one model. Little-endian.
 *
 *   file     8 bytes 'onefetCI', u32 version, u32 zero, then sections one after another
 *   section  u32 'SECT', u32 kind, u32 bytes of JSON, u32 zero, u64 bytes of payload, 32 bytes SHA-256, JSON, payload
 *            the digest is over the section with its own place left out
 *   kinds    1 header (first), 2 vector, 3 matrix, 4 end (last: the digest of all sections' digests), 5 ranges (at most one)
 *
 * Payload of a vector: f32 [length], a norm's gain as the digital part multiplies by it.
 * Payload of a matrix, in this order, what its JSON says is there:
 *   codes      [N] rows of ceil(K bits / 8) bytes, code + magnitudeMax, lowest bits first
 *   scales     f32 [N][tiles]
 *   mean       f32 [K], addend f32 [N]             centre
 *   down       f32 [rank][K], up f32 [N][rank]     side path
 *   down, up   the same of the principal part
 *
 * Payload of the ranges: f32 [tiles][cells per weight], matrix by matrix, full scales of the converters in I_fs. Its JSON says of which
 * fabric they are, and by what text.
 *
 * A section is written whole and checked by its digest, so a file that stops anywhere is resumed after its last whole
 * section. Every count is bounded, and compared with the file's length, before anything is allocated for it.
 */
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import { weightFormat } from '../tile/weight-code.ts';
import { MAP_STEPS } from './map-matrix.ts';

export const MAGIC = 'onefetCI';
export const IMAGE_VERSION = 2;
/** By which people and programs know the version. */
export const IMAGE_SCHEMA = `onefet.image/${IMAGE_VERSION}`;
export const FILE_HEAD_BYTES = 16;
export const SECTION_HEAD_BYTES = 56;
export const SECTION_MARK = 0x54434553;
export const KIND = { header: 1, vector: 2, matrix: 3, end: 4, ranges: 5 } as const;
/** Of one section's JSON. */
export const MOST_JSON_BYTES = 2 ** 20;
/** Of one image: 1024 blocks of 9 tensors and some. */
export const MOST_SECTIONS = 2 ** 14;

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const name = z.string().min(1).max(256);
const extent = z
  .int()
  .min(1)
  .max(2 ** 22);
const rank = z.int().min(0).max(4096);

const rotationSchema = z.strictObject({
  length: z
    .int()
    .min(1)
    .max(2 ** 20),
  repeat: z
    .int()
    .min(1)
    .max(2 ** 16),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32),
});

export const headerSchema = z.strictObject({
  model: z.strictObject({ name, sha256: hash }),
  design: z.strictObject({ name, sha256: hash }),
  /** The calibration text whose statistics were used. */
  text: z.strictObject({ name, sha256: hash, tokens: z.int().min(0) }),
  /** What was chosen, and why, for people and for the report. */
  method: z.strictObject({
    name,
    settings: z.record(z.string(), z.json()),
    reasons: z.array(z.string().max(1000)),
  }),
  /** The residual stream is rotated: after the embedding, and back before the head's norm. */
  residual: rotationSchema.nullable(),
});
export type ImageHeader = z.infer<typeof headerSchema>;

export const vectorSchema = z.strictObject({ name, length: extent });

export const matrixSchema = z.strictObject({
  name,
  outputs: extent,
  inputs: z
    .int()
    .min(1)
    .max(2 ** 20),
  tileRows: z.int().min(1).max(4096),
  bits: z.union([z.literal(3), z.literal(4), z.literal(6)]),
  centre: z.boolean(),
  side: rank,
  principal: rank,
  /** Of the input; `online` ones are done by the digital part before the row drivers, others are in the weights before. */
  rotation: z.strictObject({ ...rotationSchema.shape, online: z.boolean() }).nullable(),
  /** Relative output errors of the mapping's steps. */
  steps: z.array(z.strictObject({ step: z.enum(MAP_STEPS), error: z.number() })).max(256),
});
export type MatrixMeta = z.infer<typeof matrixSchema>;

export const rangesSchema = z.strictObject({
  /** Word of the fabric whose converters they are. */
  fabric: name,
  /** What of its design and cell decides them, key by key. */
  conditions: z.record(z.string(), z.json()),
  /** The text on which they were measured. */
  text: z.strictObject({ name, sha256: hash, tokens: z.int().min(1) }),
  matrices: z
    .array(
      z.strictObject({
        name,
        tiles: z
          .int()
          .min(1)
          .max(2 ** 15),
        cells: z.int().min(1).max(8),
      }),
    )
    .max(MOST_SECTIONS),
});
export type RangesMeta = z.infer<typeof rangesSchema>;

export const endSchema = z.strictObject({ sections: z.int().min(1).max(MOST_SECTIONS), sha256: hash });

/** Bytes of one output's codes. */
export const codeRowBytes = (meta: { inputs: number; bits: number }): number =>
  Math.ceil((meta.inputs * meta.bits) / 8);

/** f32 arrays of a matrix in their order, by length; 0 where absent. */
interface MatrixLengths {
  readonly codeBytes: number;
  readonly scales: number;
  readonly mean: number;
  readonly addend: number;
  readonly sideDown: number;
  readonly sideUp: number;
  readonly principalDown: number;
  readonly principalUp: number;
}

export function matrixLengths(meta: MatrixMeta): MatrixLengths {
  const { outputs, inputs, side, principal } = meta;
  const tiles = Math.ceil(inputs / meta.tileRows);
  return {
    codeBytes: outputs * codeRowBytes(meta),
    scales: outputs * tiles,
    mean: meta.centre ? inputs : 0,
    addend: meta.centre ? outputs : 0,
    sideDown: side * inputs,
    sideUp: outputs * side,
    principalDown: principal * inputs,
    principalUp: outputs * principal,
  };
}

export function payloadBytes(meta: MatrixMeta): number {
  const { codeBytes, ...floats } = matrixLengths(meta);
  return codeBytes + 4 * Object.values(floats).reduce((sum, length) => sum + length, 0);
}

/** Packs codes [rows][K] into rows of whole bytes. */
export function packCodes(codes: Int8Array, rows: number, inputs: number, bits: number): Uint8Array {
  const { magnitudeMax } = weightFormat(bits);
  const rowBytes = codeRowBytes({ inputs, bits });
  const out = new Uint8Array(rows * rowBytes);
  for (let n = 0; n < rows; n++) {
    let held = 0;
    let count = 0;
    let at = n * rowBytes;
    for (let j = 0; j < inputs; j++) {
      const value = codes[n * inputs + j] + magnitudeMax;
      if (!(value >= 0 && value <= 2 * magnitudeMax)) {
        throw new OnefetError(
          'internal',
          'CODE_RANGE',
          `code ${codes[n * inputs + j]} does not fit ${bits} bits`,
        );
      }
      held |= value << count;
      count += bits;
      while (count >= 8) {
        out[at++] = held & 255;
        held >>= 8;
        count -= 8;
      }
    }
    if (count > 0) out[at] = held & 255;
  }
  return out;
}

/** The reverse; undefined where a code is outside its range or spare bits are set. */
export function unpackCodes(
  packed: Uint8Array,
  rows: number,
  inputs: number,
  bits: number,
): Int8Array | undefined {
  const { magnitudeMax } = weightFormat(bits);
  const rowBytes = codeRowBytes({ inputs, bits });
  const codes = new Int8Array(rows * inputs);
  const mask = 2 ** bits - 1;
  for (let n = 0; n < rows; n++) {
    let held = 0;
    let count = 0;
    let at = n * rowBytes;
    for (let j = 0; j < inputs; j++) {
      while (count < bits) {
        held |= packed[at++] << count;
        count += 8;
      }
      const value = held & mask;
      held >>= bits;
      count -= bits;
      if (value > 2 * magnitudeMax) return undefined;
      codes[n * inputs + j] = value - magnitudeMax;
    }
    if (held !== 0) return undefined;
  }
  return codes;
}
