/**
 * SentencePiece BPE as llama.cpp does it (`tokenizer.ggml.model = llama`): blanks become U+2581, characters are
 * merged by the score of the token they form, what is not in the vocabulary falls back to its bytes.
 */
import { Merger } from './merge.ts';
import type { Vocabulary, VocabularyEncoder } from './vocabulary.ts';
import { TOKEN_BYTE, vocabularyError } from './vocabulary.ts';

const BLANK = '\u2581';

export function sentencePieceEncoder(
  vocabulary: Vocabulary,
  scores: readonly number[],
  options: { addSpacePrefix: boolean; unknownId: number | undefined },
): VocabularyEncoder {
  const utf8 = new TextEncoder();
  // By spelling, as in llama.cpp, whatever the token's type; of ASCII also the character itself.
  const byteToken = Int32Array.from({ length: 256 }, (_, byte) => {
    const spelling = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
    return (
      vocabulary.idOf.get(spelling) ??
      (byte < 128 ? vocabulary.idOf.get(String.fromCharCode(byte)) : undefined) ??
      -1
    );
  });
  // Characters that are no tokens get numbers from vocabulary.size on, for the length of one call: they may still be
  // part of a longer token.
  const strays: string[] = [];
  const strayOf = new Map<string, number>();
  const textOf = (symbol: number): string =>
    symbol < vocabulary.size ? vocabulary.tokens[symbol] : strays[symbol - vocabulary.size];
  const merger = new Merger({
    find: (left, right) => vocabulary.idOf.get(textOf(left) + textOf(right)) ?? -1,
    cost: (id) => -scores[id],
    result: (id) => id,
  });

  return {
    encodeFragment(text, afterSpecial, out) {
      const escaped = ((options.addSpacePrefix && afterSpecial ? ' ' : '') + text).replaceAll(' ', BLANK);
      strays.length = 0;
      strayOf.clear();
      const symbols: number[] = [];
      for (const char of escaped) {
        let symbol = vocabulary.idOf.get(char) ?? strayOf.get(char);
        if (symbol === undefined) {
          symbol = vocabulary.size + strays.length;
          strays.push(char);
          strayOf.set(char, symbol);
        }
        symbols.push(symbol);
      }
      const merged: number[] = [];
      merger.merge(symbols, merged);
      for (const symbol of merged) {
        if (symbol < vocabulary.size) {
          out.push(symbol);
          continue;
        }
        for (const byte of utf8.encode(textOf(symbol))) {
          const id = byteToken[byte] >= 0 ? byteToken[byte] : options.unknownId;
          if (id === undefined)
            throw vocabularyError(`has neither a token for byte ${byte} nor an unknown token`);
          out.push(id);
        }
      }
    },
    normalPiece(text, type) {
      if (type === TOKEN_BYTE) return Uint8Array.of(fallbackByte(text));
      return utf8.encode(text.replaceAll(BLANK, ' '));
    },
    startsWithSpace: options.addSpacePrefix,
  };
}

/** "<0x41>" -> 65. */
function fallbackByte(token: string): number {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  if (match === null) throw vocabularyError(`has a byte token ${JSON.stringify(token)} that is not <0xNN>`);
  return Number.parseInt(match[1], 16);
}
