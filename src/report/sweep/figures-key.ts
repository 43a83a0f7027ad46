/** Metric against each swept number, with bands; a map of two. */
import { plain } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import { isAccuracy } from '../../sweep/outcome.ts';
import type { Measured, Metric, TaskName } from '../../sweep/task.ts';
import { taskModule } from '../../sweep/tasks.ts';
import { COLOURS, type Figure, SERIES } from '../figure.ts';
import { plotText } from '../html.ts';
import {
  axisOf,
  type Done,
  doneOf,
  numericKeys,
  otherKeys,
  type Series,
  seriesAlong,
  settingOf,
  valueText,
} from './series.ts';

/** A number of each point, and its interval. */
export interface Shown {
  readonly label: string;
  readonly value: (outcome: Done) => number | null;
  readonly interval?: (outcome: Done) => readonly [number, number] | null;
}

/** More lines than this are points without lines: nobody tells them apart. */
const MOST_LINES = SERIES.length;

/** The metric that figures show: the first of the task. */
export const mainMetric = (sweep: FinishedSweep): ShownMetric | undefined =>
  metricsOf(sweep).map(([name, metric]) => shownMetric(name, metric))[0];

/** Metrics that have a figure of each key beside the main one: perplexity, which people ask for. */
export const metricsBeside = (sweep: FinishedSweep): ShownMetric[] =>
  metricsOf(sweep)
    .slice(1)
    .filter(([name]) => name === 'perplexity')
    .map(([name, metric]) => shownMetric(name, metric));

type ShownMetric = Shown & { readonly name: string; readonly metric: Metric };

function metricsOf(sweep: FinishedSweep): [string, Metric][] {
  const [first] = doneOf(sweep).filter(isAccuracy);
  return first === undefined ? [] : Object.entries(taskModule(first.task as TaskName).metrics);
}

function shownMetric(name: string, metric: Metric): ShownMetric {
  const measured = (outcome: Done): Measured | undefined =>
    isAccuracy(outcome) ? outcome.metrics[name] : undefined;
  return {
    name,
    metric,
    label: metric.label,
    value: (outcome) => measured(outcome)?.mean ?? null,
    interval: (outcome) => measured(outcome)?.chipsCi95 ?? null,
  };
}

/** One figure for each key that takes numbers. */
export const keyFigures = (sweep: FinishedSweep, shown: Shown, id = 'key'): Figure[] =>
  numericKeys(sweep).map((key) => keyFigure(sweep, key, shown, id));

function keyFigure(sweep: FinishedSweep, key: string, shown: Shown, id: string): Figure {
  const series = seriesAlong(sweep, key);
  const lines = series.length <= MOST_LINES && series.some(({ points }) => points.length > 1);
  const traces = lines
    ? series.flatMap((one, i) => lineTraces(one, shown, SERIES[i % SERIES.length], key))
    : [cloudTrace(series, shown, key)];
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  const ys = series.flatMap(({ points }) => points.flatMap(({ outcome }) => shown.value(outcome) ?? []));
  const others = otherKeys(sweep, key);
  const band = lines && shown.interval ? '; bands: 95 % interval over chips' : '';
  return {
    id: `${id}-${key.replace(/[^A-Za-z0-9]+/g, '-')}`,
    title: `${shown.label} against ${key}`,
    caption: `${spanText(shown, series, key)}${lines && others.length > 0 ? ` One line for each value of ${others.join(' and ')}${band}.` : band ? ` Band: 95 % interval over chips.` : ''}${lines ? '' : ' Each point is a point of the sweep, other keys at different values.'}`,
    data: traces,
    layout: {
      xaxis: { title: { text: plotText(key) }, ...axisOf(xs), zeroline: false },
      yaxis: { title: { text: plotText(shown.label) }, ...axisOf(ys), zeroline: false },
      hovermode: 'closest',
      showlegend: series.length > 1 && lines,
    },
    height: 400,
    phoneHeight: 380,
    table: {
      caption: `${shown.label} by ${key}`,
      headers: [
        key,
        ...(others.length > 0 ? ['other keys'] : []),
        shown.label,
        ...(shown.interval ? ['95 % interval over chips'] : []),
      ],
      rows: series.flatMap(({ name, points }) =>
        points.map(({ x, outcome }) => [
          valueText(x),
          ...(others.length > 0 ? [name] : []),
          numberText(shown.value(outcome)),
          ...(shown.interval ? [rangeText(shown.interval(outcome))] : []),
        ]),
      ),
    },
  };
}

export const numberText = (value: number | null): string => (value === null ? '-' : plain(value, 4));
const rangeText = (range: readonly [number, number] | null): string =>
  range === null ? '-' : `${plain(range[0], 4)} to ${plain(range[1], 4)}`;

/** What to see: where it is least and most. */
function spanText(shown: Shown, series: readonly Series[], key: string): string {
  const points = series.flatMap(({ points: all }) =>
    all.flatMap(({ x, outcome }) => {
      const y = shown.value(outcome);
      return y === null ? [] : [{ x, y }];
    }),
  );
  if (points.length === 0) return 'No point has this number.';
  const least = points.reduce((a, b) => (b.y < a.y ? b : a));
  const most = points.reduce((a, b) => (b.y > a.y ? b : a));
  return `From ${plain(least.y, 3)} at ${key} ${valueText(least.x)} to ${plain(most.y, 3)} at ${valueText(most.x)}.`;
}

function lineTraces(
  { name, points }: Series,
  shown: Shown,
  color: string,
  key: string,
): Record<string, unknown>[] {
  const with_ = points.filter(({ outcome }) => shown.value(outcome) !== null);
  const x = with_.map((point) => point.x);
  const ends = (side: 0 | 1) =>
    with_.map(({ outcome }) => shown.interval?.(outcome)?.[side] ?? shown.value(outcome));
  const hasBand = with_.some(({ outcome }) => shown.interval?.(outcome));
  const band = {
    type: 'scatter',
    mode: 'lines',
    x: [...x, ...[...x].reverse()],
    y: [...ends(1), ...ends(0).reverse()],
    fill: 'toself',
    fillcolor: `${color}26`,
    line: { width: 0 },
    hoverinfo: 'skip',
    showlegend: false,
  };
  const line = {
    type: 'scatter',
    mode: 'lines+markers',
    name: plotText(name || shown.label),
    x,
    y: with_.map(({ outcome }) => shown.value(outcome)),
    line: { color },
    marker: { color, size: 8 },
    hovertemplate: `${plotText(key)} %{x}<br>%{y:.4g}<extra>${plotText(name)}</extra>`,
  };
  return hasBand ? [band, line] : [line];
}

function cloudTrace(series: readonly Series[], shown: Shown, key: string): Record<string, unknown> {
  const points = series.flatMap(({ name, points: all }) => all.map((point) => ({ ...point, name })));
  return {
    type: 'scatter',
    mode: 'markers',
    x: points.map(({ x }) => x),
    y: points.map(({ outcome }) => shown.value(outcome)),
    text: points.map(({ name }) => plotText(name)),
    marker: { color: COLOURS.blue, size: 8 },
    hovertemplate: `${plotText(key)} %{x}<br>%{y:.4g}<br>%{text}<extra></extra>`,
  };
}

/** A map of two keys that make a grid between them; undefined for other sweeps. */
export function mapFigure(sweep: FinishedSweep, shown: Shown): Figure | undefined {
  const keys = sweep.description.varied.filter(
    (key) => new Set(doneOf(sweep).map((outcome) => settingOf(sweep, outcome, key))).size > 1,
  );
  if (keys.length !== 2) return undefined;
  const [rowKey, columnKey] = keys;
  const valuesOf = (key: string) => {
    const values = [...new Set(doneOf(sweep).map((outcome) => settingOf(sweep, outcome, key)))];
    return values.every((value) => typeof value === 'number') ? values.sort((a, b) => a - b) : values;
  };
  const [rows, columns] = [valuesOf(rowKey), valuesOf(columnKey)];
  const at = (row: unknown, column: unknown): number | null => {
    const found = doneOf(sweep).find(
      (outcome) =>
        settingOf(sweep, outcome, rowKey) === row && settingOf(sweep, outcome, columnKey) === column,
    );
    return found ? shown.value(found) : null;
  };
  const z = rows.map((row) => columns.map((column) => at(row, column)));
  if (z.flat().filter((value) => value !== null).length < 4) return undefined;
  const [x, y] = [columns.map(valueText), rows.map(valueText)];
  return {
    id: 'map',
    title: `${shown.label} over ${rowKey} and ${columnKey}`,
    caption: `Each field is a point of the sweep; empty ones were refused. The numbers stand in the fields and in the table.`,
    data: [
      {
        type: 'heatmap',
        x,
        y,
        z,
        text: z.map((row) => row.map((value) => (value === null ? '' : plain(value, 2)))),
        texttemplate: '%{text}',
        colorscale: 'Viridis',
        reversescale: true,
        colorbar: { title: { text: plotText(shown.label), side: 'right' }, thickness: 14 },
        hovertemplate: `${plotText(rowKey)} %{y}, ${plotText(columnKey)} %{x}: %{z:.4g}<extra></extra>`,
      },
    ],
    layout: {
      xaxis: { title: { text: plotText(columnKey) }, type: 'category' },
      yaxis: { title: { text: plotText(rowKey) }, type: 'category' },
    },
    height: 400,
    phoneHeight: 360,
    table: {
      caption: `${shown.label}: ${rowKey} down, ${columnKey} across`,
      headers: [rowKey, ...x],
      rows: z.map((row, i) => [y[i], ...row.map(numberText)]),
    },
  };
}
