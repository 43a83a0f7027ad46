/**
 * A multibit mask-ROM cell as it was measured: currents, margins, misreads, read time and energy.
 */
import { z } from 'zod';
import { CORNERS } from '../technology.ts';

const number = z.number();

const numbers = z.array(number).max(4096);

const conditionSchema = z.strictObject({
  corner: z.enum(CORNERS),
  tempK: number,
  /** [levels] current on each rail, A; rail 0 (ground, largest current) first. */
  currentA: numbers,
  /** [levels - 1] sense levels: geometric means of neighbours, as a replica of both would give. */
  senseA: numbers,
  /** [levels] threshold shift down (too much current) and up (too little) that is misread, V; the ends are one-sided. */
  marginDownV: z.array(number.nullable()),
  marginUpV: z.array(number.nullable()),
});

export type RomCondition = z.infer<typeof conditionSchema>;

export const romSchema = z.strictObject({
  levels: z.int(),
  bitsPerCell: number,
  conditions: z.array(conditionSchema),
  /** Misread probability of a cell with a random word, TT 27 C, by sigma(Vt): from the margins, normal Vt. */
  misread: z.array(z.strictObject({ sigmaVtV: number, probability: number })),
  /** Sigma(Vt) of this cell's area, its probability, and that of the Monte Carlo cells simulated in SPICE. */
  cellSigmaVtV: number,
  cellProbability: number,
  monteCarlo: z.strictObject({
    sigmaVtV: number,
    cells: z.int(),
    misreads: z.int(),
    expected: number,
  }),
  /** Time until the fastest level has moved the bit line by sense_v, and the slowest that must. */
  read: z.array(
    z.strictObject({
      corner: z.enum(CORNERS),
      tempK: number,
      /** [levels] time to a fall of sense_v; null where the level does not reach it in the window. */
      fallS: z.array(number.nullable()),
      /** Supply energy to restore the bit line after the read, mean over levels, J. */
      bitEnergyJ: number,
      /** Word line, per cell, J. */
      wordEnergyJ: number,
    }),
  ),
});

export type RomResult = z.infer<typeof romSchema>;

/** Mean over words of the two tails of a normal threshold. */
export function misreadProbability(
  { marginDownV, marginUpV }: Pick<RomCondition, 'marginDownV' | 'marginUpV'>,
  sigmaVtV: number,
): number {
  const tail = (margin: number | null) => (margin === null ? 0 : normalTail(margin / sigmaVtV));
  return (
    marginUpV.reduce<number>((sum, up, k) => sum + tail(up) + tail(marginDownV[k]), 0) / marginUpV.length
  );
}

/** Q(x): upper tail of the standard normal, relative error below 1.2e-7 (Numerical Recipes, erfcc). */
export function normalTail(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.5 * z);
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277,
  ];
  const polynomial = coefficients.reduceRight((sum, c) => sum * t + c, 0);
  const upper = (t * Math.exp(-z * z + polynomial)) / 2;
  return x >= 0 ? upper : 1 - upper;
}
