/**
 * Writing and reading a chip image (image-format.ts): matrix by matrix, resumable, read by range.
 *
 * The writer works on `<path>.part` and renames it when the image is whole. The reader walks the sections' heads when it
 * opens a file, checks a section's digest at its first use, and never allocates more than the file itself holds.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, renameSync } from 'node:fs';
import type { z } from 'zod';
import { OnefetError } from '../error.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { readAt, reasonOf, writeAt } from '../files.ts';
import {
  codeRowBytes,
  endSchema,
  FILE_HEAD_BYTES,
  headerSchema,
  IMAGE_SCHEMA,
  IMAGE_VERSION,
  type ImageHeader,
  KIND,
  MAGIC,
  type MatrixMeta,
  MOST_JSON_BYTES,
  MOST_SECTIONS,
  matrixLengths,
  matrixSchema,
  packCodes,
  payloadBytes,
  type RangesMeta,
  rangesSchema,
  SECTION_HEAD_BYTES,
  SECTION_MARK,
  unpackCodes,
  vectorSchema,
} from './image-format.ts';
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

export interface ImageWriter {
  /** Sections that an interrupted run left whole. */
  readonly resumed: ReadonlySet<string>;
  writeVector(name: string, values: Float32Array): void;
  writeMatrix(matrix: ImageMatrix): void;
  /** Full scales of the converters, behind all matrices. */
  writeRanges(ranges: Omit<RangesMeta, 'matrices'>, table: RangeTable): void;
  /** Closes the image and gives it its name. */
  finish(): void;
  /** Leaves the part for a later run. */
  close(): void;
}

export interface ImageReader {
  readonly path: string;
  readonly header: ImageHeader;
  /** Digest of all sections: what the image is known by. */
  readonly sha256: string;
  /** In the order of the file. */
  readonly matrices: ReadonlyMap<string, MatrixMeta>;
  readonly vectors: ReadonlyMap<string, number>;
  /** Of the converters' full scales; undefined for an image without. */
  readonly ranges: RangesMeta | undefined;
  readRanges(): RangeTable | undefined;
  readVector(name: string): Float32Array;
  readMatrix(name: string): ImageMatrix;
  readDigital(name: string): DigitalPart;
  /** Scales [N][tiles]. */
  readScales(name: string): Float32Array;
  /** Codes [count][K] of outputs from `first` on. */
  readCodes(name: string, first: number, count: number): Int8Array;
  close(): void;
}

interface Section {
  readonly kind: number;
  readonly json: unknown;
  /** Of the head. */
  readonly at: number;
  readonly payloadAt: number;
  readonly payloadBytes: number;
  readonly digest: string;
  readonly end: number;
}

/** Name of the section of the converters' full scales. */
const RANGES = 'ranges';

/** What helps where a message has no remedy of its own. */
const REMEDIES: Readonly<Record<string, string>> = {
  IMAGE_DAMAGED: 'copy the image again, or make it again: onefet map',
  IMAGE_FORMAT: 'give an image that onefet map made',
};

function fail(path: string, code: string, what: string, hint: string | undefined = REMEDIES[code]): never {
  throw new OnefetError('input', code, `${path}: ${what}`, hint === undefined ? {} : { hint });
}

/** Whether a file begins as an image does; false for what cannot be read. */
export function isImage(path: string): boolean {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch {
    return false;
  }
  try {
    const head = new Uint8Array(MAGIC.length);
    return readAt(handle, head, 0) && new TextDecoder('latin1').decode(head) === MAGIC;
  } finally {
    closeSync(handle);
  }
}

/** Opens `<path>.part` for writing, going on where a run with the same header stopped. */
export function createImage(path: string, header: ImageHeader): ImageWriter {
  const part = `${path}.part`;
  const handle = openSync(part, existsSync(part) ? 'r+' : 'w+');
  const resumed = new Set<string>();
  const digests: string[] = [];
  let end = FILE_HEAD_BYTES;
  try {
    end = resumeSections(part, handle, header, resumed, digests);
    ftruncateSync(handle, end);
  } catch (error) {
    closeSync(handle);
    throw error;
  }
  const append = (kind: number, json: unknown, payload: readonly Uint8Array[]): void => {
    const section = encodeSection(kind, json, payload);
    writeAt(handle, section.head, end, part);
    end += section.head.length;
    for (const bytes of payload) {
      writeAt(handle, bytes, end, part);
      end += bytes.length;
    }
    digests.push(section.digest);
    if (digests.length > MOST_SECTIONS - 1) fail(part, 'IMAGE_SIZE', `more than ${MOST_SECTIONS} sections`);
  };
  if (digests.length === 0) {
    writeAt(handle, fileHead(), 0, part);
    append(KIND.header, headerSchema.parse(header), []);
  }
  return {
    resumed,
    writeVector(name, values) {
      append(KIND.vector, vectorSchema.parse({ name, length: values.length }), [bytesOf(values)]);
    },
    writeMatrix(matrix) {
      const { meta, payload } = encodeMatrix(matrix);
      append(KIND.matrix, meta, payload);
    },
    writeRanges(ranges, table) {
      const { meta, values } = encodeRanges(ranges, table);
      append(KIND.ranges, meta, [bytesOf(values)]);
    },
    finish() {
      append(KIND.end, { sections: digests.length, sha256: chainDigest(digests) }, []);
      fsyncSync(handle);
      closeSync(handle);
      renameSync(part, path);
    },
    close: () => closeSync(handle),
  };
}

/** Takes the whole sections of an earlier run; returns where the next one goes. */
function resumeSections(
  part: string,
  handle: number,
  header: ImageHeader,
  resumed: Set<string>,
  digests: string[],
): number {
  const size = fstatSync(handle).size;
  const head = new Uint8Array(FILE_HEAD_BYTES);
  if (size < FILE_HEAD_BYTES || !readAt(handle, head, 0)) return FILE_HEAD_BYTES;
  checkFileHead(part, head);
  let at = FILE_HEAD_BYTES;
  while (at < size && digests.length < MOST_SECTIONS) {
    let section: Section;
    try {
      section = readSection(part, handle, at, size);
      verifySection(part, handle, section);
    } catch (error) {
      if (error instanceof OnefetError) break; // the run stopped inside it
      throw error;
    }
    // Ranges are measured again: on what, their header does not say.
    if (section.kind === KIND.end || section.kind === KIND.ranges) break;
    if (section.kind === KIND.header) {
      if (JSON.stringify(section.json) !== JSON.stringify(headerSchema.parse(header))) {
        fail(
          part,
          'IMAGE_OTHER',
          'was begun for another model, design, text or method',
          'delete it, or write to another file',
        );
      }
    } else resumed.add(nameOf(part, section));
    digests.push(section.digest);
    at = section.end;
  }
  return at;
}

/**
 * Opens an image for reading. `verify: false` leaves the sections' digests unchecked, for another thread on a file whose
 * sections the first one has checked. Errors are OnefetError('input', 'IMAGE_...').
 */
export function openImage(path: string, { verify = true } = {}): ImageReader {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (cause) {
    throw new OnefetError('input', 'FILE_UNREADABLE', `cannot read image ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  try {
    return readerOf(path, handle, verify);
  } catch (error) {
    closeSync(handle);
    throw error;
  }
}

function readerOf(path: string, handle: number, verify: boolean): ImageReader {
  const sections = readSections(path, handle);
  const header = parse(path, headerSchema, sections[0].json);
  const matrices = new Map<string, MatrixMeta>();
  const vectors = new Map<string, number>();
  const byName = new Map<string, Section>();
  let ranges: RangesMeta | undefined;
  for (const section of sections.slice(1, -1)) {
    const name = nameOf(path, section);
    if (byName.has(name)) fail(path, 'IMAGE_DAMAGED', `${name} stands in it twice`);
    byName.set(name, section);
    let expected: number;
    if (section.kind === KIND.matrix) {
      const meta = parse(path, matrixSchema, section.json);
      matrices.set(name, meta);
      expected = payloadBytes(meta);
    } else if (section.kind === KIND.ranges) {
      ranges = parse(path, rangesSchema, section.json);
      expected = 4 * ranges.matrices.reduce((sum, { tiles, cells }) => sum + tiles * cells, 0);
    } else {
      const { length } = parse(path, vectorSchema, section.json);
      vectors.set(name, length);
      expected = 4 * length;
    }
    if (section.payloadBytes !== expected) {
      fail(
        path,
        'IMAGE_DAMAGED',
        `${name} has ${section.payloadBytes} bytes where its shape needs ${expected}`,
      );
    }
  }
  const verified = new Set<Section>();
  const sectionOf = (name: string, kind: number): Section => {
    const section = byName.get(name);
    if (section?.kind !== kind) fail(path, 'IMAGE_MISSING', `there is no ${name} in it`);
    if (verify && !verified.has(section)) verifySection(path, handle, section);
    verified.add(section);
    return section;
  };
  return {
    path,
    header,
    sha256: chainDigest(sections.slice(0, -1).map(({ digest }) => digest)),
    matrices,
    vectors,
    ranges,
    readRanges() {
      if (!ranges) return undefined;
      const section = sectionOf(RANGES, KIND.ranges);
      const values = readFloats(path, handle, section.payloadAt, section.payloadBytes / 4);
      return decodeRanges(ranges, finite(path, RANGES, values));
    },
    readVector(name) {
      const section = sectionOf(name, KIND.vector);
      return finite(path, name, readFloats(path, handle, section.payloadAt, section.payloadBytes / 4));
    },
    readMatrix(name) {
      const section = sectionOf(name, KIND.matrix);
      const meta = matrices.get(name)!;
      const codes = readCodeRows(path, handle, meta, section, 0, meta.outputs);
      return { ...decodeDigital(path, handle, meta, section), codes };
    },
    readDigital(name) {
      const section = sectionOf(name, KIND.matrix);
      return decodeDigital(path, handle, matrices.get(name)!, section);
    },
    readScales(name) {
      const section = sectionOf(name, KIND.matrix);
      const { codeBytes, scales } = matrixLengths(matrices.get(name)!);
      return finite(path, name, readFloats(path, handle, section.payloadAt + codeBytes, scales));
    },
    readCodes(name, first, count) {
      const section = sectionOf(name, KIND.matrix);
      const meta = matrices.get(name)!;
      if (!(Number.isInteger(first) && first >= 0 && count >= 0 && first + count <= meta.outputs)) {
        throw new OnefetError(
          'internal',
          'IMAGE_RANGE',
          `outputs ${first} to ${first + count} of ${meta.outputs}`,
        );
      }
      return readCodeRows(path, handle, meta, section, first, count);
    },
    close: () => closeSync(handle),
  };
}

/** Of a vector or a matrix; ranges have one of their own. */
function nameOf(path: string, section: Section): string {
  if (section.kind === KIND.ranges) return RANGES;
  const schema = section.kind === KIND.matrix ? matrixSchema : vectorSchema;
  return parse<z.ZodType<{ name: string }>>(path, schema, section.json).name;
}

/** All sections: a header, named ones, an end that vouches for their digests, and nothing behind it. */
function readSections(path: string, handle: number): Section[] {
  const size = fstatSync(handle).size;
  const head = new Uint8Array(FILE_HEAD_BYTES);
  if (!readAt(handle, head, 0)) fail(path, 'IMAGE_FORMAT', 'is not a chip image');
  checkFileHead(path, head);
  const sections: Section[] = [];
  for (let at = FILE_HEAD_BYTES; at < size; at = sections[sections.length - 1].end) {
    if (sections.length === MOST_SECTIONS)
      fail(path, 'IMAGE_DAMAGED', `has more than ${MOST_SECTIONS} sections`);
    sections.push(readSection(path, handle, at, size));
  }
  const kinds = sections.map(({ kind }) => kind);
  if (kinds[0] !== KIND.header || kinds.lastIndexOf(KIND.header) !== 0) {
    fail(path, 'IMAGE_DAMAGED', 'does not begin with its one header');
  }
  if (kinds.indexOf(KIND.end) !== kinds.length - 1) {
    fail(path, 'IMAGE_DAMAGED', 'is not whole: its end is missing, or in the wrong place');
  }
  const digests = sections.slice(0, -1).map(({ digest }) => digest);
  const end = parse(path, endSchema, sections[sections.length - 1].json);
  if (end.sections !== digests.length || end.sha256 !== chainDigest(digests)) {
    fail(path, 'IMAGE_DAMAGED', 'its sections are not those that were written');
  }
  for (const section of [sections[0], sections[sections.length - 1]]) verifySection(path, handle, section);
  return sections;
}

function readSection(path: string, handle: number, at: number, size: number): Section {
  const head = new Uint8Array(SECTION_HEAD_BYTES);
  if (at + SECTION_HEAD_BYTES > size || !readAt(handle, head, at)) {
    fail(path, 'IMAGE_DAMAGED', `ends inside the section at byte ${at}`);
  }
  const view = new DataView(head.buffer);
  const [mark, kind, jsonBytes, zero] = [0, 4, 8, 12].map((offset) => view.getUint32(offset, true));
  const payload = Number(view.getBigUint64(16, true));
  const known = Object.values(KIND) as number[];
  if (mark !== SECTION_MARK || !known.includes(kind) || zero !== 0) {
    fail(path, 'IMAGE_DAMAGED', `there is no section at byte ${at}`);
  }
  const payloadAt = at + SECTION_HEAD_BYTES + jsonBytes;
  if (jsonBytes > MOST_JSON_BYTES || payload > size || payloadAt + payload > size) {
    fail(path, 'IMAGE_DAMAGED', `the section at byte ${at} is longer than the file`);
  }
  if ((kind === KIND.header || kind === KIND.end) && payload !== 0) {
    fail(path, 'IMAGE_DAMAGED', `the section at byte ${at} has a payload`);
  }
  const text = new Uint8Array(jsonBytes);
  let json: unknown;
  try {
    if (!readAt(handle, text, at + SECTION_HEAD_BYTES)) throw new Error('the file ends');
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch (cause) {
    fail(path, 'IMAGE_DAMAGED', `the section at byte ${at} is not JSON: ${reasonOf(cause)}`);
  }
  const digest = Buffer.from(head.buffer, 24, 32).toString('hex');
  return { kind, json, at, payloadAt, payloadBytes: payload, digest, end: payloadAt + payload };
}

/** Reads the whole section once, a megabyte at a time. */
function verifySection(path: string, handle: number, section: Section): void {
  const hash = createHash('sha256');
  const head = new Uint8Array(24);
  readAt(handle, head, section.at);
  hash.update(head);
  const chunk = new Uint8Array(2 ** 20);
  for (let at = section.at + SECTION_HEAD_BYTES; at < section.end; at += chunk.length) {
    const bytes = chunk.subarray(0, Math.min(chunk.length, section.end - at));
    if (!readAt(handle, bytes, at))
      fail(path, 'IMAGE_DAMAGED', `ends inside the section at byte ${section.at}`);
    hash.update(bytes);
  }
  if (hash.digest('hex') !== section.digest) {
    fail(path, 'IMAGE_DAMAGED', `the section at byte ${section.at} was changed: its digest does not fit`);
  }
}

function encodeSection(
  kind: number,
  json: unknown,
  payload: readonly Uint8Array[],
): { head: Uint8Array; digest: string } {
  const text = new TextEncoder().encode(JSON.stringify(json));
  const head = new Uint8Array(SECTION_HEAD_BYTES + text.length);
  const view = new DataView(head.buffer);
  [SECTION_MARK, kind, text.length, 0].forEach((word, i) => {
    view.setUint32(4 * i, word, true);
  });
  view.setBigUint64(16, BigInt(payload.reduce((sum, bytes) => sum + bytes.length, 0)), true);
  const hash = createHash('sha256').update(head.subarray(0, 24)).update(text);
  for (const bytes of payload) hash.update(bytes);
  const digest = hash.digest();
  head.set(digest, 24);
  head.set(text, SECTION_HEAD_BYTES);
  return { head, digest: digest.toString('hex') };
}

const chainDigest = (digests: readonly string[]): string =>
  createHash('sha256').update(digests.join('\n')).digest('hex');

function fileHead(): Uint8Array {
  const head = new Uint8Array(FILE_HEAD_BYTES);
  head.set(new TextEncoder().encode(MAGIC));
  new DataView(head.buffer).setUint32(8, IMAGE_VERSION, true);
  return head;
}

function checkFileHead(path: string, head: Uint8Array): void {
  if (new TextDecoder('latin1').decode(head.subarray(0, 8)) !== MAGIC) {
    fail(path, 'IMAGE_FORMAT', 'is not a chip image');
  }
  const [version, spare] = [8, 12].map((at) => new DataView(head.buffer).getUint32(at, true));
  if (spare !== 0) fail(path, 'IMAGE_FORMAT', 'is not a chip image');
  if (version !== IMAGE_VERSION) {
    fail(
      path,
      'IMAGE_VERSION',
      `is an onefet.image/${version}; this program reads ${IMAGE_SCHEMA}`,
      version < IMAGE_VERSION
        ? 'make it again: onefet map'
        : 'use the onefet that made it, or make it again: onefet map',
    );
  }
}

function parse<T extends z.ZodType>(path: string, schema: T, json: unknown): z.infer<T> {
  const result = schema.safeParse(json);
  if (!result.success) {
    const { path: key, message } = result.error.issues[0];
    fail(path, 'IMAGE_DAMAGED', `${key.join('.') || 'a section'}: ${message}`);
  }
  return result.data;
}

const bytesOf = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

function encodeMatrix(matrix: ImageMatrix): { meta: MatrixMeta; payload: Uint8Array[] } {
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

function decodeDigital(path: string, handle: number, meta: MatrixMeta, section: Section): DigitalPart {
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

function encodeRanges(
  about: Omit<RangesMeta, 'matrices'>,
  table: RangeTable,
): { meta: RangesMeta; values: Float32Array } {
  const entries = Object.entries(table);
  const matrices = entries.map(([name, tiles]) => ({ name, tiles: tiles.length, cells: tiles[0].length }));
  const meta = rangesSchema.parse({ ...about, matrices });
  return { meta, values: Float32Array.from(entries.flatMap(([, tiles]) => tiles.flat())) };
}

function decodeRanges({ matrices }: RangesMeta, values: Float32Array): RangeTable {
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

function readCodeRows(
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

function readFloats(path: string, handle: number, at: number, count: number): Float32Array {
  const values = new Float32Array(count);
  if (!readAt(handle, new Uint8Array(values.buffer), at)) fail(path, 'IMAGE_DAMAGED', 'ends too early');
  return values;
}

function finite(path: string, name: string, values: Float32Array): Float32Array {
  if (!values.every(Number.isFinite)) fail(path, 'IMAGE_DAMAGED', `${name} has numbers that are not finite`);
  return values;
}
