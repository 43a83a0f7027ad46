/**
 * Figures of cost: energy, area and time by component, and energy per token beside other systems.
 */
import type { Comparators } from '../cost/comparators.ts';
import type { CostLine, CostReport, CostSensitivity } from '../cost/report.ts';
import { formatSi, plain } from '../format.ts';
import { COLOURS, type Figure } from './figure.ts';
import { plotText, wrapPlotText } from './html.ts';
import { tagBadge, tagColour, tagLegend } from './tags.ts';
import { logTicks } from './ticks.ts';

const LABELS: Record<string, string> = {
  array: 'Array, integrating',
  'array-settling': 'Array, settling',
  ladders: 'Row ladders',
  'row-buffers': 'Row buffers',
  'row-drivers': 'Row drivers, ladders',
  'row-references': 'Row references',
  'row-drivers-assumed': 'Row drivers, assumed bias',
  'wake-up': 'Ladder wake-up',
  gates: 'Gate charging',
  dacs: 'Row DACs',
  clamps: 'Bit-line clamps',
  'bit-lines': 'Bit-line charging',
  adcs: 'ADCs',
  accumulation: 'Accumulation',
  accumulators: 'Accumulators',
  'vector-units': 'Vector units',
  attention: 'Attention',
  'attention-units': 'Attention units',
  'power-switches': 'Power switches',
  'kv-sram': 'KV cache SRAM',
  head: 'Output head',
  lora: 'LoRA adapters',
  'lora-sram': 'LoRA SRAM',
  wires: 'Wires, die links',
  clock: 'Clock',
  leakage: 'Leakage',
  regulator: 'Regulator loss',
  cells: 'Cells',
  'weight-rom': 'Weight ROM',
  'scale-rom': 'Scale ROM',
  'weight-cells': 'Weight cells',
  selectors: 'Selectors',
  'adder-trees': 'Adder trees',
  'wired-adders': 'Wired adders',
  sense: 'Sense circuits',
  mapping: 'Mapping',
  'mapping-additions': 'Mapping, additions',
  'mapping-paths': 'Mapping, side paths',
  'centre-rom': 'Means ROM',
  'paths-sram': 'Side paths SRAM',
  'weights-read': 'Reading weights',
  'adapters-read': 'Reading adapters',
  'kv-read': 'Reading caches',
  operations: 'Operations',
  static: 'Static power',
  macs: 'Multiply-accumulate units',
  integrators: 'Integrators',
  'embedding-rom': 'Embedding ROM',
  'head-rom': 'Head ROM',
  'head-macs': 'Head MACs',
  overhead: 'Pads, grid, space',
  settle: 'Settle',
  integrate: 'Integrate',
  convert: 'Convert',
  'digital-depth': 'Digital depth',
  'shot-noise-bound': 'Shot-noise bound',
};

export function label(name: string): string {
  return LABELS[name] ?? name;
}

export const areaText = (mm2: number) => `${plain(mm2)} mm²`;

/** Horizontal bars, largest on top, with formula and source in the hover box. */
function breakdownFigure(
  id: string,
  title: string,
  lines: readonly CostLine[],
  quantity: { axis: string; scale: number; format: (value: number) => string; what: string },
): Figure {
  const shown = lines.filter((line) => line.value > 0).sort((a, b) => a.value - b.value);
  const total = shown.reduce((sum, line) => sum + line.value, 0);
  const top = shown.slice(-3).reverse();
  const share = (line: CostLine) => `${plain((line.value / total) * 100, 2)} %`;
  const leaders = top.map((line) => `${label(line.name)} (${share(line)})`).join(', ');
  return {
    id,
    title,
    caption: `${quantity.format(total)} ${quantity.what}; the largest parts are ${leaders}. Colour says how the weakest input is known: ${tagLegend(shown.map(({ tag }) => tag))}.`,
    data: [
      {
        type: 'bar',
        orientation: 'h',
        y: shown.map((line) => plotText(label(line.name))),
        x: shown.map((line) => line.value * quantity.scale),
        marker: { color: shown.map((line) => tagColour(line.tag)) },
        text: shown.map((line) => `${quantity.format(line.value)}`),
        textposition: 'outside',
        cliponaxis: false,
        customdata: shown.map((line) => [
          quantity.format(line.value),
          share(line),
          wrapPlotText(line.formula, 58),
          wrapPlotText(line.source, 58),
          line.tag,
          plotText(label(line.name)),
        ]),
        hovertemplate:
          '<b>%{customdata[5]}: %{customdata[0]}</b> (%{customdata[1]})<br>%{customdata[2]}<br><i>%{customdata[3]}</i><br>%{customdata[4]}<extra></extra>',
      },
    ],
    layout: {
      xaxis: {
        title: { text: quantity.axis },
        range: [0, (shown.at(-1)?.value ?? 1) * quantity.scale * 1.28],
        nticks: 6,
      },
      yaxis: { ticksuffix: ' ', gridcolor: '#ffffff', showline: false },
      bargap: 0.25,
      phone: { xaxis: { range: [0, (shown.at(-1)?.value ?? 1) * quantity.scale * 1.5], nticks: 4 } },
    },
    height: 110 + 27 * shown.length,
    phoneHeight: 100 + 24 * shown.length,
    table: {
      caption: `${title}: every line`,
      headers: ['Component', 'Value', 'Share'],
      rows: [...shown]
        .reverse()
        .map((line) => [label(line.name), quantity.format(line.value), share(line)] as (string | number)[]),
    },
  };
}

export function costFigures(prefix: string, name: string, report: CostReport): Figure[] {
  const energyScale = scaleOf(Math.max(...report.energyJ.map((l) => l.value)), 'J');
  const timeScale = scaleOf(Math.max(...report.latencyS.map((l) => l.value)), 's');
  return [
    breakdownFigure(`${prefix}-energy`, `Energy per token, ${name}`, report.energyJ, {
      axis: `Energy per token (${energyScale.unit})`,
      scale: energyScale.factor,
      format: (v) => formatSi(v, 'J'),
      what: `per token of one user at ${report.contextTokens.toLocaleString('en-US')} tokens of context`,
    }),
    breakdownFigure(`${prefix}-area`, `Silicon area, ${name}`, report.areaLinesMm2, {
      axis: 'Area (mm²)',
      scale: 1,
      format: areaText,
      what: `of silicon, ${report.dies} ${report.dies === 1 ? 'die' : 'dies'} of the reticle limit`,
    }),
    breakdownFigure(`${prefix}-latency`, `Time per token of one user, ${name}`, report.latencyS, {
      axis: `Time (${timeScale.unit})`,
      scale: timeScale.factor,
      format: (v) => formatSi(v, 's'),
      what: `per token, ${plain(report.tokensPerSecondPerUser)} tokens/s for one user`,
    }),
  ];
}

/** Tornado: energy per token with each of the most influential constants at either end of its band. */
export function sensitivityFigure(id: string, name: string, report: CostReport): Figure {
  const shown = report.sensitivity.slice(0, 12).reverse();
  const { factor, unit } = scaleOf(report.perTokenJ, 'J');
  const base = report.perTokenJ;
  const text = (s: CostSensitivity) => tickName(s.constant);
  const side = (which: 'low' | 'high') => {
    const value = (s: CostSensitivity) => (which === 'low' ? s.lowPerTokenJ : s.highPerTokenJ);
    const set = (s: CostSensitivity) => (which === 'low' ? s.lowValue : s.highValue);
    return {
      type: 'bar',
      orientation: 'h',
      name: which === 'low' ? 'low end of its band' : 'high end of its band',
      y: shown.map(text),
      base: shown.map(() => base * factor),
      x: shown.map((s) => (value(s) - base) * factor),
      marker: { color: which === 'low' ? COLOURS.sky : COLOURS.orange },
      customdata: shown.map((s) => [
        plotText(s.constant),
        plain(s.value),
        plain(set(s)),
        formatSi(value(s), 'J'),
        s.tag,
      ]),
      hovertemplate:
        '<b>%{customdata[0]}</b> (%{customdata[4]})<br>%{customdata[1]} → %{customdata[2]}: %{customdata[3]} per token<extra></extra>',
    };
  };
  const first = report.sensitivity[0];
  const assumed = report.sensitivity.slice(0, 5).filter((s) => s.tag === 'assumed').length;
  return {
    id,
    title: `Which constants matter, ${name}`,
    caption: `Each constant of cost.yaml at the low and the high end of its own band, the others at their likely values: ${first ? `${first.constant} moves the energy per token most, between ${formatSi(Math.min(first.lowPerTokenJ, first.highPerTokenJ), 'J')} and ${formatSi(Math.max(first.lowPerTokenJ, first.highPerTokenJ), 'J')}; ` : ''}${assumed} of the five most influential are assumed, not measured. All drawn together (${report.bands.draws} draws), 90 % of the results lie between ${formatSi(report.bands.perTokenJ.low, 'J')} and ${formatSi(report.bands.perTokenJ.high, 'J')}.`,
    data: [side('low'), side('high')],
    layout: {
      barmode: 'overlay',
      bargap: 0.3,
      xaxis: { title: { text: `Energy per token (${unit})` }, nticks: 6, zeroline: false },
      yaxis: { ticksuffix: ' ', gridcolor: '#ffffff', showline: false },
      shapes: [
        {
          type: 'line',
          yref: 'paper',
          y0: 0,
          y1: 1,
          x0: base * factor,
          x1: base * factor,
          line: { color: COLOURS.grey, width: 1.5 },
        },
      ],
      hovermode: 'closest',
      phone: { xaxis: { nticks: 4 } },
    },
    height: 130 + 34 * shown.length,
    phoneHeight: 140 + 34 * shown.length,
    table: {
      caption: `Energy per token and area with each constant at either end of its band (all of them), ${formatSi(base, 'J')} and ${areaText(report.areaMm2)} as they are`,
      headers: [
        'Constant',
        'Low',
        'Likely',
        'High',
        'Energy at low',
        'At high',
        'Area at low',
        'At high',
        'Provenance',
      ],
      rows: report.sensitivity.map((s) => [
        s.constant,
        plain(s.lowValue),
        plain(s.value),
        plain(s.highValue),
        formatSi(s.lowPerTokenJ, 'J'),
        formatSi(s.highPerTokenJ, 'J'),
        areaText(s.lowAreaMm2),
        areaText(s.highAreaMm2),
        tagBadge(s.tag),
      ]),
    },
  };
}

/** `power.logicLeakageWPerMm2` in two lines where it is long. */
function tickName(name: string): string {
  const [group, key] = name.split('.').map(plotText);
  return name.length > 19 ? `${group}.<br>${key}` : `${group}.${key}`;
}

/** The unit with the prefix in which the largest value is read best. */
function scaleOf(largest: number, unit: string): { factor: number; unit: string } {
  const text = formatSi(largest > 0 ? largest : 1, unit).split(' ')[1];
  const factors: Record<string, number> = {
    p: 1e12,
    n: 1e9,
    µ: 1e6,
    m: 1e3,
    f: 1e15,
  };
  return { factor: text.length > unit.length ? (factors[text[0]] ?? 1) : 1, unit: text };
}

/** Energy per token of the projection beside systems that exist or are modelled. */
export function comparatorFigure(projection: CostReport, comparators: Comparators): Figure {
  const rows = [...publishedRows(comparators), ...ownRows(projection)].sort((a, b) => b.high - a.high);
  const kinds = [...new Set(rows.map((r) => r.kind))];
  const ticks = logTicks(
    Math.min(...rows.map((r) => r.low)) * 0.7,
    Math.max(...rows.map((r) => r.high)),
    (v) => formatSi(v, 'J'),
  );
  const order = rows.map((r) => wrapPlotText(r.name, 16));
  return {
    id: 'comparators',
    title: 'Energy per token beside other systems (Llama 3.1 8B class)',
    caption: `Left is better, each grid line ten times.${besideHc1(projection, comparators)} Triangles are upper bounds (rated power over rate); modelled systems do not exist as silicon, and neither does this design.`,
    data: kinds.map((kind) => comparatorTrace(kind, rows)),
    layout: {
      xaxis: { title: { text: 'Energy per token (J, logarithmic)' }, type: 'log', ...ticks },
      yaxis: { categoryorder: 'array', categoryarray: order, ticksuffix: ' ' },
      hovermode: 'closest',
    },
    height: 120 + 38 * rows.length,
    phoneHeight: 140 + 36 * rows.length,
    table: comparatorTable(projection, comparators),
  };
}

/** A system in the figure: energy per token from `low` to `high`, J. */
interface ComparatorRow {
  readonly name: string;
  readonly low: number;
  readonly high: number;
  readonly kind: string;
  readonly note: string;
  readonly color: string;
  readonly symbol: string;
}

function publishedRows({ systems }: Comparators): ComparatorRow[] {
  return systems
    .filter((s) => s.jPerToken !== null)
    .map((s) => ({
      name: s.name,
      low: s.jPerToken![0],
      high: s.jPerToken![1],
      kind: s.kind === 'silicon' ? (s.bound ? 'silicon, upper bound' : 'silicon') : 'modelled by others',
      note: `${s.model}, ${s.conditions}. ${s.source} (${s.tag})`,
      color: s.kind === 'silicon' ? COLOURS.grey : COLOURS.purple,
      symbol: s.kind !== 'silicon' ? 'diamond-open' : s.bound ? 'triangle-left' : 'circle',
    }));
}

function ownRows(projection: CostReport): ComparatorRow[] {
  const own = (name: string, value: number, note: string): ComparatorRow => ({
    name,
    low: value,
    high: value,
    kind: 'this project, projected',
    note,
    color: COLOURS.blue,
    symbol: 'star',
  });
  return [
    own('This design, one user', projection.perTokenJ, 'Projection to Llama 3.1 8B; all leakage on one user'),
    own(
      'This design, full pipeline',
      projection.perTokenAggregateJ,
      `Projection to Llama 3.1 8B at ${plain(projection.tokensPerSecondAggregate)} tokens/s, bound by ${projection.binding}`,
    ),
  ];
}

function besideHc1({ perTokenJ }: CostReport, { systems }: Comparators): string {
  const energyJ = systems.find((s) => s.name === 'Taalas HC1' && s.jPerToken)?.jPerToken;
  if (!energyJ) return '';
  const ours = ratio(perTokenJ, (energyJ[0] + energyJ[1]) / 2);
  return ` One user of the projected design takes ${ours} HC1.`;
}

function comparatorTrace(kind: string, rows: readonly ComparatorRow[]): Figure['data'][number] {
  const mine = rows.filter((r) => r.kind === kind);
  const middle = (r: ComparatorRow) => Math.sqrt(r.low * r.high);
  return {
    type: 'scatter',
    mode: 'markers',
    name: kind,
    x: mine.map(middle),
    y: mine.map((r) => wrapPlotText(r.name, 16)),
    error_x: {
      type: 'data',
      symmetric: false,
      array: mine.map((r) => r.high - middle(r)),
      arrayminus: mine.map((r) => middle(r) - r.low),
      // No caps: most systems have one number, and a cap would cross its marker.
      thickness: 4,
      width: 0,
    },
    marker: { color: mine[0].color, size: kind.startsWith('this') ? 14 : 10, symbol: mine[0].symbol },
    customdata: mine.map((r) => [energyRange(r.low, r.high), wrapPlotText(r.note, 58)]),
    hovertemplate: '<b>%{y}</b><br>%{customdata[0]} per token<br>%{customdata[1]}<extra></extra>',
  };
}

const energyRange = (lowJ: number, highJ: number): string =>
  lowJ === highJ ? formatSi(highJ, 'J') : `${formatSi(lowJ, 'J')} to ${formatSi(highJ, 'J')}`;

function comparatorTable(projection: CostReport, { systems }: Comparators): Figure['table'] {
  const own = (name: string, energyJ: number, rate: number, per: string) => [
    name,
    formatSi(energyJ, 'J'),
    `${plain(rate)} tokens/s ${per}`,
    'projected',
    'this report',
    tagBadge('assumed'),
  ];
  const { perTokenJ, tokensPerSecondPerUser, perTokenAggregateJ, tokensPerSecondAggregate } = projection;
  return {
    caption: 'Energy per token and rate, with sources',
    headers: ['System', 'Energy per token', 'Rate', 'Kind', 'Conditions and source', 'Tag'],
    rows: [
      own('This design, one user', perTokenJ, tokensPerSecondPerUser, 'per user'),
      own('This design, full pipeline', perTokenAggregateJ, tokensPerSecondAggregate, 'aggregate'),
      ...systems.map((s) => [
        s.name,
        s.jPerToken === null
          ? 'not published'
          : `${s.bound ? 'at most ' : ''}${energyRange(s.jPerToken[0], s.jPerToken[1])}`,
        s.tokensPerSecond === null
          ? 'not stated'
          : `${plain(s.tokensPerSecond, 5)} tokens/s ${s.rate === 'per-user' ? 'per user' : 'aggregate'}`,
        s.kind,
        `${s.model}; ${s.conditions}. ${s.source}`,
        tagBadge(s.tag),
      ]),
    ],
  };
}

/** "4.2 times the energy of" or "a third of". */
function ratio(a: number, b: number): string {
  return a >= b ? `${plain(a / b, 2)} times the energy of` : `${plain((a / b) * 100, 2)} % of the energy of`;
}
