/** Figures of `onefet power`: energy by part, against context and users, and beside published systems. */
import type { Comparators } from '../cost/comparators.ts';
import type { CostLine } from '../cost/report.ts';
import { formatSi, plain } from '../format.ts';
import type { Curve } from '../power/curves.ts';
import type { PowerRow } from '../power/power.ts';
import { COLOURS, type Figure, SERIES } from './figure.ts';
import { label } from './figures-cost.ts';
import { plotText, wrapPlotText } from './html.ts';
import { tagBadge, tagColour } from './tags.ts';
import { logTicks } from './ticks.ts';

const joule = (value: number): string => formatSi(value, 'J');
/** Parts that have a colour of their own; the rest together. */
const PARTS_SHOWN = 11;

/** Energy of one user's token by part, a bar a design. */
export function stackFigure(rows: readonly PowerRow[]): Figure {
  const chips = rows.filter(({ subject }) => subject.fabric.kind !== 'gpu');
  const totals = new Map<string, number>();
  for (const { cost } of chips) {
    for (const { name, value } of cost.energyJ)
      totals.set(name, (totals.get(name) ?? 0) + value / cost.perTokenJ);
  }
  const parts = [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const shown = parts.slice(0, PARTS_SHOWN);
  const valueIn = ({ cost }: PowerRow, name: string) => cost.energyJ.find((line) => line.name === name);
  const names = chips.map(({ subject }) => plotText(subject.name));
  const colour = (i: number) => [...SERIES, ...LIGHTER][i % (SERIES.length + LIGHTER.length)];
  const series = shown.map((name, i) => ({
    type: 'bar',
    name: plotText(label(name)),
    x: names,
    y: chips.map((row) => (valueIn(row, name)?.value ?? 0) * 1e3),
    marker: { color: colour(i) },
    customdata: chips.map((row) => hover(valueIn(row, name), row.cost.perTokenJ)),
    hovertemplate: HOVER,
  }));
  const rest = chips.map(({ cost }) =>
    cost.energyJ.reduce((sum, line) => sum + (shown.includes(line.name) ? 0 : line.value), 0),
  );
  const sorted = [...chips].sort((a, b) => a.cost.perTokenJ - b.cost.perTokenJ);
  const [least, most] = [sorted[0], sorted.at(-1)!];
  const said = (row: PowerRow) => `${row.subject.name} takes ${joule(row.cost.perTokenJ)}`;
  return {
    id: 'stack',
    title: 'Energy of a token of one user, by part',
    caption: `${said(least)}${least === most ? '' : `, ${said(most)}`}. Over all bars the largest part is ${label(parts[0]).toLowerCase()}; point at a part for its formula and source.`,
    data: [
      ...series,
      {
        type: 'bar',
        name: 'the rest',
        x: names,
        y: rest.map((value) => value * 1e3),
        marker: { color: COLOURS.light },
        hovertemplate: 'the rest: %{y:.3g} mJ<extra></extra>',
      },
    ],
    layout: {
      barmode: 'stack',
      xaxis: { tickangle: chips.length > 4 ? -30 : 0 },
      yaxis: { title: { text: 'Energy per token (mJ)' }, rangemode: 'tozero' },
      legend: { traceorder: 'normal' },
    },
    height: 520,
    phoneHeight: 620,
    rows: chips.flatMap(({ subject, cost }) =>
      cost.energyJ.map(({ name, value, tag }) => ({ design: subject.name, part: name, energyJ: value, tag })),
    ),
    table: {
      caption: 'Energy per token of one user by part',
      headers: ['Part', ...chips.map(({ subject }) => subject.name)],
      rows: parts.map((name) => [label(name), ...chips.map((row) => joule(valueIn(row, name)?.value ?? 0))]),
    },
  };
}

const LIGHTER = ['#7fb8dd', '#e6a06a', '#6fb59c', '#c08db4', '#d8b44a'];
const HOVER =
  '<b>%{customdata[0]}: %{customdata[1]}</b> (%{customdata[2]})<br>%{customdata[3]}<br><i>%{customdata[4]}</i><br>%{customdata[5]}<extra></extra>';

function hover(line: CostLine | undefined, totalJ: number): string[] {
  if (line === undefined) return ['', '', '', '', '', ''];
  return [
    plotText(label(line.name)),
    joule(line.value),
    `${plain((100 * line.value) / totalJ, 2)} %`,
    wrapPlotText(line.formula, 58),
    wrapPlotText(line.source, 58),
    line.tag,
  ];
}

/** Energy of one design as areas; colour says how the weakest input is known. */
export function treeFigure({ subject, cost }: PowerRow): Figure {
  const lines = cost.energyJ.filter(({ value }) => value > 0);
  const root = plotText(subject.name);
  const largest = [...lines].sort((a, b) => b.value - a.value)[0];
  return {
    id: 'tree',
    title: `Energy of a token as areas, ${subject.name}`,
    caption: `The largest part is ${label(largest.name).toLowerCase()}, ${plain((100 * largest.value) / cost.perTokenJ, 2)} % of ${joule(cost.perTokenJ)}. Colour says how the weakest input of a part is known; point at it, or open the table, for formula and source.`,
    data: [
      {
        type: 'treemap',
        branchvalues: 'total',
        labels: [root, ...lines.map(({ name }) => plotText(label(name)))],
        parents: ['', ...lines.map(() => root)],
        values: [lines.reduce((sum, { value }) => sum + value, 0), ...lines.map(({ value }) => value)],
        text: [joule(cost.perTokenJ), ...lines.map(({ value }) => joule(value))],
        textinfo: 'label+text',
        marker: { colors: ['#eef1f4', ...lines.map(({ tag }) => tagColour(tag))] },
        customdata: [
          [root, joule(cost.perTokenJ), '100 %', '', '', ''],
          ...lines.map((line) => hover(line, cost.perTokenJ)),
        ],
        hovertemplate: HOVER,
        pathbar: { visible: false },
        tiling: { pad: 2 },
      },
    ],
    layout: {},
    height: 460,
    phoneHeight: 420,
    rows: lines.map(({ name, value, formula, source, tag }) => ({
      part: name,
      energyJ: value,
      formula,
      source,
      tag,
    })),
    table: {
      caption: `Every line of the energy, ${subject.name}`,
      headers: ['Part', 'Energy', 'Formula', 'Source', 'Provenance'],
      rows: lines.map((line) => [
        label(line.name),
        joule(line.value),
        { html: `<span class="formula">${plotText(line.formula)}</span>` },
        line.source,
        tagBadge(line.tag),
      ]),
    },
  };
}

/** Energy against context or users. */
export function curveFigure(
  curves: readonly Curve[],
  {
    id,
    title,
    axis,
    caption,
    key,
  }: { id: string; title: string; axis: string; caption: string; key: 'oneUserJ' | 'fullJ' },
): Figure {
  const drawn = curves.filter(({ points }) => points.length > 0);
  const values = drawn.flatMap(({ points }) => points.map((point) => point[key]));
  const ticks = logTicks(Math.min(...values), Math.max(...values), (v) => formatSi(v, 'J', 1));
  const xs = [...new Set(drawn.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);
  return {
    id,
    title,
    caption,
    data: drawn.map(({ name, points }, i) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plotText(name),
      x: points.map(({ x }) => x),
      y: points.map((point) => point[key]),
      line: { color: SERIES[i % SERIES.length], width: 2, dash: i < SERIES.length ? 'solid' : 'dot' },
      customdata: points.map((point) => joule(point[key])),
      hovertemplate: `<b>${plotText(name)}</b><br>%{x} ${axis.toLowerCase()}: %{customdata}<extra></extra>`,
    })),
    layout: {
      xaxis: {
        title: { text: axis },
        type: 'log',
        tickvals: powersOfTwo(xs),
        ticktext: powersOfTwo(xs).map((x) => x.toLocaleString('en-US')),
      },
      yaxis: { title: { text: 'Energy per token' }, type: 'log', ...ticks },
    },
    height: 460,
    phoneHeight: 480,
    rows: drawn.flatMap(({ name, points }) =>
      points.map((point) => ({ design: name, [id]: point.x, energyJ: point[key] })),
    ),
    table: {
      caption: title,
      headers: [axis, ...drawn.map(({ name }) => name)],
      rows: xs.map((x) => [
        x.toLocaleString('en-US'),
        ...drawn.map(({ points }) => {
          const point = points.find((one) => one.x === x);
          return point === undefined ? '' : joule(point[key]);
        }),
      ]),
    },
  };
}

/** At most seven ticks. */
function powersOfTwo(xs: readonly number[]): number[] {
  const exact = xs.filter((x) => Number.isInteger(Math.log2(x)));
  const stride = Math.ceil(exact.length / 7);
  return exact.filter((_, i) => i % stride === 0);
}

/** Neighbours' names stand apart. */
const PLACES = [
  { yshift: 14 },
  { yshift: -14 },
  { xshift: 10, xanchor: 'left' },
  { xshift: -10, xanchor: 'right' },
];

/** Rate of one user against energy per token: designs with their bands, published systems as points. */
export function mapFigure(rows: readonly PowerRow[], { systems }: Comparators): Figure {
  const points = [
    ...rows.map(({ subject, cost }) => ({
      ...{ name: subject.name, kind: 'this project, one user' },
      ...{ rate: cost.tokensPerSecondPerUser, energyJ: cost.perTokenJ, band: cost.bands.perTokenJ },
      note: `${cost.shape.name}, ${cost.contextTokens} tokens of context`,
    })),
    ...rows.map(({ subject, cost }) => ({
      ...{ name: subject.name, kind: 'this project, full pipeline' },
      ...{
        rate: cost.tokensPerSecondAggregate,
        energyJ: cost.perTokenAggregateJ,
        band: cost.bands.perTokenAggregateJ,
      },
      note: `${cost.binding} binds`,
    })),
    ...systems.flatMap((s) => {
      if (s.jPerToken === null || s.tokensPerSecond === null) return [];
      const [low, high] = s.jPerToken;
      return [
        {
          ...{
            name: s.name,
            kind:
              s.kind === 'silicon' ? (s.bound ? 'silicon, upper bound' : 'silicon') : 'modelled by others',
          },
          ...{ rate: s.tokensPerSecond, energyJ: Math.sqrt(low * high), band: { low, high } },
          note: `${s.model}, ${s.conditions}. ${s.source} (${s.tag})`,
        },
      ];
    }),
  ];
  const kinds = [...new Set(points.map(({ kind }) => kind))];
  const style: Record<string, [string, string]> = {
    'this project, one user': [COLOURS.blue, 'star'],
    'this project, full pipeline': [COLOURS.green, 'star'],
    silicon: ['#1c2430', 'circle'],
    'silicon, upper bound': [COLOURS.grey, 'triangle-down'],
    'modelled by others': [COLOURS.purple, 'diamond-open'],
  };
  const ticks = logTicks(
    Math.min(...points.map(({ band }) => band.low)),
    Math.max(...points.map(({ band }) => band.high)),
    (v) => formatSi(v, 'J', 1),
  );
  return {
    id: 'map',
    title: 'Energy per token and rate, beside published systems',
    caption:
      'Down and right is better. Bars are the 5th to 95th percentile over the bands of all constants, or what is published; triangles are rated power over rate; modelled systems do not exist as silicon, and neither do ours.',
    data: kinds.map((kind) => {
      const mine = points.filter((point) => point.kind === kind);
      return {
        type: 'scatter',
        mode: 'markers',
        name: kind,
        x: mine.map(({ rate }) => rate),
        y: mine.map(({ energyJ }) => energyJ),
        text: mine.map(({ name }) => plotText(name)),
        error_y: {
          type: 'data',
          symmetric: false,
          array: mine.map(({ energyJ, band }) => Math.max(0, band.high - energyJ)),
          arrayminus: mine.map(({ energyJ, band }) => Math.max(0, energyJ - band.low)),
          thickness: 2,
          width: 0,
        },
        marker: { color: style[kind][0], symbol: style[kind][1], size: kind.startsWith('this') ? 12 : 9 },
        customdata: mine.map(({ energyJ, note }) => [joule(energyJ), wrapPlotText(note, 58)]),
        hovertemplate:
          '<b>%{text}</b><br>%{customdata[0]} per token at %{x:.4g} tokens/s<br>%{customdata[1]}<extra></extra>',
      };
    }),
    layout: {
      xaxis: {
        title: { text: 'Tokens per second' },
        type: 'log',
        tickvals: [100, 1000, 1e4, 1e5, 1e6],
        ticktext: ['100', '1k', '10k', '100k', '1M'],
      },
      yaxis: { title: { text: 'Energy per token' }, type: 'log', ...ticks },
      hovermode: 'closest',
      annotations: points.map(({ name, rate, energyJ }, i) => ({
        ...{ x: Math.log10(rate), y: Math.log10(energyJ), text: plotText(name), showarrow: false },
        ...{ font: { size: 10 }, ...PLACES[i % PLACES.length] },
      })),
      // No room for names: they are in the hover box and the table.
      phone: { annotations: [] },
    },
    height: 620,
    phoneHeight: 560,
    rows: points.map(({ name, kind, energyJ, band, rate, note }) => ({
      ...{ system: name, kind, energyJ, energyJ_low: band.low, energyJ_high: band.high },
      ...{ tokensPerSecond: rate, source: note },
    })),
    table: {
      caption: 'Energy per token and rate',
      headers: ['System', 'Kind', 'Energy per token', 'Low', 'High', 'Tokens/s', 'Conditions and source'],
      rows: points.map(({ name, kind, energyJ, band, rate, note }) => [
        name,
        kind,
        joule(energyJ),
        joule(band.low),
        joule(band.high),
        Math.round(rate).toLocaleString('en-US'),
        note,
      ]),
    },
  };
}
