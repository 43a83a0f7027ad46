/**
 * Quantities that a current-voltage sweep cannot show: noise, capacitance and, without several devices, mismatch. It comes from a
 * file of constants with sources, or from the simulated calibration of a cell of the same size; nothing is assumed.
 */
import { z } from 'zod';
import type { Calibration } from '../../cell/calibration.ts';
import { loadYaml } from '../../config.ts';
import { OnefetError } from '../../error.ts';
import { displayPath } from '../../files.ts';
import { sourced } from '../../provenance.ts';

const number = sourced(z.number());

const constantsSchema = z.strictObject({
  schema: z.literal('onefet.measured-constants/1'),
  /** S_I / I^2 at 1 Hz at full scale, 1/Hz, and its exponent. */
  flickerRelativePsdAt1Hz: number.optional(),
  flickerExponent: number.optional(),
  /** White S_I over 2 q I at full scale. */
  whiteRatio: number.optional(),
  gateF: number.optional(),
  drainF: number.optional(),
});

export type MeasuredConstants = z.infer<typeof constantsSchema>;

export function readMeasuredConstants(path: string): MeasuredConstants {
  return loadYaml(path, 'measured constants', constantsSchema, 'MEASURED_CONSTANTS', displayPath(path));
}

/** A noise and a capacitance for the calibration; error MEASURED_INCOMPLETE names what is missing. */
export function completeNoise(
  constants: MeasuredConstants | undefined,
  supplement: Calibration | undefined,
  at: { fullScaleA: number; whiteRatioTheory: number },
): Pick<Calibration, 'noise' | 'capacitance'> {
  const take = (name: Exclude<keyof MeasuredConstants, 'schema'>, simulated: number | undefined): number => {
    const value = constants?.[name]?.value ?? simulated;
    if (value !== undefined) return value;
    throw new OnefetError('input', 'MEASURED_INCOMPLETE', `a current-voltage sweep does not show ${name}`, {
      hint: 'give it with its source in a file of constants, or name a simulated cell of the same size',
    });
  };
  const flicker = take('flickerRelativePsdAt1Hz', supplement?.noise.flickerRelativePsdAt1Hz);
  const white = take('whiteRatio', supplement?.noise.whiteRatioSpice);
  return {
    noise: {
      flickerRelativePsdAt1Hz: flicker,
      flickerExponent: take('flickerExponent', supplement?.noise.flickerExponent),
      whiteRatioSpice: white,
      whiteRatioTheory: at.whiteRatioTheory,
      // Tables by current are the simulator's only where all of them are.
      ...(constants === undefined && supplement !== undefined
        ? {
            currentA: supplement.noise.currentA,
            whiteRatioByCurrent: supplement.noise.whiteRatioByCurrent,
            flickerByCurrent: supplement.noise.flickerByCurrent,
          }
        : { currentA: [at.fullScaleA], whiteRatioByCurrent: [white], flickerByCurrent: [flicker] }),
    },
    capacitance: {
      gateF: take('gateF', supplement?.capacitance.gateF),
      drainF: take('drainF', supplement?.capacitance.drainF),
    },
  };
}
