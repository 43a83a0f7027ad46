/**
 * The integrator of a column: the one home of its capacitor, for noise, area and energy.
 *
 *   C V = Q = D T        D the column's full-scale current, T the integration time, V the voltage at full scale
 *
 * The difference of the two bit lines is integrated, so the capacitor swings by +-V around the middle of the supply.
 */
import { OnefetError } from '../error.ts';
import type { TileDesign } from './design.ts';

/** Capacitance at which the full-scale current of a column moves the capacitor by swingV, F. */
export function integratorF(columnFullScaleA: number, integrationTimeS: number, swingV: number): number {
  return (columnFullScaleA * integrationTimeS) / swingV;
}

/**
 * kT/C of one sample as variance of the column's current in units of I_fs^2, per unit of its full scale (in I_fs):
 * k T C / (I_fs time)^2 with C of a full scale of one I_fs, to be multiplied by the full scale.
 */
export function samplingVariance(kTJ: number, fullScaleA: number, timeS: number, swingV: number): number {
  return (kTJ * integratorF(fullScaleA, timeS, swingV)) / (fullScaleA * timeS) ** 2;
}

/** Errors: SWING where +-swingV does not fit between the rails. */
export function checkSwing({ adc, supplyV }: Pick<TileDesign, 'adc' | 'supplyV'>): void {
  if (2 * adc.swingV <= supplyV) return;
  throw new OnefetError(
    'usage',
    'SWING',
    `adc.swingV is ${adc.swingV} V: the integrator swings by twice that, ${2 * adc.swingV} V, and the supply is ${supplyV} V`,
    { hint: `set adc.swingV to at most ${supplyV / 2}: the capacitor grows, and kT/C noise with it falls` },
  );
}
