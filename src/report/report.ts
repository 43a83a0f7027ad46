/**
 * report.html of a run: one self-contained page.
 */

import { type Comparators, loadComparators } from '../cost/comparators.ts';
import { loadCostConstants } from '../cost/constants.ts';
import { type EconomicsReport, projectEconomics } from '../cost/economics.ts';
import type { RunResult } from '../experiment/result.ts';
import { writeFileAtomic } from '../files.ts';
import { type Figure, figureHtml } from './figure.ts';
import { type CalibrationFigures, cellFigures } from './figures-cell.ts';
import { comparatorFigure, costFigures, sensitivityFigure } from './figures-cost.ts';
import { positionFigures } from './figures-positions.ts';
import { runFigures } from './figures-run.ts';
import { blockFigure } from './figures-stream.ts';
import { escapeHtml } from './html.ts';
import { mappingHtml } from './mapping.ts';
import { type PageSection, pageHtml } from './page.ts';
import {
  accuracyReferencesHtml,
  costTablesHtml,
  economicsHtml,
  firstScreenHtml,
  limitsHtml,
  provenanceHtml,
  verdictHtml,
} from './sections.ts';

export type { CalibrationFigures } from './figures-cell.ts';

export interface ReportOptions {
  /** Other systems; experiments/comparators.yaml unless given. */
  comparators?: Comparators;
  /** Cost of tokens; from the projection and the process's cost.yaml unless given; null leaves it out. */
  economics?: EconomicsReport | null;
}

/** Writes the page, whole or not at all. `calibration` is a calibration, or what of it is drawn; null draws no cell. */
export function writeReport(
  path: string,
  result: RunResult,
  calibration: CalibrationFigures | null,
  options: ReportOptions = {},
): void {
  writeFileAtomic(path, renderReport(result, calibration, options));
}

/** A folder that an older version made has no states of the blocks. */
function blockFigures(result: RunResult): Figure[] {
  const figure = blockFigure(result);
  return figure ? [figure] : [];
}

export function renderReport(
  result: RunResult,
  calibration: CalibrationFigures | null,
  options: ReportOptions = {},
): string {
  const comparators = options.comparators ?? loadComparators();
  const economics = options.economics === undefined ? economicsOfProjection(result) : options.economics;
  const projected = `${result.projection.shape.name}, projected`;
  const sections: PageSection[] = [
    { id: 'verdict', title: 'Verdict', html: verdictHtml(result), open: true },
    {
      id: 'errors',
      title: 'Where errors come from',
      html: `${figures([...runFigures(result), ...positionFigures(result), ...blockFigures(result)])}${
        result.model.synthetic
          ? ''
          : `<details><summary>Published accuracies for orientation</summary>${accuracyReferencesHtml(comparators)}</details>`
      }`,
    },
  ];
  if (result.mapping) sections.push({ id: 'mapping', title: 'Mapping', html: mappingHtml(result.mapping) });
  if (calibration !== null) {
    sections.push({
      id: 'cell',
      title: 'The cell',
      html: `<p>${escapeHtml(`${topologyText(calibration)}`)}</p>${figures(cellFigures(calibration))}`,
    });
  }
  sections.push(
    {
      id: 'energy',
      title: 'Energy beside other systems',
      // The statement is about a chip with cells.
      html: `${result.calibration ? `<p>${escapeHtml(comparators.statement)}</p>` : ''}${figures([comparatorFigure(result.projection, comparators)])}`,
    },
    {
      id: 'projection',
      title: `Cost of ${result.projection.shape.name} (projected)`,
      html: `<p>${escapeHtml(projectionText(result))}</p>${figures([...costFigures('projection', projected, result.projection), sensitivityFigure('sensitivity', projected, result.projection)])}`,
    },
    {
      id: 'cost',
      title: 'Cost of the model that ran',
      html: figures(costFigures('run', result.cost.shape.name, result.cost)),
    },
  );
  if (economics)
    sections.push({ id: 'economics', title: 'What a token costs', html: economicsHtml(economics) });
  sections.push(
    {
      id: 'lines',
      title: 'Every line of the cost',
      html: `${costTablesHtml(projected, result.projection, true)}${costTablesHtml(result.cost.shape.name, result.cost, false)}`,
    },
    { id: 'limits', title: 'Limits', html: limitsHtml(result) },
    { id: 'provenance', title: 'Provenance', html: provenanceHtml(result) },
  );
  const synthetic = result.model.synthetic ? ' (synthetic weights)' : '';
  return pageHtml(
    `onefet: ${result.model.name}${synthetic} on ${result.design.name}`,
    `${result.calibration ? `${result.calibration.process}/${result.calibration.cell}` : result.fabric.kind}, ${chipsText(result)}, seed ${result.seed}`,
    firstScreenHtml(result, calibration),
    sections,
  );
}

function economicsOfProjection(result: RunResult): EconomicsReport | null {
  if (!(result.projection.tokensPerSecondAggregate > 0)) return null;
  return projectEconomics(
    result.projection,
    loadCostConstants(result.design.process, String(result.design.resolved['costs'] ?? 'cost')),
  );
}

function chipsText({ fabric, chips }: RunResult): string {
  if (!fabric.chipsDiffer) return 'every chip the same';
  return `${chips.length} ${chips.length === 1 ? 'chip' : 'chips'}`;
}

function topologyText({ process, cell, topology }: CalibrationFigures): string {
  const known: Record<string, string> = {
    t1: 'one transistor per weight; the gate via lands on one of the taps of a resistor ladder that its input row shares (the weight), the drain via on one of two bit lines (the sign), or nowhere (zero)',
  };
  return `Cell ${process}/${cell}: ${known[topology.toLowerCase()] ?? topology}.`;
}

function projectionText(result: RunResult): string {
  const { projection, cost } = result;
  return `Scaled from what the run of ${cost.shape.name} counted (${result.calibration ? 'mean current per cell, rows driven, cells connected, clip rate' : 'products'}, tensor by tensor) to the shape of ${projection.shape.name}. A projection of cost, not of accuracy.`;
}

function figures(list: readonly Figure[]): string {
  return `<div class="figures">${list.map(figureHtml).join('\n')}</div>`;
}
