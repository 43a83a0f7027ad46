/**
 * Which tokens begin and end a text, by the file's ids and by well-known spellings, as llama.cpp (v0.5.0) finds them.
 */
import type { GgufValue } from '../gguf-file.ts';
import type { Vocabulary } from './vocabulary.ts';
import { TOKEN_CONTROL, TOKEN_NORMAL, TOKEN_USER_DEFINED, vocabularyError } from './vocabulary.ts';

export interface SpecialTokens {
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Tokens that end a generation. */
  readonly endIds: ReadonlySet<number>;
  /** Token types with those of well-known tokens put right: a file may call <|im_end|> plain text. */
  readonly types: readonly number[];
}

/** Spellings that end a generation wherever they occur. */
const ENDS = [
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<|flush|>',
  '<|calls|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '</s>',
  '<|eom_id|>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '<|end_of_text|>',
  '<end_of_utterance>',
  '<eos>',
  '<turn|>',
  '<|tool_response>',
  '<\uff5cend\u2581of\u2581sentence\uff5c>',
  '[e~[',
];

/**
 * Tokens of fill-in-the-middle prompts: the file's key, else the first of the spellings that is there. Padding,
 * repository and file marks end a generation too.
 */
const FILL_IN: readonly { keys: readonly string[]; spellings: readonly string[]; ends: boolean }[] = [
  {
    keys: ['fim_pre_token_id', 'prefix_token_id'],
    spellings: [
      '<|fim_prefix|>',
      '<fim-prefix>',
      '<fim_prefix>',
      '<\uff5cfim\u2581begin\uff5c>',
      '<PRE>',
      '\u2581<PRE>',
      '<|code_prefix|>',
      '<|prefix|>',
    ],
    ends: false,
  },
  {
    keys: ['fim_suf_token_id', 'suffix_token_id'],
    spellings: [
      '<|fim_suffix|>',
      '<fim-suffix>',
      '<fim_suffix>',
      '<\uff5cfim\u2581hole\uff5c>',
      '<SUF>',
      '\u2581<SUF>',
      '<|code_suffix|>',
      '<|suffix|>',
    ],
    ends: false,
  },
  {
    keys: ['fim_mid_token_id', 'middle_token_id'],
    spellings: [
      '<|fim_middle|>',
      '<fim-middle>',
      '<fim_middle>',
      '<\uff5cfim\u2581end\uff5c>',
      '<MID>',
      '\u2581<MID>',
      '<|code_middle|>',
      '<|middle|>',
    ],
    ends: false,
  },
  {
    keys: ['fim_pad_token_id'],
    spellings: ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]'],
    ends: true,
  },
  {
    keys: ['fim_rep_token_id'],
    spellings: ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
    ends: true,
  },
  { keys: ['fim_sep_token_id'], spellings: ['<|file_sep|>'], ends: true },
];

/** Control tokens that are to be seen in the text. */
const SHOWN = ['<|channel|>', '<|message|>', '<|start|>', '<|constrain|>'];

/**
 * Finds the special tokens; `bos` and `eos` are used where the file has no id of its own, if the vocabulary is that
 * large. Throws where an id lies outside the vocabulary.
 */
export function findSpecialTokens(
  metadata: ReadonlyMap<string, GgufValue>,
  vocabulary: Vocabulary,
  defaults: { readonly bos: number | undefined; readonly eos: number | undefined },
): SpecialTokens {
  const types = [...vocabulary.types];
  const idAt = (key: string): number | undefined => tokenIdAt(metadata, vocabulary, key);
  const within = (id: number | undefined): number | undefined =>
    id !== undefined && id < vocabulary.size ? id : undefined;
  const bosId = idAt('bos_token_id') ?? within(defaults.bos);
  const eosId = idAt('eos_token_id') ?? within(defaults.eos);

  const endIds = new Set<number>();
  for (const { keys, spellings, ends } of FILL_IN) {
    let id = keys.map(idAt).find((known) => known !== undefined);
    if (id === undefined) {
      id = spellings.map((spelling) => vocabulary.idOf.get(spelling)).find((known) => known !== undefined);
      if (id !== undefined) types[id] = TOKEN_CONTROL;
    }
    if (ends && id !== undefined) endIds.add(id);
  }
  for (const spelling of ENDS) {
    const id = vocabulary.idOf.get(spelling);
    if (id === undefined) continue;
    endIds.add(id);
    types[id] = TOKEN_CONTROL;
  }
  for (const spelling of SHOWN) {
    const id = vocabulary.idOf.get(spelling);
    if (id !== undefined) types[id] = TOKEN_USER_DEFINED;
  }
  for (const id of [eosId, idAt('eot_token_id'), idAt('eom_token_id')]) if (id !== undefined) endIds.add(id);

  const ends = (spelling: string): boolean => endIds.has(vocabulary.idOf.get(spelling) ?? -1);
  const noEnd = (spelling: string, type: number): void => {
    const id = vocabulary.idOf.get(spelling);
    if (id === undefined || !endIds.delete(id)) return;
    types[id] = type;
  };
  // Formats in which a part ends with <|end|> and the answer goes on (harmony, solar); Gemma 4's </s> is HTML.
  const hasCall = ends('<|call|>') || ends('<|calls|>');
  if (hasCall && (ends('<|return|>') || ends('<|flush|>'))) noEnd('<|end|>', TOKEN_USER_DEFINED);
  if (ends('<|tool_response>')) noEnd('</s>', TOKEN_NORMAL);
  return { bosId, eosId, endIds, types };
}

/** The id of a special token by its key without `tokenizer.ggml.`; undefined if the file has none. */
export function tokenIdAt(
  metadata: ReadonlyMap<string, GgufValue>,
  vocabulary: Vocabulary,
  key: string,
): number | undefined {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  if (value === undefined || value === 0xffffffff || value === -1) return undefined; // llama.cpp's "none"
  if (typeof value !== 'number' || !(value >= 0 && value < vocabulary.size)) {
    throw vocabularyError(`has tokenizer.ggml.${key} = ${value}, outside its ${vocabulary.size} tokens`);
  }
  return value;
}
