/**
 * Questions as windows to score: context and continuation of each choice, the tokens of the continuation scored. The choices of a question
 * have its number for a window, which keys the draws: what they share is computed once (keptTokens), exactly as if each were computed whole,
 * and a choice's token has the noise of its position, whatever choice it is of. Tokens as lm-evaluation-harness makes them (`_encode_pair`):
 *
 *   context tokens + the tokens of (context + " " + choice) behind as many as the context alone has,
 *
 * so that the space belongs to the continuation's first token; an empty context is BOS (EOS where there is none); what is too
 * long loses tokens from the left.
 */
import { OnefetError } from '../error.ts';
import type { ScoredUnit, ScoringWindow } from '../model/scoring.ts';
import type { Tokenizer } from '../model/tokenizer/tokenizer.ts';
import type { Question, TaskFile } from './task-file.ts';

/** Tokens of a job, at least one question: some thirty lines of results.jsonl for a hundred thousand tokens. */
const JOB_TOKENS = 4096;

export interface TaskWindows {
  readonly groups: readonly (readonly ScoredUnit[])[];
  /** Choices that lost tokens of their context. */
  readonly cut: number;
}

/** Error: TASK_LONG (input) where a choice alone is longer than the context. */
export function taskWindows(
  { questions }: TaskFile,
  tokenizer: Tokenizer,
  contextTokens: number,
  path: string,
): TaskWindows {
  const groups: ScoredUnit[][] = [];
  let [tokens, cut] = [0, 0];
  for (const [window, question] of questions.entries()) {
    const unit = question.choices.map((choice): ScoringWindow => {
      const { ids, from } = encodeChoice(question, choice, tokenizer);
      const drop = Math.max(0, ids.length - 1 - contextTokens);
      if (drop > from) throw tooLong(path, question, ids.length - 1 - from, contextTokens);
      if (drop > 0) cut++;
      tokens += ids.length - drop;
      return {
        window,
        ids: ids.slice(drop),
        scoreFrom: from - drop,
        scoreTo: ids.length - 1 - drop,
      };
    });
    if (groups.length === 0 || tokens > JOB_TOKENS) {
      groups.push([]);
      tokens = unit.reduce((sum, { ids }) => sum + ids.length, 0);
    }
    groups[groups.length - 1].push(unit);
  }
  return { groups, cut };
}

/** Tokens of context and continuation; `from` is the position that predicts the continuation's first token. */
export function encodeChoice(
  { context, line }: Pick<Question, 'context' | 'line'>,
  choice: string,
  tokenizer: Tokenizer,
): { ids: Int32Array; from: number } {
  const continuation = ` ${choice}`;
  if (context === '') {
    const first = tokenizer.bosId ?? tokenizer.eosId;
    if (first === undefined) {
      throw new OnefetError(
        'input',
        'TASK_BOS',
        'the vocabulary has neither BOS nor EOS to begin a sentence with',
      );
    }
    const ids = tokenizer.encode(continuation, { addSpecial: false });
    return { ids: Int32Array.of(first, ...ids), from: 0 };
  }
  // White space at the end of a context would be a token of its own there.
  const head = context.trimEnd();
  const before = tokenizer.encode(head);
  const whole = tokenizer.encode(head + context.slice(head.length) + continuation);
  const behind = whole.subarray(before.length);
  if (behind.length === 0) {
    throw new OnefetError('input', 'TASK_LINE', `line ${line}: a choice adds no token to its context`);
  }
  return { ids: Int32Array.of(...before, ...behind), from: before.length - 1 };
}

const tooLong = (path: string, { line }: Question, tokens: number, contextTokens: number) =>
  new OnefetError(
    'input',
    'TASK_LONG',
    `${path}:${line}: a choice of ${tokens} tokens is longer than the context of ${contextTokens}`,
    { hint: 'choose a longer --context' },
  );
