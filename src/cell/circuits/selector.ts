/**
 * The selector of "multiplication by routing" as it was measured: delay and energy.
 */
import { z } from 'zod';
import { CORNERS } from '../technology.ts';

const number = z.number();

const conditionSchema = z.strictObject({
  corner: z.enum(CORNERS),
  tempK: number,
  supplyV: number,
  /** 50 % of the input to 50 % of the receiver's output, product bit rising and falling. */
  riseS: number,
  fallS: number,
  /** Level of a one behind the pass transistor over the supply. */
  oneLevel: number,
  /** Supply energy of one rise and one fall, per selected column: wire and driver shared, line and receiver. */
  energyPerToggleJ: number,
  /**
   * Standing power of one product wire with all its columns, low and high averaged. Dominated by the integrator's
   * ringing of nA (it reads 24 nW at -40 C, where the transistors leak far less): not shown, do not use it.
   */
  leakageW: number,
});

export type SelectorCondition = z.infer<typeof conditionSchema>;

export const selectorSchema = z.strictObject({
  selectedColumns: z.int(),
  conditions: z.array(conditionSchema),
  /**
   * TT, 27 C, nominal supply: a bit of a random product toggles in half of the steps, half of these upwards; a rise and
   * a fall together are energyPerToggle.
   */
  energyPerSelectedBitJ: number,
});

export type SelectorResult = z.infer<typeof selectorSchema>;
