/**
 * Readings of a waveform y(x) that is linear between its points.
 */

/** Integral of y over x by the trapezoidal rule, from x = from to x = to. */
export function integrate(x: Float64Array, y: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let i = 1; i < x.length; i++) {
    const a = Math.max(x[i - 1], from);
    const b = Math.min(x[i], to);
    if (b <= a) continue;
    const at = (t: number) => y[i - 1] + ((y[i] - y[i - 1]) * (t - x[i - 1])) / (x[i] - x[i - 1]);
    sum += ((at(a) + at(b)) / 2) * (b - a);
  }
  return sum;
}

/** First time after `from` at which y passes `level` in the given direction, or undefined. */
export function crossing(
  x: Float64Array,
  y: Float64Array,
  level: number,
  from: number,
  direction: 'rising' | 'falling',
): number | undefined {
  for (let i = 1; i < x.length; i++) {
    if (x[i] < from) continue;
    const passes =
      direction === 'rising' ? y[i - 1] < level && y[i] >= level : y[i - 1] > level && y[i] <= level;
    if (passes) return x[i - 1] + ((level - y[i - 1]) / (y[i] - y[i - 1])) * (x[i] - x[i - 1]);
  }
  return undefined;
}

export function valueAt(x: Float64Array, y: Float64Array, t: number): number {
  let i = 1;
  while (i < x.length - 1 && x[i] < t) i++;
  return y[i - 1] + ((y[i] - y[i - 1]) * (t - x[i - 1])) / (x[i] - x[i - 1]);
}
