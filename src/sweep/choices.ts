/** The task of choosing: questions with choices, by their likelihood (src/experiment/task-result.ts). */
import { meanInterval, meanShareInterval } from '../experiment/statistics.ts';
import { taskScores } from '../experiment/task-result.ts';
import type { Measured, TaskModule } from './task.ts';

export const choicesTask: TaskModule = {
  metrics: {
    acc: { column: 'acc_share', label: 'Questions answered right (share)', better: 'higher' },
    accNorm: {
      column: 'acc_norm_share',
      label: 'Questions answered right by likelihood per byte (share)',
      better: 'higher',
    },
    digitalAcc: {
      column: 'digital_acc_share',
      label: 'Questions that the digital model answers right (share)',
      better: 'higher',
    },
    accDifference: {
      column: 'acc_less_digital_share',
      label: 'Questions answered right, less the digital model’s (share)',
      better: 'higher',
    },
    mcnemarP: {
      column: 'acc_mcnemar_p_first_chip',
      label: 'p of McNemar’s exact test, first chip against the digital model',
      better: 'higher',
    },
    answerNll: {
      column: 'answer_nll_nats',
      label: 'NLL of the right choice (nats per question)',
      better: 'lower',
    },
    kl: { column: 'kl_nats', label: 'KL to the digital model (nats per token)', better: 'lower' },
    nll: { column: 'nll_nats', label: 'NLL of all choices (nats per token)', better: 'lower' },
    top1: {
      column: 'top1_share',
      label: 'Same most likely token as the digital model (share)',
      better: 'higher',
    },
  },
  compared: ['acc', 'accNorm', 'answerNll'],
  binary: ['acc', 'accNorm'],
  measure({ task, summary, overText }) {
    const ofTask = (key: 'acc' | 'accNorm' | 'answerNll'): Measured => {
      const mean = key === 'answerNll' ? meanInterval : meanShareInterval;
      const chips = mean(task!.eachChip.map((chip) => chip[key]));
      return { mean: chips.mean, chipsCi95: chips.ci95, textAndChipsCi95: task!.chips[key].ci95 };
    };
    const ofTokens = (key: 'kl' | 'nll' | 'top1'): Measured => ({
      mean: summary[key].mean,
      chipsCi95: summary[key].ci95,
      textAndChipsCi95: overText[key].ci95,
    });
    const { digital, chipsLessDigital, eachChip } = task!;
    const less = meanInterval(eachChip.map((chip) => chip.acc - digital.acc.mean));
    return {
      ...{ acc: ofTask('acc'), accNorm: ofTask('accNorm'), answerNll: ofTask('answerNll') },
      digitalAcc: { mean: digital.acc.mean, chipsCi95: null, textAndChipsCi95: digital.acc.ci95 },
      accDifference: {
        mean: less.mean,
        chipsCi95: less.ci95,
        textAndChipsCi95: chipsLessDigital.acc.ci95,
      },
      mcnemarP: { mean: eachChip[0].mcnemar.p, chipsCi95: null, textAndChipsCi95: null },
      ...{ kl: ofTokens('kl'), nll: ofTokens('nll'), top1: ofTokens('top1') },
    };
  },
  unitSums(plan, finished) {
    const task = plan.inputs.task!;
    const chips = plan.chipSeeds.map((seed) => taskScores(plan, task, finished, { kind: 'chip', seed }));
    return {
      seeds: plan.chipSeeds,
      scored: task.questions.map(() => 1),
      sums: {
        acc: chips.map(({ right }) => right),
        accNorm: chips.map(({ rightNorm }) => rightNorm),
        answerNll: chips.map(({ answerNll }) => answerNll),
      },
    };
  },
};
