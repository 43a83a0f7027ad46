/** The standing questions about such chips, answered with the numbers of the designs at hand. */
import { OnefetError } from '../error.ts';
import type { Answer } from './answer.ts';
import { answerArea } from './answer-area.ts';
import { answerLifetime } from './answer-lifetime.ts';
import { answerRate } from './answer-rate.ts';
import { answerStick } from './answer-stick.ts';
import { answerWiring } from './answer-wiring.ts';
import type { PowerRow } from './power.ts';
import { loadQuestionConstants } from './question-constants.ts';

/**
 * Answers them for the rows of one context. A GPU has no plan of its ground and no masks per model: it is left out.
 * Errors: QUESTIONS (usage) where no other design is there; QUESTION_CONSTANTS.
 */
export function answerQuestions(rows: readonly PowerRow[], runs: string): Answer[] {
  const context = rows[0].cost.contextTokens;
  const chips = rows.filter(
    ({ subject, cost }) => subject.fabric.kind !== 'gpu' && cost.contextTokens === context,
  );
  if (chips.length === 0) {
    throw new OnefetError(
      'usage',
      'QUESTIONS',
      'the questions are about chips with weights in them, not about a gpu',
      {
        hint: 'name another design',
      },
    );
  }
  const constants = loadQuestionConstants();
  return [
    answerRate(chips),
    answerWiring(chips, constants),
    answerArea(chips, runs),
    answerStick(chips, constants),
    answerLifetime(chips),
  ];
}

/** Answers as lines for people. */
export function answerLines(
  answers: readonly Answer[],
  table: (rows: readonly (readonly string[])[]) => string[],
): string[] {
  return answers.flatMap(({ question, sentences, tables, sources }) => [
    '',
    question,
    ...sentences.map((text) => `  ${text}`),
    ...tables.flatMap(({ caption, headers, rows }) => [
      '',
      `  ${caption}`,
      ...table([headers, ...rows]).map((line) => `    ${line}`),
    ]),
    ...(sources.length > 0
      ? ['', ...sources.map(({ name, value, source, tag }) => `  ${name} ${value}: ${source} (${tag})`)]
      : []),
  ]);
}
