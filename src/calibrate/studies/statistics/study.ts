/**
 * Statistics of a cell from SPICE beside the behavioural model: calibration/<process>/<cell>.statistics.json.
 */
import { REFERENCE_TEMP_K } from '../../../cell/ekv.ts';
import { roundDigits } from '../../../numbers.ts';
import { hashSources } from '../../../sources.ts';
import { engineId } from '../../../spice/job.ts';
import { calibrationFingerprint, loadStudy, type StudyOptions, withTestbench } from '../study.ts';
import { measureGlobal, measureLadders, measureReplicas } from './circuits.ts';
import { measureCorrelation, measureLognormal, measurePelgrom, measureSlopes } from './devices.ts';
import { type StatisticsStudy, statisticsSchema } from './schema.ts';

export interface StatisticsOptions extends StudyOptions {
  /** Devices of the lognormal check. Default 4000. */
  readonly devices?: number;
  /** Per area of the Pelgrom fit. Default 1000. */
  readonly devicesPerArea?: number;
  /** Default 300. */
  readonly globalSamples?: number;
  readonly seed?: number;
}

/** Monte Carlo of the cell. Errors: SPICE_*, CALIBRATION_*, OUT_OF_RANGE. */
export function characteriseStatistics(options: StatisticsOptions): Promise<StatisticsStudy> {
  return withTestbench(options, async (testbench) => {
    const seed = options.seed ?? 1;
    const lognormal = await measureLognormal(testbench, options.devices ?? 4000, seed);
    const outsideWeakInversion = await measureSlopes(testbench);
    const pelgrom = await measurePelgrom(testbench, options.devicesPerArea ?? 1000, seed);
    const correlated = await measureCorrelation(testbench, options.devicesPerArea ?? 1000, seed);
    const ladder = await measureLadders(testbench, seed);
    const replica = await measureReplicas(testbench, seed);
    const { global, refused } = await measureGlobal(testbench, options.globalSamples ?? 300, seed);
    return statisticsSchema.parse(
      roundDigits(
        {
          schema: 'onefet.statistics/1',
          process: testbench.cal.process,
          cell: testbench.cal.cell,
          engine: engineId(),
          sources: hashSources(testbench.sources),
          calibrationSha256: calibrationFingerprint(testbench.cal),
          seed,
          tempK: REFERENCE_TEMP_K,
          lognormal,
          outsideWeakInversion,
          pelgrom,
          correlation: correlated,
          ladder,
          replica,
          ...(global === undefined ? { globalRefused: refused } : { global }),
        },
        6,
      ),
    );
  });
}

/** Errors: FILE_MISSING, STUDY_INVALID, STUDY_STALE. */
export function loadStatisticsStudy(process: string, cell: string): StatisticsStudy {
  return loadStudy(statisticsSchema, process, cell, 'statistics');
}
