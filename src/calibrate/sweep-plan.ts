/**
 * The plan of a calibration: corners, temperatures and grids, from the limits of the process.
 */
import { REFERENCE_TEMP_K } from '../cell/ekv.ts';
import {
  type CellDescription,
  type Corner,
  type Process,
  processCorners,
  temperatureRangeK,
  temperaturesInside,
} from '../cell/technology.ts';
import { OnefetError } from '../error.ts';
import { type Grid, gridValue } from './sweeps.ts';

/** Temperatures that are simulated, C, closer where leakage doubles every 8 K; those outside the range are left out. */
const TEMPS_C = [-40, -20, 0, 27, 50, 70, 85, 95, 105, 115, 125];
const STEP_VGS_V = 0.005;
const LOWEST_VGS_V = -0.4;
const STEP_VDS_V = 0.1;
/** Drain voltages up to this share of the supply: the rest is headroom of the clamp. */
const HIGHEST_VDS_OF_SUPPLY = 0.75;

export interface Plan {
  readonly corners: readonly Corner[];
  readonly temps: readonly number[];
  readonly multiplyTemps: readonly number[];
  readonly vgs: Grid;
  readonly vds: Grid;
}

/** Temperatures and grids of the transfer sweep, from the technology's limits. */
export function planSweep(process: Process, cell: CellDescription): Plan {
  const { minTempK, maxTempK, supplyV } = process.technology;
  const temps = temperaturesInside(temperatureRangeK(process), TEMPS_C);
  if (temps.length < 4 || !temps.includes(REFERENCE_TEMP_K)) {
    throw new OnefetError(
      'input',
      'TECHNOLOGY_RANGE',
      `${process.path}: ${minTempK.value} to ${maxTempK.value} K has ${temps.length} of the calibration temperatures; 27 C and three more are needed`,
    );
  }
  const vgs = grid(LOWEST_VGS_V, supplyV.value, STEP_VGS_V);
  const vds = grid(STEP_VDS_V, supplyV.value * HIGHEST_VDS_OF_SUPPLY, STEP_VDS_V);
  const highest = gridValue(vds, vds.count - 1);
  if (vds.count < 4 || cell.vdsV < vds.start || cell.vdsV > highest + 1e-9) {
    throw new OnefetError(
      'input',
      'TECHNOLOGY_RANGE',
      `${process.path}: vdsV ${cell.vdsV} V does not lie between ${vds.start} and ${highest.toFixed(1)} V (${HIGHEST_VDS_OF_SUPPLY} of a supply of ${supplyV.value} V)`,
    );
  }
  return {
    corners: processCorners(process),
    temps,
    multiplyTemps: [temps[0], REFERENCE_TEMP_K, temps[temps.length - 1]],
    vgs,
    vds,
  };
}

function grid(start: number, stop: number, step: number): Grid {
  return { start, step, count: Math.floor((stop - start) / step + 1e-6) + 1 };
}
