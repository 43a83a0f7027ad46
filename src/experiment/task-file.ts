/**
 * Files of questions with choices, one JSON object a line:
 *   mcq         centerpiece, options, correct_options_idx: a question and its answers (ARC). The context is
 *               "Question: ...\nAnswer:", the continuation " " and an option.
 *   completion  the same keys: a text and how it may go on (HellaSwag). The context is the text itself.
 *   blimp       sentence_good, sentence_bad: two sentences that differ in one thing; no context, the whole sentence counts.
 * Contexts and continuations are those of lm-evaluation-harness (tasks arc_easy, hellaswag, blimp). Other keys are ignored.
 */
import { basename } from 'node:path';
import { z } from 'zod';
import { OnefetError } from '../error.ts';
import { readTextFile, reasonOf } from '../files.ts';
import type { TaskKind } from './options.ts';

export interface Question {
  readonly context: string;
  /** Choices without the space in front of them. */
  readonly choices: readonly string[];
  /** Numbers of the right ones. */
  readonly answers: readonly number[];
  /** Line of the file, from 1. */
  readonly line: number;
}

export interface TaskFile {
  readonly kind: TaskKind;
  readonly questions: readonly Question[];
  readonly text: string;
}

const choiceLine = z.object({
  centerpiece: z.string().trim().min(1),
  options: z.array(z.string().trim().min(1)).min(2),
  correct_options_idx: z.array(z.int().min(0)).min(1),
});
const pairLine = z.object({
  sentence_good: z.string().trim().min(1),
  sentence_bad: z.string().trim().min(1),
});
type ChoiceLine = z.infer<typeof choiceLine>;

/** Reads the first `most` questions. Errors (input): TASK_LINE with file and line; TASK_EMPTY; unreadable files. */
export function readTaskFile(path: string, asked: TaskKind | undefined, most = Infinity): TaskFile {
  const text = readTextFile(path, 'task');
  const lines = text
    .split('\n')
    .map((content, i) => ({ content: content.trim(), line: i + 1 }))
    .filter(({ content }) => content !== '')
    .slice(0, most)
    .map(({ content, line }) => ({ line, value: parseJson(path, line, content) }));
  if (lines.length === 0)
    throw new OnefetError('input', 'TASK_EMPTY', `${path} has no questions: every line is empty`);
  if (asked === 'blimp' || (asked === undefined && isPair(lines[0].value))) {
    const questions = lines.map(({ line, value }) =>
      pairQuestion(parseLine(path, line, value, pairLine), line),
    );
    return { kind: 'blimp', questions, text };
  }
  const parsed = lines.map(({ line, value }) => ({ line, value: choicesOf(path, line, value) }));
  const kind = asked ?? likelyKind(parsed.map(({ value }) => value));
  return { kind, questions: parsed.map(({ line, value }) => choiceQuestion(kind, value, line)), text };
}

const isPair = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'sentence_good' in value;

/** Questions end in question marks, texts that go on do not. */
function likelyKind(values: readonly ChoiceLine[]): TaskKind {
  const asking = values.filter(({ centerpiece }) => centerpiece.endsWith('?')).length;
  return asking >= values.length / 2 ? 'mcq' : 'completion';
}

function pairQuestion({ sentence_good, sentence_bad }: z.infer<typeof pairLine>, line: number): Question {
  return { context: '', choices: [sentence_good, sentence_bad], answers: [0], line };
}

function choiceQuestion(kind: TaskKind, value: ChoiceLine, line: number): Question {
  const { centerpiece, options, correct_options_idx: answers } = value;
  if (kind === 'mcq')
    return { context: `Question: ${centerpiece}\nAnswer:`, choices: options, answers, line };
  return { context: withoutMarks(centerpiece), choices: options.map(withoutMarks), answers, line };
}

/** HellaSwag's texts from WikiHow have marks in brackets, which the harness takes out. */
function withoutMarks(text: string): string {
  return text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ');
}

function choicesOf(path: string, line: number, value: unknown): ChoiceLine {
  const parsed = parseLine(path, line, value, choiceLine);
  const beyond = parsed.correct_options_idx.find((answer) => answer >= parsed.options.length);
  if (beyond === undefined) return parsed;
  throw lineError(
    path,
    line,
    `correct_options_idx: ${beyond} is none of ${parsed.options.length} options, which count from 0`,
  );
}

function parseJson(path: string, line: number, content: string): unknown {
  try {
    return JSON.parse(content);
  } catch (cause) {
    throw lineError(path, line, `not valid JSON: ${reasonOf(cause)}`);
  }
}

function parseLine<T>(path: string, line: number, value: unknown, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path: at, message } = parsed.error.issues[0];
  throw lineError(path, line, `${at.length > 0 ? `${at.join('.')}: ` : ''}${message}`);
}

const lineError = (path: string, line: number, what: string) =>
  new OnefetError('input', 'TASK_LINE', `${path}:${line}: ${what}`, {
    hint: `each line of ${basename(path)} is one JSON object: {"centerpiece": "...", "options": ["...", "..."], "correct_options_idx": [0]} or {"sentence_good": "...", "sentence_bad": "..."}`,
  });
