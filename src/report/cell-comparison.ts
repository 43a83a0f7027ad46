/**
 * The comparison as a Markdown table (for calibration/<process>/) and as one self-contained HTML page.
 */
import { join } from 'node:path';
import type { CellComparison, Comparison, ErrorAt, Mode } from '../cell/comparison.ts';
import { writeFileAtomic } from '../files.ts';
import { plain } from '../format.ts';
import {
  accuracyTable,
  area,
  circuitTables,
  costTable,
  driftTable,
  MODE_NAMES,
  modeCornerTable,
  modeTable,
  percent,
  worstTable,
} from './cell-comparison-tables.ts';
import { COLOURS, type Figure, figureHtml, SERIES } from './figure.ts';
import { escapeHtml, plotText, type Table, tableHtml } from './html.ts';
import { DESKTOP_FIELD, nameAnnotations, PHONE_FIELD } from './labels.ts';
import { type PageSection, pageHtml } from './page.ts';
import { logTicks } from './ticks.ts';

const markdownTable = ({ caption, headers, rows }: Table): string =>
  [
    `${caption}:`,
    '',
    `| ${headers.join(' | ')} |`,
    `|${headers.map((_, i) => (i === 0 ? '---' : '---:')).join('|')}|`,
    ...rows.map(
      (row) => `| ${row.map((cell) => (typeof cell === 'object' ? cell.html : cell)).join(' | ')} |`,
    ),
    '',
  ].join('\n');

export function comparisonMarkdown(comparison: Comparison): string {
  return [
    `# ${comparison.process}: cells side by side`,
    '',
    `Written by \`onefet calibrate --all\`. ${readingText(comparison)}`,
    '',
    ...[
      accuracyTable(comparison),
      costTable(comparison),
      driftTable(comparison),
      worstTable(comparison),
      modeTable(comparison),
      modeCornerTable(comparison),
      ...circuitTables(comparison.blocks),
    ].map(markdownTable),
  ].join('\n');
}

/** Says in words what the numbers show. */
function readingText({ cells }: Comparison): string {
  if (cells.length === 0) return 'No cells.';
  const best = (score: (c: CellComparison) => number) =>
    cells.reduce((a, b) => (score(b) < score(a) ? b : a));
  const nominal = best((c) => c.nominal.rms);
  const wide = best((c) => c.worst.rms);
  const small = best((c) => c.areaM2 ?? Number.POSITIVE_INFINITY);
  const matched = best((c) => c.lnSigma);
  return [
    `Most accurate at 27 °C: ${nominal.cell} (${percent(nominal.nominal.rms)} RMS).`,
    `Over every corner, temperature and supply: ${wide.cell} (${percent(wide.worst.rms)} RMS).`,
    ...(small.areaM2 === undefined ? [] : [`Smallest: ${small.cell} (${area(small)} per weight).`]),
    `Least spread from mismatch: ${matched.cell} (sigma ln I ${percent(matched.lnSigma, 1)}), against ${percent(Math.max(...cells.map((c) => c.lnSigma)), 1)} for the most.`,
    ...(matched.lnSigma > Math.max(...cells.map((c) => c.nominal.rms))
      ? ['The spread of a single cell exceeds every error of the arithmetic at 27 °C.']
      : []),
  ].join(' ');
}

export function comparisonHtml(comparison: Comparison): string {
  const sections: PageSection[] = [
    {
      id: 'overview',
      title: 'Accuracy, area, power',
      open: true,
      html: `${tableHtml(accuracyTable(comparison))}${tableHtml(costTable(comparison))}<div class="figures pair">${[errorFigure(comparison), tradeFigure(comparison)].map(figureHtml).join('')}</div>`,
    },
    {
      id: 'drift',
      title: 'Temperature, supply, matching',
      html: `${tableHtml(driftTable(comparison))}<div class="figures pair">${[temperatureFigure(comparison), gainFigure(comparison)].map(figureHtml).join('')}</div>`,
    },
    {
      id: 'conditions',
      title: 'Worst conditions and ways to bias',
      html: `${tableHtml(worstTable(comparison))}${figureHtml(modeFigure(comparison))}${tableHtml(modeTable(comparison))}${tableHtml(modeCornerTable(comparison))}`,
    },
  ];
  if (comparison.blocks.length > 0) {
    sections.push({
      id: 'blocks',
      title: 'Converters, selector, memory cell',
      html: circuitTables(comparison.blocks).map(tableHtml).join('\n'),
    });
  }
  const intro = `<div class="verdict"><p>${escapeHtml(readingText(comparison))}</p></div>`;
  return pageHtml(
    `${comparison.process}: cells side by side`,
    `${comparison.cells.length} multipliers, ${comparison.blocks.length} converters, selectors and memory cells, simulated in SPICE`,
    intro,
    sections,
  );
}

function errorFigure({ cells }: Comparison): Figure {
  const bars: [string, string, (c: CellComparison) => number][] = [
    ['27 °C, typical', COLOURS.blue, (c) => c.nominal.rms],
    ['worst corner, 27 °C', COLOURS.sky, (c) => c.corners.rms],
    ['worst up to 85 °C', COLOURS.amber, (c) => c.worstBelow85C.rms],
    ['worst of all', COLOURS.orange, (c) => c.worst.rms],
  ];
  return {
    id: 'error',
    title: 'RMS error of the product',
    caption:
      'Each group: the typical device at 27 °C, then the worst of the corners, of all conditions up to 85 °C, and of all conditions.',
    data: bars.map(([name, color, value], i) => ({
      type: 'scatter',
      mode: 'markers',
      name,
      x: cells.map(({ cell }) => cell),
      y: cells.map((c) => 100 * value(c)),
      marker: { color, size: 10, symbol: SYMBOLS[i] },
      hovertemplate: `%{x}, ${name}<br>%{y:.2f} %<extra></extra>`,
    })),
    layout: {
      yaxis: {
        title: { text: 'RMS error (%)' },
        ...errorAxis(cells.flatMap((c) => bars.map(([, , value]) => 100 * value(c)))),
      },
      xaxis: { tickangle: -45, type: 'category' },
    },
    height: 460,
    table: {
      caption: 'RMS error of the product',
      headers: ['cell', ...bars.map(([name]) => name)],
      rows: cells.map((c) => [c.cell, ...bars.map(([, , value]) => percent(value(c)))]),
    },
  };
}

const SYMBOLS = ['circle', 'diamond', 'square', 'triangle-up'] as const;

/** Of positive numbers; those that are none are left out. */
function errorAxis(percents: readonly number[]): Record<string, unknown> {
  const shown = percents.filter((percent) => percent > 0);
  if (shown.length === 0) return {};
  return { type: 'log', ...logTicks(Math.min(...shown), Math.max(...shown), (v) => plain(v)) };
}

const MODE_COLOURS: Readonly<Record<Mode, string>> = {
  'replica+ptat': COLOURS.blue,
  'fixed+ptat': COLOURS.sky,
  'replica+fixed': COLOURS.amber,
  'fixed+fixed': COLOURS.orange,
};

function modeFigure({ cells }: Comparison): Figure {
  const modes = Object.keys(MODE_NAMES) as Mode[];
  const worst = (c: CellComparison, mode: Mode) =>
    c.cornersByMode[mode] && Math.max(...c.cornersByMode[mode].map((e) => e.worstBelow85C.rms));
  return {
    id: 'modes',
    title: 'Ways to bias: worst RMS error up to 85 °C',
    caption:
      'Largest over all corners, -40 to 85 °C and ±10 % supply. A transistor driver makes its own PTAT current, so it has no fixed ladder.',
    data: modes.map((mode, i) => ({
      type: 'scatter',
      mode: 'markers',
      name: MODE_NAMES[mode],
      x: cells.map(({ cell }) => cell),
      y: cells.map((c) => {
        const rms = worst(c, mode);
        return rms === undefined ? null : 100 * rms;
      }),
      marker: { color: MODE_COLOURS[mode], size: 10, symbol: SYMBOLS[i] },
      hovertemplate: `%{x}, ${MODE_NAMES[mode]}<br>%{y:.2f} %<extra></extra>`,
    })),
    layout: {
      yaxis: {
        title: { text: 'RMS error (%)' },
        ...errorAxis(cells.flatMap((c) => modes.flatMap((mode) => 100 * (worst(c, mode) ?? Number.NaN)))),
      },
      xaxis: { tickangle: -45, type: 'category' },
    },
    height: 460,
    table: {
      caption: 'Largest RMS error up to 85 °C by way to bias',
      headers: ['cell', ...modes.map((mode) => MODE_NAMES[mode])],
      rows: cells.map((c) => [
        c.cell,
        ...modes.map((mode) => {
          const rms = worst(c, mode);
          return rms === undefined ? '-' : percent(rms);
        }),
      ]),
    },
  };
}

function tradeFigure({ cells }: Comparison): Figure {
  // Cells at one place share a label.
  const places = new Map<string, { x: number; y: number; names: string[] }>();
  for (const c of cells) {
    if (c.areaM2 === undefined) continue;
    const place = { x: c.areaM2 * 1e12, y: 100 * c.lnSigma, names: [] as string[] };
    const key = `${place.x.toPrecision(2)} ${place.y.toPrecision(2)}`;
    const found = places.get(key) ?? place;
    found.names.push(c.cell);
    places.set(key, found);
  }
  const points = [...places.values()];
  const named = points.map(({ x, y, names }) => ({ x, y, name: names.join(', ') }));
  const areas = points.map(({ x }) => x);
  const x = { type: 'log', ...logTicks(Math.min(...areas), Math.max(...areas), (v) => plain(v)) } as const;
  const y = { range: [0, 1.1 * Math.max(...points.map(({ y }) => y))] } as const;
  return {
    id: 'trade',
    title: 'Area against spread of one cell',
    caption:
      'Lower left is better. Spread falls with the square root of the gate area; wires and spacings set the area of small cells.',
    data: [
      {
        type: 'scatter',
        mode: 'markers',
        x: points.map(({ x }) => x),
        y: points.map(({ y }) => y),
        text: named.map(({ name }) => plotText(name)),
        marker: { size: 11, color: COLOURS.blue },
        hovertemplate: '%{text}<br>%{x:.3f} µm²<br>sigma ln I %{y:.1f} %<extra></extra>',
        showlegend: false,
      },
    ],
    layout: {
      xaxis: { title: { text: 'Area per weight (µm²)' }, ...x },
      yaxis: { title: { text: 'Sigma of ln I (%)' }, ...y },
      annotations: nameAnnotations(named, x, y, DESKTOP_FIELD),
      phone: { annotations: nameAnnotations(named, x, y, PHONE_FIELD) },
    },
    height: 420,
    table: {
      caption: 'Area and spread',
      headers: ['cell', 'area', 'sigma ln I'],
      rows: cells.map((c) => [c.cell, area(c), percent(c.lnSigma, 1)]),
    },
  };
}

function lines(
  { cells }: Comparison,
  id: string,
  title: string,
  caption: string,
  mode: Mode,
  value: (e: ErrorAt) => number,
  axisTitle: string,
): Figure {
  const temps = cells[0]?.modes[mode]?.map(({ tempK }) => tempK - 273.15) ?? [];
  return {
    id,
    title,
    caption,
    data: cells.map((c, i) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: c.cell,
      x: temps,
      y: c.modes[mode]?.map(value) ?? [],
      line: { color: SERIES[i % SERIES.length], dash: i < SERIES.length ? 'solid' : 'dash' },
    })),
    layout: {
      xaxis: { title: { text: 'Temperature (°C)' }, zeroline: false },
      yaxis: {
        title: { text: axisTitle },
        ...errorAxis(cells.flatMap((c) => c.modes[mode]?.map(value) ?? [])),
      },
    },
    height: 460,
    table: {
      caption: title,
      headers: ['cell', ...temps.map((t) => `${Math.round(t)} °C`)],
      rows: cells.map((c) => [c.cell, ...(c.modes[mode]?.map((e) => value(e).toPrecision(3)) ?? [])]),
    },
  };
}

const temperatureFigure = (comparison: Comparison): Figure =>
  lines(
    comparison,
    'temperature',
    'RMS error by temperature',
    'Typical device, replica bias and PTAT ladder: a rise at the hot end is leakage in the smallest products.',
    'replica+ptat',
    ({ rms }) => 100 * rms,
    'RMS error (%)',
  );

const gainFigure = (comparison: Comparison): Figure =>
  lines(
    comparison,
    'gain',
    'Common gain at the bias of 27 °C',
    'Typical device: how far the common gain moves when the bias stays what it was at 27 °C.',
    'fixed+ptat',
    ({ lnGain }) => Math.exp(lnGain),
    'Gain over that at 27 °C (times)',
  );

/** Writes calibration/<process>/comparison.md and, given a folder, comparison-<process>.html; returns the paths. */
export function writeComparison(comparison: Comparison, htmlFolder?: string): string[] {
  const markdownPath = join('calibration', comparison.process, 'comparison.md');
  writeFileAtomic(markdownPath, comparisonMarkdown(comparison));
  if (htmlFolder === undefined) return [markdownPath];
  const htmlPath = join(htmlFolder, `comparison-${comparison.process}.html`);
  writeFileAtomic(htmlPath, comparisonHtml(comparison));
  return [markdownPath, htmlPath];
}
