/** Tells what a GGUF model file holds, and what of it is not supported. */
import { OnefetError } from '../error.ts';
import { openGguf } from './gguf.ts';
import type { GgufFile } from './gguf-file.ts';
import { checkVocabulary, fileFacts } from './model.ts';
import { readShape } from './read-shape.ts';
import { shapeRecord } from './shape.ts';
import { createTokenizer } from './tokenizer/tokenizer.ts';

export interface Inspection {
  readonly schema: 'onefet.inspect/1';
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly ggufVersion: number;
  readonly name: string;
  readonly parameters: number;
  readonly fileType: string;
  readonly synthetic: boolean;
  /** Null where it cannot be read; then `metadata` has the file's own words. */
  readonly shape: Readonly<Record<string, unknown>> | null;
  readonly tokenizer: {
    readonly model: string;
    readonly size: number;
    readonly bosId: number | null;
  } | null;
  /** Tensors by type. */
  readonly tensorTypes: Readonly<Record<string, number>>;
  /** Keys outside the tokenizer with a single value; empty for a model that is supported. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Reasons for which `run` and `generate` would refuse this model. */
  readonly unsupported: readonly {
    readonly code: string;
    readonly message: string;
    readonly hint?: string;
  }[];
}

/** Reads a file, or as much of a split model as there is; only one that is no GGUF, or a damaged one, is an error: OnefetError('input', 'GGUF_...'). */
export function inspectModel(path: string): Inspection {
  const file = openGguf(path, { lenient: true });
  try {
    const unsupported: Inspection['unsupported'][number][] = file.refused.map(report);
    const attempt = <T>(read: () => T): T | null => {
      try {
        return read();
      } catch (error) {
        if (!(error instanceof OnefetError) || error.kind !== 'input') throw error;
        // Tensors that were passed over are missing because they are not supported.
        if (file.refused.length === 0 || error.code !== 'MODEL_TENSOR_MISSING')
          unsupported.push(report(error));
        return null;
      }
    };
    const shape = attempt(() => readShape(file));
    const tokenizer = attempt(() => createTokenizer(file.metadata));
    if (shape && tokenizer) attempt(() => checkVocabulary(file, tokenizer, shape));
    const facts = fileFacts(file);
    return {
      schema: 'onefet.inspect/1',
      file: path,
      bytes: file.sizeBytes,
      sha256: facts.sha256(),
      ggufVersion: file.version,
      name: facts.name,
      parameters: facts.parameterCount,
      fileType: facts.fileType,
      synthetic: facts.synthetic,
      shape: shape && shapeRecord(shape),
      tokenizer: tokenizer && {
        model: tokenizer.model,
        size: tokenizer.size,
        bosId: tokenizer.bosId ?? null,
      },
      tensorTypes: tensorTypes(file),
      metadata: shape ? {} : plainMetadata(file),
      unsupported,
    };
  } finally {
    file.close();
  }
}

function report({ code, message, hint }: OnefetError): Inspection['unsupported'][number] {
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

function tensorTypes(file: GgufFile): Record<string, number> {
  const types: Record<string, number> = {};
  for (const { type } of file.unreadable) types[type] = (types[type] ?? 0) + 1;
  for (const { codec } of file.tensors.values()) types[codec.name] = (types[codec.name] ?? 0) + 1;
  return types;
}

function plainMetadata(file: GgufFile): Record<string, unknown> {
  return Object.fromEntries(
    [...file.metadata]
      .filter(([key, value]) => !key.startsWith('tokenizer.') && !Array.isArray(value))
      .map(([key, value]) => [key, typeof value === 'bigint' ? String(value) : value]),
  );
}
