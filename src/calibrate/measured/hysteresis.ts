/** How far a sweep up and the sweep down after it are apart: charge that is trapped between them. */
import type { MeasuredPoint } from './csv.ts';

export interface Hysteresis {
  /** Points that were measured in both directions. */
  readonly points: number;
  /** Of ln(I up / I down). */
  readonly rms: number;
  readonly max: number;
}

/** Compares the two directions of each row, in the order of the file; undefined where none was swept both ways. */
export function measureHysteresis(points: readonly MeasuredPoint[]): Hysteresis | undefined {
  const last = new Map<string, number>();
  /** By row and gate voltage: sums of ln I and numbers of points, up and down. */
  const sums = new Map<string, { ln: [number, number]; count: [number, number] }>();
  for (const { corner, device, tempK, vdsV, vgsV, drainA } of points) {
    const row = `${corner}|${device}|${tempK.toFixed(2)}|${vdsV.toFixed(5)}`;
    const before = last.get(row);
    last.set(row, vgsV);
    if (before === undefined || before === vgsV) continue;
    const way = vgsV > before ? 0 : 1;
    const key = `${row}|${vgsV.toFixed(5)}`;
    const sum = sums.get(key) ?? { ln: [0, 0], count: [0, 0] };
    sum.ln[way] += Math.log(drainA);
    sum.count[way]++;
    sums.set(key, sum);
  }
  let [both, squares, max] = [0, 0, 0];
  for (const { ln, count } of sums.values()) {
    if (count[0] === 0 || count[1] === 0) continue;
    const apart = Math.abs(ln[0] / count[0] - ln[1] / count[1]);
    both++;
    squares += apart * apart;
    max = Math.max(max, apart);
  }
  // A jump back to the start of the next device is one point, not a sweep.
  return both < 3 ? undefined : { points: both, rms: Math.sqrt(squares / both), max };
}
