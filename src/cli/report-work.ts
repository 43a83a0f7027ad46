/** The work of `report`: the page of a run, of a sweep or of several runs, written again, or one of its figures. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Calibration } from '../cell/calibration.ts';
import { type Gate, loadSized } from '../cell/sized-calibration.ts';
import { OnefetError } from '../error.ts';
import { readResult } from '../experiment/read-result.ts';
import type { RunResult } from '../experiment/result.ts';
import { sha256, writeFileAtomic } from '../files.ts';
import { readOptimise } from '../optimise/read-result.ts';
import { OPTIMISE_FILE } from '../optimise/result.ts';
import { comparisonFigures, renderRunComparison } from '../report/compare/compare.ts';
import { readRuns } from '../report/compare/runs.ts';
import type { Figure } from '../report/figure.ts';
import { optimiseFigures, renderOptimise } from '../report/optimise/optimise.ts';
import { renderReport, reportFigures } from '../report/report.ts';
import { renderSweep, sweepFigures } from '../report/sweep/sweep.ts';
import { readSweep } from '../sweep/finish.ts';

export interface ReportPage {
  /** Where it is written unless told otherwise. */
  readonly path: string;
  html(): string;
  figures(): Figure[];
}

/** The page of what stands in the folders: one run, one sweep, one optimisation, or runs side by side. */
export function reportPage(folders: readonly string[], notice: (text: string) => void): ReportPage {
  const [folder] = folders;
  if (folders.length > 1) return comparisonPage(folders);
  if (existsSync(join(folder, 'plan.json'))) return sweepPage(folder);
  if (existsSync(join(folder, OPTIMISE_FILE))) return optimisePage(folder);
  return runPage(folder, notice);
}

/** Writes the page and returns its path. */
export function writePage(page: ReportPage, path: string = page.path): string {
  writeFileAtomic(path, page.html());
  return path;
}

/** Runs are found by what they are compared with: another set is another file. */
function comparisonPage(folders: readonly string[]): ReportPage {
  const runs = readRuns(folders);
  const set = sha256(JSON.stringify(runs.map(({ folder }) => basename(folder)))).slice(0, 12);
  return {
    path: join(dirname(runs[0].folder), `comparison-${set}.html`),
    html: () => renderRunComparison(runs),
    figures: () => comparisonFigures(runs),
  };
}

function sweepPage(folder: string): ReportPage {
  const sweep = readSweep(folder);
  if (sweep === undefined) {
    throw new OnefetError(
      'input',
      'SWEEP_UNFINISHED',
      `the sweep in ${folder} has points without an outcome`,
      {
        hint: 'give the command of the sweep again; it goes on where it stopped',
      },
    );
  }
  return {
    path: join(folder, 'report.html'),
    html: () => renderSweep(sweep),
    figures: () => sweepFigures(sweep),
  };
}

function optimisePage(folder: string): ReportPage {
  const result = readOptimise(folder);
  return {
    path: join(folder, 'report.html'),
    html: () => renderOptimise(result),
    figures: () => optimiseFigures(result),
  };
}

/**
 * The cell is drawn from the calibration that is on file now, and only if it is the one that the run used; otherwise `notice`
 * is told why it is left out.
 */
function runPage(folder: string, notice: (text: string) => void): ReportPage {
  const result = readResult(folder);
  const calibration = calibrationOfRun(result, notice);
  return {
    path: join(folder, 'report.html'),
    html: () => renderReport(result, calibration),
    figures: () => reportFigures(result, calibration),
  };
}

function calibrationOfRun(
  { calibration, design }: RunResult,
  notice: (text: string) => void,
): Calibration | null {
  if (calibration === null) return null;
  const { process, cell, sha256: used } = calibration;
  const { gate } = design.resolved as { readonly gate?: Gate };
  let onFile: Calibration;
  try {
    onFile = loadSized({ process, cell, gate });
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind !== 'input') throw error;
    notice(`the report has no figures of the cell: ${error.message}`);
    return null;
  }
  if (sha256(JSON.stringify(onFile)) === used) return onFile;
  notice(
    `the report has no figures of the cell: the calibration of ${process}/${cell} that is on file is not the one that the run used`,
  );
  return null;
}
