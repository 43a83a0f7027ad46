/** Sections of a chip image (image-format.ts): heads, digests, and the ways in which a file fails to be one. */
import { createHash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import type { z } from 'zod';
import { OnefetError } from '../error.ts';
import { readAt, reasonOf } from '../files.ts';
import {
  endSchema,
  FILE_HEAD_BYTES,
  IMAGE_SCHEMA,
  IMAGE_VERSION,
  KIND,
  MAGIC,
  MOST_JSON_BYTES,
  MOST_SECTIONS,
  matrixSchema,
  SECTION_HEAD_BYTES,
  SECTION_MARK,
  vectorSchema,
} from './image-format.ts';

export interface Section {
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
export const RANGES = 'ranges';

/** What helps where a message has no remedy of its own. */
const REMEDIES: Readonly<Record<string, string>> = {
  IMAGE_DAMAGED: 'copy the image again, or make it again: onefet map',
  IMAGE_FORMAT: 'give an image that onefet map made',
};

export function fail(
  path: string,
  code: string,
  what: string,
  hint: string | undefined = REMEDIES[code],
): never {
  throw new OnefetError('input', code, `${path}: ${what}`, hint === undefined ? {} : { hint });
}

/** Of a vector or a matrix; ranges have one of their own. */
export function nameOf(path: string, section: Section): string {
  if (section.kind === KIND.ranges) return RANGES;
  const schema = section.kind === KIND.matrix ? matrixSchema : vectorSchema;
  return parse<z.ZodType<{ name: string }>>(path, schema, section.json).name;
}

/** All sections: a header, named ones, an end that vouches for their digests, and nothing behind it. */
export function readSections(path: string, handle: number): Section[] {
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

export function readSection(path: string, handle: number, at: number, size: number): Section {
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
export function verifySection(path: string, handle: number, section: Section): void {
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

export function encodeSection(
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

export const chainDigest = (digests: readonly string[]): string =>
  createHash('sha256').update(digests.join('\n')).digest('hex');

export function fileHead(): Uint8Array {
  const head = new Uint8Array(FILE_HEAD_BYTES);
  head.set(new TextEncoder().encode(MAGIC));
  new DataView(head.buffer).setUint32(8, IMAGE_VERSION, true);
  return head;
}

export function checkFileHead(path: string, head: Uint8Array): void {
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

export function parse<T extends z.ZodType>(path: string, schema: T, json: unknown): z.infer<T> {
  const result = schema.safeParse(json);
  if (!result.success) {
    const { path: key, message } = result.error.issues[0];
    fail(path, 'IMAGE_DAMAGED', `${key.join('.') || 'a section'}: ${message}`);
  }
  return result.data;
}
