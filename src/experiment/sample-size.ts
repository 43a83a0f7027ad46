/**
 * How many predictions and chips it takes to tell a difference of a given size from nothing.
 *
 * The mean over windows w and chips c of x_wc = mu + a_w + b_c + e_wc has the variance
 *
 *   v = s_w^2 / W + s_c^2 / C + s_e^2 / (W C),
 *
 * and the three are found from the mean squares of a table of both (two-way random effects; Searle, Casella & McCulloch
 * 1992, Variance Components, section 4.3). A 95 % interval of half-width d needs v <= (d / 1.96)^2. Half of that is given to
 * the chips, the rest to the windows.
 */
export interface VarianceParts {
  /** Of one window and of one chip alone, and of what is left of one pair, nats^2. With one chip the last is in the first. */
  readonly windows: number;
  readonly chips: number;
  readonly rest: number;
}

export interface SampleSize {
  /** The difference, nats. */
  nats: number;
  windows: number;
  predictions: number;
  chips: number;
}

const NORMAL_95 = 1.96;

/** Of values [chips][windows]; undefined with fewer than two windows. */
export function varianceParts(values: readonly (readonly number[])[]): VarianceParts | undefined {
  const [C, W] = [values.length, values[0].length];
  if (W < 2) return undefined;
  const chipMeans = values.map((row) => mean(row));
  const windowMeans = Array.from({ length: W }, (_, w) => mean(values.map((row) => row[w])));
  const all = mean(chipMeans);
  const squares = (xs: readonly number[], about: (i: number) => number): number =>
    xs.reduce((sum, x, i) => sum + (x - about(i)) ** 2, 0);
  const windowSquare = (C * squares(windowMeans, () => all)) / (W - 1);
  if (C < 2) return { windows: windowSquare, chips: 0, rest: 0 };
  const chipSquare = (W * squares(chipMeans, () => all)) / (C - 1);
  const rest =
    values.reduce((sum, row, c) => sum + squares(row, (w) => windowMeans[w] + chipMeans[c] - all), 0) /
    ((W - 1) * (C - 1));
  return {
    windows: Math.max(0, (windowSquare - rest) / C),
    chips: Math.max(0, (chipSquare - rest) / W),
    rest,
  };
}

/** Windows and chips, at least two and one, whose 95 % interval has the half-width `nats`. */
export function sampleSize(parts: VarianceParts, nats: number, predictionsPerWindow: number): SampleSize {
  const allowed = (nats / NORMAL_95) ** 2;
  const chips = Math.max(1, Math.ceil((2 * parts.chips) / allowed));
  const windows = Math.max(
    2,
    Math.ceil((parts.windows + parts.rest / chips) / (allowed - parts.chips / chips)),
  );
  return { nats, windows, predictions: Math.ceil(windows * predictionsPerWindow), chips };
}

const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;
