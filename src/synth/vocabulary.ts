/**
 * A vocabulary of bytes in Llama 3's layout: 256 byte tokens first, in the order of GPT-2's alphabet, no merges, padding
 * up to the shape's size, and the 256 special tokens last (128,000 and up in the real size).
 */

import type { GgufField } from '../model/gguf-writer.ts';
import { BYTE_TO_CHAR } from '../model/tokenizer/byte-pair.ts';
import { TOKEN_CONTROL, TOKEN_NORMAL } from '../model/tokenizer/vocabulary.ts';

const SPECIAL_TOKENS = 256;
export const SMALLEST_VOCABULARY = 256 + SPECIAL_TOKENS;

/** llama.cpp's type of tokens that pad a vocabulary. */
const TOKEN_UNUSED = 5;

/** Llama 3.1's names, by distance from the first special token; the rest are <|reserved_special_token_n|>. */
const SPECIAL_NAMES: Readonly<Record<number, string>> = {
  0: '<|begin_of_text|>',
  1: '<|end_of_text|>',
  4: '<|finetune_right_pad_id|>',
  6: '<|start_header_id|>',
  7: '<|end_header_id|>',
  8: '<|eom_id|>',
  9: '<|eot_id|>',
  10: '<|python_tag|>',
};

/** The tokenizer's metadata for a vocabulary of `size` tokens, at least SMALLEST_VOCABULARY. */
export function vocabularyFields(size: number): [string, GgufField][] {
  const tokens: string[] = [...BYTE_TO_CHAR].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0));
  const types: number[] = tokens.map(() => TOKEN_NORMAL);
  const firstSpecial = size - SPECIAL_TOKENS;
  while (tokens.length < firstSpecial) {
    tokens.push(`[PAD${tokens.length}]`);
    types.push(TOKEN_UNUSED);
  }
  let reserved = 0;
  for (let i = 0; i < SPECIAL_TOKENS; i++) {
    tokens.push(SPECIAL_NAMES[i] ?? `<|reserved_special_token_${reserved++}|>`);
    types.push(TOKEN_CONTROL);
  }
  return [
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: 'llama-bpe' }],
    ['tokenizer.ggml.tokens', { type: 'strings', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'i32s', value: types }],
    ['tokenizer.ggml.merges', { type: 'strings', value: [] }],
    ['tokenizer.ggml.bos_token_id', { type: 'u32', value: firstSpecial }],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: firstSpecial + 1 }],
  ];
}
