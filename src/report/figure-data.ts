/** The numbers of a figure with all their digits, as rows of a CSV: from what is drawn, so that both are the same. */
import { type CsvValue, toCsv } from '../csv.ts';
import type { Figure, FigureRow } from './figure-spec.ts';

type Trace = Record<string, unknown>;

/** Rows of a figure; `rows` of the figure where what is drawn does not say it all. */
export function figureRows({ rows, data, layout }: Figure): readonly FigureRow[] {
  return rows ?? data.filter((trace) => trace.hoverinfo !== 'skip').flatMap((t) => traceRows(t, layout));
}

export const figureCsv = (figure: Figure): string => toCsv(figureRows(figure));

function traceRows(trace: Trace, layout: Trace): FigureRow[] {
  const names = {
    x: axisName(layout, 'x', trace.xaxis),
    y: axisName(layout, 'y', trace.yaxis),
  };
  const [x, y] = [list(trace.x), list(trace.y)];
  const series = trace.name === undefined ? {} : { series: plainText(trace.name) };
  if (trace.type === 'heatmap') {
    const value = colourName(trace);
    return list(trace.z).flatMap((row, i) =>
      list(row).map((z, j) => ({ ...series, [names.x]: csv(x[j]), [names.y]: csv(y[i]), [value]: csv(z) })),
    );
  }
  if (trace.type === 'parcoords') return parallelRows(trace);
  const bases = list(trace.base);
  const across = trace.orientation === 'h';
  const errors = { x: errorsOf(trace.error_x, x), y: errorsOf(trace.error_y, y) };
  return x.map((value, i) => ({
    ...series,
    [names.x]: csv(across && typeof bases[i] === 'number' ? bases[i] + Number(value) : value),
    ...ends(names.x, errors.x, i),
    [names.y]: csv(y[i]),
    ...ends(names.y, errors.y, i),
  }));
}

/** Every line of parallel coordinates is a row, every axis a column. */
function parallelRows(trace: Trace): FigureRow[] {
  const axes = list(trace.dimensions) as { label: string; values: unknown[]; ticktext?: string[] }[];
  return axes[0].values.map((_, i) =>
    Object.fromEntries(
      axes.map(({ label, values, ticktext }) => [
        plainText(label),
        csv(ticktext ? plainText(ticktext[Number(values[i])]) : values[i]),
      ]),
    ),
  );
}

interface Errors {
  readonly low: readonly unknown[];
  readonly high: readonly unknown[];
}

function errorsOf(bars: unknown, values: readonly unknown[]): Errors | undefined {
  if (typeof bars !== 'object' || bars === null) return undefined;
  const { array, arrayminus } = bars as { array?: number[]; arrayminus?: number[] };
  if (array === undefined) return undefined;
  const away = (by: readonly number[], sign: 1 | -1) =>
    values.map((value, i) => (by[i] == null ? null : Number(value) + sign * by[i]));
  return { low: away(arrayminus ?? array, -1), high: away(array, 1) };
}

const ends = (name: string, errors: Errors | undefined, i: number): FigureRow =>
  errors === undefined
    ? {}
    : { [`${name}, low`]: csv(errors.low[i]), [`${name}, high`]: csv(errors.high[i]) };

/** The title of an axis with its unit, or its letter. */
function axisName(layout: Trace, letter: 'x' | 'y', id: unknown): string {
  const key = `${letter}axis${typeof id === 'string' ? id.slice(1) : ''}`;
  const title = (layout[key] as { title?: { text?: string } } | undefined)?.title?.text;
  return title === undefined || title === '' ? letter : plainText(title);
}

function colourName(trace: Trace): string {
  const bar = trace.colorbar as { title?: { text?: string } } | undefined;
  return bar?.title?.text === undefined ? 'value' : plainText(bar.title.text);
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const csv = (value: unknown): CsvValue =>
  typeof value === 'string' ? plainText(value) : (value as CsvValue);

/** A text of a plot as it reads: what `plotText` and line breaks did to it is undone. */
export function plainText(value: unknown): string {
  return String(value)
    .replace(/<br\s*\/?>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}
