/** The verdict in plain words: would it work, how accurate, at what cost, and what limits it. Only from the result. */
import { formatSi, grouped } from '../format.ts';
import { headlineOf } from './headline.ts';
import type { PerplexityEstimate } from './loss-prediction.ts';
import type { AttributionResult, Interval, RunResult, TaskResult } from './result.ts';

/** Perplexity ratios to the digital model; a 4-bit GGUF of Llama 3.1 8B (Q4_K_M against F16) is at 1.03. */
const AS_GOOD = 1.05;
const USABLE = 1.25;

export type Grade = 'as-good' | 'worse' | 'far-worse' | 'none';

/**
 * How the chips do beside the digital model, on the text that ran; `none` of weights that were never trained, and of questions,
 * where a handful decides.
 */
export function gradeOf({
  model,
  summary,
  digital,
  task,
}: Pick<RunResult, 'model' | 'summary' | 'digital' | 'task'>): Grade {
  if (model.synthetic || task) return 'none';
  const ratio = summary.perplexity.mean / digital.perplexity;
  return ratio <= AS_GOOD ? 'as-good' : ratio <= USABLE ? 'worse' : 'far-worse';
}

const GRADE_WORDS: Readonly<Record<Exclude<Grade, 'none'>, string>> = {
  'as-good': 'is about as good as',
  worse: 'is noticeably worse than',
  'far-worse': 'is far worse than',
};

/** The answer of a run in one sentence. */
export function answerOf(result: Omit<RunResult, 'verdict'>): string {
  const { projection, model, digital, design } = result;
  const costs = `${formatSi(projection.perTokenJ, 'J')} and ${formatSi(projection.tokenTimeS, 's')} per token on ${grouped(Math.round(projection.areaMm2))} mm² of silicon`;
  const grade = gradeOf(result);
  if (result.task && !model.synthetic) {
    return `${judgeTask(result.task)} ${projection.shape.name} would take ${costs} (projected).`;
  }
  if (grade === 'none') {
    return `${model.name} has made-up weights, so nothing is said about accuracy; ${projection.shape.name} on ${design.name} would take ${costs} (projected).`;
  }
  const { perplexity } = headlineOf(result);
  const interval = perplexity.ci95
    ? ` (95 %: ${perplexity.ci95[0].toFixed(2)} to ${perplexity.ci95[1].toFixed(2)})`
    : '';
  return `On ${design.name}, ${model.name} ${GRADE_WORDS[grade]} on a digital machine: perplexity ${perplexity.mean.toFixed(2)}${interval} against ${digital.perplexity.toFixed(2)}; ${projection.shape.name} would take ${costs} (projected).`;
}

/** `remark` is the fabric's own last sentence; `estimate`: what the errors would do to the 8B, where another model ran. */
export function judge(
  result: Omit<RunResult, 'verdict'>,
  remark: string,
  estimate: PerplexityEstimate | undefined,
): string[] {
  const { digital, recoded, summary, projection } = result;
  const lines: string[] = [];
  const grade = gradeOf(result);
  if (result.task && !result.model.synthetic) {
    lines.push(judgeTask(result.task));
  } else if (grade === 'none') {
    lines.push('The weights are synthetic: there is no accuracy to judge, only cost and speed.');
  } else {
    const ratio = summary.perplexity.mean / digital.perplexity;
    const coding = recoded.perplexity / digital.perplexity;
    const { perplexity, covers } = headlineOf(result);
    const interval = perplexity.ci95;
    lines.push(
      `The chip ${GRADE_WORDS[grade]} the digital model: perplexity ${summary.perplexity.mean.toFixed(2)}${
        interval
          ? ` (95 % ${interval[0].toFixed(2)} to ${interval[1].toFixed(2)}, covers ${covers})`
          : result.fabric.chipsDiffer
            ? ' (one chip)'
            : ''
      } against ${digital.perplexity.toFixed(2)}. ` +
        (result.coding.length === 0
          ? 'Its weights are those of the file.'
          : `Recoding the weights alone gives ${recoded.perplexity.toFixed(2)} (x ${coding.toFixed(2)}); ${result.fabric.loss} is the other x ${(ratio / coding).toFixed(2)}.`),
    );
    const worst = [...result.attribution].sort((a, b) => b.excessKl.mean - a.excessKl.mean);
    if (worst.length > 1) {
      const nats = (x: number) => x.toFixed(3);
      const adds = ({ source, excessKl: { mean, ci95 } }: AttributionResult) =>
        `${source} ${nats(mean)}${ci95 ? ` (${nats(ci95[0])} to ${nats(ci95[1])})` : ''}`;
      const most = Math.max(...worst.map(({ chips }) => chips));
      lines.push(
        `What limits it, each alone${most > 1 ? ` on up to ${most} chips (95 % interval of the mean)` : result.fabric.chipsDiffer ? ' on one chip' : ''}: ` +
          `recoding costs a KL divergence of ${nats(recoded.kl)} nats, to which ${worst.slice(0, 3).map(adds).join(', ')} are added.`,
      );
    }
  }
  const energy = [...projection.energyJ].sort((a, b) => b.value - a.value)[0];
  lines.push(
    `Llama 3.1 8B on this fabric: ${formatSi(projection.perTokenJ, 'J')} per token of one user (largest part ${energy.name}, ${Math.round((100 * energy.value) / projection.perTokenJ)} %), ` +
      `${grouped(Math.round(projection.areaMm2))} mm2 of silicon = ${projection.dies} reticle-size ${projection.dies === 1 ? 'die' : 'dies'}, ` +
      `${grouped(Math.round(projection.tokensPerSecondPerUser))} tokens/s for one user.`,
  );
  if (estimate !== undefined) {
    const { model, digital: before, low, high, variance, extrapolated } = estimate;
    lines.push(
      `The accuracy was seen on ${result.model.name} (${formatSi(result.model.parameters, '')} parameters). Of ${model} it is an estimate: its layers' outputs would be off by a relative variance of ${variance.toFixed(3)}, which takes WikiText-2 perplexity from ${before.toFixed(2)} to between ${low.toFixed(2)} and ${high.toFixed(2)}${extrapolated ? ' (larger errors than the law was seen at)' : ''}, without what outliers of a large model add.`,
    );
  }
  lines.push(remark);
  return lines;
}

/** An interval of the difference that reaches 0 tells nothing apart. */
function judgeTask({
  questions,
  chance,
  digital,
  recoded,
  chips,
  chipsLessDigital: { acc },
}: TaskResult): string {
  const percent = (x: number) => (100 * x).toFixed(1);
  const share = ({ mean, ci95 }: Interval) =>
    `${percent(mean)} %${ci95 ? ` (95 % ${percent(ci95[0])} to ${percent(ci95[1])})` : ''}`;
  const apart = acc.ci95 !== null && (acc.ci95[0] > 0 || acc.ci95[1] < 0);
  return (
    `The chip answers ${share(chips.acc)} of ${questions} questions right, the digital model ${share(digital.acc)}, recoded weights alone ${share(recoded.acc)}; guessing gets ${percent(chance)} %. ` +
    `Question by question the chip is ${percent(Math.abs(acc.mean))} points ${acc.mean < 0 ? 'below' : 'above'} the digital model${acc.ci95 ? ` (95 % ${percent(acc.ci95[0])} to ${percent(acc.ci95[1])})${apart ? '' : ': these questions do not tell them apart'}` : ''}.`
  );
}
