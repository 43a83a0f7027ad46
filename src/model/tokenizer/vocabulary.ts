import { OnefetError } from '../../error.ts';

/** Token types of GGUF (llama.cpp's llama_token_type). */
export const TOKEN_NORMAL = 1;
export const TOKEN_UNKNOWN = 2;
export const TOKEN_CONTROL = 3;
export const TOKEN_USER_DEFINED = 4;
export const TOKEN_BYTE = 6;

export interface Vocabulary {
  readonly size: number;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly idOf: ReadonlyMap<string, number>;
  /** Length of the longest token in UTF-16 units. */
  readonly longest: number;
}

/** Differences between tokenizer models. */
export interface VocabularyEncoder {
  /** Appends the ids of a piece of plain text; `afterSpecial` at the start of the text and behind special tokens. */
  encodeFragment(text: string, afterSpecial: boolean, out: number[]): void;
  /** Bytes of a token that is not special. */
  normalPiece(token: string, type: number): Uint8Array;
  /** Whether encoding puts a blank in front of the text, which decoding takes away. */
  readonly startsWithSpace: boolean;
}

export function vocabularyError(what: string): OnefetError {
  return new OnefetError('input', 'GGUF_TOKENIZER', `the model's vocabulary ${what}`);
}
