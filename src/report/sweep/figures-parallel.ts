/** A sweep of many keys as parallel coordinates: each point a line through its settings and what came of it. */
import { plain } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import type { Figure } from '../figure.ts';
import { plotText } from '../html.ts';
import type { Shown } from './figures-key.ts';
import { doneOf, pointLabel, settingOf, valueText } from './series.ts';

/** With fewer keys that vary, lines and maps say more. */
const FEWEST_KEYS = 3;

interface Axis {
  readonly label: string;
  readonly values: number[];
  readonly tickvals?: number[];
  readonly ticktext?: string[];
}

/** Undefined for sweeps of fewer than three keys, or of fewer than three points that have the number. */
export function parallelFigure(sweep: FinishedSweep, shown: Shown): Figure | undefined {
  const points = doneOf(sweep).filter((outcome) => shown.value(outcome) !== null);
  const keys = sweep.description.varied.filter(
    (key) => new Set(points.map((outcome) => JSON.stringify(settingOf(sweep, outcome, key)))).size > 1,
  );
  if (keys.length < FEWEST_KEYS || points.length < 3) return undefined;
  const results = points.map((outcome) => shown.value(outcome)!);
  const axes: Axis[] = [
    ...keys.map((key) =>
      axisOf(
        key,
        points.map((outcome) => settingOf(sweep, outcome, key)),
      ),
    ),
    { label: plotText(shown.label), values: results },
  ];
  const [best, worst] = [Math.min(...results), Math.max(...results)];
  return {
    id: 'parallel',
    title: `${shown.label}: every key at once`,
    caption: `Each line is a point of the sweep, coloured by ${shown.label} (${plain(best)} to ${plain(worst)}), the last axis. Drag along an axis to keep the lines that pass there.`,
    data: [
      {
        type: 'parcoords',
        dimensions: axes,
        line: { color: results, colorscale: 'Cividis', reversescale: true, showscale: false },
        labelfont: { size: 11 },
        tickfont: { size: 10 },
        rangefont: { size: 9 },
      },
    ],
    layout: { margin: { l: 60, r: 40, t: 60, b: 20 }, phone: { margin: { l: 40, r: 30, t: 60, b: 20 } } },
    height: 420,
    phoneHeight: 380,
    table: {
      caption: 'Settings and result of every point',
      headers: ['Point', ...keys, shown.label],
      rows: points.map((outcome, i) => [
        pointLabel(sweep, outcome).split(',')[0],
        ...keys.map((key) => valueText(settingOf(sweep, outcome, key))),
        plain(results[i], 4),
      ]),
    },
  };
}

/** Numbers as they are; words by their place, with the words as ticks. */
function axisOf(key: string, values: readonly unknown[]): Axis {
  const label = plotText(key.length > 16 ? (key.split('.').at(-1) ?? key) : key);
  if (values.every((value) => typeof value === 'number')) return { label, values: [...values] };
  const words = [...new Set(values.map(valueText))];
  return {
    label,
    values: values.map((value) => words.indexOf(valueText(value))),
    tickvals: words.map((_, i) => i),
    ticktext: words.map((word) => plotText(word.slice(0, 24))),
  };
}
