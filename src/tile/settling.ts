/**
 * Settling of a row and of a bit line: what of a cell's charge is missing when integration begins too early.
 *
 * A row is an RC ladder: a follower of output resistance n Ut / I drives the top tap, resistors of n Ut ln((s + 1) / s) / I_ladder
 * the taps below; a tap carries its share of the row's gates (normally distributed weights) and a wire across all columns. From the off level a tap's
 * distance e(t) to its level, over the whole step dV, is a sum of seven exponentials, and its cells carry
 *
 *   x(t) = exp(-(dV / n Ut) e(t))     of their current
 *   loss(level, tap) = 1 - mean of x over the integration window
 *
 * The follower is taken as linear at its bias; it charges a low row faster than that. The line follows its current with
 * d ln y / dt = (x - y) / tau, tau of src/tile/bit-line.ts at the current of a typical line.
 * Held against SPICE transients in settling.test.ts.
 */
import { OnefetError } from '../error.ts';
import { symmetricEigen } from '../small-matrices.ts';

export interface RowLadder {
  readonly taps: number;
  /** Volts per e-fold of a cell's current; the ladder's where there is one. */
  readonly slopeV: number;
  /** Between the source and the top tap. */
  readonly driverOhm: number;
  /** Current of the ladder; 0: taps are not on a ladder, one wire is all the row has. */
  readonly ladderA: number;
  /** All gates of the row, and the wire of one tap across its columns, F. */
  readonly gatesF: number;
  readonly wireF: number;
}

/** e(t) of every tap as sums of exponentials. */
export interface RowModes {
  readonly ratesPerS: readonly number[];
  /** [tap][mode], taps 1 .. taps at index tap - 1. */
  readonly weights: readonly (readonly number[])[];
}

/** Resistance of each segment s = 1 .. taps - 1 between the taps s + 1 and s. */
function segmentOhm({ slopeV, ladderA }: RowLadder, s: number): number {
  return (slopeV * Math.log((s + 1) / s)) / ladderA;
}

/**
 * Shares of a row's gates on taps 1 .. taps: normally distributed weights, whose codes have an rms of 0.39 of the top one
 * (what the search for scales gives at 4 bits).
 */
export function tapShares(taps: number): number[] {
  const rms = 0.39 * taps;
  const density = Array.from({ length: taps }, (_, i) => Math.exp(-((i + 1) ** 2) / (2 * rms ** 2)));
  const sum = density.reduce((a, b) => a + b, 0);
  return density.map((one) => one / sum);
}

/** Solves C de/dt = -G e, e(0) = 1, by the modes of the symmetric C^-1/2 G C^-1/2. */
export function rowModes(ladder: RowLadder): RowModes {
  const { taps, driverOhm, gatesF, wireF, ladderA } = ladder;
  if (ladderA === 0 || taps === 1) {
    const ratePerS = 1 / (driverOhm * (gatesF + wireF));
    return { ratesPerS: [ratePerS], weights: Array.from({ length: taps }, () => [1]) };
  }
  const root = tapShares(taps).map((share) => Math.sqrt(share * gatesF + wireF));
  const conductance = Array.from({ length: taps }, () => new Array<number>(taps).fill(0));
  for (let s = 1; s < taps; s++) {
    const siemens = 1 / segmentOhm(ladder, s);
    conductance[s][s] += siemens;
    conductance[s - 1][s - 1] += siemens;
    conductance[s][s - 1] -= siemens;
    conductance[s - 1][s] -= siemens;
  }
  conductance[taps - 1][taps - 1] += 1 / driverOhm;
  const scaled = conductance.flatMap((row, i) => row.map((g, j) => g / (root[i] * root[j])));
  const { values, vectors } = symmetricEigen(scaled, taps);
  const modes = Array.from(values, (ratePerS, mode) => {
    const unit = Array.from(vectors.subarray(mode * taps, (mode + 1) * taps));
    // e = C^-1/2 z, and z starts at C^1/2.
    const start = unit.reduce((sum, x, i) => sum + x * root[i], 0);
    return { ratePerS, weights: unit.map((x, i) => (x * start) / root[i]) };
  });
  return {
    ratesPerS: modes.map(({ ratePerS }) => ratePerS),
    weights: Array.from({ length: taps }, (_, tap) => modes.map(({ weights }) => weights[tap])),
  };
}

/** e of a tap at a time: 1 at the step, 0 in the end. */
export function distance({ ratesPerS, weights }: RowModes, tap: number, timeS: number): number {
  const own = weights[tap - 1];
  return ratesPerS.reduce((sum, rate, mode) => sum + own[mode] * Math.exp(-rate * timeS), 0);
}

/** Share of its current that a cell has `timeS` after a step of `steps` e-folds began. */
const risen = (steps: number, e: number): number => Math.exp(-Math.max(0, steps) * e);

/** Mean of x over the window; Simpson's rule. */
export function settledShare(
  modes: RowModes,
  tap: number,
  steps: number,
  fromS: number,
  windowS: number,
): number {
  let sum = 0;
  for (let i = 0; i <= QUADRATURE; i++) {
    const weight = i === 0 || i === QUADRATURE ? 1 : i % 2 === 1 ? 4 : 2;
    sum += weight * risen(steps, distance(modes, tap, fromS + (windowS * i) / QUADRATURE));
  }
  return sum / (3 * QUADRATURE);
}

const QUADRATURE = 16;

/**
 * From the step until the line's current stays within `tolerance` of its end, s: the row's exponentials through the line's
 * logarithmic filter (tau 0: a line that follows at once), from `startShare` of the current.
 */
export function settlingTimeS(
  modes: RowModes,
  tap: number,
  steps: number,
  line: { readonly tauS: number; readonly startShare: number },
  tolerance = 0.01,
): number {
  const slowest = 1 / Math.min(...modes.ratesPerS);
  const horizonS = (slowest + line.tauS) * (12 + Math.log(1 + steps) - Math.log(line.startShare));
  const dt = horizonS / SETTLING_STEPS;
  const start = Math.log(line.startShare);
  let before = { logY: start, x: risen(steps, 1), off: Math.abs(line.startShare - 1) };
  let settledS = 0;
  for (let i = 1; i <= SETTLING_STEPS; i++) {
    const x = risen(steps, distance(modes, tap, i * dt));
    const logY = line.tauS === 0 ? Math.log(x) : followed(before.logY, before.x, x, dt / line.tauS);
    const off = Math.abs(Math.exp(logY) - 1);
    // Between the last step outside and the first one inside, in proportion.
    if (off > tolerance) settledS = (i + 1) * dt;
    else if (before.off > tolerance) settledS = (i - (tolerance - off) / (before.off - off)) * dt;
    before = { logY, x, off };
  }
  return settledS;
}

const SETTLING_STEPS = 1000;

/** One step of d ln y = r (x - y) by the trapezium rule, from x0 to x1: Newton on ln y. */
function followed(logY: number, x0: number, x1: number, r: number): number {
  const from = logY + (r * (x0 - Math.exp(logY) + x1)) / 2;
  let next = logY;
  for (let i = 0; i < 5; i++) {
    const y = Math.exp(next);
    next -= (next - from + (r * y) / 2) / (1 + (r * y) / 2);
  }
  return next;
}

/**
 * Earliest start of integration that the losses below still describe, s: the rows of the phase before have fallen to
 * `RELEASED` of their current above that of an off row (what is left of them is in no sum), and a cell at full scale carries half of its own at least.
 */
export function earliestStartS(modes: RowModes, steps: number): number {
  const taps = modes.weights.length;
  const slowest = 1 / Math.min(...modes.ratesPerS);
  let low = 0;
  let high = slowest * (20 + Math.log(1 + steps));
  const ready = (t: number) =>
    Array.from({ length: taps }, (_, i) => distance(modes, i + 1, t)).every(
      (e) => Math.exp(-steps * (1 - e)) - Math.exp(-steps) <= RELEASED && risen(steps, e) >= 0.5,
    );
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (ready(middle)) high = middle;
    else low = middle;
  }
  return high;
}

const RELEASED = 0.002;

/** Refuses a settling time in which the losses are no longer what is computed here. Errors: SETTLE_TIME. */
export function checkSettleTime(settleTimeS: number, floorS: number): void {
  if (settleTimeS >= floorS) return;
  throw new OnefetError(
    'usage',
    'SETTLE_TIME',
    `timing.settleTimeS is ${settleTimeS} s, the rows of this design need ${floorS.toPrecision(3)} s at least: before that the phase before is still flowing or a cell has less than half of its current`,
    {
      hint: 'set timing.settleTimeS to derived, or raise ladder.currentA or driver.biasA, or lower ladder.columns',
    },
  );
}
