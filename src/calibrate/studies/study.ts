/**
 * Common ground of the studies of columns, statistics, noise and transients: which cells they describe, their testbench, and
 * what their result files have in common.
 */
import { join } from 'node:path';
import type { z } from 'zod';
import { type Calibration, loadCalibration } from '../../cell/calibration.ts';
import { REFERENCE_TEMP_K } from '../../cell/ekv.ts';
import { type OperatingPoint, operatingPoint } from '../../cell/operating-point.ts';
import { cellOf, checkName, loadProcess, technologySource } from '../../cell/technology.ts';
import { loadMultiplier } from '../../cell/topology.ts';
import { OnefetError } from '../../error.ts';
import { sha256, writeFileAtomic } from '../../files.ts';
import { encodeResult, loadResult } from '../../sources.ts';
import {
  type CalibratedTestbench,
  calibratedTestbench,
  cellTestbench,
  type SimulatorOptions,
  withSimulators,
} from '../testbench.ts';

export interface StudyOptions extends SimulatorOptions {
  readonly process: string;
  readonly cell: string;
  /** Called after each simulation. */
  readonly onRun?: (label: string) => void;
}

/**
 * Folder of the decks of a cell's transistor. The studies describe cells whose gate stands on a ladder tap at a voltage that
 * a row drives, and whose sources share one line; a cell of another kind is refused with what it is instead.
 * Errors: CELL_UNKNOWN, TOPOLOGY_*, STUDY_TOPOLOGY.
 */
export function studiedTransistor(process: string, cell: string): string {
  const loaded = loadProcess(process);
  const found = transistorOfStudies(process, cell);
  if ('folder' in found) return found.folder;
  const others = Object.entries(loaded.technology.cells)
    .filter(([, other]) => loadMultiplier(other.topology).topology.kind === 'exponentiator')
    .map(([name]) => name);
  throw new OnefetError(
    'usage',
    'STUDY_TOPOLOGY',
    `${process}/${cell}: no studies of topology ${found.topology}: ${found.instead}`,
    {
      hint: `studies are of a gate on a tap that a row drives${others.length > 0 ? `; of this process: ${others.join(', ')}` : ''}`,
    },
  );
}

/** The folder, or what a cell is instead of one that is studied. */
export function transistorOfStudies(
  process: string,
  cell: string,
): { readonly folder: string } | { readonly topology: string; readonly instead: string } {
  const loaded = loadProcess(process);
  const { topology } = loadMultiplier(cellOf(loaded, cell).topology);
  const instead =
    topology.ladder === 'rail'
      ? 'its weight is a source rail, so its sources do not share a line'
      : topology.ladder === 'none'
        ? 'its weight is a number of fingers'
        : topology.input === 'current'
          ? 'its row is driven by a current, so gate levels depend on the row'
          : topology.area.resistors > 0
            ? 'resistors lie between its gate and the row'
            : undefined;
  if (instead !== undefined) return { topology: topology.name, instead };
  return { folder: topology.kind === 'exponentiator' ? topology.name : topology.transistor };
}

/** Loads process, cell and calibration, runs `work`, and closes the simulators that it started. */
export async function withTestbench<T>(
  options: StudyOptions,
  work: (testbench: CalibratedTestbench) => Promise<T>,
): Promise<T> {
  const process = loadProcess(options.process);
  const cell = cellOf(process, options.cell);
  const transistor = studiedTransistor(options.process, options.cell);
  const cal = loadCalibration(options.process, options.cell);
  return withSimulators(options, 'study', (pool) => {
    const testbench = cellTestbench(process, options.cell, cell, {
      pool,
      signal: options.signal,
      sources: [technologySource(process, { cell: options.cell })],
      onRun: (label) => options.onRun?.(label),
    });
    return work(calibratedTestbench(testbench, cal, transistor));
  });
}

/** TT, 27 C. */
export const nominalPoint = ({ cal }: CalibratedTestbench): OperatingPoint =>
  operatingPoint(cal, 'TT', REFERENCE_TEMP_K);

/** Hash of the parts of a calibration that a study is compared with: its fit, not its plots. */
export function calibrationFingerprint({ nominal, corners, mismatch }: Calibration): string {
  const coefficients = Object.entries(corners).map(([corner, entry]) => [corner, entry.coefficients]);
  const { sigmaVtV, sigmaBeta, thresholdGain } = mismatch;
  return sha256(JSON.stringify([nominal, coefficients, sigmaVtV, sigmaBeta, thresholdGain]));
}

/**
 * Finds and validates calibration/<process>/<cell>.<study>.json (working folder first); refuses one whose netlists, models
 * or calibration have changed since. Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE.
 */
export function loadStudy<
  T extends z.ZodType<{ sources: Record<string, string>; calibrationSha256: string }>,
>(schema: T, process: string, cell: string, study: string): z.infer<T> {
  return loadResult<T>({
    relative: studyPath(process, cell, study),
    kind: `${study} study`,
    name: `${process}/${cell}`,
    schema,
    code: 'STUDY',
    hint: `run: onefet calibrate --process ${process} --cell ${cell} --studies`,
    changed: ({ calibrationSha256 }) =>
      calibrationFingerprint(loadCalibration(process, cell)) === calibrationSha256
        ? undefined
        : 'the calibration has changed since',
  });
}

function studyPath(process: string, cell: string, study: string): string {
  checkName(process, 'process');
  checkName(cell, 'cell');
  return join('calibration', process, `${cell}.${study}.json`);
}

/** Writes a study's result below the working folder; returns the path. */
export function writeStudy(result: { process: string; cell: string }, study: string): string {
  const path = studyPath(result.process, result.cell, study);
  writeFileAtomic(path, encodeResult(result, `study ${path}`));
  return path;
}
