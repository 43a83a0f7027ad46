/**
 * The comparison as a Markdown table (for calibration/<process>/) and as one self-contained HTML page.
 */

import { join } from 'node:path';
import type { CellComparison, Comparison, ErrorAt, Mode } from '../cell/compare.ts';
import type { BlockCalibration } from '../cell/topology/blocks.ts';
import { writeFileAtomic } from '../files.ts';
import { formatSi } from '../format.ts';
import { COLOURS, type Figure, figureHtml, SERIES } from './figure.ts';
import { escapeHtml, plotText, type Table, tableHtml } from './html.ts';
import { type PageSection, pageHtml } from './page.ts';

const percent = (value: number, digits = 2): string => `${(100 * value).toFixed(digits)} %`;
const celsius = (tempK: number): string => `${Math.round(tempK - 273.15)} °C`;
const where = (e: ErrorAt): string =>
  `${percent(e.rms)} at ${e.corner}, ${celsius(e.tempK)}, ${e.supplyV.toFixed(2)} V`;

const area = ({ areaM2 }: CellComparison): string =>
  areaM2 === undefined ? 'no cost.yaml' : `${(areaM2 * 1e12).toPrecision(3)} µm²`;

const MODE_NAMES: Readonly<Record<Mode, string>> = {
  'replica+ptat': 'replica bias, PTAT ladder',
  'fixed+ptat': 'fixed bias, PTAT ladder',
  'replica+fixed': 'replica bias, fixed ladder',
  'fixed+fixed': 'fixed bias, fixed ladder',
};

function accuracyTable(comparison: Comparison): Table {
  return {
    caption: `RMS and largest relative error of ${comparison.codes} codes x ${comparison.taps} taps in SPICE, replica bias and PTAT ladder`,
    headers: ['cell', 'driver', 'max 27 °C', 'RMS 27 °C', 'corners', 'up to 85 °C', 'all', 'decades in 5 %'],
    rows: comparison.cells.map((c) => [
      c.cell,
      c.driver,
      percent(c.nominal.max),
      percent(c.nominal.rms),
      percent(c.corners.rms),
      percent(c.worstBelow85C.rms),
      percent(c.worst.rms),
      c.exponentialDecades.toFixed(2),
    ]),
  };
}

function costTable(comparison: Comparison): Table {
  return {
    caption:
      'Area and static power of one weight, spread of one cell from mismatch at full scale, power of one row with the PTAT reference that rows may share',
    headers: ['cell', 'area', 'sigma ln I', 'power per weight', 'power per row'],
    rows: comparison.cells.map((c) => [
      c.cell,
      area(c),
      percent(c.lnSigma, 1),
      formatSi(c.cellPowerW, 'W'),
      c.rowPowerW === undefined ? 'ideal source' : formatSi(c.rowPowerW, 'W'),
    ]),
  };
}

function driftTable(comparison: Comparison): Table {
  return {
    caption:
      'Change of the common gain at TT over all temperatures (bias of 27 °C, replica) and for ±10 % supply; RMS error with random ladder steps; sigma of a row from its offset; interpolation error RMS / max of ln I',
    headers: [
      'cell',
      'fixed bias',
      'replica',
      'supply',
      'steps 1 %',
      'steps 3 %',
      'row offset',
      'auto-zeroed',
      'interpolation',
    ],
    rows: comparison.cells.map((c) => [
      c.cell,
      factor(c.gainDriftFixed),
      factor(c.gainDriftReplica),
      factor(c.supplyGain),
      ...[0, 1].map((i) => (c.ladderMismatch[i] === undefined ? '-' : percent(c.ladderMismatch[i].rms))),
      c.rowOffsetLnSigma === undefined ? '-' : percent(Math.abs(c.rowOffsetLnSigma.plain), 1),
      c.rowOffsetLnSigma === undefined ? '-' : percent(Math.abs(c.rowOffsetLnSigma.autoZero), 1),
      `${percent(c.interpolation.rms)} / ${percent(c.interpolation.max)}`,
    ]),
  };
}

/** A change of ln gain: in percent while small, as a factor beyond. */
function factor(lnGain: number): string {
  return lnGain < 0.5 ? percent(Math.expm1(lnGain), 1) : `x ${Math.exp(lnGain).toPrecision(3)}`;
}

function worstTable(comparison: Comparison): Table {
  return {
    caption: 'Where the largest errors are, replica bias and PTAT ladder',
    headers: ['cell', 'up to 85 °C', 'of all'],
    rows: comparison.cells.map((c) => [c.cell, where(c.worstBelow85C), where(c.worst)]),
  };
}

/** RMS error by temperature, TT, for the four ways to bias. */
function modeTable(comparison: Comparison): Table {
  const temps = comparison.cells[0]?.modes['replica+ptat']?.map(({ tempK }) => celsius(tempK)) ?? [];
  return {
    caption:
      'RMS error at TT and nominal supply by temperature; one common gain is removed, so bias alone does not show',
    headers: ['cell, mode', ...temps],
    rows: comparison.cells.flatMap((c) =>
      (Object.entries(c.modes) as [Mode, readonly ErrorAt[]][]).map(([mode, list]) => [
        `${c.cell}, ${MODE_NAMES[mode]}`,
        ...list.map(({ rms }) => percent(rms)),
      ]),
    ),
  };
}

function blockTables(blocks: readonly BlockCalibration[]): Table[] {
  const tables: Table[] = [];
  const converters = blocks.filter((b) => b.converter !== undefined);
  if (converters.length > 0) {
    tables.push({
      caption:
        'String converters: error of the magnitudes exp(V / n Ut), TT 27 °C and worst of corners x T; settling to 1 % of the product',
      headers: [
        'converter',
        'levels RMS',
        'worst RMS',
        'with resistor sigma',
        'RMS',
        'settling',
        'worst',
        'switch energy',
        'string power',
      ],
      rows: converters.map(({ block, converter }) => {
        const c = converter!;
        const typical = c.levels.find((l) => l.corner === 'TT' && celsius(l.tempK) === '27 °C')!;
        const times = c.settling.map((s) => Math.max(s.riseS, s.fallS));
        const time = c.settling.findIndex((s) => s.corner === 'TT' && celsius(s.tempK) === '27 °C');
        return [
          block,
          percent(typical.rms, 3),
          percent(Math.max(...c.levels.map((l) => l.rms)), 3),
          percent(c.mismatch.sigma, 1),
          percent(c.mismatch.rms),
          formatSi(times[time], 's'),
          formatSi(Math.max(...times), 's'),
          formatSi(c.switchEnergyJ, 'J'),
          formatSi(c.stringPowerW, 'W'),
        ];
      }),
    });
  }
  const selectors = blocks.filter((b) => b.selector !== undefined);
  if (selectors.length > 0) {
    tables.push({
      caption:
        'Product selector ("multiplication by routing"): input edge to the accumulator, at 0.9 to 1.1 supplies, corners and temperatures',
      headers: [
        'selector',
        'condition',
        'delay rise',
        'delay fall',
        'level of a one',
        'energy per rise and fall',
      ],
      rows: selectors.flatMap(({ block, selector }) =>
        selector!.conditions.map((c) => [
          block,
          `${c.corner}, ${celsius(c.tempK)}, ${c.supplyV.toFixed(2)} V`,
          formatSi(c.riseS, 's'),
          formatSi(c.fallS, 's'),
          percent(c.oneLevel, 0),
          formatSi(c.energyPerToggleJ, 'J'),
        ]),
      ),
    });
  }
  const roms = blocks.filter((b) => b.rom !== undefined);
  for (const { block, rom } of roms) {
    const typical = rom!.conditions.find((c) => c.corner === 'TT' && celsius(c.tempK) === '27 °C')!;
    const read = rom!.read.find((c) => c.corner === 'TT' && celsius(c.tempK) === '27 °C')!;
    tables.push(
      {
        caption: `${block}: ${rom!.levels} levels, TT 27 °C: current and the threshold shift that is misread`,
        headers: ['level', 'current', 'shift down', 'shift up', 'bit line falls in'],
        rows: typical.currentA.map((current, k) => [
          String(k),
          formatSi(current, 'A'),
          typical.marginDownV[k] === null ? '-' : formatSi(typical.marginDownV[k], 'V'),
          typical.marginUpV[k] === null ? '-' : formatSi(typical.marginUpV[k], 'V'),
          read.fallS[k] === null ? 'not in 5 ns' : formatSi(read.fallS[k], 's'),
        ]),
      },
      {
        caption: `${block}: misread probability of a random word by sigma(Vt); the cell's own ${formatSi(rom!.cellSigmaVtV, 'V')} gives ${rom!.cellProbability.toPrecision(3)}, in SPICE ${rom!.monteCarlo.misreads} of ${rom!.monteCarlo.cells} cells (${rom!.monteCarlo.expected.toFixed(1)} expected). Read: ${formatSi(read.bitEnergyJ, 'J')} on the bit line, ${formatSi(read.wordEnergyJ, 'J')} on the word line per cell`,
        headers: ['sigma(Vt)', 'probability'],
        rows: rom!.misread.map(({ sigmaVtV, probability }) => [
          formatSi(sigmaVtV, 'V'),
          probability.toExponential(2),
        ]),
      },
    );
  }
  return tables;
}

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
      ...blockTables(comparison.blocks),
    ].map(markdownTable),
  ].join('\n');
}

/** What the numbers say, from the numbers. */
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
      html: `${tableHtml(worstTable(comparison))}${tableHtml(modeTable(comparison))}`,
    },
  ];
  if (comparison.blocks.length > 0) {
    sections.push({
      id: 'blocks',
      title: 'Converters, selector, memory cell',
      html: blockTables(comparison.blocks).map(tableHtml).join('\n'),
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
    data: bars.map(([name, color, value]) => ({
      type: 'bar',
      name,
      x: cells.map(({ cell }) => cell),
      y: cells.map((c) => 100 * value(c)),
      marker: { color },
      hovertemplate: `%{x}, ${name}<br>%{y:.2f} %<extra></extra>`,
    })),
    layout: {
      barmode: 'group',
      yaxis: { type: 'log', title: { text: 'RMS error, %' }, dtick: 1 },
      xaxis: { tickangle: -45 },
      margin: { b: 90 },
      legend: { orientation: 'h', y: 1.15 },
    },
    height: 460,
    table: {
      caption: 'RMS error of the product',
      headers: ['cell', ...bars.map(([name]) => name)],
      rows: cells.map((c) => [c.cell, ...bars.map(([, , value]) => percent(value(c)))]),
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
  return {
    id: 'trade',
    title: 'Area against spread of one cell',
    caption:
      'Lower left is better. Spread falls with the square root of the gate area; wires and spacings set the area of small cells.',
    data: [
      {
        type: 'scatter',
        mode: 'markers+text',
        x: points.map(({ x }) => x),
        y: points.map(({ y }) => y),
        text: points.map(({ names }) => names.map(plotText).join('<br>')),
        textposition: points.map(({ x }) => (x > 0.4 ? 'bottom center' : 'bottom right')),
        marker: { size: 11, color: COLOURS.blue },
        hovertemplate: '%{text}<br>%{x:.3f} µm²<br>sigma ln I %{y:.1f} %<extra></extra>',
        showlegend: false,
      },
    ],
    layout: {
      xaxis: { type: 'log', title: { text: 'area per weight, µm²' } },
      yaxis: { title: { text: 'sigma of ln I, %' }, rangemode: 'tozero' },
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
  axisType: 'log' | 'linear',
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
      xaxis: { title: { text: 'temperature, °C' } },
      yaxis: { type: axisType, dtick: 1, title: { text: axisTitle } },
      legend: { orientation: 'h', y: 1.02, yanchor: 'bottom' },
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
    'RMS error, %',
    'log',
  );

const gainFigure = (comparison: Comparison): Figure =>
  lines(
    comparison,
    'gain',
    'Common gain at the bias of 27 °C',
    'Typical device: how far the common gain moves when the bias stays what it was at 27 °C.',
    'fixed+ptat',
    ({ lnGain }) => Math.exp(lnGain),
    'gain over 27 °C',
    'log',
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
