/**
 * report.html of a sweep: question, result, set-up, limits and provenance in one self-contained page, with the table as CSV in
 * it. A figure more is an entry in `sweepFigures`.
 */
import { join } from 'node:path';
import { version as nodeVersion } from 'node:process';
import { stringify } from 'yaml';
import { toCsv } from '../../csv.ts';
import { sha256, writeFileAtomic } from '../../files.ts';
import { formatSi, plain } from '../../format.ts';
import type { FinishedSweep } from '../../sweep/finish.ts';
import { isAccuracy } from '../../sweep/outcome.ts';
import type { Row } from '../../sweep/table.ts';
import type { Figure } from '../figure.ts';
import { escapeHtml, factsHtml, type Table, tableHtml } from '../html.ts';
import { figuresHtml, type PageSection, pageHtml } from '../page.ts';
import { calibrationFigures } from './figures-calibration.ts';
import { choicesFigure } from './figures-choices.ts';
import { keyFigures, mainMetric, mapFigure, metricsBeside } from './figures-key.ts';
import { parallelFigure } from './figures-parallel.ts';
import { PRICES, paretoFigure } from './figures-pareto.ts';
import { doneOf, valueText } from './series.ts';

/** Writes report.html into the sweep's folder and returns its path. */
export function writeSweepReport(sweep: FinishedSweep): string {
  const path = join(sweep.folder, 'report.html');
  writeFileAtomic(path, renderSweep(sweep));
  return path;
}

export function renderSweep(sweep: FinishedSweep): string {
  const { description } = sweep;
  const drawn = sweepFigures(sweep);
  const sections: PageSection[] = [
    ...(drawn.length > 0
      ? [
          {
            id: 'result',
            title: 'Result',
            open: true,
            html: figuresHtml(drawn),
          },
        ]
      : []),
    { id: 'points', title: 'Every point', html: tableSection(sweep), open: true },
    { id: 'setup', title: 'Set-up', html: setupHtml(sweep) },
    { id: 'limits', title: 'What the intervals cover', html: limitsHtml(sweep) },
    { id: 'provenance', title: 'Provenance', html: provenanceHtml(sweep) },
  ];
  const count = doneOf(sweep).length;
  const missing = sweep.outcomes.length - count;
  return pageHtml(
    `onefet sweep: ${description.name}`,
    `${count} ${count === 1 ? 'point' : 'points'}${missing > 0 ? `, ${missing} refused or failed` : ''}, over ${description.varied.join(', ') || 'nothing'}`,
    description.question ? `<p class="verdict">${escapeHtml(description.question)}</p>` : '',
    sections,
  );
}

/** Every figure of the page. */
export function sweepFigures(sweep: FinishedSweep): Figure[] {
  const main = mainMetric(sweep);
  if (main === undefined) return calibrationFigures(sweep);
  const pareto = PRICES.map((price) => paretoFigure(sweep, main, price));
  const made = [
    choicesFigure(sweep),
    ...keyFigures(sweep, main),
    ...metricsBeside(sweep).flatMap((metric) => keyFigures(sweep, metric, `key-${metric.name}`)),
    mapFigure(sweep, main),
    parallelFigure(sweep, main),
    ...pareto,
  ];
  return made.filter((figure) => figure !== undefined);
}

/** Columns of the table on the page; the CSV has all. */
const SHOWN: Readonly<Record<string, string>> = {
  ...{
    status: 'Status',
    chips: 'Chips',
    perplexity: 'Perplexity',
    kl_nats: 'KL (nats)',
    top1_share: 'Same top token',
  },
  ...{
    yield_share: 'Yield',
    projected_energy_per_token_j: '8B energy (J/token)',
    projected_area_mm2: '8B area (mm2)',
  },
  projected_tokens_per_second_per_user: '8B tokens/s',
  ...{ kl_nats_less_reference: 'KL less reference', kl_nats_less_reference_p_holm: 'p (Holm)' },
  ...{ ladder_slope_factor: 'n', exponential_range_decades: 'Range (decades)', sigma_current: 'Sigma ln I' },
  ...{ fit_rms: 'Fit RMS', held_out_vds_rms: 'Held-out Vds RMS', held_out_temperature_rms: 'Held-out T RMS' },
  ...{ product_error_rms: 'Product RMS', off_current_a: 'Off current (A)', settling_1pc_s: 'Settling (s)' },
};

function tableSection({ rows, description }: FinishedSweep): string {
  const columns = Object.entries(SHOWN).filter(([name]) => rows.some((row) => row[name] != null));
  const table: Table = {
    caption: 'Means over chips; an interval of 95 % over chips stands in brackets where there is one',
    headers: ['Point', ...description.varied, ...columns.map(([, title]) => title)],
    rows: rows.map((row) => [
      String(row.point),
      ...description.varied.map((key) => valueText(row[key] ?? undefined)),
      ...columns.map(([name]) => cellText(row, name)),
    ]),
  };
  const csv = Buffer.from(toCsv(rows), 'utf8').toString('base64');
  const link = `<p><a download="results.csv" href="data:text/csv;base64,${csv}">results.csv</a>: every column of every point, as in the folder of the sweep.</p>`;
  const missing = rows.filter((row) => row.status !== 'done');
  const reasons: Table = {
    caption: 'Points without a result',
    headers: ['Point', 'Status', 'Reason'],
    rows: missing.map((row) => [String(row.point), String(row.status), String(row.reason)]),
  };
  return `${link}${tableHtml(table)}${missing.length > 0 ? tableHtml(reasons) : ''}`;
}

function cellText(row: Row, name: string): string {
  const value = row[name];
  if (typeof value !== 'number') return value == null ? '-' : String(value);
  if (value !== 0 && Math.abs(value) < 1e-3) return formatSi(value, '');
  const [low, high] = [row[`${name}_ci95_chips_low`], row[`${name}_ci95_chips_high`]];
  const text = plain(value, 4);
  return typeof low === 'number' && typeof high === 'number' && name !== 'yield_share'
    ? `${text} (${plain(low, 3)} to ${plain(high, 3)})`
    : text;
}

function setupHtml({ description }: FinishedSweep): string {
  const { base, text, points, varied, file } = description;
  const shared = Object.keys(base).length > 0 ? stringify(base) : '(defaults)\n';
  return `<p>${escapeHtml(`${points.length} points over ${varied.join(', ') || 'nothing'}, from ${file}. What all points have in common:`)}</p><pre>${escapeHtml(shared)}</pre>${
    text === ''
      ? ''
      : `<details><summary>The experiment file</summary><pre>${escapeHtml(text)}</pre></details>`
  }`;
}

function limitsHtml(sweep: FinishedSweep): string {
  const [first] = doneOf(sweep).filter(isAccuracy);
  if (first === undefined) {
    return '<p>Quantities are those of a simulated transistor of the stated model card: no interval covers the card. Settling is of one column at the typical corner and 27 C.</p>';
  }
  const { windows, scored, chips } = first;
  const { reference, stop } = sweep.description;
  const lines = [
    `Intervals over chips (Student t) cover the draw of the chips on this text, and say nothing about other texts. Those over text and chips (bootstrap over ${windows} ${windows === 1 ? 'window, which one cannot do' : 'windows'} and ${chips} ${chips === 1 ? 'chip' : 'chips'}) cover other texts of the kind as well: they are in results.csv. ${scored} predictions were scored.`,
    'Bands of energy and area are of the constants of cost, not of the chips.',
    ...(reference === null
      ? []
      : [
          `Differences to point ${reference + 1} are paired by chip and window (bootstrap); p values are two-sided and adjusted by Holm over all points of a metric. There is none where fewer than five chips or windows are resampled.`,
        ]),
    ...(stop === null
      ? []
      : [
          'Chips were added until the interval was narrow enough: the coverage of such an interval is a little below 95 % where few chips were.',
        ]),
  ];
  return lines.map((line) => `<p>${escapeHtml(line)}</p>`).join('\n');
}

function provenanceHtml({ description, folder }: FinishedSweep): string {
  const facts: [string, string][] = [
    ['Sweep', description.key],
    ['Folder', folder],
    [
      'Experiment',
      description.text === '' ? description.file : `${description.file}, SHA-256 ${sha256(description.text)}`,
    ],
    ['onefet', description.onefet],
    ['Node', nodeVersion],
  ];
  return factsHtml(facts);
}
