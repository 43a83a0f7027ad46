/**
 * Calibrations of a cell with another gate than its process file gives it: `cell: t1` with `gate: { widthM, lengthM }`. Each
 * size is simulated and fitted by itself; nothing is interpolated between sizes, as a fit of its own takes seconds. What interpolating
 * would cost, by leaving one out: leave-one-size-out.test.ts.
 *
 *   1. the cell's own size, or that of a sibling which differs in nothing else: its file in calibration/<process>/
 *   2. any other: .onefet/cache/cells/<process>-<cell>-<hash>.json, made by src/calibrate/sized.ts, refused once a source of it
 *      has changed
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { findDataFile, readTextFile, sha256 } from '../files.ts';
import { changedSource, decodeResult } from '../sources.ts';
import { type Calibration, calibrationPath, calibrationSchema, loadCalibration } from './calibration.ts';
import { type CellDescription, cellOf, loadProcess } from './technology.ts';

/** Gate of a cell, m; `cell`: that of the process file. */
export interface Gate {
  readonly widthM: number | 'cell';
  readonly lengthM: number | 'cell';
}

export interface SizedCell {
  readonly process: string;
  readonly cell: string;
  /** undefined: the cell's own. */
  readonly gate?: Gate | undefined;
}

const CACHE_FOLDER = join('.onefet', 'cache', 'cells');

/** Width and length where one differs from the cell's own; undefined where none does. Error: CELL_UNKNOWN. */
export function gateChanges({ process, cell, gate }: SizedCell): MissingSize['changes'] | undefined {
  if (gate === undefined || (gate.widthM === 'cell' && gate.lengthM === 'cell')) return undefined;
  const own = cellOf(loadProcess(process), cell);
  const widthM = gate.widthM === 'cell' ? own.widthM : gate.widthM;
  const lengthM = gate.lengthM === 'cell' ? own.lengthM : gate.lengthM;
  return widthM === own.widthM && lengthM === own.lengthM ? undefined : { widthM, lengthM };
}

/** What decides a cell's calibration beside its process. */
const physicalPart = ({ source: _source, tag: _tag, ...rest }: CellDescription): string =>
  JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)));

/** A cell of the process file that is this one with that gate, and is calibrated. */
function sibling(process: string, cell: string, gate: { widthM: number; lengthM: number }) {
  const { technology } = loadProcess(process);
  const wanted = physicalPart({ ...technology.cells[cell], ...gate });
  const names = Object.entries(technology.cells).filter(([, one]) => physicalPart(one) === wanted);
  return names
    .map(([name]) => name)
    .find((name) => findDataFile(calibrationPath(process, name)) !== undefined);
}

export interface MissingSize {
  readonly changes: { readonly widthM: number; readonly lengthM: number };
  /** Where its calibration is to be kept. */
  readonly path: string;
}

/** The calibration of a sized cell, or where one has to be made. Errors: those of loadCalibration; CELL_UNKNOWN. */
export function findSized(sized: SizedCell): Calibration | MissingSize {
  const { process, cell } = sized;
  const changes = gateChanges(sized);
  if (changes === undefined) return loadCalibration(process, cell);
  const name = sibling(process, cell, changes);
  if (name !== undefined) return loadCalibration(process, name);
  const key = sha256(JSON.stringify([process, cell, changes.widthM, changes.lengthM]));
  const path = join(CACHE_FOLDER, `${process}-${cell}-${key.slice(0, 16)}.json`);
  return readKept(path) ?? { changes, path };
}

export const isMissing = (found: Calibration | MissingSize): found is MissingSize => 'path' in found;

/** As findSized. Error: GATE_UNCALIBRATED (input) where the size was not calibrated here yet. */
export function loadSized(sized: SizedCell): Calibration {
  const found = findSized(sized);
  if (!isMissing(found)) return found;
  const { process, cell } = sized;
  const { widthM, lengthM } = found.changes;
  throw new OnefetError(
    'input',
    'GATE_UNCALIBRATED',
    `${process}/${cell} with a gate of ${widthM} x ${lengthM} m was not calibrated here yet`,
    { hint: 'onefet run, sweep, map, generate and optimise calibrate it; in a program: calibrateSized' },
  );
}

/** undefined: there is none, it is damaged, or a source of it has changed. */
function readKept(path: string): Calibration | undefined {
  if (!existsSync(path)) return undefined;
  let value: unknown;
  try {
    value = decodeResult(readTextFile(path, 'calibration'));
  } catch {
    return undefined;
  }
  const { success, data } = calibrationSchema.safeParse(value);
  return success && changedSource(data.sources, 'calibration') === undefined ? data : undefined;
}
