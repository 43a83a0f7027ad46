/** What accuracy costs: points that no other beats in both, over energy and area of the projected 8B. */
import { plain } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import { type AccuracyOutcome, isAccuracy } from '../../sweep/outcome.ts';
import type { Metric } from '../../sweep/task.ts';
import { COLOURS, type Figure } from '../figure.ts';
import { plotText } from '../html.ts';
import { axisType, doneOf, pointLabel } from './series.ts';

export interface Priced {
  readonly id: string;
  readonly label: string;
  readonly title: string;
  readonly of: (outcome: AccuracyOutcome) => number;
  readonly band: (outcome: AccuracyOutcome) => readonly [number, number];
}

export const PRICES: readonly Priced[] = [
  {
    id: 'energy',
    label: 'Energy per token of one user (J)',
    title: 'Accuracy against energy',
    of: ({ projection }) => projection.energyPerTokenJ,
    band: ({ projection }) => projection.energyBandJ,
  },
  {
    id: 'area',
    label: 'Silicon area (mm2)',
    title: 'Accuracy against area',
    of: ({ projection }) => projection.areaMm2,
    band: ({ projection }) => projection.areaBandMm2,
  },
];

/** Numbers of the points that no other is at most as dear as and at least as good as, ascending in price. */
export function paretoFront(
  points: readonly { readonly price: number; readonly value: number }[],
  better: Metric['better'],
): number[] {
  const sign = better === 'lower' ? 1 : -1;
  const order = points
    .map((point, i) => ({ ...point, i }))
    .sort((a, b) => a.price - b.price || sign * (a.value - b.value));
  const front: number[] = [];
  let best = Number.POSITIVE_INFINITY;
  for (const { value, i } of order) {
    if (sign * value >= best) continue;
    best = sign * value;
    front.push(i);
  }
  return front;
}

export function paretoFigure(
  sweep: FinishedSweep,
  { name, metric }: { readonly name: string; readonly metric: Metric },
  { id, label, title, of, band }: Priced,
): Figure | undefined {
  const outcomes = doneOf(sweep).filter(isAccuracy);
  if (outcomes.length < 2) return undefined;
  const points = outcomes.map((outcome) => ({ price: of(outcome), value: outcome.metrics[name].mean }));
  const front = paretoFront(points, metric.better);
  const labels = outcomes.map((outcome) => pointLabel(sweep, outcome));
  const shape = outcomes[0].projection.shape;
  const [cheapest, best] = [front[0], front[front.length - 1]];
  return {
    id: `pareto-${id}`,
    title: `${title} (${shape}, projected)`,
    caption: `${front.length} of ${points.length} points are beaten by no other in both. The cheapest of them: ${labels[cheapest]}; the most accurate: ${labels[best]}. Bars: bands of the constants of cost.`,
    data: [
      {
        type: 'scatter',
        mode: 'lines',
        name: 'beaten by no other',
        x: front.map((i) => points[i].price),
        y: front.map((i) => points[i].value),
        line: { color: COLOURS.orange, shape: 'hv', width: 2 },
        hoverinfo: 'skip',
      },
      {
        type: 'scatter',
        mode: 'markers',
        name: 'points of the sweep',
        x: points.map(({ price }) => price),
        y: points.map(({ value }) => value),
        text: labels.map(plotText),
        error_x: {
          type: 'data',
          symmetric: false,
          array: outcomes.map((outcome) => band(outcome)[1] - of(outcome)),
          arrayminus: outcomes.map((outcome) => of(outcome) - band(outcome)[0]),
          color: COLOURS.light,
          thickness: 1,
        },
        marker: { size: 9, color: points.map((_, i) => (front.includes(i) ? COLOURS.orange : COLOURS.blue)) },
        hovertemplate: '%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>',
      },
    ],
    layout: {
      xaxis: { title: { text: plotText(label) }, zeroline: false },
      yaxis: {
        title: { text: plotText(metric.label) },
        type: axisType(points.map(({ value }) => value)),
        zeroline: false,
      },
      hovermode: 'closest',
    },
    height: 400,
    phoneHeight: 380,
    table: {
      caption: `${title}, ${shape}`,
      headers: ['Point', label, metric.label, 'Beaten by no other'],
      rows: points.map(({ price, value }, i) => [
        labels[i],
        plain(price, 4),
        plain(value, 4),
        front.includes(i) ? 'yes' : 'no',
      ]),
    },
  };
}
