/** Byte-level BPE as GPT-2 introduced it and Llama 3 uses it. */

import { Merger } from './merge.ts';
import { splitLlama3 } from './pretokenize.ts';
import type { Vocabulary, VocabularyEncoder } from './vocabulary.ts';
import { vocabularyError } from './vocabulary.ts';

/**
 * GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the other 68 are shifted to U+0100 and up, so
 * that a vocabulary is a list of printable strings.
 */
export const BYTE_TO_CHAR: readonly string[] = buildAlphabet();
const CHAR_TO_BYTE: ReadonlyMap<string, number> = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));

function buildAlphabet(): string[] {
  let shifted = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    return String.fromCharCode(printable ? byte : 256 + shifted++);
  });
}

/** Words are remembered: text repeats its words, and a word's tokens do not depend on its neighbours. */
const CACHE_WORDS = 65_536;
const CACHE_WORD_LENGTH = 64;

/** Rules and pieces of `tokenizer.ggml.model = gpt2` with the Llama 3 pre-tokeniser. */
export function bytePairEncoder(vocabulary: Vocabulary, merges: readonly string[]): VocabularyEncoder {
  const byteToken = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const id = vocabulary.idOf.get(BYTE_TO_CHAR[byte]);
    if (id === undefined) throw vocabularyError(`has no token for byte ${byte}`);
    byteToken[byte] = id;
  }
  // Pairs of ids as one number: ids stay below 2^22 (GGUF_LIMITS.arrayLength).
  const ruleOf = new Map<number, number>();
  const resultOf = new Int32Array(merges.length);
  merges.forEach((merge, rank) => {
    const space = merge.indexOf(' ', 1);
    const left = vocabulary.idOf.get(merge.slice(0, space));
    const right = vocabulary.idOf.get(merge.slice(space + 1));
    const joined = vocabulary.idOf.get(merge.slice(0, space) + merge.slice(space + 1));
    if (space < 0 || left === undefined || right === undefined || joined === undefined) {
      throw vocabularyError(`merge ${rank}, ${JSON.stringify(merge)}, names a token that is not in it`);
    }
    const pair = left * 2 ** 22 + right;
    if (!ruleOf.has(pair)) ruleOf.set(pair, rank);
    resultOf[rank] = joined;
  });
  const merger = new Merger({
    find: (left, right) => ruleOf.get(left * 2 ** 22 + right) ?? -1,
    cost: (rank) => rank,
    result: (rank) => resultOf[rank],
  });
  const cache = new Map<string, number[]>();
  const utf8 = new TextEncoder();

  function encodeWord(word: string): number[] {
    const bytes = utf8.encode(word);
    // "ignore_merges": a word that is a token as a whole is that token, whatever the merges would give.
    if (bytes.length <= vocabulary.longest) {
      let chars = '';
      for (const byte of bytes) chars += BYTE_TO_CHAR[byte];
      const whole = vocabulary.idOf.get(chars);
      if (whole !== undefined) return [whole];
    }
    const ids: number[] = [];
    merger.merge(
      Int32Array.from(bytes, (byte) => byteToken[byte]),
      ids,
    );
    return ids;
  }

  return {
    encodeFragment(text, _afterSpecial, out) {
      splitLlama3(text, 0, text.length, (start, end) => {
        const word = text.slice(start, end);
        let ids = cache.get(word);
        if (ids === undefined) {
          ids = encodeWord(word);
          if (word.length <= CACHE_WORD_LENGTH) {
            if (cache.size >= CACHE_WORDS) cache.clear();
            cache.set(word, ids);
          }
        }
        for (let i = 0; i < ids.length; i++) out.push(ids[i]);
      });
    },
    normalPiece(text) {
      const bytes: number[] = [];
      for (const char of text) {
        const byte = CHAR_TO_BYTE.get(char);
        // A character outside the alphabet is kept as it is, so that nothing vanishes from the output.
        if (byte === undefined) bytes.push(...utf8.encode(char));
        else bytes.push(byte);
      }
      return Uint8Array.from(bytes);
    },
    startsWithSpace: false,
  };
}
