/**
 * Text to token ids and back, from the vocabulary that a GGUF file carries. The results are llama.cpp's.
 */
import { nearestName, OnefetError } from '../../error.ts';
import type { GgufValue } from '../gguf-file.ts';
import { bytePairEncoder } from './byte-pair.ts';
import { PRE_TOKENIZERS, type PreTokenizer } from './pre-tokenizers.ts';
import { sentencePieceEncoder } from './sentencepiece.ts';
import { findSpecialTokens, type SpecialTokens, tokenIdAt } from './special-tokens.ts';
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
  /** Tokens that end a generation: EOS, and <|eot_id|>, <|im_end|> and the like where present. */
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

/** llama.cpp's BOS and EOS of vocabularies that name none. */
const DEFAULT_IDS = { llama: { bos: 1, eos: 2 }, gpt2: { bos: 11, eos: 11 } } as const;

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
  const flagAt = (key: string, absent: boolean): boolean => {
    const value = metadata.get(`tokenizer.ggml.${key}`) ?? absent;
    if (typeof value !== 'boolean')
      throw vocabularyError(`has tokenizer.ggml.${key} = ${value}, not a boolean`);
    return value;
  };
  const pre = model === 'gpt2' ? readPreTokenizer(metadata) : undefined;
  const defaults = DEFAULT_IDS[model];
  const specials = findSpecialTokens(
    metadata,
    vocabulary,
    pre?.noBos ? { ...defaults, bos: undefined } : defaults,
  );
  const encoder =
    pre === undefined
      ? sentencePieceEncoder(vocabulary, readScores(metadata, vocabulary), {
          addSpacePrefix: flagAt('add_space_prefix', true),
          unknownId: tokenIdAt(metadata, vocabulary, 'unknown_token_id') ?? 0,
        })
      : bytePairEncoder(vocabulary, readMerges(metadata), pre);
  const addBos =
    specials.bosId !== undefined && flagAt('add_bos_token', pre === undefined || pre.addBos === true);
  const endsWithEos = specials.eosId !== undefined && flagAt('add_eos_token', false);
  const eatsBlanks =
    String(metadata.get('general.name') ?? '')
      .toLowerCase()
      .match(/phi-?3/) !== null;
  return assemble(model, vocabulary, encoder, specials, { addBos, endsWithEos, eatsBlanks });
}

function assemble(
  model: string,
  vocabulary: Vocabulary,
  encoder: VocabularyEncoder,
  { bosId, eosId, endIds, types }: SpecialTokens,
  { addBos, endsWithEos, eatsBlanks }: { addBos: boolean; endsWithEos: boolean; eatsBlanks: boolean },
): Tokenizer {
  const { tokens } = vocabulary;
  const utf8 = new TextEncoder();
  const isSilent = (id: number): boolean => types[id] === TOKEN_CONTROL || types[id] === TOKEN_UNKNOWN;
  // Longest first, as llama.cpp cuts them out of the text.
  const specials = types
    .map((_, id) => id)
    .filter((id) => (isSilent(id) || types[id] === TOKEN_USER_DEFINED) && tokens[id] !== '')
    .map((id) => ({ id, bytes: utf8.encode(tokens[id]).length }))
    .sort((a, b) => b.bytes - a.bytes || a.id - b.id)
    .map(({ id }) => id);
  /** Phi-3's special tokens take the white space behind them along, as in llama.cpp, by the model's name. */
  const eats = (id: number): boolean => eatsBlanks && !['<unk>', '<s>', '<|endoftext|>'].includes(tokens[id]);
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
    endIds,
    encode(text, options = {}) {
      const { addSpecial = true, addEos = false, parseSpecial = false } = options;
      const out: number[] = [];
      const cut = specials.filter((id) => parseSpecial || !isSilent(id));
      let afterSpecial = true;
      for (const fragment of cutSpecials(text.toWellFormed(), cut, tokens, eats)) {
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
  eats: (id: number) => boolean,
): (string | number)[] {
  let fragments: (string | number)[] = text === '' ? [] : [text];
  for (const id of specials) {
    if (!text.includes(tokens[id])) continue;
    fragments = fragments.flatMap((fragment) => {
      if (typeof fragment === 'number') return [fragment];
      return fragment
        .split(tokens[id])
        .flatMap((part, i) => (i === 0 ? [part] : [id, eats(id) ? part.replace(/^[\t-\r ]+/, '') : part]))
        .filter((part) => part !== '');
    });
  }
  return fragments;
}

function readVocabulary(metadata: ReadonlyMap<string, GgufValue>): Vocabulary {
  const listed = stringsAt(metadata, 'tokenizer.ggml.tokens');
  if (listed.length === 0) throw vocabularyError('is empty');
  const tokens = listed.map((token, id) => token || `[EMPTY_${id}]`); // llama.cpp's name for it
  const types = metadata.has('tokenizer.ggml.token_type')
    ? numbersAt(metadata, 'tokenizer.ggml.token_type', tokens.length)
    : tokens.map(() => TOKEN_NORMAL);
  const idOf = new Map<string, number>();
  let longest = 0;
  tokens.forEach((token, id) => {
    const other = idOf.get(token);
    if (other !== undefined) {
      throw vocabularyError(`has the token ${JSON.stringify(token)} twice, as ${other} and as ${id}`);
    }
    idOf.set(token, id);
    longest = Math.max(longest, token.length);
  });
  return { size: tokens.length, tokens, types, idOf, longest };
}

function readPreTokenizer(metadata: ReadonlyMap<string, GgufValue>): PreTokenizer {
  // Files older than the key are cut as llama.cpp cuts them, which says then that it may be wrong.
  const name = metadata.get('tokenizer.ggml.pre') ?? 'default';
  if (typeof name === 'string' && Object.hasOwn(PRE_TOKENIZERS, name)) return PRE_TOKENIZERS[name];
  const known = Object.keys(PRE_TOKENIZERS);
  const nearest = nearestName(String(name), known);
  throw new OnefetError(
    'input',
    'GGUF_TOKENIZER_PRE',
    `pre-tokeniser ${JSON.stringify(name)} is not supported`,
    { hint: `${nearest ? `did you mean ${nearest}? ` : ''}supported: ${known.join(', ')}` },
  );
}

/** Merges in order of rank; a vocabulary of Kimi K2 may have none. */
function readMerges(metadata: ReadonlyMap<string, GgufValue>): readonly string[] {
  const key = 'tokenizer.ggml.merges';
  if (metadata.get('tokenizer.ggml.pre') === 'kimi-k2' && !metadata.has(key)) return [];
  return stringsAt(metadata, key);
}

/** Scores of a SentencePiece vocabulary; without any, as in llama.cpp, the leftmost pair merges first. */
function readScores(metadata: ReadonlyMap<string, GgufValue>, { size }: Vocabulary): readonly number[] {
  const key = 'tokenizer.ggml.scores';
  return metadata.has(key) ? numbersAt(metadata, key, size) : new Array<number>(size).fill(0);
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
  if (!Array.isArray(value) || value.length < length || !value.every((v) => Number.isFinite(v))) {
    throw vocabularyError(`has no list of ${length} finite numbers ${key}`);
  }
  return value as number[];
}
