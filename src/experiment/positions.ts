/**
 * What came of each scored position of a job, kept in its line of results.jsonl: NLL and KL as float32, and one bit for the
 * most likely token; 8.1 bytes a position, 10.9 as base64. Everything that is asked of positions later (quantiles, the
 * course along a text, choices of a task, paired tests) is answered from these records, without a second run.
 */
import { OnefetError } from '../error.ts';

/** As a line of results.jsonl has it: base64 of little-endian numbers, positions in the order of the job's windows. */
export interface PositionRecord {
  /** float32, nats. */
  readonly nll: string;
  /** float32, nats; absent for `digital`, whose distance to itself is 0. */
  readonly kl?: string;
  /** A bit for each position, lowest first: is the most likely token the digital model's? Absent for `digital`. */
  readonly top1?: string;
}

export interface Positions {
  readonly nll: Float32Array;
  readonly kl: Float32Array;
  /** 0 or 1. */
  readonly top1: Uint8Array;
}

export function newPositions(count: number): Positions {
  return {
    nll: new Float32Array(count),
    kl: new Float32Array(count),
    top1: new Uint8Array(count),
  };
}

export function encodePositions({ nll, kl, top1 }: Positions, digital: boolean): PositionRecord {
  const bits = new Uint8Array(Math.ceil(top1.length / 8));
  top1.forEach((same, i) => {
    if (same) bits[i >> 3] |= 1 << (i & 7);
  });
  return {
    nll: base64(nll),
    ...(digital ? {} : { kl: base64(kl), top1: Buffer.from(bits).toString('base64') }),
  };
}

/** Reads a record of `count` positions. Error: JOB_POSITIONS (internal) where it has another number of them. */
export function decodePositions(record: PositionRecord, count: number, key: string): Positions {
  const floats = (text: string | undefined): Float32Array => {
    if (text === undefined) return new Float32Array(count);
    const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
    if (bytes.length !== 4 * count) throw wrongCount(key, count, bytes.length / 4);
    return new Float32Array(bytes.buffer);
  };
  const [nll, kl] = [floats(record.nll), floats(record.kl)];
  const top1 = new Uint8Array(count).fill(1);
  if (record.top1 !== undefined) {
    const bits = Buffer.from(record.top1, 'base64');
    if (bits.length !== Math.ceil(count / 8)) throw wrongCount(key, count, 8 * bits.length);
    for (let i = 0; i < count; i++) top1[i] = (bits[i >> 3] >> (i & 7)) & 1;
  }
  return { nll, kl, top1 };
}

const base64 = (values: Float32Array): string =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');

const wrongCount = (key: string, wanted: number, found: number) =>
  new OnefetError('internal', 'JOB_POSITIONS', `job ${key} has ${found} positions, not ${wanted}`);
