/**
 * Passages that two texts share, as sequences of tokens: what sets the converters' ranges must not be what is scored.
 *
 * Windows of PASSAGE_TOKENS tokens of one text are kept by a rolling hash, the other text is scanned with the same hash,
 * and every hit is compared token by token: linear in both lengths, and no false alarm from a hash.
 */
import { OnefetError } from '../error.ts';

/**
 * A passage counts from this length on. Decontamination of language-model data takes 8 to 13 words (GPT-3: 13-grams);
 * 32 tokens of the embedded tokenizer are some 25 words, above the formulas that children's stories begin with.
 */
export const PASSAGE_TOKENS = 32;

/** From this share of shared tokens on the range text is no text of its own. */
const LARGEST_SHARE = 0.1;

export interface Overlap {
  /** Tokens of the first text that lie in shared passages, and their share of it. */
  readonly tokens: number;
  readonly share: number;
  /** First token of the first shared passage, in either text; null without one. */
  readonly at: { readonly first: number; readonly second: number } | null;
}

const FACTOR = 0x01000193;

/** Shared passages of `length` tokens and more, as seen from the first text. */
export function findOverlap(first: Int32Array, second: Int32Array, length = PASSAGE_TOKENS): Overlap {
  const starts = new Map<number, number[]>();
  rollingHashes(first, length, (hash, start) => {
    const list = starts.get(hash);
    if (list) list.push(start);
    else starts.set(hash, [start]);
  });
  const shared = new Uint8Array(first.length);
  let at: Overlap['at'] = null;
  rollingHashes(second, length, (hash, start) => {
    for (const own of starts.get(hash) ?? []) {
      let same = 0;
      while (same < length && first[own + same] === second[start + same]) same++;
      if (same < length) continue;
      at ??= { first: own, second: start };
      shared.fill(1, own, own + length);
    }
  });
  const tokens = shared.reduce((sum, one) => sum + one, 0);
  return { tokens, share: first.length > 0 ? tokens / first.length : 0, at };
}

/** sum_j tokens[start + j] FACTOR^(length - 1 - j) modulo 2^32, for every start. */
function rollingHashes(
  tokens: Int32Array,
  length: number,
  visit: (hash: number, start: number) => void,
): void {
  if (tokens.length < length) return;
  let leaving = 1;
  for (let i = 1; i < length; i++) leaving = Math.imul(leaving, FACTOR);
  let hash = 0;
  for (let i = 0; i < tokens.length; i++) {
    if (i >= length) hash = (hash - Math.imul(tokens[i - length], leaving)) | 0;
    hash = (Math.imul(hash, FACTOR) + tokens[i]) | 0;
    if (i >= length - 1) visit(hash, i - length + 1);
  }
}

/** A text that must not be what is scored. */
interface SettingText {
  readonly name: string;
  readonly code: string;
  /** What it sets. */
  readonly sets: string;
  readonly hint: string;
}

const RANGE: SettingText = {
  name: 'range text',
  code: 'RANGE_TEXT',
  sets: "the converters' ranges",
  hint: 'give another file with --range-text',
};
const CALIBRATION: SettingText = {
  name: 'calibration text',
  code: 'MAPPING_TEXT',
  sets: 'the mapping of the weights',
  hint: 'give another file with --set mapping.text=FILE',
};

const SELECTION: SettingText = {
  name: 'selection text',
  code: 'SELECT_TEXT',
  sets: 'the choice of the design',
  hint: 'give another file with --select-text or --text',
};

/** The text that designs are chosen on against the one that is reported. Errors: SELECT_TEXT where a tenth of either or more is shared. */
export const checkSelectionText = (selection: Int32Array, reported: Int32Array): string | null =>
  checkSeparate(SELECTION, selection, reported);

/** The range text against the scored one. Errors: RANGE_TEXT where a tenth of either or more is shared. */
export const checkRangeText = (range: Int32Array, scored: Int32Array): string | null =>
  checkSeparate(RANGE, range, scored);

/** The calibration text of a mapping against the scored one. Errors: MAPPING_TEXT where a tenth of either or more is shared. */
export const checkCalibrationText = (text: Int32Array, scored: Int32Array): string | null =>
  checkSeparate(CALIBRATION, text, scored);

/** Null where the texts are disjoint, a warning where they share a passage. */
function checkSeparate(
  { name, code, sets, hint }: SettingText,
  text: Int32Array,
  scored: Int32Array,
): string | null {
  const { tokens, share, at } = findOverlap(text, scored, Math.min(PASSAGE_TOKENS, text.length));
  if (at === null) return null;
  // A long text holds a short one whole with few of its own tokens.
  const ofScored = findOverlap(scored, text, Math.min(PASSAGE_TOKENS, text.length)).share;
  const what = `${tokens} of the ${text.length} tokens of the ${name} (${(share * 100).toFixed(0)} %) are in the scored text too, in passages of ${PASSAGE_TOKENS} tokens and more; the first at token ${at.first} of the ${name} and token ${at.second} of the scored one`;
  if (Math.max(share, ofScored) >= LARGEST_SHARE) {
    throw new OnefetError('usage', code, `${what}: ${sets} must not see what is scored`, { hint });
  }
  return `${what}: ${sets} ${sets.endsWith('ranges') ? 'have' : 'has'} seen a part of what is scored.`;
}
