/** report.html of an optimisation: the fronts, every point, the commands that make them again. */
import { join } from 'node:path';
import { stringify } from 'yaml';
import { toCsv } from '../../csv.ts';
import { writeFileAtomic } from '../../files.ts';
import { plain } from '../../format.ts';
import type { Minimised } from '../../optimise/options.ts';
import {
  missedTarget,
  type OptimisedPoint,
  type OptimiseResult,
  optimiseRows,
  priceOf,
} from '../../optimise/result.ts';
import { COLOURS, type Figure, figureHtml } from '../figure.ts';
import { escapeHtml, plotText, type Table, tableHtml } from '../html.ts';
import { type PageSection, pageHtml } from '../page.ts';
import { axisOf, valueText } from '../sweep/series.ts';

/** Writes report.html into the folder and returns its path. */
export function writeOptimiseReport(folder: string, result: OptimiseResult): string {
  const path = join(folder, 'report.html');
  writeFileAtomic(path, renderOptimise(result));
  return path;
}

interface Priced {
  readonly price: Minimised;
  readonly title: string;
  readonly label: string;
}

const PRICES: readonly Priced[] = [
  { price: 'energy', title: 'Accuracy against energy', label: 'Energy per token of one user (J)' },
  { price: 'area', title: 'Accuracy against area', label: 'Silicon area (mm2)' },
  { price: 'cost', title: 'Accuracy against money', label: 'Cost ($ per million tokens, full pipeline)' },
];

export const optimiseFigures = (result: OptimiseResult): Figure[] =>
  PRICES.map((priced) => frontFigure(result, priced));

export function renderOptimise(result: OptimiseResult): string {
  const { points, kl, minimise, evaluated, refused, selectText, text } = result;
  const figures = optimiseFigures(result);
  const missed = missedTarget(result);
  const sections: PageSection[] = [
    {
      id: 'fronts',
      title: 'Fronts',
      open: true,
      html: `<div class="figures">${figures.map(figureHtml).join('\n')}</div>`,
    },
    { id: 'points', title: 'Points on a front', html: frontTable(result) },
    { id: 'setup', title: 'Set-up', html: setupHtml(result) },
    { id: 'limits', title: 'What the numbers cover', html: limitsHtml(result) },
  ];
  return pageHtml(
    `onefet optimise: least ${minimise} at a KL of ${kl} nats`,
    `${evaluated} settings run${refused.length > 0 ? `, ${refused.length} refused` : ''}, ${points.length} points priced; chosen on ${selectText}, reported on ${text}`,
    `<p class="verdict">${escapeHtml(verdict(result))}</p>${missed ? `<p class="banner"><strong>Warning.</strong> ${escapeHtml(missed)}</p>` : ''}`,
    sections,
  );
}

function verdict({ points, choice, kl, minimise, shape }: OptimiseResult): string {
  const base = points.find((point) => point.base);
  if (choice === null) return `No point has a KL up to ${kl} nats on the text of the choice.`;
  const chosen = points[choice];
  const of = ({ report, selection }: OptimisedPoint) => {
    const { kl: distance, prices } = report ?? selection;
    return `${plain(prices.energyJ * 1e3, 3)} mJ, ${plain(prices.areaMm2, 4)} mm2 and a KL of ${plain(distance.mean, 3)} nats`;
  };
  const against = base && base !== chosen ? `; the design as it is: ${of(base)}` : '';
  return `Least ${minimise} of what will do (${shape}, projected; KL of the reported text): ${of(chosen)}${against}.`;
}

function frontFigure(result: OptimiseResult, { price, title, label }: Priced): Figure {
  const { points, shape, kl, choice } = result;
  const at = ({ selection }: OptimisedPoint) => priceOf(price, selection.prices);
  const of = ({ selection }: OptimisedPoint) => selection.kl.mean;
  const front = points.filter(({ fronts }) => fronts.includes(price)).sort((a, b) => at(a) - at(b));
  const reported = front.filter((point) => point.report !== null);
  const marked = [
    { name: 'the design as it is', point: points.find(({ base }) => base), symbol: 'diamond' },
    { name: 'the choice', point: choice === null ? undefined : points[choice], symbol: 'star' },
  ].filter(({ point }) => point !== undefined);
  const hover = (list: readonly OptimisedPoint[]) => list.map((point) => plotText(labelOf(point)));
  const hovertemplate = '%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>';
  return {
    id: `front-${price}`,
    title: `${title} (${shape}, projected)`,
    caption: `${front.length} of ${points.length} points are beaten by no other on the text of the choice (line); rings: the same points on the reported text, with 95 % intervals over text and chips. Dashed: the KL that was asked for.`,
    data: [
      {
        ...{ type: 'scatter', mode: 'lines', name: 'front', hoverinfo: 'skip' },
        x: front.map(at),
        y: front.map(of),
        line: { color: COLOURS.orange, shape: 'hv', width: 2 },
      },
      {
        ...{ type: 'scatter', mode: 'markers', name: 'points', hovertemplate },
        x: points.map(at),
        y: points.map(of),
        text: hover(points),
        marker: {
          size: 7,
          color: points.map((point) => (front.includes(point) ? COLOURS.orange : COLOURS.light)),
        },
      },
      {
        ...{ type: 'scatter', mode: 'markers', name: 'reported', hovertemplate },
        x: reported.map(({ report }) => priceOf(price, report!.prices)),
        y: reported.map(({ report }) => report!.kl.mean),
        text: hover(reported),
        error_y: errorsOf(reported),
        marker: { size: 9, symbol: 'circle-open', color: COLOURS.blue, line: { width: 2 } },
      },
      ...marked.map(({ name, point, symbol }) => ({
        ...{ type: 'scatter', mode: 'markers', name, hovertemplate },
        x: [at(point!)],
        y: [of(point!)],
        text: hover([point!]),
        marker: { size: 14, symbol, color: COLOURS.purple },
      })),
    ],
    layout: {
      xaxis: { title: { text: plotText(label) }, zeroline: false, ...axisOf(points.map(at)) },
      yaxis: {
        title: { text: 'KL to the digital model (nats)' },
        zeroline: false,
        ...axisOf(points.map(of)),
      },
      shapes: [
        {
          type: 'line',
          xref: 'paper',
          x0: 0,
          x1: 1,
          y0: kl,
          y1: kl,
          line: { color: COLOURS.grey, dash: 'dash', width: 1 },
        },
      ],
      hovermode: 'closest',
    },
    height: 420,
    phoneHeight: 400,
    table: {
      caption: `${title}, ${shape}: the front`,
      headers: ['Point', label, 'KL, choice', 'KL, reported'],
      rows: front.map((point) => [
        labelOf(point),
        plain(at(point), 4),
        plain(of(point), 3),
        point.report ? plain(point.report.kl.mean, 3) : '-',
      ]),
    },
  };
}

function errorsOf(reported: readonly OptimisedPoint[]): Record<string, unknown> {
  const of = ({ report }: OptimisedPoint) => report!.kl.textAndChipsCi95 ?? report!.kl.chipsCi95;
  const side = (end: 0 | 1) =>
    reported.map((point) => {
      const ci = of(point);
      return ci ? Math.abs(ci[end] - point.report!.kl.mean) : 0;
    });
  return {
    type: 'data',
    symmetric: false,
    array: side(1),
    arrayminus: side(0),
    color: COLOURS.blue,
    thickness: 1,
  };
}

const labelOf = ({ settings, base }: OptimisedPoint): string =>
  Object.entries(settings)
    .map(([key, value]) => `${key} ${valueText(value)}`)
    .join(', ') + (base ? ' (as it is)' : '');

function frontTable(result: OptimiseResult): string {
  const rows = result.points.filter(({ report }) => report !== null);
  const table: Table = {
    caption:
      'Points on a front, and the design as it is, with what they are on the reported text; intervals of 95 % over text and chips, bands of the constants of cost',
    headers: [
      'Point',
      'Fronts',
      'KL, choice',
      'KL, reported',
      'Energy (mJ)',
      'Area (mm2)',
      '$ / Mtoken',
      'Tokens/s',
      'Command',
    ],
    rows: rows.map((point) => {
      const { selection, report, fronts, command } = point;
      const { kl, prices } = report!;
      const range = (value: string, ci: readonly [number, number] | null, scale = 1) =>
        ci ? `${value} (${plain(scale * ci[0], 3)} to ${plain(scale * ci[1], 3)})` : value;
      return [
        labelOf(point),
        fronts.join(', ') || '-',
        plain(selection.kl.mean, 3),
        range(plain(kl.mean, 3), kl.textAndChipsCi95 ?? kl.chipsCi95),
        range(plain(prices.energyJ * 1e3, 3), prices.energyBandJ, 1e3),
        range(plain(prices.areaMm2, 4), prices.areaBandMm2),
        plain(prices.usdPerMtoken, 3),
        plain(prices.tokensPerSecondPerUser, 4),
        { html: `<code>${escapeHtml(command)}</code>` },
      ];
    }),
  };
  const csv = Buffer.from(toCsv(optimiseRows(result)), 'utf8').toString('base64');
  return `<p><a download="results.csv" href="data:text/csv;base64,${csv}">results.csv</a>: every point, as in the folder.</p>${tableHtml(table)}`;
}

function setupHtml({ axes, rungs, base, seed, refused }: OptimiseResult): string {
  const table: Table = {
    caption: 'What was varied',
    headers: ['Axis', 'Levels'],
    rows: axes.map(({ name, levels }) => [
      name === 'gate' ? "gate (times the cell's own width and length)" : name,
      levels.map(valueText).join(', '),
    ]),
  };
  const steps = rungs.map(
    ({ chips, maxWindows }, i) =>
      `rung ${i + 1}: ${chips} ${chips === 1 ? 'chip' : 'chips'}, ${maxWindows} ${maxWindows === 1 ? 'window' : 'windows'}`,
  );
  const reasons: Table = {
    caption: 'Settings that cannot be',
    headers: ['Settings', 'Reason'],
    rows: refused.map(({ settings, reason }) => [settings, reason]),
  };
  return `${tableHtml(table)}<p>${escapeHtml(`A Latin hypercube (seed ${seed}) and the design as it is, halved from rung to rung (${steps.join('; ')}), then neighbours of the front.`)}</p><p>What all points have in common:</p><pre>${escapeHtml(stringify(base))}</pre>${refused.length > 0 ? tableHtml(reasons) : ''}`;
}

function limitsHtml({ selectText, text, points }: OptimiseResult): string {
  const [{ selection }] = points;
  const lines = [
    `Points are chosen on ${selectText} (${selection.scored} predictions, ${selection.chips} chips of the same seeds for every point) and are the better there for having been chosen: what is to be quoted is the reported text, ${text}, which the choice never saw.`,
    'Points of the search share chips and windows, so differences between them are surer than either; an interval of the choice alone does not say so.',
    'Bands of energy and area are of the constants of cost. Constants that are wrong are wrong for all points together.',
  ];
  return lines.map((line) => `<p>${escapeHtml(line)}</p>`).join('\n');
}
