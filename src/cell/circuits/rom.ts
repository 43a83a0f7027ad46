/**
 * A multibit mask-ROM cell as it was measured: currents, margins, misreads, read time and energy.
 */
import { z } from 'zod';
import { normalTail } from '../../normal-tail.ts';
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
