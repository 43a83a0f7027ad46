/** How far the columns are driven, between the step of their converter and the value at which it clips. */
import type { RunResult } from '../experiment/result.ts';
import { COLUMN_BINS_PER_DECADE, columnEdge } from '../fabric/column-currents.ts';
import { plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';

/** Undefined for a fabric without converters, and where it was not counted. */
export function columnFigure({ columns, design, text }: RunResult): Figure | undefined {
  const total = columns?.reduce((sum, count) => sum + count, 0) ?? 0;
  if (columns === null || total === 0) return undefined;
  const middle = (bin: number) => columnEdge(bin) / 10 ** (0.5 / COLUMN_BINS_PER_DECADE);
  const percent = columns.map((count) => (100 * count) / total);
  const beyond = columns.reduce((sum, count, bin) => (middle(bin) > 1 ? sum + count : sum), 0) / total;
  const bits = (design.resolved.adc as { bits?: unknown } | undefined)?.bits;
  const step = typeof bits === 'number' ? 1 / (2 ** (bits - 1) - 1) : null;
  const below =
    step === null
      ? 0
      : columns.reduce((sum, count, bin) => (middle(bin) < step / 2 ? sum + count : sum), 0) / total;
  return {
    id: 'columns',
    title: 'Column currents against the converter',
    caption: `What the columns of the nominal chip carried on the text that sets the ranges (${text.rangeTokens.toLocaleString('en-US')} tokens, counted while they were set), each over the full scale of its own converter: ${plain(100 * beyond, 2)} % lies beyond it and would clip${step === null ? '' : `, ${plain(100 * below, 2)} % is below half a step and reads as zero`}. The first bar holds all that is smaller.`,
    data: [
      {
        type: 'scatter',
        mode: 'lines',
        line: { shape: 'hvh', color: COLOURS.sky, width: 1.5 },
        fill: 'tozeroy',
        fillcolor: 'rgba(58,143,199,0.35)',
        x: columns.map((_, bin) => middle(bin)),
        y: percent,
        hovertemplate: '%{x:.3g} of full scale<br>%{y:.3g} % of the conversions<extra></extra>',
        showlegend: false,
      },
    ],
    layout: {
      xaxis: {
        type: 'log',
        title: { text: '|Column current| over full scale of its converter' },
        tickvals: [0.001, 0.01, 0.1, 1, 10],
        ticktext: ['0.001', '0.01', '0.1', '1', '10'],
        range: [-3, 1],
      },
      yaxis: { title: { text: 'Conversions (% per bin)' }, rangemode: 'tozero' },
      shapes: [mark(1), ...(step === null ? [] : [mark(step)])],
      annotations: [label(1, 'clips'), ...(step === null ? [] : [label(step, 'one step')])],
      margin: { t: 30 },
    },
    height: 340,
    phoneHeight: 320,
    table: {
      caption: 'Conversions by |column current| over full scale',
      headers: ['Up to', 'Conversions', 'Share'],
      rows: columns.flatMap((count, bin) =>
        count > 0 ? [[plain(columnEdge(bin)), count, `${plain(percent[bin])} %`]] : [],
      ),
    },
  };
}

const mark = (x: number): Record<string, unknown> => ({
  type: 'line',
  x0: x,
  x1: x,
  yref: 'paper',
  y0: 0,
  y1: 1,
  line: { color: COLOURS.orange, width: 1.6, dash: 'dash' },
});

/** Annotations of a log axis stand at the logarithm. */
const label = (x: number, text: string): Record<string, unknown> => ({
  x: Math.log10(x),
  y: 1,
  yref: 'paper',
  yanchor: 'bottom',
  showarrow: false,
  text,
  font: { color: COLOURS.orange, size: 11 },
});
