/** Byte-level BPE as GPT-2 introduced it: text is cut into words, and byte pairs are merged within each. */

import { Merger } from './merge.ts';
import { PairMap } from './pair-map.ts';
import type { PreTokenizer } from './pre-tokenizers.ts';
import { createCutter } from './pretokenize.ts';
import type { Vocabulary, VocabularyEncoder } from './vocabulary.ts';

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

/**
 * Rules and pieces of `tokenizer.ggml.model = gpt2`. As in llama.cpp a merge is one of spellings: its parts and its
 * result need not be tokens. What is left of a word and is no token is given character by character, of which those
 * that are no tokens, of a vocabulary without all bytes, vanish.
 */
export function bytePairEncoder(
  vocabulary: Vocabulary,
  merges: readonly string[],
  pre: PreTokenizer,
): VocabularyEncoder {
  const symbols = new Map<string, number>();
  const strays: string[] = [];
  /** The token's id, or a number from vocabulary.size on for a spelling that is no token. */
  const symbolOf = (spelling: string): number => {
    let symbol = vocabulary.idOf.get(spelling) ?? symbols.get(spelling);
    if (symbol === undefined) {
      symbol = vocabulary.size + strays.length;
      strays.push(spelling);
      symbols.set(spelling, symbol);
    }
    return symbol;
  };
  const byteSymbol = Int32Array.from(BYTE_TO_CHAR, symbolOf);
  const ranks = new PairMap(merges.length);
  const resultOf = new Int32Array(merges.length);
  merges.forEach((merge, rank) => {
    const space = merge.indexOf(' ', 1);
    if (space < 0) return;
    const left = merge.slice(0, space);
    const right = merge.slice(space + 1);
    ranks.add(symbolOf(left), symbolOf(right), rank);
    resultOf[rank] = symbolOf(left + right);
  });
  const merger = new Merger({
    find: (left, right) => ranks.get(left, right),
    cost: (rank) => rank,
    result: (rank) => resultOf[rank],
  });
  const cut = createCutter(pre);
  const cache = new Map<string, number[]>();
  const utf8 = new TextEncoder();

  function encodeWord(word: string): number[] {
    const bytes = utf8.encode(word);
    if (pre.ignoreMerges && bytes.length <= vocabulary.longest) {
      let chars = '';
      for (const byte of bytes) chars += BYTE_TO_CHAR[byte];
      const whole = vocabulary.idOf.get(chars);
      if (whole !== undefined) return [whole];
    }
    const merged: number[] = [];
    merger.merge(
      Int32Array.from(bytes, (byte) => byteSymbol[byte]),
      merged,
    );
    if (strays.length === 0 || merged.every((symbol) => symbol < vocabulary.size)) return merged;
    return merged.flatMap((symbol) => (symbol < vocabulary.size ? [symbol] : spelled(symbol)));
  }

  /** The tokens of a spelling's characters; only ASCII is looked up, llama.cpp does it byte by byte. */
  function spelled(symbol: number): number[] {
    return [...strays[symbol - vocabulary.size]]
      .filter((char) => char < '\x80')
      .flatMap((char) => vocabulary.idOf.get(char) ?? []);
  }

  return {
    encodeFragment(text, _afterSpecial, out) {
      cut(text, (start, end) => {
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
