/**
 * report.html of a run: one self-contained page.
 */

import { type Comparators, loadComparators } from '../cost/comparators.ts';
import { loadCostConstants } from '../cost/constants.ts';
import { type EconomicsReport, projectEconomics } from '../cost/economics.ts';
import type { RunResult } from '../experiment/result.ts';
import { writeFileAtomic } from '../files.ts';
import type { Figure } from './figure.ts';
import { type CalibrationFigures, cellFigures } from './figures-cell.ts';
import { comparatorFigure, costFigures, sensitivityFigure } from './figures-cost.ts';
import { positionFigures } from './figures-positions.ts';
import { predictionFigures } from './figures-prediction.ts';
import { runFigures } from './figures-run.ts';
import { blockFigure } from './figures-stream.ts';
import { taskTable } from './figures-task.ts';
import { mappingMap, snrMaps } from './figures-tensors.ts';
import { floorplanHtml } from './floorplan.ts';
import { escapeHtml } from './html.ts';
import { mappingHtml } from './mapping.ts';
import { type Part, pageHtml, sectionOf } from './page.ts';
import {
  accuracyReferencesHtml,
  costTablesHtml,
  economicsHtml,
  firstFigure,
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
  const parts = reportParts(result, calibration, options);
  const synthetic = result.model.synthetic ? ' (synthetic weights)' : '';
  return pageHtml(
    `onefet: ${result.model.name}${synthetic} on ${result.design.name}`,
    `${result.calibration ? `${result.calibration.process}/${result.calibration.cell}` : result.fabric.kind}, ${chipsText(result)}, seed ${result.seed}`,
    firstScreenHtml(result, calibration),
    parts.map(sectionOf),
  );
}

/** Every figure of the page, by its id. */
export function reportFigures(
  result: RunResult,
  calibration: CalibrationFigures | null,
  options: ReportOptions = {},
): Figure[] {
  const parts = reportParts(result, calibration, options);
  return [firstFigure(result), ...parts.flatMap(({ figures = [] }) => figures)];
}

function reportParts(
  result: RunResult,
  calibration: CalibrationFigures | null,
  options: ReportOptions,
): Part[] {
  const comparators = options.comparators ?? loadComparators();
  const { mapping } = result;
  return [
    { id: 'verdict', title: 'Verdict', before: verdictHtml(result), open: true },
    {
      id: 'errors',
      title: 'Where errors come from',
      before: result.task ? taskTable(result.task) : '',
      figures: [
        ...runFigures(result),
        ...positionFigures(result),
        ...blockFigures(result),
        ...snrMaps(result),
        ...predictionFigures(result),
      ],
      after: result.model.synthetic
        ? ''
        : `<details class="screen"><summary>Published accuracies for orientation</summary>${accuracyReferencesHtml(comparators)}</details>`,
    },
    ...(mapping
      ? [
          {
            id: 'mapping',
            title: 'Mapping',
            before: mappingHtml(mapping),
            figures: [mappingMap(mapping)].filter((figure) => figure !== undefined),
          },
        ]
      : []),
    ...(calibration
      ? [
          {
            id: 'cell',
            title: 'The cell',
            before: `<p>${escapeHtml(topologyText(calibration))}</p>`,
            figures: cellFigures(calibration),
          },
        ]
      : []),
    ...costParts(result, comparators, options.economics),
    { id: 'limits', title: 'Limits', before: limitsHtml(result) },
    { id: 'provenance', title: 'Provenance', before: provenanceHtml(result) },
  ];
}

function costParts(result: RunResult, comparators: Comparators, given: ReportOptions['economics']): Part[] {
  const { projection, cost } = result;
  const economics = given === undefined ? economicsOfProjection(result) : given;
  const projected = `${projection.shape.name}, projected`;
  return [
    {
      id: 'energy',
      title: 'Energy beside other systems',
      // The statement is about a chip with cells.
      before: result.calibration ? `<p>${escapeHtml(comparators.statement)}</p>` : '',
      figures: [comparatorFigure(projection, comparators)],
    },
    {
      id: 'projection',
      title: `Cost of ${projection.shape.name} (projected)`,
      before: `<p>${escapeHtml(projectionText(result))}</p>`,
      figures: [
        ...costFigures('projection', projected, projection),
        sensitivityFigure('sensitivity', projected, projection),
      ],
      after: floorplanHtml('ground', projected, projection),
    },
    {
      id: 'cost',
      title: 'Cost of the model that ran',
      screenOnly: true,
      figures: costFigures('run', cost.shape.name, cost),
    },
    ...(economics
      ? [{ id: 'economics', title: 'What a token costs', before: economicsHtml(economics) }]
      : []),
    {
      id: 'lines',
      title: 'Every line of the cost',
      before: `${costTablesHtml(projected, projection, true)}${costTablesHtml(cost.shape.name, cost, false)}`,
    },
  ];
}

function economicsOfProjection(result: RunResult): EconomicsReport | null {
  if (!(result.projection.tokensPerSecondAggregate > 0)) return null;
  return projectEconomics(
    result.projection,
    loadCostConstants(result.design.process, String(result.design.resolved.costs ?? 'cost')),
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
