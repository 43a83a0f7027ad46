/**
 * The answer of one cell to a shift of its threshold, its source and its drain, measured in SPICE on single cells (no
 * column) by temperature and current: constants that the fitted equation does not have. TT; [tempK][product].
 */
import { z } from 'zod';
import { OnefetError } from '../error.ts';

const numbers = z.array(z.number()).max(10_000);
const table = z.array(numbers).max(1000);

export const cellLawSchema = z.strictObject({
  tempK: numbers,
  product: numbers,
  /** m: -1 / (d ln I / dVs) over Ut, with gate, drain and bulk held. */
  sourceSlopeFactor: table,
  /** -(d ln I / d dVt) over the calibrated gm/I: a threshold shift moves the mobility too. */
  thresholdGain: table,
  /** ln I = ln I0 - slope x - curvature x^2. */
  thresholdCurvaturePerV2: table,
  outputConductancePerV: table,
});

export type CellLaw = z.infer<typeof cellLawSchema>;

export interface LawConstants {
  /** -(d ln I / d dVt) over gm/I. */
  readonly thresholdGain: number;
  /** m: -1 / (d ln I / dVs) over Ut. */
  readonly sourceSlopeFactor: number;
  /** lambda, d ln I / dVds. */
  readonly outputConductancePerV: number;
}

/** Product whose constants stand for a column: most of its current is carried near there. */
const TYPICAL_PRODUCT = 0.3;

/** Constants at a temperature, linear between those measured. Error: OUT_OF_RANGE. */
export function lawConstants(law: CellLaw, tempK: number): LawConstants {
  const last = law.tempK.length - 1;
  if (!(tempK >= law.tempK[0] - 1e-6 && tempK <= law.tempK[last] + 1e-6)) {
    throw new OnefetError(
      'input',
      'OUT_OF_RANGE',
      `temperature of ${tempK} K is outside the cell law's ${law.tempK[0]} to ${law.tempK[last]} K`,
    );
  }
  let product = 0;
  law.product.forEach((p, i) => {
    const off = Math.abs(Math.log(p / TYPICAL_PRODUCT));
    if (off < Math.abs(Math.log(law.product[product] / TYPICAL_PRODUCT))) product = i;
  });
  let i = 0;
  while (i < last - 1 && tempK > law.tempK[i + 1]) i++;
  const f = (tempK - law.tempK[i]) / (law.tempK[i + 1] - law.tempK[i]);
  const at = (values: readonly (readonly number[])[]) =>
    values[i][product] + f * (values[i + 1][product] - values[i][product]);
  return {
    thresholdGain: at(law.thresholdGain),
    sourceSlopeFactor: at(law.sourceSlopeFactor),
    outputConductancePerV: at(law.outputConductancePerV),
  };
}
