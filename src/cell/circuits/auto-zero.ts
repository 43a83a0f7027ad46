/**
 * An auto-zero of a row's follower as it was measured: what it leaves of the offsets, its droop, noise and energy.
 */
import { z } from 'zod';
import { CORNERS } from '../technology.ts';

const number = z.number();

const conditionSchema = z.strictObject({
  corner: z.enum(CORNERS),
  tempK: number,
  rows: z.int(),
  /** Sigma over rows of the row line at full scale, V, right after zeroing and after the hold time. */
  residualSigmaV: number,
  heldSigmaV: number,
  /** Sigma over rows of the step from full scale to the low level, V. */
  stepSigmaV: number,
  /** Row line over converter for that step: the capacitor loses a share to the gate. */
  gain: number,
  /** Mean of row line less converter at full scale right after zeroing, V: common to the rows, so a replica takes it. */
  meanV: number,
  /** Mean charge that the switches leave on the gate, C: what the row's level before and the gain do not explain. */
  injectedC: number,
  /** Mean change of the row line during the hold time, V/s. */
  droopVPerS: number,
});

export const autoZeroSchema = z.strictObject({
  /** Sigma of the follower's own offset: A_VT / sqrt(W L). */
  plainSigmaV: number,
  /** Its spread over the rows at 27 C. */
  drawnSigmaV: number,
  conditions: z.array(conditionSchema),
  /** sqrt(kT/C) of the stored voltage at 27 C, V: drawn anew by every zeroing. Calculated, not in the transient. */
  noiseV: number,
  /** Root of the squares of the typical residual after the hold time and of the noise: what a row's offset is. */
  rowSigmaV: number,
  /** One zeroing of one row, TT, 27 C, J: clocks, reference and converter. */
  energyJ: number,
  zeroS: number,
});

export type AutoZeroResult = z.infer<typeof autoZeroSchema>;
