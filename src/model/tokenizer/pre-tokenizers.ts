/**
 * The pre-tokenisers of byte-level BPE vocabularies, by their name in `tokenizer.ggml.pre`: how text is cut into words
 * before byte pairs are merged within each. Every name of llama.cpp (v0.5.0) that a decoder-only model with a byte-level
 * vocabulary carries; names of encoders (jina, roberta, modern-bert ...) and of vocabularies without byte level (gemma4,
 * sarvam-moe) are left out.
 *
 * The patterns are the published ones (tokenizer.json of the models) as llama.cpp reads them, see pretokenize.ts for what
 * a class stands for: upper and lower case are told apart in ASCII only. Patterns are applied in turn, each within the
 * pieces that the ones before left; what a pattern does not match stays a piece.
 */

/** A pattern, or the name of a cutter written by hand where a pattern would look ahead over every digit of a run. */
export type Cut =
  | string
  /** Runs of numbers in threes, counted from the right; what precedes a run stays with its first digits. */
  | { readonly numbers: 'end in threes' }
  /** A cut before every three digits of a run of ASCII's, counted from the right; what follows a run stays with it. */
  | { readonly numbers: 'before threes' };

export interface PreTokenizer {
  readonly cuts: readonly Cut[];
  /** A word that is a token as a whole is that token, whatever the merges would give. */
  readonly ignoreMerges?: true;
  /** BOS in front unless the file says otherwise. */
  readonly addBos?: true;
  /** There is no BOS unless the file names one. */
  readonly noBos?: true;
}

const CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const BLANKS = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
/** A word with the one character before it, a number, marks, blanks: Llama 3's order, which most have. */
const words = (number: string): string =>
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${number}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`;
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/** A word in capitals, in small letters or with a capital in front; `L`: what else counts as a letter. */
const cased = (others: string, ending: string, number: string): string => {
  const lead = '[^\\r\\n\\p{L}\\p{N}]?';
  const upper = `[A-Z${others}]`;
  const lower = `[a-z${others}]`;
  return (
    `${lead}${upper}*${lower}+${ending}|${lead}${upper}+${lower}*${ending}|${number}|` +
    ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`
  );
};
/** Letters that are not ASCII have no case here. */
const UNCASED = '\\p{Other letter}';

/** DeepSeek V3's last pattern. */
const deepseek = (marks: string): string =>
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|' +
  ` ?[\\p{P}\\p{S}]+${marks}`;
const KANJI_AND_KANA = '[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+';
const CJK_OF_DEEPSEEK = '[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+';
/** Letters with case, beyond the basic plane as one character, see pretokenize.ts. */
const CASED_LETTERS =
  'A-Za-z\\xb5\\xc0-\\xd6\\xd8-\\xf6\\xf8-\\u01ba\\u01bc-\\u01bf\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376\\u0377' +
  '\\u037b-\\u037d\\u037f\\u0386\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f\\u0531-\\u0556' +
  '\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a' +
  '\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d\\u1f5f-\\u1f7d\\u1f80-\\u1fb4' +
  '\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc' +
  '\\u2102\\u2107\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d\\u212f-\\u2134\\u2139\\u213c-\\u213f' +
  '\\u2145-\\u2149\\u214e\\u2183\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee\\u2cf2\\u2cf3\\ua640-\\ua66d\\ua680-\\ua69b' +
  '\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e\\uab70-\\uabbf\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a\\udc00';
/** The letters of CASED_LETTERS beyond the basic plane, first and last. */
export const CASED_ASTRAL_LETTERS = [
  [0x10400, 0x1044f],
  [0x104b0, 0x104d3],
  [0x104d8, 0x104fb],
  [0x10c80, 0x10cb2],
  [0x10cc0, 0x10cf2],
  [0x118a0, 0x118df],
  [0x1e900, 0x1e943],
] as const;

const SENTENCE_PARTS = ' ?[^(\\s|.,!?\\u2026\\u3002\\uff0c\\u3001\\u0964\\u06d4\\u060c)]+';

const llama3: PreTokenizer = { cuts: [words('\\p{N}{1,3}')], ignoreMerges: true, addBos: true };
const llama3Merged: PreTokenizer = { cuts: [words('\\p{N}{1,3}')] };
const gpt2: PreTokenizer = { cuts: [GPT2] };
const digitsThenGpt2: PreTokenizer = { cuts: ['\\p{N}', GPT2] };
const qwen2: PreTokenizer = { cuts: [words('\\p{N}')] };
const deepseekV3: PreTokenizer = {
  cuts: ['\\p{N}{1,3}', KANJI_AND_KANA, deepseek(`[\\r\\n]*|${BLANKS}`)],
};
const gpt4o: PreTokenizer = { cuts: [cased(UNCASED, `${CONTRACTION}?`, '\\p{N}{1,3}')] };
const tinyAya: PreTokenizer = {
  cuts: [
    { numbers: 'end in threes' },
    `[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+${CONTRACTION}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`,
  ],
};
const bloom: PreTokenizer = { cuts: [SENTENCE_PARTS] };
const bailing: PreTokenizer = {
  cuts: [
    `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`,
  ],
};

export const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  default: { cuts: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'] },
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  falcon3: llama3,
  'falcon-h1': llama3,
  pixtral: llama3,
  'midm-2.0': llama3,
  lfm2: llama3,
  'smaug-bpe': llama3Merged,
  dbrx: llama3Merged,
  glm4: { ...llama3Merged, noBos: true },
  'chatglm-bpe': { ...llama3Merged, noBos: true },
  minicpm5: { cuts: ['\\p{N}{1,3}', words('\\p{N}+')], ignoreMerges: true },
  'jais-2': {
    cuts: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|` +
        `${[512, 256, 128, 64, 32, 16, 8, 4].map((n) => `\\s{${n}}(?!\\S)|`).join('')}\\s{1,2}(?!\\S)|\\s`,
    ],
  },
  qwen2,
  'deepseek-r1-qwen': qwen2,
  kormo: qwen2,
  f2llmv2: qwen2,
  megrez: qwen2,
  stablelm2: qwen2,
  hunyuan: qwen2,
  'solar-open': qwen2,
  'grok-2': qwen2,
  qwen35: {
    cuts: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BLANKS}`,
    ],
  },
  laguna: { cuts: ['[^\\n]+|[\\n]+', words('\\p{N}')] },
  ufakzeka: { cuts: [`[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`] },
  'seed-coder': {
    cuts: [`${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${BLANKS}`],
  },
  bailingmoe: bailing,
  bailingmoe2: bailing,
  'llada-moe': bailing,
  'exaone-moe': {
    cuts: [
      // Words of letters and marks, one blank between two: (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+ without its nesting.
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}[\\p{L}\\p{M}]*(?: \\p{L}[\\p{L}\\p{M}]*)*|\\p{N}|` +
        ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+',
    ],
  },
  'gpt-2': gpt2,
  'phi-2': gpt2,
  mpt: gpt2,
  olmo: gpt2,
  jais: gpt2,
  trillion: gpt2,
  'granite-docling': gpt2,
  gigachat: gpt2,
  'a.x-4.0': gpt2,
  mellum: gpt2,
  exaone4: gpt2,
  starcoder: digitsThenGpt2,
  refact: digitsThenGpt2,
  'command-r': digitsThenGpt2,
  smollm: digitsThenGpt2,
  codeshell: digitsThenGpt2,
  exaone: digitsThenGpt2,
  'minerva-7b': digitsThenGpt2,
  mellum2: digitsThenGpt2,
  falcon: { cuts: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', GPT2, '[0-9][0-9][0-9]'] },
  chameleon: {
    cuts: [
      '<sentinel:[0-9]+>',
      '(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z',
      '[\\t\\n]|    |  ',
      '\\p{N}',
      '[\\p{P}!-/:-@\\[-`{-~]',
      GPT2,
    ],
    addBos: true,
  },
  'deepseek-llm': {
    cuts: [
      '[\\r\\n]',
      `\\s?[${CASED_LETTERS}]+`,
      '\\s?[!-/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3000-\\u3002]+',
      '\\s+$',
      CJK_OF_DEEPSEEK,
      '\\p{N}+',
    ],
  },
  'deepseek-coder': { cuts: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', CJK_OF_DEEPSEEK, '\\p{N}'] },
  'deepseek-v3': deepseekV3,
  'hunyuan-dense': deepseekV3,
  'joyai-llm': deepseekV3,
  hy_v4: deepseekV3,
  spark2_5: {
    cuts: ['\\p{N}{1,3}', KANJI_AND_KANA, deepseek('|[\\r\\n]|\\s+(?!\\S)|\\s+'), '\\p{N}'],
  },
  youtu: {
    cuts: [
      '[\\uac00-\\ud7a3\\u3131-\\u318e]+|' +
        '[\\uff01\\u2026\\u201c\\u201d\\u2018\\u2019\\u2014\\uff1a\\uff1b\\uff0c\\u3001-\\u303f\\ufe30-\\ufe4f]+|' +
        `[\\u3105-\\u312f]+|${KANJI_AND_KANA}`,
      `[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+${CONTRACTION}?|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`,
    ],
    ignoreMerges: true,
  },
  afmoe: {
    cuts: [
      { numbers: 'end in threes' },
      '[\\u4e00-\\u9fff\\u3400-\\u4dbf\\u8c48-\\ud7ff\\ue000-\\ufaff\\u3040-\\u309f\\u30a0-\\u30ff\\uff65-\\uff9f\\u2f00-\\u2fdf' +
        '\\u0e40-\\u0e7f\\u0e80-\\u0eff\\u1780-\\u17ff\\u1000-\\u109f\\uaa60-\\uaa7f\\ua9e0-\\ua9ff\\uac00-\\ud7af\\u1100-\\u11ff]+',
      deepseek(`[\\r\\n]*|${BLANKS}`),
    ],
  },
  tekken: { cuts: [cased(UNCASED, '', '\\p{N}')], ignoreMerges: true, addBos: true },
  'gpt-4o': gpt4o,
  llama4: gpt4o,
  kanana2: gpt4o,
  talkie: gpt4o,
  'minimax-m2': gpt4o,
  tiny_aya: tinyAya,
  cohere2moe: tinyAya,
  'kimi-k2': {
    cuts: [
      `\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?[\\p{L but Han}]+${CONTRACTION}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`,
    ],
  },
  superbpe: { cuts: ['\\p{N}+', { numbers: 'before threes' }] },
  'poro-chat': bloom,
  bloom,
  'gpt3-finnish': bloom,
  viking: { cuts: [SENTENCE_PARTS, '\\p{N}'] },
};
