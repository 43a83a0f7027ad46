/**
 * calibration/<process>/<cell>.column.json. Relative changes and errors are fractions.
 */
import { z } from 'zod';
import { cellLawSchema } from '../../../cell/cell-law.ts';

const number = z.number();

export const columnStudySchema = z.strictObject({
  schema: z.literal('onefet.column/1'),
  process: z.string(),
  cell: z.string(),
  engine: z.string(),
  /** Path below the working folder or the package -> SHA-256. */
  sources: z.record(z.string(), z.string()),
  /** calibrationFingerprint of the calibration that the law was taken from. */
  calibrationSha256: z.string(),
  seed: z.int(),
  /** The calibration's. */
  law: cellLawSchema,
  /** By number of rows, nominal cells at 27 C. */
  sizes: z.array(
    z.strictObject({
      rows: z.int(),
      tempK: number,
      differentialRmsA: number,
      linePlusRmsA: number,
      clampTransistor: z.strictObject({
        widthM: number,
        lengthM: number,
        gateV: number,
        slopeV: number,
        middleA: number,
        gain: number,
      }),
      /** D of an ideal column against the integer dot product, one gain removed, over the RMS. */
      dotProductError: number,
      /** (I(all) + I(none) - I(even rows) - I(odd rows)) / I(all) on ideal lines. */
      idealSuperposition: number,
      cases: z.array(
        z.strictObject({
          clamp: z.enum(['resistor', 'cascode', 'opamp']),
          clampOhm: number,
          bitWireOhm: number,
          sourceWireOhm: number,
          sourceOhm: number,
          /** Largest relative change of a line's current from ideal lines, and the model's largest deviation from SPICE. */
          lineChangeMax: number,
          lineLawMax: number,
          /** Largest deviation of the plus line at its clamp from the nominal voltage. */
          lineMovesV: number,
          /** Change of D over its RMS; the same with one gain removed; deviation of the model. */
          differentialChange: number,
          differentialNonlinearity: number,
          differentialLaw: number,
          superpositionError: number,
        }),
      ),
    }),
  ),
  offLeakage: z.array(
    z.strictObject({
      tempK: number,
      offVgsV: number,
      perCellA: number,
      lawPerCellA: number,
      /** Over the current of the lowest code at the lowest tap. */
      overLsb: number,
    }),
  ),
  crossTalk: z.array(
    z.strictObject({
      bitWireOhm: number,
      sourceWireOhm: number,
      sourceOhm: number,
      neighbourA: number,
      neighbourChange: number,
      neighbourLaw: number,
      pairA: number,
      pairChange: number,
      pairLaw: number,
    }),
  ),
  random: z.strictObject({
    rows: z.int(),
    wiring: z.strictObject({
      clampOhm: number,
      bitWireOhm: number,
      sourceWireOhm: number,
      sourceOhm: number,
    }),
    columns: z.array(
      z.strictObject({
        tempK: number,
        corner: z.string(),
        differentialRmsA: number,
        /** RMS error of D over its RMS: mismatch left out of the model; the lumped model of random.ts; the models. */
        noMismatch: number,
        tile: number,
        'first-order': number,
        'first-order-by-tap': number,
        'second-order': number,
        'second-order-by-tap': number,
      }),
    ),
  }),
});

export type ColumnStudy = z.infer<typeof columnStudySchema>;
