/** A figure as HTML: the drawing, its caption, its numbers to save and to read. */
import { figureCsv } from './figure-data.ts';
import type { Figure } from './figure-spec.ts';
import { escapeHtml, scriptJson, tableHtml } from './html.ts';

export type { Figure } from './figure-spec.ts';

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
  const { id, title, caption, table, screenOnly } = figure;
  const spec = scriptJson({
    data: figure.data,
    layout: figure.layout,
    height: figure.height,
    phoneHeight: figure.phoneHeight ?? figure.height,
  });
  const csv = Buffer.from(figureCsv(figure), 'utf8').toString('base64');
  const file = id.replace(/[^A-Za-z0-9-]+/g, '-');
  return `<figure class="figure${screenOnly ? ' screen' : ''}" id="figure-${escapeHtml(id)}" data-name="${file}" aria-labelledby="title-${escapeHtml(id)}">
<h3 id="title-${escapeHtml(id)}">${escapeHtml(title)}</h3>
<div class="plot" role="img" aria-label="${escapeHtml(`${title}. ${caption}`)}" style="--height:${figure.height}px;--phone:${figure.phoneHeight ?? figure.height}px"></div>
<script type="application/json" class="spec">${spec}</script>
<figcaption>${escapeHtml(caption)}</figcaption>
<p class="save">Save as <a download="${file}.csv" href="data:text/csv;charset=utf-8;base64,${csv}">CSV</a><button type="button" data-format="svg">SVG</button><button type="button" data-format="png">PNG</button></p>
<details><summary>Table of this figure</summary>${tableHtml(table)}</details>
</figure>`;
}
