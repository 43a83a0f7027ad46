/**
 * The points of a calibration experiment: cells of a process, of other sizes, biases and supplies. Corner and temperature are
 * where a fitted cell is read off; points that differ in nothing else share one calibration.
 */
import { planSweep as planGrid } from '../../calibrate/sweep-plan.ts';
import {
  type CellChanges,
  type Corner,
  cellOf,
  loadProcess,
  processCorners,
  temperatureRangeK,
  withCellChanges,
} from '../../cell/technology.ts';
import { loadMultiplier } from '../../cell/topology.ts';
import { OnefetError } from '../../error.ts';
import { packageVersion, sha256 } from '../../files.ts';
import { engineId } from '../../spice/job.ts';
import type { Experiment } from '../experiment.ts';
import type { Settings } from '../keys.ts';
import { type PointRun, planPoints, type SweepOptions, type SweepPlan } from '../plan.ts';

export interface CalibrationRun extends PointRun {
  readonly process: string;
  readonly cell: string;
  readonly changes: CellChanges;
  readonly corner: Corner;
  readonly tempK: number;
}

const DEFAULTS = { process: 'planar32lp', cell: 't1', corner: 'TT', tempK: 300.15 } as const;

/** Settings of a point, defaults filled in. */
type CalibrationSettings = { process: string; cell: string; corner: Corner; tempK: number } & CellChanges;

/** Plans every point. Error: SWEEP_POINTS (input). */
export const planCalibration = (experiment: Experiment, options: SweepOptions): SweepPlan<CalibrationRun> =>
  planPoints(experiment, options, planPoint);

/** Errors: CORNER_UNKNOWN, CELL_UNKNOWN (usage); OUT_OF_RANGE, TECHNOLOGY_RANGE, FILE_MISSING, TECHNOLOGY_INVALID (input). */
function planPoint(all: Settings): CalibrationRun {
  const { process: name, cell, corner, tempK, ...changes } = { ...DEFAULTS, ...all } as CalibrationSettings;
  const process = withCellChanges(loadProcess(name), cell, changes);
  const described = cellOf(process, cell);
  loadMultiplier(described.topology);
  planGrid(process, described);
  const corners = processCorners(process);
  if (!corners.includes(corner)) {
    throw new OnefetError('usage', 'CORNER_UNKNOWN', `${name}: no corner ${corner}`, {
      hint: `its corners are ${corners.join(', ')}`,
    });
  }
  const [low, high] = temperatureRangeK(process);
  if (tempK < low || tempK > high) {
    throw new OnefetError(
      'input',
      'OUT_OF_RANGE',
      `${name}: temperature of ${tempK} K is outside the range of the process, ${low} to ${high} K`,
    );
  }
  const { technology } = process;
  const shared = sha256(
    JSON.stringify([
      packageVersion(),
      engineId(),
      { ...technology, cells: described, description: '' },
      cell,
    ]),
  );
  return {
    identity: sha256(shared, corner, String(tempK)),
    shared,
    process: name,
    cell,
    changes,
    corner,
    tempK,
  };
}
