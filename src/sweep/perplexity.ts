/** The task of scoring a text: distance of the next-token distributions to the digital model's. */
import { unitSums } from '../experiment/unit-sums.ts';
import { scoredPositions } from '../model/scoring.ts';
import type { TaskModule } from './task.ts';

const UNITS = ['kl', 'nll', 'top1'] as const;

export const perplexityTask: TaskModule = {
  metrics: {
    kl: { column: 'kl_nats', label: 'KL to the digital model (nats)', better: 'lower' },
    nll: { column: 'nll_nats', label: 'NLL (nats per token)', better: 'lower' },
    nllDifference: {
      column: 'nll_difference_nats',
      label: 'NLL less the digital model’s (nats)',
      better: 'lower',
    },
    perplexity: { column: 'perplexity', label: 'Perplexity', better: 'lower' },
    top1: {
      column: 'top1_share',
      label: 'Same most likely token as the digital model (share)',
      better: 'higher',
    },
  },
  compared: ['kl', 'nll'],
  binary: [],
  measure({ summary, overText, digital }) {
    const { nll, perplexity, kl, top1 } = summary;
    const less = ([low, high]: readonly [number, number]): [number, number] => [
      low - digital.nll,
      high - digital.nll,
    ];
    return {
      kl: { mean: kl.mean, chipsCi95: kl.ci95, textAndChipsCi95: overText.kl.ci95 },
      nll: { mean: nll.mean, chipsCi95: nll.ci95, textAndChipsCi95: overText.nll.ci95 },
      nllDifference: {
        mean: nll.mean - digital.nll,
        chipsCi95: nll.ci95 && less(nll.ci95),
        textAndChipsCi95: overText.nllDifference.ci95,
      },
      perplexity: {
        mean: perplexity.mean,
        chipsCi95: perplexity.ci95,
        textAndChipsCi95: overText.perplexity.ci95,
      },
      top1: { mean: top1.mean, chipsCi95: top1.ci95, textAndChipsCi95: overText.top1.ci95 },
    };
  },
  unitSums({ chipSeeds, inputs }, finished) {
    const chips = chipSeeds.map((seed) => unitSums(inputs, finished, { kind: 'chip', seed }));
    return {
      seeds: chipSeeds,
      scored: inputs.groups.flat().map(scoredPositions),
      sums: Object.fromEntries(
        UNITS.map((unit) => [unit, chips.map((chip) => chip.map((sums) => sums[unit]))]),
      ),
    };
  },
};
