/** Figures of runs side by side: accuracy of each, what it costs, differences from the first. */
import { headlineOf } from '../../experiment/headline.ts';
import type { Interval } from '../../experiment/result.ts';
import { plain } from '../../format.ts';
import type { Comparison } from '../../sweep/compare.ts';
import { COLOURS, type Figure } from '../figure.ts';
import { intervalText } from '../figures-accuracy.ts';
import { wrapPlotText } from '../html.ts';
import { type ParetoAxes, paretoOf, spanAxis } from '../pareto.ts';
import type { ComparedRun } from './runs.ts';

/** Numbers of the runs within a page: names of folders are long. */
export const runLabel = (run: ComparedRun, runs: readonly ComparedRun[]): string =>
  `${runs.indexOf(run) + 1} ${run.result.design.name}`;

const klOf = (run: ComparedRun): Interval => headlineOf(run.result).kl;

/** One lane for each run: chips as dots, mean and interval. KL exists of every model, of made-up weights too. */
export function accuracyByRun(runs: readonly ComparedRun[]): Figure {
  const lanes = [...runs].reverse();
  const label = (run: ComparedRun) => wrapPlotText(runLabel(run, runs), 22);
  const drawn = runs.flatMap((run) => [
    ...run.result.chips.map(({ kl }) => kl),
    ...(klOf(run).ci95 ?? [klOf(run).mean]),
  ]);
  const best = runs.reduce((a, b) => (klOf(b).mean < klOf(a).mean ? b : a));
  const axis = 'KL(digital || chip) (nats per token)';
  return {
    id: 'accuracy',
    title: 'Accuracy of each run',
    caption: `Further left is nearer to the digital model. Nearest: ${runLabel(best, runs)} with ${intervalText(klOf(best))} nats. Dots are chips, bars 95 % intervals of the mean; runs on different texts or models are not comparable, see the table.`,
    data: [
      {
        type: 'scatter',
        mode: 'markers',
        name: 'chips',
        x: lanes.flatMap(({ result }) => result.chips.map(({ kl }) => kl)),
        y: lanes.flatMap((run) => run.result.chips.map(() => label(run))),
        marker: { color: COLOURS.blue, size: 7, opacity: 0.45 },
        hovertemplate: '%{y}<br>a chip: %{x:.4g} nats<extra></extra>',
      },
      {
        type: 'scatter',
        mode: 'markers',
        name: 'mean, 95 % interval',
        x: lanes.map((run) => klOf(run).mean),
        y: lanes.map(label),
        error_x: {
          type: 'data',
          symmetric: false,
          array: lanes.map((run) => (klOf(run).ci95?.[1] ?? klOf(run).mean) - klOf(run).mean),
          arrayminus: lanes.map((run) => klOf(run).mean - (klOf(run).ci95?.[0] ?? klOf(run).mean)),
          color: COLOURS.orange,
          thickness: 2,
          width: 5,
        },
        marker: { color: COLOURS.orange, size: 9, symbol: 'diamond' },
        hovertemplate: '%{y}<br>mean %{x:.4g} nats<extra></extra>',
      },
    ],
    layout: {
      xaxis: { title: { text: axis }, ...zeroOrLog(drawn) },
      yaxis: { ticksuffix: ' ', gridcolor: '#eef1f4', type: 'category' },
      hovermode: 'closest',
    },
    height: 130 + 40 * runs.length,
    phoneHeight: 150 + 40 * runs.length,
    table: {
      caption: 'Accuracy by run; mean (95 % interval)',
      headers: ['Run', 'Chips', 'KL (nats)', 'Perplexity', 'Digital', 'Same top token (%)'],
      rows: runs.map((run) => {
        const { perplexity, kl, top1 } = headlineOf(run.result);
        const share = {
          mean: 100 * top1.mean,
          ci95: top1.ci95 && ([100 * top1.ci95[0], 100 * top1.ci95[1]] as [number, number]),
        };
        const { synthetic } = run.result.model;
        return [
          runLabel(run, runs),
          run.result.chips.length,
          intervalText(kl),
          synthetic ? 'made-up weights' : intervalText(perplexity),
          synthetic ? '-' : plain(run.result.digital.perplexity, 4),
          intervalText(share),
        ];
      }),
    },
  };
}

const zeroOrLog = (drawn: readonly number[]): Record<string, unknown> => {
  const log = spanAxis(drawn);
  return log.type === 'log' ? { ...log, zeroline: false } : { rangemode: 'tozero', nticks: 7 };
};

/** KL against energy and area of the projected 8B. */
export function paretoByRun(runs: readonly ComparedRun[]): Figure[] {
  const shape = runs[0].result.projection.shape.name;
  const axes = (of: Pick<ParetoAxes, 'id' | 'title' | 'price'>): ParetoAxes => ({
    ...of,
    title: `${of.title} (${shape}, projected)`,
    value: 'KL to the digital model (nats)',
    better: 'lower',
    points: 'runs',
  });
  const points = (
    price: (run: ComparedRun) => number,
    band: (run: ComparedRun) => { readonly low: number; readonly high: number },
  ) =>
    runs.map((run) => ({
      name: runLabel(run, runs),
      price: price(run),
      priceBand: [band(run).low, band(run).high] as const,
      value: klOf(run).mean,
      valueInterval: klOf(run).ci95,
    }));
  return [
    paretoOf(
      points(
        ({ result }) => result.projection.perTokenJ,
        ({ result }) => result.projection.bands.perTokenJ,
      ),
      axes({ id: 'energy', title: 'Accuracy against energy', price: 'Energy per token of one user (J)' }),
    ),
    paretoOf(
      points(
        ({ result }) => result.projection.areaMm2,
        ({ result }) => result.projection.bands.areaMm2,
      ),
      axes({ id: 'area', title: 'Accuracy against area', price: 'Silicon area (mm²)' }),
    ),
  ];
}

/** A range that all values lie in, with room at both ends. */
function around(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = 0.1 * (high - low) || 1;
  return [low - room, high + room];
}

/** A run less the first on the same text, pair by pair. */
export interface RunDifference {
  readonly run: ComparedRun;
  readonly comparison: Comparison;
}

export function differenceFigure(
  runs: readonly ComparedRun[],
  differences: readonly RunDifference[],
): Figure | undefined {
  if (differences.length === 0) return undefined;
  const shown = [...differences].reverse();
  const label = ({ run }: RunDifference) => wrapPlotText(runLabel(run, runs), 22);
  const end = ({ comparison }: RunDifference, side: 0 | 1) =>
    comparison.ci95?.[side] ?? comparison.difference;
  const first = runLabel(runs[0], runs);
  return {
    id: 'differences',
    title: `Paired differences from ${first}`,
    caption: `KL of each run less that of ${first}, chip by chip and window by window on the same text: left of the line is better than it. Bars: 95 % intervals (bootstrap); a bar that crosses the line is no difference that was found.`,
    data: [
      {
        type: 'scatter',
        mode: 'markers',
        x: shown.map(({ comparison }) => comparison.difference),
        y: shown.map(label),
        error_x: {
          type: 'data',
          symmetric: false,
          array: shown.map((one) => end(one, 1) - one.comparison.difference),
          arrayminus: shown.map((one) => one.comparison.difference - end(one, 0)),
          color: COLOURS.blue,
          thickness: 2,
          width: 5,
        },
        marker: { color: COLOURS.blue, size: 10 },
        hovertemplate: '%{y}<br>%{x:.4g} nats<extra></extra>',
        showlegend: false,
      },
    ],
    layout: {
      xaxis: {
        title: { text: 'Difference of KL (nats per token)' },
        zeroline: true,
        zerolinecolor: '#1c2430',
        range: around(shown.flatMap((one) => [0, end(one, 0), end(one, 1)])),
        nticks: 7,
      },
      yaxis: { ticksuffix: ' ', gridcolor: '#eef1f4', type: 'category' },
    },
    height: 120 + 40 * shown.length,
    phoneHeight: 130 + 40 * shown.length,
    table: {
      caption: `Less ${first}; p values are two-sided, adjusted by Holm`,
      headers: ['Run', 'Difference (nats)', '95 % interval', 'Covers', 'p (Holm)'],
      rows: differences.map(({ run, comparison: { difference, ci95, covers, pHolm } }) => [
        runLabel(run, runs),
        plain(difference, 3),
        ci95 ? `${plain(ci95[0])} to ${plain(ci95[1])}` : '-',
        covers ?? 'one chip and one window: nothing',
        pHolm === null ? 'too few units' : plain(pHolm, 2),
      ]),
    },
  };
}
