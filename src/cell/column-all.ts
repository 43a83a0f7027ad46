/**
 * All studies of a calibrated cell: column, statistics, noise and transient, each to its file.
 */

import type { StudyOptions } from './column-bench.ts';
import { characteriseColumnToFile } from './column-study.ts';
import { characteriseNoiseToFile } from './noise-study.ts';
import { characteriseStatisticsToFile } from './statistics-study.ts';
import { characteriseTransientToFile } from './transient-study.ts';

/** Runs the studies one after the other and returns the paths of calibration/<process>/<cell>.<study>.json. */
export async function characteriseStudies(options: StudyOptions): Promise<string[]> {
  const paths: string[] = [];
  for (const study of [
    characteriseNoiseToFile,
    characteriseTransientToFile,
    characteriseStatisticsToFile,
    characteriseColumnToFile,
  ]) {
    paths.push((await study(options)).path);
  }
  return paths;
}
