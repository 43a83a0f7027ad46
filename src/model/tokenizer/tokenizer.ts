/**
 * Text to token ids and back, from the vocabulary that a GGUF file carries. The results are llama.cpp's.
 */
import { nearestName, OnefetError } from '../../error.ts';
import type { GgufValue } from '../gguf.ts';
import { bytePairEncoder } from './byte-pair.ts';
import { sentencePieceEncoder } from './sentencepiece.ts';
import type { Vocabulary, VocabularyEncoder } from './vocabulary.ts';
import {
  TOKEN_CONTROL,
  TOKEN_NORMAL,
  TOKEN_UNKNOWN,
  TOKEN_USER_DEFINED,
  vocabularyError,
} from './vocabulary.ts';

export interface EncodeOptions {
  /** Put BOS in front where the vocabulary says so, unless the text itself begins with it. Default true. */
  readonly addSpecial?: boolean;
  /**
   * Put EOS behind where the vocabulary says so. Default false: a text that is scored, or goes on, has not ended, and
   * llama.cpp's perplexity tool refuses a model that would add it.
   */
  readonly addEos?: boolean;
  /** Read the texts of control tokens, such as <|eot_id|>, as those tokens. Default false: they are plain text. */
  readonly parseSpecial?: boolean;
}

export interface Tokenizer {
  /** `llama` or `gpt2`. */
  readonly model: string;
  readonly size: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Tokens that end a generation: EOS, and <|eot_id|>, <|end_of_text|> and the like where present. */
  readonly endIds: ReadonlySet<number>;
  /** Whether encode() starts with BOS. */
  readonly addBos: boolean;
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Control tokens give no text. */
  decode(ids: Iterable<number>): string;
  /** Bytes of one token; a character may be spread over several. */
  piece(id: number): Uint8Array;
  /** The vocabulary's own spelling of a token, for display. */
  spelling(id: number): string;
  /** Decodes token by token; holds back bytes until their character is complete. */
  newStream(): TokenStream;
}

export interface TokenStream {
  /** The characters that `id` completes, possibly none. */
  push(id: number): string;
  /** Returns what is left: U+FFFD for an unfinished character. */
  end(): string;
}

/** Pre-tokenisers of `gpt2` models that are known, all of them Llama 3's; llama.cpp adds BOS for them by default. */
const LLAMA3_PRE = ['llama-bpe', 'llama3', 'llama-v3'];
const END_TEXTS = ['<|eot_id|>', '<|end_of_text|>', '<|eom_id|>', '<|im_end|>', '<|endoftext|>', '</s>'];

/** Builds the tokenizer; throws OnefetError('input', 'GGUF_TOKENIZER...') when the vocabulary is unusable. */
export function createTokenizer(metadata: ReadonlyMap<string, GgufValue>): Tokenizer {
  const model = stringAt(metadata, 'tokenizer.ggml.model');
  if (model !== 'llama' && model !== 'gpt2') {
    throw new OnefetError(
      'input',
      'GGUF_TOKENIZER_MODEL',
      `tokenizer model ${JSON.stringify(model)} is not supported`,
      {
        hint: 'supported: llama (SentencePiece), gpt2 (byte-level BPE)',
      },
    );
  }
  const vocabulary = readVocabulary(metadata);
  const idAt = (key: string): number | undefined => {
    const value = metadata.get(`tokenizer.ggml.${key}`);
    if (value === undefined || value === 0xffffffff || value === -1) return undefined; // llama.cpp's "none"
    if (typeof value !== 'number' || !(value >= 0 && value < vocabulary.size)) {
      throw vocabularyError(`has tokenizer.ggml.${key} = ${value}, outside its ${vocabulary.size} tokens`);
    }
    return value;
  };
  const flagAt = (key: string, absent: boolean): boolean => {
    const value = metadata.get(`tokenizer.ggml.${key}`) ?? absent;
    if (typeof value !== 'boolean')
      throw vocabularyError(`has tokenizer.ggml.${key} = ${value}, not a boolean`);
    return value;
  };
  // llama.cpp's defaults.
  const hasDefaults = model === 'llama' && vocabulary.size > 2;
  const bosId = idAt('bos_token_id') ?? (hasDefaults ? 1 : undefined);
  const eosId = idAt('eos_token_id') ?? (hasDefaults ? 2 : undefined);
  const encoder =
    model === 'llama'
      ? sentencePieceEncoder(vocabulary, numbersAt(metadata, 'tokenizer.ggml.scores', vocabulary.size), {
          addSpacePrefix: flagAt('add_space_prefix', true),
          unknownId: idAt('unknown_token_id') ?? 0,
        })
      : bytePairEncoder(vocabulary, readMerges(metadata));
  const addBos = bosId !== undefined && flagAt('add_bos_token', true);
  const endsWithEos = eosId !== undefined && flagAt('add_eos_token', false);
  return assemble(model, vocabulary, encoder, { bosId, eosId, addBos, endsWithEos });
}

function assemble(
  model: string,
  vocabulary: Vocabulary,
  encoder: VocabularyEncoder,
  {
    bosId,
    eosId,
    addBos,
    endsWithEos,
  }: { bosId?: number | undefined; eosId?: number | undefined; addBos: boolean; endsWithEos: boolean },
): Tokenizer {
  const { tokens, types } = vocabulary;
  const utf8 = new TextEncoder();
  const isSilent = (id: number): boolean => types[id] === TOKEN_CONTROL || types[id] === TOKEN_UNKNOWN;
  // Longest first, as llama.cpp cuts them out of the text.
  const specials = types
    .map((_, id) => id)
    .filter((id) => (isSilent(id) || types[id] === TOKEN_USER_DEFINED) && tokens[id] !== '')
    .sort((a, b) => tokens[b].length - tokens[a].length || a - b);
  const pieces: (Uint8Array | undefined)[] = [];

  function piece(id: number): Uint8Array {
    if (!(id >= 0 && id < vocabulary.size)) {
      throw new OnefetError(
        'internal',
        'TOKEN_RANGE',
        `token ${id} is outside the vocabulary of ${vocabulary.size}`,
      );
    }
    pieces[id] ??= isSilent(id)
      ? new Uint8Array(0)
      : types[id] === TOKEN_USER_DEFINED
        ? utf8.encode(tokens[id])
        : encoder.normalPiece(tokens[id], types[id]);
    return pieces[id];
  }

  function newStream(): TokenStream {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    let atStart = encoder.startsWithSpace;
    return {
      push(id) {
        let bytes = piece(id);
        if (atStart && bytes.length > 0) {
          if (bytes[0] === 32) bytes = bytes.subarray(1);
          atStart = false;
        }
        return decoder.decode(bytes, { stream: true });
      },
      end: () => decoder.decode(),
    };
  }

  return {
    model,
    size: vocabulary.size,
    bosId,
    eosId,
    addBos,
    endIds: new Set([
      ...(eosId === undefined ? [] : [eosId]),
      ...specials.filter((id) => types[id] === TOKEN_CONTROL && END_TEXTS.includes(tokens[id])),
    ]),
    encode(text, options = {}) {
      const { addSpecial = true, addEos = false, parseSpecial = false } = options;
      const out: number[] = [];
      const cut = specials.filter((id) => parseSpecial || !isSilent(id));
      let afterSpecial = true;
      for (const fragment of cutSpecials(text.toWellFormed(), cut, tokens)) {
        if (typeof fragment === 'number') out.push(fragment);
        else encoder.encodeFragment(fragment, afterSpecial, out);
        afterSpecial = typeof fragment === 'number';
      }
      if (addSpecial && addBos && out[0] !== bosId) out.unshift(bosId!);
      if (addEos && endsWithEos) out.push(eosId!);
      return Int32Array.from(out);
    },
    decode(ids) {
      const stream = newStream();
      let text = '';
      for (const id of ids) text += stream.push(id);
      return text + stream.end();
    },
    piece,
    spelling: (id) => tokens[id],
    newStream,
  };
}

/** Cuts special tokens out of a text: plain fragments (never empty) and ids, in order. */
function cutSpecials(
  text: string,
  specials: readonly number[],
  tokens: readonly string[],
): (string | number)[] {
  let fragments: (string | number)[] = text === '' ? [] : [text];
  for (const id of specials) {
    if (!text.includes(tokens[id])) continue;
    fragments = fragments.flatMap((fragment) => {
      if (typeof fragment === 'number') return [fragment];
      return fragment
        .split(tokens[id])
        .flatMap((part, i) => (i === 0 ? [part] : [id, part]))
        .filter((part) => part !== '');
    });
  }
  return fragments;
}

function readVocabulary(metadata: ReadonlyMap<string, GgufValue>): Vocabulary {
  const tokens = stringsAt(metadata, 'tokenizer.ggml.tokens');
  if (tokens.length === 0) throw vocabularyError('is empty');
  const types = metadata.has('tokenizer.ggml.token_type')
    ? numbersAt(metadata, 'tokenizer.ggml.token_type', tokens.length)
    : tokens.map(() => TOKEN_NORMAL);
  const idOf = new Map<string, number>();
  let longest = 0;
  tokens.forEach((token, id) => {
    idOf.set(token, id);
    longest = Math.max(longest, token.length);
  });
  return { size: tokens.length, tokens, types, idOf, longest };
}

function readMerges(metadata: ReadonlyMap<string, GgufValue>): readonly string[] {
  const pre = metadata.get('tokenizer.ggml.pre') ?? 'default';
  if (typeof pre !== 'string' || !LLAMA3_PRE.includes(pre)) {
    const nearest = nearestName(String(pre), LLAMA3_PRE);
    throw new OnefetError(
      'input',
      'GGUF_TOKENIZER_PRE',
      `pre-tokeniser ${JSON.stringify(pre)} is not supported`,
      {
        hint: `supported: ${LLAMA3_PRE.join(', ')}${nearest ? ` (did you mean ${nearest}?)` : ''}`,
      },
    );
  }
  return stringsAt(metadata, 'tokenizer.ggml.merges');
}

function stringAt(metadata: ReadonlyMap<string, GgufValue>, key: string): string {
  const value = metadata.get(key);
  if (typeof value !== 'string') throw vocabularyError(`has no ${key}`);
  return value;
}

function stringsAt(metadata: ReadonlyMap<string, GgufValue>, key: string): readonly string[] {
  const value = metadata.get(key);
  if (!Array.isArray(value) || !value.every((v) => typeof v === 'string')) {
    throw vocabularyError(`has no list of strings ${key}`);
  }
  return value;
}

function numbersAt(metadata: ReadonlyMap<string, GgufValue>, key: string, length: number): readonly number[] {
  const value = metadata.get(key);
  if (!Array.isArray(value) || value.length !== length || !value.every((v) => Number.isFinite(v))) {
    throw vocabularyError(`has no list of ${length} finite numbers ${key}`);
  }
  return value as number[];
}
