/**
 * Datasheet of a cell as Markdown and as one self-contained page: verdict, specifications, every sweep with its fit.
 */
import { join } from 'node:path';
import { type Calibration, loadCalibration } from '../cell/calibration.ts';
import {
  checkDatasheet,
  type Datasheet,
  type DatasheetRow,
  datasheetMarkdown,
  loadDatasheetSpec,
  printValue,
} from '../cell/datasheet/datasheet.ts';
import { OnefetError } from '../error.ts';
import { sha256, writeFileAtomic } from '../files.ts';
import { formatSi, plain } from '../format.ts';
import { type Figure, figureHtml } from './figure.ts';
import { cellFigures } from './figures-cell.ts';
import { datasheetFigures, sourceName } from './figures-datasheet.ts';
import { type Cell, escapeHtml, tableHtml } from './html.ts';
import { pageHtml } from './page.ts';

export interface DatasheetOptions {
  readonly process: string;
  readonly cell: string;
  /** calibration/datasheets/<process>/<cell>.yaml unless given. */
  readonly specPath?: string;
  /** <process>-<cell>.md and .html are written here. */
  readonly outFolder: string;
  /** Instead of the calibration of that name. */
  readonly calibration?: Calibration;
}

export interface DatasheetResult {
  readonly sheet: Datasheet;
  readonly markdownPath: string;
  readonly htmlPath: string;
}

/**
 * Checks the cell against its specifications and writes both pages; failed specifications are in the result, see
 * requireDatasheet. Errors: FILE_MISSING, DATASHEET_INVALID, CALIBRATION_*.
 */
export function writeDatasheet(options: DatasheetOptions): DatasheetResult {
  const { spec } = loadDatasheetSpec(options.process, options.cell, options.specPath);
  const calibration = options.calibration ?? loadCalibration(options.process, options.cell);
  const sheet = checkDatasheet(spec, calibration);
  const base = join(options.outFolder, `${options.process}-${options.cell}`);
  const markdownPath = `${base}.md`;
  const htmlPath = `${base}.html`;
  writeFileAtomic(markdownPath, datasheetMarkdown(sheet, calibration));
  writeFileAtomic(htmlPath, datasheetHtml(sheet, calibration));
  return { sheet, markdownPath, htmlPath };
}

/** For a gate in a script: error DATASHEET_FAILED (exit code 5) names the first specification that does not hold. */
export function requireDatasheet({ sheet, htmlPath }: DatasheetResult): void {
  const first = sheet.rows.find(({ verdict }) => verdict === 'fail');
  if (first === undefined) return;
  throw new OnefetError(
    'requirement',
    'DATASHEET_FAILED',
    `${sheet.process}/${sheet.cell}: ${sheet.failed} of ${sheet.rows.length} specifications do not hold, first: ${failureText(first)}`,
    { hint: `see ${htmlPath}` },
  );
}

export function datasheetHtml(sheet: Datasheet, cal: Calibration): string {
  const own = datasheetFigures(cal);
  const byId = (...ids: string[]) =>
    ids.flatMap((id) => [...cellFigures(cal), ...own].filter((f) => f.id === id));
  const html = (figures: Figure[]) => `<div class="figures">${figures.map(figureHtml).join('\n')}</div>`;
  return pageHtml(
    sheet.title,
    `Characterisation of ${sheet.process}/${sheet.cell}: ${sheet.rows.length} specifications against the calibration`,
    introHtml(sheet, cal),
    [
      { id: 'specifications', title: 'Specifications', html: specificationsHtml(sheet, cal), open: true },
      {
        id: 'sweeps',
        title: 'Transfer sweeps',
        html: html(byId('temperatures', 'transfer', 'residuals', 'corners', 'off')),
      },
      { id: 'multiplication', title: 'Multiplication', html: html(byId('products', 'multiply')) },
      {
        id: 'spread',
        title: 'Spread, noise and leakage',
        html: html(byId('sigma', 'mismatch', 'noise', 'gate-leakage')),
      },
      { id: 'model', title: 'Model and sources', html: modelHtml(cal) },
    ],
  );
}

function introHtml(sheet: Datasheet, cal: Calibration): string {
  const { failed, passed } = sheet;
  const failures = sheet.rows.filter(({ verdict }) => verdict === 'fail');
  const list = failures.map((row) => `<li>${escapeHtml(failureText(row))}</li>`).join('');
  const verdict =
    failed === 0
      ? `<p><strong>Pass.</strong> All ${passed} specifications with a limit hold.</p>`
      : `<p><strong>Fail.</strong> ${failed} of ${passed + failed} specifications do not hold:</p><ul>${list}</ul>`;
  const range = cal.exponentialRange.find(({ tolerance }) => tolerance === 0.01);
  const card = (name: string, value: string, detail: string) =>
    `<li><span class="name">${escapeHtml(name)}</span><span class="value">${escapeHtml(value)}</span><span class="detail">${escapeHtml(detail)}</span></li>`;
  const nominal = cal.multiply.tempK.reduce(
    (b, t, i, all) => (Math.abs(t - cal.nominal.tempK) < Math.abs(all[b] - cal.nominal.tempK) ? i : b),
    0,
  );
  const product = cal.multiply.product[nominal];
  const { lnSigmaSpice } = cal.mismatch.monteCarlo;
  return `<div class="verdict ${failed === 0 ? 'as-good' : 'far-worse'}">${verdict}</div>
<ul class="cards">
${card('Full scale', formatSi(cal.nominal.fullScaleA, 'A'), `at Vgs ${plain(cal.nominal.fullScaleVgsV * 1e3)} mV, Vds ${plain(cal.nominal.vdsV)} V`)}
${range === undefined ? '' : card('Exponential within 1 %', `${plain(range.decades)} decades`, `${formatSi(range.lowA, 'A')} to ${formatSi(range.highA, 'A')}, n ${plain(range.slopeFactorN, 4)}`)}
${card('Product error, RMS', `${plain(100 * product.rms, 2)} %`, `${plain(100 * product.max, 2)} % at most, ${plain(cal.multiply.tempK[nominal] - 273.15)} °C`)}
${card('Spread of equal cells', `${plain(100 * lnSigmaSpice[lnSigmaSpice.length - 1])} %`, `σVt ${plain(cal.mismatch.sigmaVtV * 1e3)} mV on ${plain(cal.device.widthM * cal.device.lengthM * 1e12)} µm²`)}
</ul>`;
}

const unitText = (unit: string) => (unit === '1' ? '' : unit);

function foundText({ found, remark }: DatasheetRow): string {
  if (found === undefined) return remark;
  return found.low === found.high
    ? printValue(found.nominal)
    : `${printValue(found.low)}\u00a0… ${printValue(found.high)}`;
}

function failureText(row: DatasheetRow): string {
  const where = row.condition === '' ? '' : ` (${row.condition})`;
  return `${row.title}${where}: ${withUnit(foundText(row), row.unit)}, ${limitText(row)}`;
}

const withUnit = (text: string, unit: string) => (unit === '1' ? text : `${text} ${unit}`);

function limitText({ min, max, unit, remark, found }: DatasheetRow): string {
  const limits = [
    ...(min === undefined ? [] : [`at least ${printValue(min)}`]),
    ...(max === undefined ? [] : [`at most ${printValue(max)}`]),
  ].join(', ');
  return `specified ${withUnit(limits, unit)}${found !== undefined && remark !== '' ? `; ${remark}` : ''}`;
}

const VERDICT: Record<DatasheetRow['verdict'], string> = {
  pass: '<span class="tag pass">pass</span>',
  fail: '<span class="tag fail">FAIL</span>',
  info: '',
};

function specificationsHtml(sheet: Datasheet, cal: Calibration): string {
  // Typical values are rare: no empty column for them.
  const typical = sheet.rows.some(({ typ }) => typ !== undefined);
  const rows = sheet.rows.map((row): Cell[] => [
    row.title,
    { html: VERDICT[row.verdict] },
    foundText(row),
    printValue(row.min),
    ...(typical ? [printValue(row.typ)] : []),
    printValue(row.max),
    unitText(row.unit),
    row.condition,
    {
      html: `<span class="formula">${escapeHtml([row.found === undefined ? '' : row.remark, row.source].filter((text) => text !== '').join('. '))}</span>`,
    },
  ]);
  return `<p>Found: over all combinations of the conditions. A condition that is not stated is nominal: TT, 27 °C, Vds ${plain(cal.nominal.vdsV)} V, full scale ${formatSi(cal.nominal.fullScaleA, 'A')}.</p>
${tableHtml({
  caption: 'Specifications',
  headers: [
    'Parameter',
    'Verdict',
    'Found',
    'Min',
    ...(typical ? ['Typ'] : []),
    'Max',
    'Unit',
    'Conditions',
    'Remark and source of the limit',
  ],
  rows,
})}`;
}

function modelHtml(cal: Calibration): string {
  const fact = (name: string, value: string) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`;
  const { tempK, vdsV, smallestProduct, largestProduct, offVgsV } = cal.validRange;
  const names = cal.model.coefficientNames;
  const corners = Object.entries(cal.corners);
  const variance = (covariance: readonly number[], i: number) =>
    covariance[i * names.length - (i * (i - 1)) / 2];
  return `<dl class="facts">
${fact(sourceName(cal) === 'SPICE' ? 'Simulator' : 'Data', cal.engine)}
${fact('Topology', cal.topology)}
${fact('Driver', `${cal.driver}: the error of a real row driver is not in these numbers`)}
${fact('Device', `W ${plain(cal.device.widthM * 1e6)} µm, L ${plain(cal.device.lengthM * 1e6)} µm, oxide ${plain(cal.device.oxideM * 1e9)} nm`)}
${fact('Valid range', `${plain(tempK[0] - 273.15)} to ${plain(tempK[1] - 273.15)} °C, Vds ${plain(vdsV[0])} to ${plain(vdsV[1])} V, products 1/${Math.round(1 / smallestProduct)} to ${plain(largestProduct)} of full scale, off level ${plain(offVgsV[0])} to ${plain(offVgsV[1])} V`)}
${fact('Equation', cal.model.equation)}
${fact('Calibration', sha256(JSON.stringify(cal)).slice(0, 16))}
${Object.entries(cal.sources)
  .map(([source, hash]) => {
    // The parts of a file that are used go with its hash: the name alone stays short.
    const [path, parts] = source.split('#');
    const of = parts === undefined ? '' : ` of ${parts.replaceAll(',', ', ')}`;
    return fact(path, `${hash.slice(0, 16)}${of}`);
  })
  .join('\n')}
</dl>
${tableHtml({
  caption: 'Coefficients of every corner; TT with its standard error from the covariance of the fit',
  headers: ['Coefficient', ...corners.map(([corner]) => corner), 'Standard error'],
  rows: names.map((name, i) => [
    name,
    ...corners.map(([, entry]) => plain(entry!.coefficients[i], 5)),
    plain(Math.sqrt(Math.max(0, variance(cal.corners.TT!.covariance, i))), 2),
  ]),
})}`;
}
