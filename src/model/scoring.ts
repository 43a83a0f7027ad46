/** Windows of a text, and which of their predictions are scored. */
import { OnefetError } from '../error.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

/** A run of tokens that is evaluated on its own, from an empty cache. */
export interface ScoringWindow {
  /** Index of the window, the document or the question: the `window` of TokenPosition. */
  readonly window: number;
  readonly ids: Int32Array;
  /** Positions p with scoreFrom <= p < scoreTo are scored: there the model predicts ids[p + 1]. */
  readonly scoreFrom: number;
  readonly scoreTo: number;
}

/** What other texts of the kind are drawn from: a window of a text, a document, or the choices of one question. */
export type ScoredUnit = readonly ScoringWindow[];

export const scoredPositions = (windows: readonly ScoringWindow[]): number =>
  windows.reduce((sum, { scoreFrom, scoreTo }) => sum + scoreTo - scoreFrom, 0);

/**
 * Tokens in front of a window that are those of the window before it, so that the cache holds their keys and values: none that is scored,
 * and none where the windows have other numbers, which key the draws.
 */
export function keptTokens(
  { window, ids, scoreFrom }: ScoringWindow,
  before: ScoringWindow | undefined,
): number {
  if (before?.window !== window) return 0;
  const most = Math.min(scoreFrom, before.scoreTo);
  let kept = 0;
  while (kept < most && ids[kept] === before.ids[kept]) kept++;
  return kept;
}

/** Tokens that windows take, one after the other. */
export const computedTokens = (windows: readonly ScoringWindow[]): number =>
  windows.reduce((sum, window, i) => sum + window.scoreTo - keptTokens(window, windows[i - 1]), 0);

/**
 * Windows as llama.cpp's perplexity tool cuts them: consecutive windows of n tokens; the first token of each is
 * replaced by BOS when the vocabulary adds one (`bos`); predictions from positions n/2 .. n-2 are scored, so that each
 * has at least n/2 tokens of context; an incomplete last window is dropped.
 *
 * `tokens` is the raw text as encode() gives it, BOS included. Unlike llama.cpp, one window is enough here (it wants
 * two). Throws OnefetError('usage', 'SCORE_TEXT_SHORT') when there is no window.
 */
export function scoringWindows(
  tokens: Int32Array,
  { contextTokens, bos }: { contextTokens: number; bos: number | undefined },
): ScoringWindow[] {
  checkContext(contextTokens);
  const windows: ScoringWindow[] = [];
  for (let start = 0; start + contextTokens <= tokens.length; start += contextTokens) {
    const ids = tokens.slice(start, start + contextTokens);
    if (bos !== undefined) ids[0] = bos;
    windows.push({
      window: windows.length,
      ids,
      scoreFrom: Math.floor(contextTokens / 2),
      scoreTo: contextTokens - 1,
    });
  }
  if (windows.length === 0) {
    throw new OnefetError(
      'usage',
      'SCORE_TEXT_SHORT',
      `the text has ${tokens.length} tokens; a window needs ${contextTokens}`,
      { hint: 'give a longer text or a shorter context' },
    );
  }
  return windows;
}

/** The documents of a text: a line `<|endoftext|>` stands between two. Without the white space at their ends; empty ones are left out. */
export function splitDocuments(text: string): string[] {
  return text
    .split(/^<\|endoftext\|>\r?$/m)
    .map((document) => document.trim())
    .filter((document) => document !== '');
}

/**
 * `--score all`: each document on its own, BOS first (where the vocabulary adds one, else the first token is not
 * predicted), every further token scored. What a document has beyond the context goes on in windows of its own, as
 * `scoringWindows` cuts them: BOS over their first token, predictions with at least half of the context in front. Throws
 * OnefetError('usage', 'SCORE_TEXT_SHORT') when nothing is left to predict.
 */
export function documentWindows(
  text: string,
  tokenizer: Tokenizer,
  { contextTokens }: { contextTokens: number },
): ScoringWindow[] {
  checkContext(contextTokens);
  const documents = splitDocuments(text);
  const bos = tokenizer.addBos ? tokenizer.bosId : undefined;
  const windows: ScoringWindow[] = [];
  for (const document of documents) {
    const tokens = tokenizer.encode(document);
    // Predicted so far: the tokens before `done`.
    for (let done = 1; done < tokens.length; ) {
      const start = done === 1 ? 0 : done - Math.max(1, Math.floor(contextTokens / 2));
      const ids = tokens.slice(start, start + contextTokens);
      if (start > 0 && bos !== undefined) ids[0] = bos;
      windows.push({
        window: windows.length,
        ids,
        scoreFrom: done - 1 - start,
        scoreTo: ids.length - 1,
      });
      done = start + ids.length;
    }
  }
  if (windows.length === 0) {
    throw new OnefetError(
      'usage',
      'SCORE_TEXT_SHORT',
      `none of the ${documents.length} documents has the 2 tokens that a prediction needs`,
    );
  }
  return windows;
}

function checkContext(contextTokens: number): void {
  if (!Number.isInteger(contextTokens) || contextTokens < 2) {
    throw new OnefetError(
      'usage',
      'CONTEXT_RANGE',
      `a scoring context of ${contextTokens} tokens is out of range: it takes 2 or more`,
    );
  }
}
