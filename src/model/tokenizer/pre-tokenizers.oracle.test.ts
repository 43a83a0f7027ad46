/**
 * Every pre-tokeniser against llama.cpp, on the vocabulary of Llama 3.1 with its name written in: 656 kB of text, the
 * boundaries of all character classes, and odd strings; and vocabularies with something missing, small enough to ask
 * llama.cpp in every live run. Its answers are recorded as hashes of the ids.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../files.ts';
import { EMBEDDED_F16 } from '../../testing/models.ts';
import { missingShared, needs, sharedPath } from '../../testing/needs.ts';
import { digestOfTokens, openOracle } from '../../testing/oracle.ts';
import { classBoundaries, oddStrings } from '../../testing/tokenizer-texts.ts';
import { openGguf } from '../gguf.ts';
import type { GgufValue } from '../gguf-file.ts';
import type { GgufField } from '../gguf-writer.ts';
import { writeGguf } from '../gguf-writer.ts';
import { BYTE_TO_CHAR } from './byte-pair.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';
import { createTokenizer } from './tokenizer.ts';

const VOCABULARY = 'tokenizer/llama-3.1-tokenizer.json.gz';
const TEXTS = ['wikitext2-raw-test-first-third.txt', 'onefet-stories-heldout.txt', 'tinystories-eval.txt'];
const missing = [VOCABULARY, ...TEXTS.map((name) => `text/${name}`)].map(missingShared);
const oracle = openOracle('tokenizers');

const u32 = (value: number): GgufField => ({ type: 'u32', value });
/** What llama.cpp wants of a file besides its vocabulary. */
const SHAPE: [string, GgufField][] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['llama.context_length', u32(64)],
  ['llama.embedding_length', u32(64)],
  ['llama.block_count', u32(1)],
  ['llama.feed_forward_length', u32(64)],
  ['llama.attention.head_count', u32(1)],
  ['llama.attention.layer_norm_rms_epsilon', { type: 'f32', value: 1e-5 }],
];

const valuesOf = (fields: Iterable<[string, GgufField]>): Map<string, GgufValue> =>
  new Map([...fields].map(([key, { value }]) => [key, value as GgufValue]));

interface Fixture {
  /** The model file's hash that stands for the vocabulary, and what it holds. */
  readonly identity: string;
  readonly fields: [string, GgufField][];
  readonly digests: string[][];
}
let fixture: Fixture | undefined;

function readFixture(): Fixture {
  if (fixture !== undefined) return fixture;
  const packed = readFileSync(sharedPath(VOCABULARY));
  const json = JSON.parse(gunzipSync(packed).toString());
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(json.model.vocab)) tokens[id as number] = token;
  for (const { id, content } of json.added_tokens) tokens[id] = content;
  const merges = json.model.merges as string[];
  const odd = oddStrings();
  fixture = {
    identity: sha256(packed),
    fields: [
      ...SHAPE,
      ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
      ['tokenizer.ggml.tokens', { type: 'strings', value: tokens }],
      ['tokenizer.ggml.token_type', { type: 'i32s', value: tokens.map((_, id) => (id >= 128000 ? 3 : 1)) }],
      ['tokenizer.ggml.merges', { type: 'strings', value: merges }],
      ['tokenizer.ggml.bos_token_id', u32(128000)],
      ['tokenizer.ggml.eos_token_id', u32(128001)],
    ],
    digests: [
      ...TEXTS.map((name) => [readFileSync(sharedPath(`text/${name}`), 'utf8')]),
      [classBoundaries()],
      [odd.join('')],
      odd,
    ],
  };
  return fixture;
}

function ask(pre: string) {
  const { identity, fields, digests } = readFixture();
  const metadata = new Map([
    ...fields,
    ['tokenizer.ggml.pre', { type: 'string', value: pre }] as [string, GgufField],
  ]);
  return oracle.recorded(pre, `${identity} ${pre}`, (path) => writeGguf(path, metadata, []), { digests });
}

describe('pre-tokenisers cut as llama.cpp', needs(...missing), () => {
  const names = Object.keys(PRE_TOKENIZERS);
  const first = (pre: string): string =>
    names.find((name) => PRE_TOKENIZERS[name] === PRE_TOKENIZERS[pre]) ?? pre;

  test.each(names.filter((name) => first(name) === name))(
    '%s',
    async (pre) => {
      const { tokenizer: theirs } = await ask(pre);
      const { fields, digests } = readFixture();
      const metadata = valuesOf(fields);
      const own = createTokenizer(metadata.set('tokenizer.ggml.pre', pre));
      expect(own.addBos).toBe(theirs?.addsBos);
      const ids = digests.map((texts) => texts.map((text) => own.encode(text, { addSpecial: false })));
      expect(ids.map(digestOfTokens)).toEqual(theirs?.digests);
    },
    600_000,
  );

  test.each(names.filter((name) => first(name) !== name))(
    '%s, another name',
    async (pre) => {
      expect((await ask(pre)).tokenizer).toEqual((await ask(first(pre))).tokenizer);
    },
    600_000,
  );
});

describe('vocabularies with something missing or added are read as llama.cpp reads them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-tokenizers-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const file = openGguf(EMBEDDED_F16);
  file.close();
  const tokens = file.metadata.get('tokenizer.ggml.tokens') as string[];
  const merges = file.metadata.get('tokenizer.ggml.merges') as string[];
  const types = file.metadata.get('tokenizer.ggml.token_type') as number[];
  const strings = (value: string[]): GgufField => ({ type: 'strings', value });
  const word = (value: string): GgufField => ({ type: 'string', value });
  const ids = (value: number[]): GgufField => ({ type: 'i32s', value });
  const bytePairs = (
    changes: Record<string, GgufField | undefined>,
  ): Record<string, GgufField | undefined> => ({
    model: word('gpt2'),
    pre: word('llama-bpe'),
    tokens: strings(tokens),
    token_type: ids(types),
    merges: strings(merges),
    bos_token_id: { type: 'u32', value: 1022 },
    eos_token_id: { type: 'u32', value: 1023 },
    ...changes,
  });
  const renamed = (names: Record<string, string>): GgufField =>
    strings(tokens.map((token) => names[token] ?? token));
  /** The last tokens of the vocabulary, before BOS and EOS, called otherwise. */
  const withLast = (...last: string[]): Record<string, GgufField> => ({
    tokens: strings(tokens.map((token, id) => last[1021 - id] ?? token)),
  });
  const cases: Record<string, Record<string, GgufField | undefined>> = {
    'bytes without tokens': bytePairs({
      tokens: renamed({ [BYTE_TO_CHAR[0xc3]]: 'gone', z: 'gone too', [BYTE_TO_CHAR[4]]: '[4]' }),
    }),
    'merges without tokens': bytePairs({
      merges: strings([...merges, 'q x', 'z q', 'zq x', '\u0120 qx', 'alone', '\u0120 \u00c3']),
    }),
    'no pre-tokeniser': bytePairs({ pre: undefined }),
    'no BOS and EOS': bytePairs({ bos_token_id: undefined, eos_token_id: undefined }),
    'an empty token': bytePairs({ tokens: renamed({ z: '' }) }),
    'ends by spelling': bytePairs({
      ...withLast(
        '<|im_end|>',
        '<|end|>',
        '<|fim_pad|>',
        '<|repo_name|>',
        '<|file_sep|>',
        '<|fim_prefix|>',
        '<eos>',
      ),
    }),
    'ends by key': bytePairs({
      eot_token_id: { type: 'u32', value: 300 },
      eom_token_id: { type: 'u32', value: 301 },
      fim_pad_token_id: { type: 'u32', value: 302 },
      ...withLast('<|fim_pad|>'),
    }),
    'a format whose parts end': bytePairs(withLast('<|end|>', '<|return|>', '<|call|>', '<|channel|>')),
    'SentencePiece without scores': {
      model: word('llama'),
      tokens: strings([
        ...['<unk>', '<s>', '</s>'],
        ...Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`),
        ...['\u2581', 'a', 'b', 's', 't', 'ab', 'ba', '\u2581a', '\u2581ab', 'aba', 'st', 'ts', 'sts'],
      ]),
      token_type: ids([2, 3, 3, ...Array(256).fill(6), ...Array(13).fill(1)]),
    },
  };

  test.each(Object.keys(cases))('%s', async (name) => {
    const fields = new Map<string, GgufField>(SHAPE);
    for (const [key, field] of Object.entries(cases[name])) {
      if (field !== undefined) fields.set(`tokenizer.ggml.${key}`, field);
    }
    const path = join(folder, `${Object.keys(cases).indexOf(name)}.gguf`);
    writeGguf(path, fields, []);
    const own = createTokenizer(valuesOf(fields));
    const texts = [
      ...[
        'abab stst tsts aab',
        ' zqx qx zq \u00e9\u00c3 z\x04z',
        'h\u00e9 <|im_end|><|end|> <|fim_prefix|>',
        '',
      ],
      ...oddStrings().slice(0, 300),
    ];
    const ends = Array.from({ length: own.size }, (_, id) => id);
    const { vocabulary, tokenizer: theirs } = await oracle.ask(name, path, { digests: [texts], ends });
    // node-llama-cpp does not show llama.cpp's default ids, which the ends below do.
    if (name !== 'no BOS and EOS') expect([own.bosId, own.eosId]).toEqual([vocabulary.bos, vocabulary.eos]);
    expect({
      addsBos: own.addBos,
      digests: [digestOfTokens(texts.map((text) => own.encode(text, { addSpecial: false })))],
      ends: [...own.endIds].sort((a, b) => a - b),
    }).toEqual(theirs);
  });
});
