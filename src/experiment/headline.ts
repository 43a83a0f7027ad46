/**
 * The accuracy that a result leads with, and what its intervals cover: other texts of the kind and other chips where more
 * than one window was scored, else other chips on this text.
 */
import type { Interval, RunResult } from './result.ts';

export interface Headline {
  readonly nll: Interval;
  readonly perplexity: Interval;
  readonly kl: Interval;
  readonly top1: Interval;
  /** Of the intervals, in words. */
  readonly covers: string;
}

export function headlineOf(
  result: Pick<RunResult, 'summary' | 'overText' | 'chips' | 'fabric' | 'text'>,
): Headline {
  const { summary, overText, chips, fabric, text } = result;
  const unit = { window: 'windows', all: 'passages', choices: 'questions' }[text.scoring];
  if (overText.kl.ci95 === null) {
    const covers = fabric.chipsDiffer
      ? chips.length > 1
        ? `other chips on this text (Student t over ${chips.length} chips)`
        : 'nothing: one chip and one window'
      : 'nothing: one window, and every chip is the same';
    return { ...summary, covers };
  }
  const { windows, nll, perplexity, kl, top1 } = overText;
  const others = !fabric.chipsDiffer
    ? 'other texts of the kind'
    : chips.length > 1
      ? 'other texts of the kind and other chips'
      : 'other texts of the kind, on this chip';
  const over = fabric.chipsDiffer && chips.length > 1 ? ` x ${chips.length} chips` : '';
  return { nll, perplexity, kl, top1, covers: `${others} (bootstrap over ${windows} ${unit}${over})` };
}
