/**
 * Runs the points of a calibration experiment with one pool of simulators. Simulations and fits are kept by content
 * (src/spice/cache.ts, src/calibrate/fit/cache.ts), so that an interrupted sweep goes on where it was.
 */
import { calibrate } from '../../calibrate/calibrate.ts';
import { settlingTimeS } from '../../calibrate/studies/column/transient-study.ts';
import { transistorOfStudies } from '../../calibrate/studies/study.ts';
import { calibratedTestbench, cellTestbench } from '../../calibrate/testbench.ts';
import type { Calibration } from '../../cell/calibration.ts';
import { nominalCondition, QUANTITIES } from '../../cell/datasheet/quantities.ts';
import { cellOf, loadProcess, withCellChanges } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { DEFAULT_CACHE_FOLDER } from '../../spice/cache.ts';
import { createSpicePool, type SpicePool } from '../../spice/pool.ts';
import { type CalibrationOutcome, OUTCOME_SCHEMA } from '../outcome.ts';
import type { PlannedPoint, SweepPlan } from '../plan.ts';
import type { PointRunner, SweepEstimate, SweepHooks } from '../runner.ts';
import type { CalibrationRun } from './plan.ts';

/** A calibration and what was simulated with it beside. */
interface Calibrated {
  readonly calibration: Calibration;
  /** null: a cell whose settling is not studied. */
  readonly settlingS: number | null;
}

export function calibrationRunner(
  { points, own, options: { threads } }: SweepPlan<CalibrationRun>,
  hooks: SweepHooks,
): PointRunner<CalibrationRun> {
  const pool = createSpicePool({ threads, cacheFolder: DEFAULT_CACHE_FOLDER });
  const made = new Map<string, Promise<Calibrated>>();
  const total = new Set(own.flatMap((number) => points[number].run?.shared ?? [])).size;
  let done = 0;
  const started = performance.now();
  const report = (share: number, label: string) => {
    const elapsedS = (performance.now() - started) / 1e3;
    const leftS = done + share > 0 ? (elapsedS / (done + share)) * (total - done - share) : undefined;
    hooks.onProgress?.(done + share, total, label, leftS);
  };
  const calibrated = (run: CalibrationRun, label: string): Promise<Calibrated> => {
    const known = made.get(run.shared);
    if (known) return known;
    const making = calibrateChanged(run, pool, hooks.signal, (share, what) =>
      report(share, `${label}: ${what}`),
    );
    made.set(run.shared, making);
    return making.finally(() => {
      done++;
    });
  };
  return {
    async run(point, run) {
      const { calibration, settlingS } = await calibrated(run, point.label);
      return outcomeOf(point, run, calibration, settlingS);
    },
    ended: () => report(0, `calibration ${done} of ${total}`),
    close: () => pool.close(),
  };
}

async function calibrateChanged(
  { process: name, cell, changes }: CalibrationRun,
  pool: SpicePool,
  signal: AbortSignal | undefined,
  onShare: (share: number, label: string) => void,
): Promise<Calibrated> {
  const calibration = await calibrate({
    ...{ process: name, cell, changes, pool },
    ...(signal ? { signal } : {}),
    onProgress: ({ done, total, label }) => onShare(done / (total + 1), label),
  });
  const transistor = transistorOfStudies(name, cell);
  if ('instead' in transistor) return { calibration, settlingS: null };
  const process = withCellChanges(loadProcess(name), cell, changes);
  const testbench = cellTestbench(process, cell, cellOf(process, cell), { pool, signal });
  const settlingS = await settlingTimeS(calibratedTestbench(testbench, calibration, transistor.folder));
  return { calibration, settlingS };
}

function outcomeOf(
  { index, settings }: PlannedPoint<CalibrationRun>,
  { process, cell, corner, tempK }: CalibrationRun,
  calibration: Calibration,
  settlingS: number | null,
): CalibrationOutcome {
  const { device, nominal, plots } = calibration;
  const at = { ...nominalCondition(calibration), corner, tempC: tempK - 273.15 };
  const quantities = Object.entries(QUANTITIES).map(([name, { unit, value }]) => [
    columnOf(name, unit),
    valueOrNull(() => value(calibration, at)),
  ]);
  return {
    schema: OUTCOME_SCHEMA,
    point: index,
    settings: { ...settings },
    status: 'done',
    kind: 'calibration',
    ...{ process, cell, corner, tempK },
    quantities: {
      width_m: device.widthM,
      length_m: device.lengthM,
      vds_v: nominal.vdsV,
      full_scale_a: nominal.fullScaleA,
      ...Object.fromEntries(quantities),
      settling_1pc_s: settlingS,
    },
    curves: plots.transfer,
  };
}

/** Units as columns have them. */
const SUFFIXES: Readonly<Record<string, string>> = {
  '1': '',
  '1/V': '_per_v',
  '1/K': '_per_k',
  '1/Hz': '_per_hz',
};

/** "gm-over-i", "1/V": gm_over_i_per_v. */
function columnOf(name: string, unit: string): string {
  return `${name.replaceAll('-', '_')}${SUFFIXES[unit] ?? `_${unit.toLowerCase()}`}`;
}

/** What was not measured at this temperature, or cannot be at this corner, is missing. */
function valueOrNull(read: () => number): number | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof OnefetError && /OUT_OF_RANGE$/.test(error.code)) return null;
    throw error;
  }
}

/** Simulations and fits of one calibration, on one thread of an AMD EPYC (Zen 4), s; and the memory of a simulator, bytes. */
const CALIBRATION_S = 6;
const SIMULATOR_BYTES = 150e6;

/** Counts calibrations and their time where nothing is in the cache. */
export function estimateCalibration({
  points,
  own,
  options: { threads },
}: SweepPlan<CalibrationRun>): SweepEstimate {
  const jobs = new Set(own.flatMap((number) => points[number].run?.shared ?? [])).size;
  return {
    points: points.length,
    ownPoints: own.length,
    refused: own.filter((number) => points[number].refused !== undefined).length,
    jobs,
    finishedJobs: 0,
    seconds: jobs * CALIBRATION_S,
    memoryBytes: (1 + threads) * SIMULATOR_BYTES,
  };
}
