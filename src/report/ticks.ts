/** Ticks of a log axis that can be read, whether it spans a third of a decade or fifteen. */

const MANTISSAS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7]] as const;

/** Logarithms of the least and largest number. */
const [LEAST_LOG, MOST_LOG] = [Math.log10(Number.MIN_VALUE), Math.log10(Number.MAX_VALUE)];

/**
 * Ticks of a log axis from `low` to `high`, both above zero: as many of 1, 2, 5 in each decade as leave at most `most`, each
 * second or third decade only where there are many; never fewer than two. The range has some room at both ends.
 */
export function logTicks(
  low: number,
  high: number,
  label: (value: number) => string,
  most = 7,
): { tickvals: number[]; ticktext: string[]; range: [number, number] } {
  // The ratio of two numbers may be none, and no number has a logarithm beyond these.
  const ends = [low, high].map((x) => Math.min(Math.max(Math.log10(x), LEAST_LOG), MOST_LOG));
  const room = Math.max(0.04, 0.04 * (ends[1] - ends[0]));
  const range: [number, number] = [ends[0] - room, ends[1] + room];
  const tickvals = ticksWithin(range, most);
  return { tickvals, ticktext: tickvals.map(label), range };
}

function ticksWithin([first, last]: readonly [number, number], most: number): number[] {
  const within = (mantissas: readonly number[], stride: number) => {
    const ticks: number[] = [];
    for (let e = Math.floor(first); e <= Math.ceil(last); e++) {
      if (e % stride !== 0) continue;
      for (const m of mantissas) {
        // 10 ** -9 is not the number nearest to 1e-9; its text is.
        const value = Number(`${m}e${e}`);
        if (Math.log10(value) >= first && Math.log10(value) <= last) ticks.push(value);
      }
    }
    return ticks;
  };
  for (const mantissas of [...MANTISSAS].reverse()) {
    const ticks = within(mantissas, 1);
    if (ticks.length >= 2 && ticks.length <= most) return ticks;
  }
  for (let stride = 2; ; stride++) {
    const ticks = within([1], stride);
    if (ticks.length < 2) break;
    if (ticks.length <= most) return ticks;
  }
  return evenTicks(10 ** first, 10 ** last, most);
}

/** Round steps within a span that is a fraction of a decade. */
function evenTicks(low: number, high: number, most: number): number[] {
  const rough = (high - low) / (most - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  const ticks: number[] = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.push(Number((k * step).toPrecision(6)));
  return ticks;
}
