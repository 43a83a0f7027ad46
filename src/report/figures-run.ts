/**
 * Figures of a run: accuracy of each chip, coding loss of each tensor, clipping.
 */

import type { Interval, RunResult } from '../experiment/result.ts';
import { plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';
import { intervalText } from './figures-accuracy.ts';
import { columnFigure } from './figures-columns.ts';
import { codingMap } from './figures-tensors.ts';
import { wrapPlotText } from './html.ts';

export function runFigures(result: RunResult): Figure[] {
  const figures: Figure[] = [];
  if (result.attribution.length > 0 && result.chips.length > 0) figures.push(attributionFigure(result));
  const clips = clipRates(result);
  if (clips.length > 0) figures.push(clipFigure(result, clips));
  return [...figures, ...[columnFigure(result), codingMap(result)].filter((figure) => figure !== undefined)];
}

/** KL of each source of error alone, largest on top. */
function attributionFigure(result: RunResult): Figure {
  const { synthetic } = result.model;
  const { sources, all } = attributionRows(result);
  const shown = [...sources, all];
  const most = Math.max(...shown.map(upper));
  return {
    id: 'attribution',
    title: 'What limits the accuracy: each source of error alone',
    caption: attributionCaption(sources, all),
    data: [attributionBars(shown, synthetic), attributionWhiskers(shown), attributionValues(shown, most)],
    layout: {
      xaxis: {
        title: { text: 'KL(digital || chip) that it adds (nats per token)' },
        range: [0, most * 1.25],
        nticks: 6,
      },
      yaxis: { ticksuffix: ' ', gridcolor: '#ffffff', showline: false },
      bargap: 0.25,
      phone: { xaxis: { range: [0, most * 1.35], nticks: 4 } },
    },
    height: 100 + 30 * shown.length,
    phoneHeight: 100 + 28 * shown.length,
    table: attributionTable(shown, synthetic),
  };
}

/** A bar of the attribution: its KL is what it adds to that of the coding. */
type AttributionRow = Pick<
  RunResult['attribution'][number],
  'source' | 'description' | 'chips' | 'sameOnEveryChip' | 'kl' | 'perplexity' | 'top1'
>;

/** The sources and the coding, least KL first, and all sources together. */
function attributionRows({ summary, recoded, chips, attribution }: RunResult): {
  sources: AttributionRow[];
  all: AttributionRow;
} {
  const exact = (mean: number): Interval => ({ mean, ci95: null });
  const coding = {
    source: 'coding',
    description: 'recoded weights, everything else exact',
    chips: 0,
    sameOnEveryChip: true,
    kl: exact(recoded.kl),
    perplexity: exact(recoded.perplexity),
    top1: exact(recoded.top1),
  };
  const sources = [...attribution.map((s) => ({ ...s, kl: s.excessKl })), coding];
  return {
    sources: sources.sort((a, b) => a.kl.mean - b.kl.mean),
    all: {
      source: 'all together',
      description: 'the chips as they are',
      chips: chips.length,
      sameOnEveryChip: false,
      ...summary,
    },
  };
}

const upper = ({ kl }: AttributionRow): number => kl.ci95?.[1] ?? kl.mean;
const lower = ({ kl }: AttributionRow): number => kl.ci95?.[0] ?? kl.mean;
const rowName = ({ source }: AttributionRow): string => wrapPlotText(source, 20);
const over = ({ chips, sameOnEveryChip }: AttributionRow): string =>
  sameOnEveryChip ? 'all alike' : chips === 1 ? 'one' : String(chips);

function attributionCaption(sources: readonly AttributionRow[], all: AttributionRow): string {
  const worst = sources[sources.length - 1];
  // A source whose interval reaches that of the worst is not told apart from it.
  const leaders = sources.filter((s) => upper(s) >= lower(worst)).reverse();
  const named = leaders.map((s) => `${s.source} (${intervalText(s.kl, 3)})`).join(' and ');
  return `Chips with one source switched on, less the coding loss that they all share; whiskers are 95 % intervals of the mean (a source without any is the same on every chip, or ran on one): ${named} ${leaders.length === 1 ? 'does' : 'do'} the most harm, the chips with all of them have ${intervalText(all.kl, 3)} nats per token; the parts need not add up to the whole.`;
}

/** Bars of which the last is that of all sources together. */
function attributionBars(shown: readonly AttributionRow[], synthetic: boolean): Figure['data'][number] {
  const color = (i: number) => (i === shown.length - 1 ? COLOURS.blue : COLOURS.orange);
  return {
    type: 'bar',
    orientation: 'h',
    showlegend: false,
    y: shown.map(rowName),
    x: shown.map((s) => s.kl.mean),
    marker: { color: shown.map((_, i) => color(i)) },
    customdata: shown.map((s) => [
      wrapPlotText(s.description, 58),
      synthetic ? '' : `<br>perplexity ${intervalText(s.perplexity, 4)}`,
      `${intervalText(s.kl)}, chips: ${over(s)}`,
    ]),
    hovertemplate:
      '<b>%{y}</b><br>KL %{customdata[2]}, nats per token%{customdata[1]}<br>%{customdata[0]}<extra></extra>',
  };
}

function attributionWhiskers(shown: readonly AttributionRow[]): Figure['data'][number] {
  const drawn = shown.filter((s) => s.kl.ci95 !== null);
  return {
    type: 'scatter',
    mode: 'markers',
    y: drawn.map(rowName),
    x: drawn.map((s) => s.kl.mean),
    error_x: {
      type: 'data',
      array: drawn.map((s) => upper(s) - s.kl.mean),
      color: COLOURS.grey,
      thickness: 1.5,
      width: 4,
    },
    marker: { color: COLOURS.grey, size: 1 },
    hoverinfo: 'skip',
    showlegend: false,
  };
}

function attributionValues(shown: readonly AttributionRow[], most: number): Figure['data'][number] {
  return {
    type: 'scatter',
    mode: 'text',
    y: shown.map(rowName),
    x: shown.map((s) => upper(s) + 0.02 * most),
    text: shown.map((s) => plain(s.kl.mean)),
    textposition: 'middle right',
    cliponaxis: false,
    hoverinfo: 'skip',
    showlegend: false,
  };
}

function attributionTable(shown: readonly AttributionRow[], synthetic: boolean): Figure['table'] {
  const percentages = ({ mean, ci95 }: Interval): Interval => ({
    mean: mean * 100,
    ci95: ci95 ? [ci95[0] * 100, ci95[1] * 100] : null,
  });
  return {
    caption: 'One source of error at a time; mean (95 % interval of the mean)',
    headers: [
      'Source',
      'Chips',
      'KL (nats)',
      ...(synthetic ? [] : ['Perplexity']),
      'Top-1 agreement (%)',
      'What it is',
    ],
    rows: [...shown]
      .reverse()
      .map((s) => [
        s.source,
        over(s),
        intervalText(s.kl),
        ...(synthetic ? [] : [intervalText(s.perplexity)]),
        intervalText(percentages(s.top1)),
        s.description,
      ]),
  };
}

/** Of chips with converters. */
interface ChipClips {
  /** Number of the chip, from 1. */
  readonly chip: number;
  readonly seed: number;
  readonly percent: number;
}

/** Chips with converters that may clip. */
function clipRates({ chips }: RunResult): ChipClips[] {
  return chips.flatMap(({ seed, clipRate }, i) =>
    clipRate === null ? [] : [{ chip: i + 1, seed, percent: 100 * clipRate }],
  );
}

function clipFigure(result: RunResult, rates: readonly ChipClips[]): Figure {
  const mean = rates.reduce((sum, { percent }) => sum + percent, 0) / rates.length;
  return {
    id: 'clip',
    title: 'Converters that clipped',
    caption: `${plain(mean)} % of the conversions clipped on average; the full scale was set from another text, so a rate far above the chosen quantile would mean that the range does not carry over.`,
    data: [
      {
        type: 'bar',
        x: rates.map(({ chip }) => chip),
        y: rates.map(({ percent }) => percent),
        marker: { color: COLOURS.sky },
        customdata: rates.map(({ seed }) => seed),
        hovertemplate: 'chip %{x} (seed %{customdata})<br>%{y:.3f} % clipped<extra></extra>',
      },
    ],
    layout: {
      xaxis: {
        title: { text: 'Chip instance (number)' },
        ...(result.chips.length <= 12 ? { dtick: 1 } : {}),
        zeroline: false,
      },
      yaxis: { title: { text: 'Conversions that clipped (%)' }, rangemode: 'tozero' },
      bargap: 0.4,
    },
    height: 300,
    phoneHeight: 280,
    table: {
      caption: 'Clip rate by chip',
      headers: ['Chip', 'Seed', 'Clip rate'],
      rows: rates.map(({ chip, seed, percent }) => [chip, seed, `${percent.toFixed(4)} %`]),
    },
  };
}
