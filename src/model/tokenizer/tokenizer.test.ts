/**
 * Tokenizers against ids computed elsewhere: the trainer's own encoder for the embedded vocabulary, @huggingface/
 * tokenizers for Llama 3.1's, the published pattern for the pre-tokeniser. llama.cpp's are in ../oracle.test.ts.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer as HuggingfaceTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EMBEDDED_F16, EMBEDDED_GOLDEN } from '../../testing/models.ts';
import { missingShared, needs, sharedPath } from '../../testing/needs.ts';
import { openGguf } from '../gguf.ts';
import type { GgufValue } from '../gguf-file.ts';
import { BYTE_TO_CHAR } from './byte-pair.ts';
import { chatPrompt } from './chat-template.ts';
import { Merger } from './merge.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';
import { createCutter } from './pretokenize.ts';
import { createTokenizer } from './tokenizer.ts';
import { CLASS, unicodeClasses } from './unicode-classes.ts';

function metadataOf(path: string): Map<string, GgufValue> {
  const file = openGguf(path);
  file.close();
  return new Map(file.metadata);
}

const golden = JSON.parse(readFileSync(EMBEDDED_GOLDEN, 'utf8'));
const embedded = metadataOf(EMBEDDED_F16);
const tokenizer = createTokenizer(embedded);
const plain = { addSpecial: false };

describe('the embedded byte-pair vocabulary', () => {
  test.each<{ text: string; ids: number[] }>(golden.tokenizer_tests)('golden: $text', ({ text, ids }) => {
    expect([...tokenizer.encode(text, plain)]).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  test('golden passage of 2,000 tokens and prompts with BOS', () => {
    expect([...tokenizer.encode(golden.passage.text, plain)]).toEqual(golden.passage.ids);
    for (const { text, ids } of golden.prompts) expect([...tokenizer.encode(text)]).toEqual(ids);
  });

  test('any text comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.toWellFormed());
      }),
      { numRuns: 1000, seed: 1 },
    );
  });

  test('special tokens are text unless they are asked for, and decode to nothing', () => {
    const text = 'a<|end_of_text|><|begin_of_text|>';
    const parsed = tokenizer.encode(text, { addSpecial: false, parseSpecial: true });
    expect([...parsed]).toEqual([...tokenizer.encode('a', plain), 1023, 1022]);
    expect(tokenizer.decode(parsed)).toBe('a');
    const literal = tokenizer.encode(text, plain);
    expect(literal.some((id) => id >= 1022)).toBe(false);
    expect(tokenizer.decode(literal)).toBe(text);
    expect([tokenizer.bosId, tokenizer.eosId, [...tokenizer.endIds]]).toEqual([1022, 1023, [1023]]);
  });

  test('a stream holds bytes back until their character is complete', () => {
    const ids = tokenizer.encode('h\u00e9\u{1f600}!', plain);
    const stream = tokenizer.newStream();
    const parts = [...ids].map((id) => stream.push(id));
    expect(parts.join('')).toBe('h\u00e9\u{1f600}!');
    expect(parts).not.toContain('\ufffd');
    expect(parts.filter((part) => part === '').length).toBe(ids.length - 4);
    const cut = tokenizer.newStream();
    expect(cut.push(ids[1]) + cut.end()).toBe('\ufffd');
  });
});

describe('pre-tokenisation', () => {
  // The pattern of Llama 3's tokenizer.json in JS: (?i:) spelled out for ASCII, \s as Unicode's White_Space.
  const space = '\\p{White_Space}';
  const pattern = new RegExp(
    "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" +
      ` ?[^${space}\\p{L}\\p{N}]+[\\r\\n]*|${space}*[\\r\\n]+|${space}+(?!\\P{White_Space})|${space}+`,
    'gu',
  );
  const piece = fc.constantFrom(
    ...[
      "'",
      's',
      'S',
      'r',
      'e',
      'LL',
      've',
      'd',
      'a',
      '\u00e9',
      '\u65e5',
      '1',
      '22',
      '\u0663',
      '\u00bd',
      ' ',
      '  ',
      '\t',
      '\n',
    ],
    ...[
      '\r',
      '\r\n',
      '\u00a0',
      '\u0085',
      '\ufeffx',
      '\u3000',
      '!',
      '...',
      '\u{1f600}',
      '\u{1d400}',
      '\u0301',
      '\u017f',
      '_',
    ],
  );

  const cut = createCutter(PRE_TOKENIZERS['llama-bpe']);

  test('cuts as the published pattern does', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join('');
        const words: string[] = [];
        cut(text, (start, end) => words.push(text.slice(start, end)));
        expect(words).toEqual(text.match(pattern) ?? []);
      }),
      { numRuns: 20_000, seed: 1 },
    );
  });
});

describe('patterns of all pre-tokenisers', () => {
  test.each([
    ['capitals', 'A'.repeat(1e5)],
    ['letters beyond ASCII', '\u00e9'.repeat(1e5)],
    ['Chinese', '\u65e5'.repeat(1e5)],
    ['one-letter words', 'a '.repeat(5e4)],
    ['digits', '7'.repeat(1e5)],
    ['blanks', `${' '.repeat(1e5)}x`],
    ['line breaks', ' \n'.repeat(5e4)],
    ['marks', '!?'.repeat(5e4)],
    ['combining marks', `a${'\u0301'.repeat(1e5)}`],
    ['faces', '\u{1f600}'.repeat(5e4)],
  ])('cover a run of %s in time that grows with it', (_, text) => {
    for (const pre of new Set(Object.values(PRE_TOKENIZERS))) {
      let covered = 0;
      let inOrder = true;
      const startMs = performance.now();
      createCutter(pre)(text, (start, end) => {
        inOrder &&= start === covered && end > start;
        covered = end;
      });
      // Milliseconds here.
      expect(performance.now() - startMs).toBeLessThan(5_000);
      expect([inOrder, covered]).toEqual([true, text.length]);
    }
  });

  test('classes are those of Unicode 15.1, whatever the Node', () => {
    const at = (codePoint: number): string => String.fromCharCode(unicodeClasses()[codePoint]);
    // Letters since Unicode 16 and 17, which newer Nodes know; one of 15.1, which older ones do not.
    for (const later of [0x088f, 0x1c89, 0xa7cb, 0x10d4a, 0x323b0]) expect(at(later)).toBe(CLASS.other);
    expect([at(0x2ebf0), at(0xe9), at(0x4e00)]).toEqual([CLASS.letter, CLASS.letter, CLASS.hanLetter]);
    expect([at(0x663), at(0x301), at(0x20ac), at(0x2026), at(0x3000)]).toEqual([
      CLASS.number,
      CLASS.mark,
      CLASS.symbol,
      CLASS.punctuation,
      CLASS.space,
    ]);
  });
});

describe('chat', () => {
  const withTemplate = (template: string): Map<string, GgufValue> =>
    new Map(embedded).set('tokenizer.chat_template', template);

  test("puts what a user says into the model's template", async () => {
    const template =
      "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}" +
      '{% if add_generation_prompt %}<|assistant|>{% endif %}';
    const metadata = withTemplate(template);
    const own = createTokenizer(metadata);
    const prompt = await chatPrompt(metadata, own, ' Hi ');
    expect(prompt).toBe('<|begin_of_text|><|user|>Hi<|end_of_text|>\n<|assistant|>');
    const ids = [...own.encode(prompt, { parseSpecial: true })];
    expect(ids.filter((id) => id >= 1022)).toEqual([1022, 1023]);
  });

  test('a model without a template and a template that fails are errors', async () => {
    await expect(chatPrompt(embedded, tokenizer, 'Hi')).rejects.toMatchObject({
      kind: 'usage',
      code: 'CHAT_TEMPLATE_MISSING',
    });
    for (const template of ['{% if %}', "{{ raise_exception('no') }}"]) {
      await expect(chatPrompt(withTemplate(template), tokenizer, 'Hi')).rejects.toMatchObject({
        kind: 'input',
        code: 'CHAT_TEMPLATE',
      });
    }
  });

  test("Phi-3's special tokens take the white space behind them along", () => {
    const text = 'a<|end_of_text|> \n b';
    const spell = (name: string): string[] => {
      const own = createTokenizer(new Map(embedded).set('general.name', name));
      return [...own.encode(text, { addSpecial: false, parseSpecial: true })].map((id) => own.spelling(id));
    };
    expect(spell('Phi-3 mini').slice(1)).toEqual(['<|end_of_text|>', 'b']);
    expect(spell('Llama').length).toBeGreaterThan(3);
  });
});

describe('merging', () => {
  test('equals rescanning for the cheapest pair after every merge', () => {
    // Symbols 0..3; rules join two symbols to a third, with costs that tie.
    const rule = fc.tuple(fc.nat(6), fc.nat(6), fc.integer({ min: 4, max: 6 }), fc.nat(2));
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 12 }),
        fc.array(fc.nat(3), { maxLength: 40 }),
        (rules, symbols) => {
          const find = (left: number, right: number): number =>
            rules.findIndex(([a, b]) => a === left && b === right);
          const merger = new Merger({ find, cost: (r) => rules[r][3], result: (r) => rules[r][2] });
          const got: number[] = [];
          merger.merge(symbols, got);

          const expected = [...symbols];
          for (;;) {
            let best = -1;
            for (let i = 0; i + 1 < expected.length; i++) {
              const r = find(expected[i], expected[i + 1]);
              if (r < 0) continue;
              const champion = best < 0 ? Infinity : rules[find(expected[best], expected[best + 1])][3];
              if (rules[r][3] < champion) best = i;
            }
            if (best < 0) break;
            expected.splice(best, 2, rules[find(expected[best], expected[best + 1])][2]);
          }
          expect(got).toEqual(expected);
        },
      ),
      { numRuns: 3000, seed: 1 },
    );
  });

  test.each([
    ['one letter', 'a'.repeat(1e6)],
    ['blanks', `${' '.repeat(1e6)}x`],
    ['one word of Chinese', '\u65e5\u672c'.repeat(1.7e5)],
    ['line breaks', ' \n'.repeat(5e5)],
    ['marks', '!?'.repeat(5e5)],
  ])('a megabyte of %s takes seconds', (_, text) => {
    const startMs = performance.now();
    const ids = tokenizer.encode(text, plain);
    // About 1 s here; quadratic merging would take hours.
    expect(performance.now() - startMs).toBeLessThan(20_000);
    expect(tokenizer.decode(ids) === text).toBe(true);
  });
});

const llama31 = 'tokenizer/llama-3.1-tokenizer.json.gz';
const noLlama31 = missingShared(llama31);
describe("Llama 3.1's vocabulary equals @huggingface/tokenizers", needs(noLlama31), () => {
  const json = noLlama31 ? undefined : JSON.parse(gunzipSync(readFileSync(sharedPath(llama31))).toString());
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(json?.model.vocab ?? {})) tokens[id as number] = token;
  for (const { id, content } of json?.added_tokens ?? []) tokens[id] = content;
  const build = () =>
    createTokenizer(
      new Map<string, GgufValue>([
        ['tokenizer.ggml.model', 'gpt2'],
        ['tokenizer.ggml.pre', 'llama-bpe'],
        ['tokenizer.ggml.tokens', tokens],
        ['tokenizer.ggml.token_type', tokens.map((_, id) => (id >= 128000 ? 3 : 1))],
        ['tokenizer.ggml.merges', json.model.merges],
        ['tokenizer.ggml.bos_token_id', 128000],
        ['tokenizer.ggml.eos_token_id', 128001],
      ]),
    );

  for (const name of [
    'wikitext2-raw-test-first-third.txt',
    'onefet-stories-heldout.txt',
    'tinystories-eval.txt',
  ]) {
    test(name, needs(noLlama31, missingShared(`text/${name}`)), () => {
      const text = readFileSync(sharedPath(`text/${name}`), 'utf8');
      const own = build();
      const ids = own.encode(text, { parseSpecial: true });
      const oracle = new HuggingfaceTokenizer(json, {});
      expect([...ids]).toEqual(oracle.encode(text).ids);
      expect(own.decode(ids) === text.replaceAll('<|end_of_text|>', '')).toBe(true);
    });
  }

  test('special tokens and odd characters', () => {
    const own = build();
    const oracle = new HuggingfaceTokenizer(json, {});
    const texts = [
      ...golden.tokenizer_tests.map((t: { text: string }) => t.text),
      '<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>',
      'na\u00efve \u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22',
      ' '.repeat(100),
      '\n'.repeat(40),
    ];
    for (const text of texts) {
      expect([...own.encode(text, { parseSpecial: true })]).toEqual(oracle.encode(text).ids);
    }
    expect([...own.endIds].map((id) => own.spelling(id)).sort()).toEqual(['<|end_of_text|>', '<|eot_id|>']);
  });
});

describe('SentencePiece', () => {
  /** A vocabulary worked out by hand: bytes, letters, and merges with scores. */
  function handmade(extra: Record<string, GgufValue> = {}): Map<string, GgufValue> {
    const bytes = Array.from(
      { length: 256 },
      (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`,
    );
    const words: [string, number][] = [
      ['\u2581', -10],
      ['a', -10],
      ['b', -10],
      ['ab', -2],
      ['ba', -1],
      ['\u2581ab', -3],
      ['aba', -4],
    ];
    const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...words.map(([word]) => word)];
    return new Map<string, GgufValue>([
      ['tokenizer.ggml.model', 'llama'],
      ['tokenizer.ggml.tokens', tokens],
      ['tokenizer.ggml.scores', [...Array(259).fill(0), ...words.map(([, score]) => score)]],
      ['tokenizer.ggml.token_type', [2, 3, 3, ...Array(256).fill(6), ...words.map(() => 1)]],
      ['tokenizer.ggml.unknown_token_id', 0],
      ...Object.entries(extra),
    ]);
  }
  const spell = (metadata: Map<string, GgufValue>, text: string, options = {}): string[] => {
    const own = createTokenizer(metadata);
    const ids = own.encode(text, options);
    return [...ids].map((id) => own.spelling(id));
  };

  test('the pair of the best score merges first, the leftmost among equals', () => {
    // \u2581abab: "ba" (-1) beats both "ab" (-2); then \u2581 a ba b has "aba" (-4).
    expect(spell(handmade(), 'abab', plain)).toEqual(['\u2581', 'aba', 'b']);
    expect(spell(handmade(), 'ab', plain)).toEqual(['\u2581ab']);
  });

  test('blank in front, bytes for what is not in the vocabulary, BOS by default', () => {
    expect(spell(handmade(), 'a\u00e9')).toEqual(['<s>', '\u2581', 'a', '<0xC3>', '<0xA9>']);
    expect(spell(handmade({ 'tokenizer.ggml.add_space_prefix': false }), 'ab', plain)).toEqual(['ab']);
    expect(spell(handmade({ 'tokenizer.ggml.add_bos_token': false }), '')).toEqual([]);
    // EOS never by itself: a text that is scored or goes on has not ended.
    const withEos = handmade({ 'tokenizer.ggml.add_eos_token': true });
    expect(spell(withEos, '')).toEqual(['<s>']);
    expect(spell(withEos, '', { addEos: true })).toEqual(['<s>', '</s>']);
    // One BOS, whether the text has it or not.
    expect(spell(handmade(), '<s>a', { parseSpecial: true })).toEqual(['<s>', '\u2581', 'a']);
    // Behind a special token the blank comes again, as in llama.cpp.
    expect(spell(handmade(), 'a</s>b', { parseSpecial: true })).toEqual([
      '<s>',
      '\u2581',
      'a',
      '</s>',
      '\u2581',
      'b',
    ]);
  });

  test('any text comes back, blanks at its start included', () => {
    const own = createTokenizer(handmade());
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', 'b', ' ', '\n', '\u00e9', '\u{1f600}'), { maxLength: 40 }),
        (parts) => {
          const text = parts.join('');
          expect(own.decode(own.encode(text))).toBe(text);
        },
      ),
      { numRuns: 500, seed: 1 },
    );
  });

  const stories = 'models/stories260K-f32.gguf';
  test('a megabyte without blanks takes seconds', needs(missingShared(stories)), () => {
    const own = createTokenizer(metadataOf(sharedPath(stories)));
    const text = 'onceuponatime'.repeat(8e4);
    const startMs = performance.now();
    const ids = own.encode(text);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    expect(own.decode(ids) === text).toBe(true);
  });
});

describe('vocabularies that are refused', () => {
  const changed = (key: string, value: GgufValue | undefined): Map<string, GgufValue> => {
    const metadata = new Map(embedded);
    if (value === undefined) metadata.delete(`tokenizer.ggml.${key}`);
    else metadata.set(`tokenizer.ggml.${key}`, value);
    return metadata;
  };
  const tokens = embedded.get('tokenizer.ggml.tokens') as string[];
  const cases: [string, string, GgufValue | undefined, string][] = [
    ['no model', 'model', undefined, 'GGUF_TOKENIZER'],
    ['another model', 'model', 'bert', 'GGUF_TOKENIZER_MODEL'],
    ['another pre-tokeniser', 'pre', 'qwen3', 'GGUF_TOKENIZER_PRE'],
    ['no tokens', 'tokens', [], 'GGUF_TOKENIZER'],
    ['numbers for tokens', 'tokens', [1, 2], 'GGUF_TOKENIZER'],
    ['a token twice', 'tokens', tokens.map((t) => (t === BYTE_TO_CHAR[200] ? 'a' : t)), 'GGUF_TOKENIZER'],
    ['types of another length', 'token_type', [1], 'GGUF_TOKENIZER'],
    ['no merges', 'merges', undefined, 'GGUF_TOKENIZER'],
    ['BOS outside', 'bos_token_id', 1024, 'GGUF_TOKENIZER'],
    ['a flag that is a number', 'add_bos_token', 1, 'GGUF_TOKENIZER'],
  ];
  test.each(cases)('%s', (_, key, value, code) => {
    expect(() => createTokenizer(changed(key, value))).toThrowError(
      expect.objectContaining({ kind: 'input', code }),
    );
  });

  test('an id outside the vocabulary is a bug, not text', () => {
    expect(() => tokenizer.decode([1024])).toThrowError(expect.objectContaining({ code: 'TOKEN_RANGE' }));
  });
});
