/** Shares of right answers by task: the digital model beside the chips. */
import { basename } from 'node:path';
import { plain } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import { type AccuracyOutcome, isAccuracy } from '../../sweep/outcome.ts';
import { COLOURS, type Figure } from '../figure.ts';
import { plotText } from '../html.ts';
import { doneOf, otherKeys, settingOf, valueText } from './series.ts';

const MODELS = [
  { name: 'digital model', metric: 'digitalAcc', color: COLOURS.blue, symbol: 'circle' },
  { name: 'chips, mean', metric: 'acc', color: COLOURS.orange, symbol: 'diamond' },
] as const;

/** A lane for each point of a sweep over tasks of choosing; undefined for other sweeps. */
export function choicesFigure(sweep: FinishedSweep): Figure | undefined {
  const outcomes = doneOf(sweep)
    .filter(isAccuracy)
    .filter(({ task }) => task === 'choices');
  const tasks = new Set(outcomes.map((outcome) => settingOf(sweep, outcome, 'task')));
  if (tasks.size < 2) return undefined;
  const others = otherKeys(sweep, 'task').filter((key) => key !== 'maxQuestions' && key !== 'taskKind');
  const lanes = outcomes.map((outcome) =>
    [
      basename(String(settingOf(sweep, outcome, 'task')), '.jsonl').replaceAll('_', ' '),
      ...others.map((key) => valueText(settingOf(sweep, outcome, key))),
    ].join(', '),
  );
  const percent = (value: number) => 100 * value;
  const shares = (outcome: AccuracyOutcome, metric: string) => {
    const { mean, textAndChipsCi95 } = outcome.metrics[metric];
    const [low, high] = (textAndChipsCi95 ?? [mean, mean]).map(percent);
    return { mean: percent(mean), low, high };
  };
  const text = (outcome: AccuracyOutcome, metric: string) => {
    const { mean, low, high } = shares(outcome, metric);
    return `${plain(mean, 3)} (${plain(low, 3)} to ${plain(high, 3)})`;
  };
  return {
    id: 'choices',
    title: 'Questions answered right, by task',
    caption:
      'Bars: 95 % intervals over questions and chips. Both answer the same questions, so that the difference in the table is better known than either share.',
    data: MODELS.map(({ name, metric, color, symbol }) => {
      const values = outcomes.map((outcome) => shares(outcome, metric));
      return {
        ...{ type: 'scatter', mode: 'markers', name, orientation: 'h', cliponaxis: false },
        x: values.map(({ mean }) => mean),
        y: lanes.map(plotText),
        error_x: {
          ...{ type: 'data', symmetric: false, thickness: 1.5, width: 5 },
          array: values.map(({ mean, high }) => high - mean),
          arrayminus: values.map(({ mean, low }) => mean - low),
        },
        marker: { color, symbol, size: 10 },
        hovertemplate: `%{y}<br>${name} %{x:.3g} %<extra></extra>`,
      };
    }),
    layout: {
      ...{ scattermode: 'group', scattergap: 0.6 },
      xaxis: { title: { text: 'Right answers (%)' }, zeroline: false },
      yaxis: { type: 'category', autorange: 'reversed', ticksuffix: ' ' },
    },
    height: 130 + 46 * lanes.length,
    phoneHeight: 150 + 46 * lanes.length,
    table: {
      caption:
        'Right answers in %, 95 % intervals over questions and chips; McNemar’s exact test of the first chip',
      headers: ['Task', 'Questions', 'Chips', 'Digital', 'Chips, mean', 'Difference, points', 'p (McNemar)'],
      rows: outcomes.map((outcome, i) => [
        ...[lanes[i], outcome.windows, outcome.chips, text(outcome, 'digitalAcc'), text(outcome, 'acc')],
        text(outcome, 'accDifference'),
        plain(outcome.metrics.mcnemarP.mean, 3),
      ]),
    },
  };
}
