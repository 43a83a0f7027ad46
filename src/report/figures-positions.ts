/** What the means hide: how KL is spread over the scored positions, and how perplexity runs along the text. */
import type { RunResult } from '../experiment/result.ts';
import { plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';

export function positionFigures(result: RunResult): Figure[] {
  const figures = [spreadFigure(result)];
  if (!result.model.synthetic && !result.task && result.positions.alongText.ends.length > 1)
    figures.push(alongFigure(result));
  return figures;
}

/** Bars of both, by half-decade of KL. */
function spreadFigure({ positions, chips: list }: RunResult): Figure {
  const { histogramEdgesNats: edges, recoded, chips } = positions;
  const names = [...edges, undefined].map((edge, i) =>
    edge === undefined
      ? `above ${plain(edges[i - 1])}`
      : i === 0
        ? `below ${plain(edge)}`
        : `${plain(edges[i - 1])} to ${plain(edge)}`,
  );
  const bars = (name: string, shares: readonly number[], color: string) => ({
    type: 'bar',
    name,
    x: names,
    y: shares.map((share) => 100 * share),
    marker: { color },
    hovertemplate: `%{x} nats<br>%{y:.2f} % of the positions<extra>${name}</extra>`,
  });
  const quantiles = ({ kl }: typeof chips) =>
    `median ${plain(kl.median)}, 90 % ${plain(kl.p90)}, 99 % ${plain(kl.p99)}, maximum ${plain(kl.max)} nats`;
  return {
    id: 'kl-spread',
    title: 'How the distance to the digital model is spread over positions',
    caption: `KL(digital || this) at each of ${positions.positions.toLocaleString('en-US')} scored positions. Recoded weights: ${quantiles(recoded)}. Chips (the positions of all ${list.length}): ${quantiles(chips)}. A mean far above the median means that few positions do most of the harm.`,
    data: [
      bars('recoded weights', recoded.kl.histogram, COLOURS.orange),
      bars('chips', chips.kl.histogram, COLOURS.blue),
    ],
    layout: {
      barmode: 'group',
      bargap: 0.2,
      xaxis: {
        title: { text: 'KL at a position (nats)' },
        type: 'category',
        tickangle: -45,
        automargin: true,
      },
      yaxis: { title: { text: 'Positions (%)' }, rangemode: 'tozero' },
      legend: { orientation: 'h', y: 1.12 },
    },
    height: 360,
    phoneHeight: 380,
    table: {
      caption: 'KL over positions, nats, and top-1 agreement with its 95 % binomial interval',
      headers: ['Model', 'Median', '90 %', '99 %', 'Maximum', 'Top-1, 95 %'],
      rows: [['recoded', recoded] as const, ['chips', chips] as const].map(([name, { kl, top1Ci95 }]) => [
        name,
        ...[kl.median, kl.p90, kl.p99, kl.max].map((x) => plain(x)),
        `${(100 * top1Ci95[0]).toFixed(1)} to ${(100 * top1Ci95[1]).toFixed(1)} %`,
      ]),
    },
  };
}

/** Perplexity of everything up to a position, which llama.cpp prints as it goes. */
function alongFigure({ positions: { alongText, digital, chips } }: RunResult): Figure {
  const { ends, digitalNll, recodedNll, chipsNll } = alongText;
  const running = (means: readonly number[]): number[] => {
    let sum = 0;
    return means.map((mean, i) => {
      sum += mean * (ends[i] - (i === 0 ? 0 : ends[i - 1]));
      return Math.exp(sum / ends[i]);
    });
  };
  const series = [
    { name: 'digital model', y: running(digitalNll), color: COLOURS.green, dash: 'dot' },
    { name: 'recoded weights', y: running(recodedNll), color: COLOURS.orange, dash: 'dash' },
    { name: 'chips, mean', y: running(chipsNll), color: COLOURS.blue, dash: 'solid' },
  ];
  return {
    id: 'along-text',
    title: 'Perplexity along the text',
    caption: `Perplexity over all scored positions up to each point: where the lines still move, the text is too short. At the end ± ${plain(digital.perplexityError)} for the digital model and ± ${plain(chips.perplexityError)} for the chips (standard errors over positions); the lines move together, so their distance is better known than either.`,
    data: series.map(({ name, y, color, dash }) => ({
      type: 'scatter',
      mode: 'lines',
      name,
      x: ends,
      y,
      line: { color, dash },
      hovertemplate: `%{x} positions<br>%{y:.4g}<extra>${name}</extra>`,
    })),
    layout: {
      xaxis: { title: { text: 'Scored positions (number)' }, rangemode: 'tozero' },
      yaxis: { title: { text: 'Perplexity so far' } },
      legend: { orientation: 'h', y: 1.12 },
    },
    height: 340,
    phoneHeight: 320,
    table: {
      caption: 'Mean NLL of each stretch (nats), and perplexity of all up to its end',
      headers: [
        'Up to position',
        'NLL, digital',
        'NLL, recoded',
        'NLL, chips',
        ...series.map(({ name }) => `Perplexity, ${name}`),
      ],
      rows: ends.map((end, i) => [
        end,
        ...[digitalNll[i], recodedNll[i], chipsNll[i], ...series.map(({ y }) => y[i])].map((x) =>
          plain(x, 4),
        ),
      ]),
    },
  };
}
