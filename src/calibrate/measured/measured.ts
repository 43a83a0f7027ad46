/**
 * From measured currents to a calibration: the same equation, fit, held-out checks and file as from SPICE (calibrate.ts).
 */
import {
  type Calibration,
  calibrationDigits,
  calibrationPath,
  calibrationSchema,
  loadCalibration,
} from '../../cell/calibration.ts';
import {
  type CellDescription,
  CORNERS,
  cellOf,
  loadProcess,
  technologySource,
} from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { displayPath, writeFileAtomic } from '../../files.ts';
import { roundDigits } from '../../numbers.ts';
import { encodeResult } from '../../sources.ts';
import { assembleMeasured } from './assemble.ts';
import { type Completed, completePoints, missingOf } from './complete.ts';
import { readMeasuredConstants } from './constants.ts';
import { fitMeasured, type MeasuredCorner } from './corner.ts';
import { type MeasuredData, readMeasuredCsv } from './csv.ts';
import { type Hysteresis, measureHysteresis } from './hysteresis.ts';
import { listDevices } from './spread.ts';

export interface CalibrateFromCsvOptions {
  readonly process: string;
  /** Entry of `cells:` in the process's technology.yaml: its size, full-scale current and drain voltage. */
  readonly cell: string;
  /** Below the working folder, so that the calibration can later tell whether it has changed. */
  readonly csvPath: string;
  /** YAML with noise and capacitance (schema onefet.measured-constants/1). */
  readonly constantsPath?: string;
  /** A simulated cell of the same process and size, for what neither the CSV nor the constants give (complete.ts). */
  readonly supplementCell?: string;
}

export interface MeasuredCalibration {
  readonly calibration: Calibration;
  readonly summary: {
    readonly points: number;
    readonly devices: number;
    /** Rows that say nothing, by the reason. */
    readonly skipped: MeasuredData['skipped'];
    /** Between sweeps up and down, which are averaged; undefined: swept one way. */
    readonly hysteresis: Hysteresis | undefined;
    /** Corners whose data do not show all: the points that were used, and what is the supplement's, moved to them. */
    readonly completed: Readonly<Record<string, { measured: number; missing: readonly string[] }>>;
    /** Relative noise of a point; undefined when the grid does not show it. */
    readonly noiseRms: number | undefined;
    readonly corners: Readonly<
      Record<string, { fitted: number; heldOutVds: number; heldOutTemp: number; stride: number }>
    >;
  };
}

/**
 * Fits a CSV of measured currents. Errors: MEASURED_* (one line, with the line number where there is one),
 * FULL_SCALE_UNREACHED, FIT_RESIDUAL, FIT_UNDETERMINED, CELL_UNKNOWN, SOURCE_OUTSIDE.
 */
export function calibrateFromCsv(options: CalibrateFromCsvOptions): MeasuredCalibration {
  const process = loadProcess(options.process);
  const cell = cellOf(process, options.cell);
  const { points, skipped, floorA } = readMeasuredCsv(options.csvPath);
  const name = displayPath(options.csvPath);
  const constants =
    options.constantsPath === undefined ? undefined : readMeasuredConstants(options.constantsPath);
  const supplement = loadSupplement(options, cell);
  const corners = CORNERS.filter((corner) => points.some((point) => point.corner === corner));
  if (corners[0] !== 'TT') {
    throw new OnefetError('input', 'MEASURED_GRID', `${name}: no row of corner TT`, {
      hint: 'the other corners are fitted from it; leave the column out if there is one wafer only',
    });
  }
  const fitted: MeasuredCorner[] = [];
  const completed = new Map<string, Completed>();
  for (const corner of corners) {
    const own = points.filter((point) => point.corner === corner);
    const missing = supplement === undefined ? [] : missingOf(own, floorA);
    const start = fitted[0]?.fit.coefficients;
    if (missing.length === 0) fitted.push(fitMeasured(`${name} ${corner}`, corner, own, cell, start));
    else {
      const whole = completePoints(own, supplement!, missing, floorA, `${name} ${corner}`);
      completed.set(corner, whole);
      fitted.push(fitMeasured(`${name} ${corner}`, corner, whole.measured, cell, start, whole.filled));
    }
  }
  const sources = [
    technologySource(process, { cell: options.cell }),
    options.csvPath,
    ...(options.constantsPath === undefined ? [] : [options.constantsPath]),
  ];
  if (options.supplementCell !== undefined)
    sources.push(calibrationPath(options.process, options.supplementCell));
  const calibration = assembleMeasured({
    cellName: options.cell,
    cell,
    process,
    name,
    points,
    fitted,
    constants,
    supplement,
    completed: [...new Set([...completed.values()].flatMap(({ missing }) => missing))],
    sources,
  });
  return {
    calibration: calibrationSchema.parse(roundDigits(calibration, calibrationDigits)),
    summary: {
      points: points.length,
      devices: listDevices(points).length,
      skipped,
      hysteresis: measureHysteresis(points),
      completed: Object.fromEntries(
        [...completed].map(([corner, { measured, missing }]) => [
          corner,
          { measured: measured.length, missing },
        ]),
      ),
      noiseRms: fitted[0].noiseRms,
      corners: Object.fromEntries(
        fitted.map(({ corner, entry, stride }) => [
          corner,
          {
            fitted: entry.fit.points,
            heldOutVds: entry.heldOutVds.points,
            heldOutTemp: entry.heldOutTemp.points,
            stride,
          },
        ]),
      ),
    },
  };
}

/** Fits and writes calibration/<process>/<cell>.json below the working folder. */
export function calibrateFromCsvToFile(
  options: CalibrateFromCsvOptions,
): MeasuredCalibration & { path: string } {
  if (options.supplementCell === options.cell) {
    throw new OnefetError(
      'usage',
      'MEASURED_SUPPLEMENT',
      `the calibration of ${options.cell} would replace its own supplement`,
      {
        hint: 'give the measured cell an entry of its own in technology.yaml',
      },
    );
  }
  const result = calibrateFromCsv(options);
  const path = calibrationPath(options.process, options.cell);
  writeFileAtomic(path, encodeResult(result.calibration, `calibration ${path}`));
  return { ...result, path };
}

function loadSupplement(options: CalibrateFromCsvOptions, cell: CellDescription): Calibration | undefined {
  if (options.supplementCell === undefined) return undefined;
  const supplement = loadCalibration(options.process, options.supplementCell);
  const { widthM, lengthM } = supplement.device;
  if (widthM !== cell.widthM || lengthM !== cell.lengthM) {
    throw new OnefetError(
      'input',
      'MEASURED_SUPPLEMENT',
      `${options.supplementCell} is ${widthM * 1e6}/${lengthM * 1e6} um, ${options.cell} is ${cell.widthM * 1e6}/${cell.lengthM * 1e6} um`,
      { hint: 'noise, capacitance and mismatch depend on the size: name a cell of the same size' },
    );
  }
  return supplement;
}
