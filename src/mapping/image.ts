import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, renameSync } from 'node:fs';
import { OnefetError } from '../error.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { readAt, reasonOf, writeAt } from '../files.ts';
import {
  FILE_HEAD_BYTES,
  headerSchema,
  type ImageHeader,
  KIND,
  MAGIC,
  type MatrixMeta,
  MOST_SECTIONS,
  matrixLengths,
  matrixSchema,
  payloadBytes,
  type RangesMeta,
  rangesSchema,
  vectorSchema,
} from './image-format.ts';
import {
  bytesOf,
  type DigitalPart,
  decodeDigital,
  decodeRanges,
  encodeMatrix,
  encodeRanges,
  finite,
  type ImageMatrix,
  readCodeRows,
  readFloats,
} from './image-matrix.ts';
import {
  chainDigest,
  checkFileHead,
  encodeSection,
  fail,
  fileHead,
  nameOf,
  parse,
  RANGES,
  readSection,
  readSections,
  type Section,
  verifySection,
} from './image-sections.ts';

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
