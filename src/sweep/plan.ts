/**
 * Plans a sweep: every point is checked before any work. A point that cannot be (a temperature outside the calibration, an
 * engine that does not take the design) is refused by name and the others go on; what is wrong with the files that points
 * name ends the sweep before it starts, all of it at once.
 */
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { sha256 } from '../files.ts';
import type { Experiment } from './experiment.ts';
import { type Settings, settingsText } from './keys.ts';
import { pointStatus, reasonText } from './point-error.ts';
import type { Shard } from './shard.ts';

export interface SweepOptions {
  readonly threads: number;
  /** Folder in which run folders and the sweep's folder are made. */
  readonly out: string;
  readonly shard: Shard;
}

/** What a kind of experiment plans for a point. */
export interface PointRun {
  /** Hash of what decides the outcome. */
  readonly identity: string;
  /** Points with the same are done by the same shard: their work is shared. */
  readonly shared: string;
}

/** A point, and what its run will be. */
export interface PlannedPoint<R extends PointRun = PointRun> {
  readonly index: number;
  /** What it sets beside the base. */
  readonly settings: Settings;
  readonly label: string;
  readonly run: R | undefined;
  /** Why it cannot be. */
  readonly refused: string | undefined;
}

export interface SweepPlan<R extends PointRun = PointRun> {
  readonly experiment: Experiment;
  readonly options: SweepOptions;
  readonly points: readonly PlannedPoint<R>[];
  /** Numbers of the points that this shard does. */
  readonly own: readonly number[];
  /** Hash of what decides the results. */
  readonly key: string;
  readonly folder: string;
}

/** Plans every point by `planPoint`, which gets its settings on the base's. Error: SWEEP_POINTS (input) with all that is wrong with files. */
export function planPoints<R extends PointRun>(
  experiment: Experiment,
  options: SweepOptions,
  planPoint: (all: Settings) => R,
): SweepPlan<R> {
  const wrong: string[] = [];
  const points = experiment.points.map((settings, index): PlannedPoint<R> => {
    const label = settingsText(settings);
    const point = { index, settings, label, run: undefined, refused: undefined };
    try {
      return { ...point, run: planPoint({ ...experiment.base, ...settings }) };
    } catch (error) {
      if (!(error instanceof OnefetError)) throw error;
      const reason = reasonText(error);
      if (pointStatus(error) === 'refused') return { ...point, refused: reason };
      if (error.kind !== 'input') throw error;
      wrong.push(`${experiment.file}: point ${index + 1}${label ? ` (${label})` : ''}: ${reason}`);
      return point;
    }
  });
  if (wrong.length > 0) throw new OnefetError('input', 'SWEEP_POINTS', summarise(wrong));
  const key = keyOf(experiment, points);
  return {
    experiment,
    options,
    points,
    own: ownPoints(points, options.shard),
    key,
    folder: join(options.out, `sweep-${experiment.name}-${key.slice(0, 12)}`),
  };
}

const MOST_LINES = 20;

function summarise(lines: readonly string[]): string {
  const more = lines.length > MOST_LINES ? [`and ${lines.length - MOST_LINES} more`] : [];
  return [...lines.slice(0, MOST_LINES), ...more].join('\n');
}

/** The points' runs, the reference and the stop rule decide all results. */
function keyOf(
  { kind, name, reference, stop, points: settings }: Experiment,
  points: readonly PlannedPoint[],
): string {
  const runs = points.map(({ run, refused }) => run?.identity ?? refused);
  return sha256(JSON.stringify({ kind, name, reference, stop, settings, runs }));
}

function ownPoints(points: readonly PlannedPoint[], { index, count }: Shard): number[] {
  const first = new Map<string, number>();
  return points.flatMap((point) => {
    const shared = point.run?.shared ?? `refused ${point.index}`;
    const representative = first.get(shared) ?? point.index;
    first.set(shared, representative);
    return representative % count === index ? [point.index] : [];
  });
}
