/**
 * A string converter as it was measured: levels, mismatch, settling, energy.
 */
import { z } from 'zod';
import { CORNERS } from '../technology.ts';

const number = z.number();

export const converterSchema = z.strictObject({
  law: z.enum(['uniform', 'logarithmic']),
  codes: z.int(),
  /** TT, 27 C: magnitudes that the levels stand for, lowest code first. */
  magnitude: z.array(number).max(4096),
  /** Relative error of those magnitudes with matched resistors: leakage of the switches. */
  levels: z.array(z.strictObject({ corner: z.enum(CORNERS), tempK: number, rms: number, max: number })),
  /** Mean over draws with the stated resistor sigma. */
  mismatch: z.strictObject({ sigma: number, draws: z.int(), rms: number, max: number }),
  /** From the code change until the row stays within n Ut / 100, 1 % of the product; lowest to highest code and back. */
  settling: z.array(z.strictObject({ corner: z.enum(CORNERS), tempK: number, riseS: number, fallS: number })),
  /** Gate charge of one change of code times the supply, J. */
  switchEnergyJ: number,
  /** String current at 27 C times the supply, W; one string may serve many rows. */
  stringPowerW: number,
});

export type ConverterResult = z.infer<typeof converterSchema>;
