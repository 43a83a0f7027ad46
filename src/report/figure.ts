/**
 * A figure of the report: what plotly draws, one sentence that says what to see, and the same numbers as a table.
 */
import { escapeHtml, scriptJson, type Table, tableHtml } from './html.ts';

export interface Figure {
  id: string;
  title: string;
  /** One plain sentence: what the reader should see. */
  caption: string;
  data: Record<string, unknown>[];
  layout: Record<string, unknown>;
  /** Height in CSS pixels on a desktop, and on a phone where it differs. */
  height: number;
  phoneHeight?: number;
  table: Table;
}

/** Colours that people with colour blindness can tell apart (Okabe and Ito), dark enough on white. */
export const COLOURS = {
  blue: '#0072b2',
  orange: '#d55e00',
  green: '#007a5a',
  purple: '#9a4c86',
  amber: '#b37400',
  sky: '#3a8fc7',
  grey: '#6b7280',
  light: '#c8ced6',
} as const;

export const SERIES = [
  COLOURS.blue,
  COLOURS.orange,
  COLOURS.green,
  COLOURS.purple,
  COLOURS.amber,
  COLOURS.sky,
  COLOURS.grey,
] as const;

export function figureHtml(figure: Figure): string {
  const { id, title, caption, table } = figure;
  const spec = scriptJson({
    data: figure.data,
    layout: figure.layout,
    height: figure.height,
    phoneHeight: figure.phoneHeight ?? figure.height,
  });
  return `<figure class="figure" id="figure-${escapeHtml(id)}" aria-labelledby="title-${escapeHtml(id)}">
<h3 id="title-${escapeHtml(id)}">${escapeHtml(title)}</h3>
<div class="plot" role="img" aria-label="${escapeHtml(`${title}. ${caption}`)}" style="--height:${figure.height}px;--phone:${figure.phoneHeight ?? figure.height}px"></div>
<script type="application/json" class="spec">${spec}</script>
<figcaption>${escapeHtml(caption)}</figcaption>
<details><summary>Table of this figure</summary>${tableHtml(table)}</details>
</figure>`;
}

/** Tick values and texts of a log axis over decades, with prefixes: 1 pJ, 10 pJ, ... */
export function decadeTicks(
  low: number,
  high: number,
  label: (value: number) => string,
  most = 7,
): { tickvals: number[]; ticktext: string[]; range: [number, number] } {
  const first = Math.floor(Math.log10(low));
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)));
  const stride = Math.max(1, Math.ceil((last - first) / most));
  const tickvals: number[] = [];
  for (let e = first; e <= last; e += stride) tickvals.push(10 ** e);
  return { tickvals, ticktext: tickvals.map(label), range: [first, last] };
}
