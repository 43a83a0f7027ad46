/**
 * All studies of a calibrated cell: column, statistics, noise and transient, each to its file.
 */

import { characteriseColumn } from './column/study.ts';
import { characteriseTransient } from './column/transient-study.ts';
import { characteriseNoise } from './noise.ts';
import { characteriseStatistics } from './statistics/study.ts';
import { type StudyOptions, studiedTransistor, writeStudy } from './study.ts';

const STUDIES = {
  noise: characteriseNoise,
  transient: characteriseTransient,
  statistics: characteriseStatistics,
  column: characteriseColumn,
} as const;

/** Refuses a cell that the studies do not describe, before anything is simulated. Errors: CELL_UNKNOWN, STUDY_TOPOLOGY. */
export function requireStudies(process: string, cell: string): void {
  studiedTransistor(process, cell);
}

/** Runs the studies one after the other and returns the paths of calibration/<process>/<cell>.<study>.json. */
export async function characteriseStudies(options: StudyOptions): Promise<string[]> {
  const paths: string[] = [];
  for (const [name, characterise] of Object.entries(STUDIES)) {
    paths.push(writeStudy(await characterise(options), name));
  }
  return paths;
}
