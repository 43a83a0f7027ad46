/**
 * The points of a design of experiments: a grid (every combination, the last key fastest), a list, random points or a Latin
 * hypercube (each key's range cut into as many strata as there are points, one point in each; McKay, Beckman and Conover
 * 1979, Technometrics 21). Random ones are a function of their seed.
 */
import { roundDigits } from '../numbers.ts';
import { bits32, nameCoordinate, streamKey, uniform } from '../random.ts';
import type { Settings } from './keys.ts';

/** Where values of a key are drawn from. */
export interface KeyRange {
  readonly from: number;
  readonly to: number;
  readonly scale: 'linear' | 'log';
  readonly integer: boolean;
}

export interface DrawnDesign {
  readonly points: number;
  readonly seed: number;
  readonly keys: Readonly<Record<string, readonly unknown[] | KeyRange>>;
}

export interface DesignOfExperiment {
  readonly grid?: Readonly<Record<string, readonly unknown[]>> | undefined;
  readonly list?: readonly Settings[] | undefined;
  readonly random?: DrawnDesign | undefined;
  readonly latinHypercube?: DrawnDesign | undefined;
}

/** Points that a grid may have: more is a mistake. */
export const MOST_POINTS = 100_000;
/** Drawn values have as many significant digits: they are read and typed again. */
const DIGITS = 6;

/** What each point sets beside the base. */
export function pointsOf({ grid, list, random, latinHypercube }: DesignOfExperiment): Settings[] {
  if (grid) return gridPoints(grid);
  if (list) return [...list];
  if (random) return drawnPoints(random, (name) => (i) => uniform(streamKey(random.seed, name), i));
  return drawnPoints(latinHypercube!, stratified(latinHypercube!));
}

/** Number of points, without making them. */
export function countPoints({ grid, list, random, latinHypercube }: DesignOfExperiment): number {
  if (grid) return Object.values(grid).reduce((product, values) => product * values.length, 1);
  return list?.length ?? (random ?? latinHypercube)!.points;
}

function gridPoints(grid: Readonly<Record<string, readonly unknown[]>>): Settings[] {
  let points: Settings[] = [{}];
  for (const [key, values] of Object.entries(grid)) {
    points = points.flatMap((point) => values.map((value) => ({ ...point, [key]: value })));
  }
  return points;
}

/** A number in (0, 1) for each point, by the coordinate of a key. */
type Shares = (name: number) => (point: number) => number;

function drawnPoints({ points, keys }: DrawnDesign, shares: Shares): Settings[] {
  const columns = Object.entries(keys).map(([key, from]) => {
    const share = shares(nameCoordinate(key));
    return [key, (point: number) => valueAt(from, share(point))] as const;
  });
  return Array.from({ length: points }, (_, point) =>
    Object.fromEntries(columns.map(([key, value]) => [key, value(point)])),
  );
}

/** Point i lies at a random place of stratum pi(i), pi a random order for each key. */
function stratified({ points, seed }: DrawnDesign): Shares {
  return (name) => {
    const [orderKey, placeKey] = [streamKey(seed, name, 1), streamKey(seed, name, 2)];
    const order = Array.from({ length: points }, (_, i) => i);
    // Fisher and Yates.
    for (let i = points - 1; i > 0; i--) {
      const j = Math.floor((bits32(orderKey, i) / 2 ** 32) * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return (point) => (order[point] + uniform(placeKey, point)) / points;
  };
}

function valueAt(from: readonly unknown[] | KeyRange, share: number): unknown {
  if (Array.isArray(from)) return from[Math.min(from.length - 1, Math.floor(share * from.length))];
  const { from: low, to: high, scale, integer } = from as KeyRange;
  // Every whole number of the range is as likely as the others.
  if (integer && scale === 'linear') return Math.min(high, low + Math.floor(share * (high - low + 1)));
  const value = scale === 'log' ? low * (high / low) ** share : low + (high - low) * share;
  return integer ? Math.round(value) : roundDigits(value, DIGITS);
}
