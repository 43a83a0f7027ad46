/** What accuracy costs: points that no other beats in both, over energy and area of the projected 8B. */
import type { FinishedSweep } from '../../sweep/finish.ts';
import { type AccuracyOutcome, isAccuracy } from '../../sweep/outcome.ts';
import type { Metric } from '../../sweep/task.ts';
import type { Figure } from '../figure.ts';
import { paretoOf } from '../pareto.ts';
import { doneOf, pointLabel, shortLabel } from './series.ts';

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

export function paretoFigure(
  sweep: FinishedSweep,
  { name, metric }: { readonly name: string; readonly metric: Metric },
  { id, label, title, of, band }: Priced,
): Figure | undefined {
  const outcomes = doneOf(sweep).filter(isAccuracy);
  if (outcomes.length < 2) return undefined;
  const points = outcomes.map((outcome) => ({
    name: pointLabel(sweep, outcome),
    short: shortLabel(sweep, outcome),
    price: of(outcome),
    priceBand: band(outcome),
    value: outcome.metrics[name].mean,
    valueInterval: outcome.metrics[name].chipsCi95,
  }));
  return paretoOf(points, {
    id,
    title: `${title} (${outcomes[0].projection.shape}, projected)`,
    price: label,
    value: metric.label,
    better: metric.better,
    points: 'points',
    names: sweep.description.varied.join(', '),
  });
}
