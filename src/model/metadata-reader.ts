/** Values of the keys of an architecture, checked when they are read; errors are OnefetError('input', 'MODEL_METADATA'). */
import { fail, type GgufFile, type GgufValue } from './gguf-file.ts';

/** Bounds that no Llama exceeds by far; they keep a damaged file from asking for absurd buffers. */
export const LIMITS = { dim: 2 ** 17, ffnDim: 2 ** 20, layers: 1024, heads: 4096, context: 2 ** 26 } as const;

export interface MetadataReader {
  /** The whole name of a key of the architecture. */
  key(key: string): string;
  value(key: string): GgufValue | undefined;
  /** A whole number from 1 (0 where `absent` is given) to `limit`. */
  count(key: string, limit: number, absent?: number): number;
  positive(key: string, absent?: number): number;
  number(key: string, absent?: number): number;
}

export function metadataReader(file: GgufFile, prefix: string): MetadataReader {
  const keyOf = (key: string) => `${prefix}.${key}`;
  const valueAt = (key: string) => file.metadata.get(keyOf(key));
  function number(key: string, absent?: number): number {
    const value = sameInAllBlocks(file, keyOf(key), valueAt(key)) ?? absent;
    if (value === undefined) fail(file.path, 'MODEL_METADATA', `metadata ${keyOf(key)} is missing`);
    if (typeof value !== 'number')
      fail(file.path, 'MODEL_METADATA', `metadata ${keyOf(key)} is not a number`);
    return value;
  }
  return {
    key: keyOf,
    value: valueAt,
    number,
    count(key, limit, absent) {
      const value = number(key, absent);
      const least = absent === undefined ? 1 : 0;
      if (value === absent) return value; // checked by the caller where it is computed
      if (!Number.isInteger(value) || value < least || value > limit) {
        fail(
          file.path,
          'MODEL_METADATA',
          `metadata ${keyOf(key)} is ${value}; a whole number from ${least} to ${limit} is needed`,
        );
      }
      return value;
    },
    positive(key, absent) {
      const value = number(key, absent);
      if (!(value > 0 && Number.isFinite(value))) {
        fail(file.path, 'MODEL_METADATA', `metadata ${keyOf(key)} is ${value}; a positive number is needed`);
      }
      return value;
    },
  };
}

/** A value by block, as some converters write heads and feed-forward widths: of equal values, the value. */
function sameInAllBlocks(file: GgufFile, key: string, value: GgufValue | undefined): GgufValue | undefined {
  if (!Array.isArray(value) || value.length === 0) return value;
  const [first] = value;
  const other = value.findIndex((one) => one !== first);
  if (other >= 0) {
    fail(
      file.path,
      'MODEL_METADATA',
      `metadata ${key} is ${first} in block 0 and ${value[other]} in block ${other}; equal blocks are supported`,
    );
  }
  return first;
}

/** A value of the metadata in a message. */
export function shown(value: GgufValue | undefined): string {
  const text = typeof value === 'bigint' ? String(value) : JSON.stringify(value, jsonable);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
const jsonable = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);
