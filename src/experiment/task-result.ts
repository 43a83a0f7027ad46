/**
 * The accuracy of a task from its finished jobs. A choice's log-likelihood is the sum over its tokens; the answer is the
 * largest (acc), or the largest per byte of the choice in UTF-8 (acc_norm), the first of equal ones, as in
 * lm-evaluation-harness. Intervals are of a bootstrap over questions x chips (bootstrap.ts); pairs on the same questions are
 * compared by McNemar's exact test and by the bootstrap of their differences.
 */
import { scoredPositions } from '../model/scoring.ts';
import { bootstrapMean } from './bootstrap.ts';
import type { TaskInputs } from './inputs.ts';
import type { RunPlan } from './plan.ts';
import type { Discordance, TaskAccuracy, TaskDifference, TaskResult } from './result.ts';
import { mcnemarP } from './statistics.ts';
import { type FinishedJobs, variantPositions } from './unit-sums.ts';
import type { Variant } from './variant.ts';

/** By question. */
export interface TaskScores {
  /** 1: the likeliest choice is right. */
  readonly right: readonly number[];
  /** 1: the likeliest choice per byte is right. */
  readonly rightNorm: readonly number[];
  /** -ln likelihood of the (likeliest) right choice, nats. */
  readonly answerNll: readonly number[];
}

export function taskScores(
  { inputs }: Pick<RunPlan, 'inputs'>,
  task: TaskInputs,
  finished: FinishedJobs,
  variant: Variant,
): TaskScores {
  const { nll } = variantPositions(inputs, finished, variant);
  let at = 0;
  const scores = inputs.groups.flat().map((unit, q) => {
    const losses = unit.map((choice) => {
      let sum = 0;
      for (const end = at + scoredPositions([choice]); at < end; at++) sum += nll[at];
      return sum;
    });
    return scoreQuestion(losses, task.questions[q]);
  });
  return {
    right: scores.map(({ right }) => right),
    rightNorm: scores.map(({ rightNorm }) => rightNorm),
    answerNll: scores.map(({ answerNll }) => answerNll),
  };
}

/** Scores one question from the NLL of its choices, nats. */
export function scoreQuestion(
  losses: readonly number[],
  { answers, bytes }: TaskInputs['questions'][number],
): { right: number; rightNorm: number; answerNll: number } {
  const hit = (values: readonly number[]) => (answers.includes(values.indexOf(Math.min(...values))) ? 1 : 0);
  return {
    right: hit(losses),
    rightNorm: hit(losses.map((loss, i) => loss / bytes[i])),
    answerNll: Math.min(...answers.map((answer) => losses[answer])),
  };
}

export function taskResult(plan: RunPlan, task: TaskInputs, finished: FinishedJobs): TaskResult {
  const of = (variant: Variant) => taskScores(plan, task, finished, variant);
  const digital = of({ kind: 'digital' });
  const recoded = of({ kind: 'recoded' });
  const chips = plan.chipSeeds.map((seed) => of({ kind: 'chip', seed }));
  return {
    file: task.file,
    kind: task.kind,
    questions: task.questions.length,
    chance: mean(task.questions.map(({ answers, bytes }) => answers.length / bytes.length)),
    cut: task.cut,
    digital: accuracyOf([digital]),
    recoded: accuracyOf([recoded]),
    chips: accuracyOf(chips),
    eachChip: chips.map((chip, i) => ({
      seed: plan.chipSeeds[i],
      acc: mean(chip.right),
      accNorm: mean(chip.rightNorm),
      answerNll: mean(chip.answerNll),
      mcnemar: discordance(digital.right, chip.right),
    })),
    recodedLessDigital: {
      ...differenceOf([recoded], digital),
      mcnemar: discordance(digital.right, recoded.right),
    },
    chipsLessDigital: differenceOf(chips, digital),
  };
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function accuracyOf(chips: readonly TaskScores[]): TaskAccuracy {
  const ones = chips[0].right.map(() => 1);
  return {
    acc: bootstrapMean(
      chips.map(({ right }) => right),
      ones,
    ),
    accNorm: bootstrapMean(
      chips.map(({ rightNorm }) => rightNorm),
      ones,
    ),
    answerNll: bootstrapMean(
      chips.map(({ answerNll }) => answerNll),
      ones,
    ),
  };
}

/** Question by question on each chip. */
function differenceOf(chips: readonly TaskScores[], digital: TaskScores): TaskDifference {
  const ones = digital.right.map(() => 1);
  const over = (key: keyof TaskScores) =>
    bootstrapMean(
      chips.map((chip) => chip[key].map((value, q) => value - digital[key][q])),
      ones,
    );
  return { acc: over('right'), accNorm: over('rightNorm'), answerNll: over('answerNll') };
}

/** Questions that just one of two gets right. */
export function discordance(first: readonly number[], second: readonly number[]): Discordance {
  const count = (a: readonly number[], b: readonly number[]) =>
    a.reduce((n, right, q) => n + (right === 1 && b[q] === 0 ? 1 : 0), 0);
  const [onlyDigital, onlyThis] = [count(first, second), count(second, first)];
  return { onlyDigital, onlyThis, p: mcnemarP(onlyDigital, onlyThis) };
}
