/** Questions with choices: shares of right answers, and what separates the chips from the digital model. */
import type { Interval, RunResult, TaskAccuracy, TaskResult } from '../experiment/result.ts';
import { plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';
import { type Cell, tableHtml } from './html.ts';

const percent = (x: number): string => (100 * x).toFixed(1);

function shareText({ mean, ci95 }: Interval): string {
  return `${percent(mean)} %${ci95 ? ` (${percent(ci95[0])} to ${percent(ci95[1])})` : ''}`;
}

/** Dots with their intervals for each model, guessing as a line. */
export function taskFigure({ chips }: RunResult, task: TaskResult): Figure {
  const models = [
    { name: 'digital model', of: task.digital },
    { name: 'recoded weights', of: task.recoded },
    { name: 'chips, mean', of: task.chips },
  ];
  const series = (name: string, key: 'acc' | 'accNorm', color: string, symbol: string) => ({
    type: 'scatter',
    mode: 'markers',
    name,
    x: models.map((model) => model.name),
    y: models.map(({ of }) => 100 * of[key].mean),
    customdata: models.map(({ of }) => shareText(of[key])),
    error_y: {
      type: 'data',
      symmetric: false,
      array: models.map(({ of: { [key]: share } }) => 100 * ((share.ci95?.[1] ?? share.mean) - share.mean)),
      arrayminus: models.map(
        ({ of: { [key]: share } }) => 100 * (share.mean - (share.ci95?.[0] ?? share.mean)),
      ),
      thickness: 1.5,
      width: 5,
    },
    marker: { color, symbol, size: 10 },
    hovertemplate: `%{x}<br>${name} %{customdata}<extra></extra>`,
  });
  const chance = 100 * task.chance;
  const n = chips.length;
  return {
    id: 'task',
    title: 'Questions answered right',
    caption: `${task.questions.toLocaleString('en-US')} questions of ${task.file} (${task.kind}), scored as lm-evaluation-harness does; bars are 95 % intervals over questions${n > 1 ? ` x ${n} chips` : ''}. All models answer the same questions, so that differences are better known than shares: chips less digital ${shareText(task.chipsLessDigital.acc)}, in points. Guessing gets ${percent(task.chance)} % (dotted).`,
    data: [
      series('acc', 'acc', COLOURS.blue, 'circle'),
      series('acc_norm (per byte)', 'accNorm', COLOURS.orange, 'diamond'),
    ],
    layout: {
      shapes: [
        {
          ...{ type: 'line', xref: 'paper', x0: 0, x1: 1, y0: chance, y1: chance },
          line: { color: COLOURS.grey, dash: 'dot', width: 1.5 },
        },
      ],
      scattermode: 'group',
      scattergap: 0.7,
      xaxis: { type: 'category' },
      yaxis: { title: { text: 'Right answers (%)' } },
      legend: { orientation: 'h', y: 1.12 },
    },
    height: 360,
    phoneHeight: 340,
    table: {
      caption: 'Shares with 95 % intervals over questions and chips; NLL of the right choice in nats',
      headers: ['Model', 'acc', 'acc_norm', 'NLL of the right choice'],
      rows: [
        ...models.map(({ name, of }) => accuracyRow(name, of)),
        accuracyRow('recoded less digital', task.recodedLessDigital),
        accuracyRow('chips less digital', task.chipsLessDigital),
      ],
    },
  };
}

function accuracyRow(name: string, { acc, accNorm, answerNll }: TaskAccuracy): Cell[] {
  const { mean, ci95 } = answerNll;
  const nll = `${plain(mean, 4)}${ci95 ? ` (${plain(ci95[0], 4)} to ${plain(ci95[1], 4)})` : ''}`;
  return [name, shareText(acc), shareText(accNorm), nll];
}

/** Each chip, and McNemar's test of it against the digital model. */
export function taskTable({ recodedLessDigital, recoded, eachChip }: TaskResult): string {
  return tableHtml({
    caption:
      'Against the digital model on the same questions: which of the two alone is right, and the two-sided p of McNemar’s exact test',
    headers: ['Model', 'Seed', 'acc', 'acc_norm', 'Digital alone right', 'This alone right', 'p'],
    rows: [
      testRow('recoded', '', { ...recodedLessDigital, acc: recoded.acc.mean, accNorm: recoded.accNorm.mean }),
      ...eachChip.map((chip, i) => testRow(`chip ${i + 1}`, String(chip.seed), chip)),
    ],
  });
}

function testRow(
  name: string,
  seed: string,
  { acc, accNorm, mcnemar }: Pick<TaskResult['eachChip'][number], 'acc' | 'accNorm' | 'mcnemar'>,
): Cell[] {
  const { onlyDigital, onlyThis, p } = mcnemar;
  return [name, seed, `${percent(acc)} %`, `${percent(accNorm)} %`, onlyDigital, onlyThis, plain(p, 2)];
}
