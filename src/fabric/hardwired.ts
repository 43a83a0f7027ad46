/**
 * Weights as wires: every weight is a constant multiplier of its own, made of adders and metal, and all of them work at
 * once. Inputs come bit by bit; in a cycle each nonzero weight passes one bit of its input to the counter of its output.
 *
 *   grouped  wires of equal magnitude are counted together, and the count is multiplied by the magnitude once per output and
 *            tile: one adder of a bit for each nonzero weight, as in metal-embedded designs (arXiv 2508.16151)
 *   csd      one adder of a bit for each nonzero canonical signed digit of the weight
 *
 * Integer arithmetic: every chip is the same.
 */
import { z } from 'zod';
import { countDigits, signedDigits } from '../tile/signed-digits.ts';
import { type HardwareWeights, weightCode } from '../tile/weight-code.ts';
import type { HardwiredActivity } from './activity.ts';
import { closingShape, mappingShape, nameShape, processShape, weightsShape } from './common-design.ts';
import type { FabricModule } from './fabric.ts';
import { type IntegerKind, integerFabric, integerShape, type TileSum } from './integer.ts';

export const hardwiredDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('hardwired').describe('What a linear layer is made of.'),
  ...processShape,
  ...integerShape,
  ...weightsShape,
  ...mappingShape,
  wires: z
    .strictObject({
      arithmetic: z
        .enum(['grouped', 'csd'])
        .default('grouped')
        .describe(
          'grouped: inputs of equal magnitude are counted, the count is multiplied once; csd: an adder for each signed digit of each weight.',
        ),
    })
    .prefault({}),
  ...closingShape,
});

export type HardwiredDesign = z.infer<typeof hardwiredDesign>;

export const hardwiredFabric: FabricModule<HardwiredDesign> = {
  schema: hardwiredDesign,
  load: (design) =>
    integerFabric(
      design,
      ({ wires }): IntegerKind<HardwiredDesign> => ({
        wording: {
          loss: 'the coding of the inputs',
          remark:
            'Weights that are wires are exact: every chip computes the same; each model is a chip of its own, and what it costs is adders.',
        },
        counters: ['tokens'],
        countsCodes: true,
        activity: ({ outputs, inputs, magnitudes }): Pick<HardwiredActivity, 'connected' | 'digits'> => ({
          connected: outputs * inputs - (magnitudes[0] ?? 0),
          digits: countDigits(magnitudes),
        }),
        sumTile: wires.arithmetic === 'csd' ? sumDigits : sumGroups,
      }),
    ),
};

/** Adds every signed digit of every weight: +-2^shift x. */
export const sumDigits: TileSum = (x, weights: HardwareWeights, { codes }, column) => {
  const digits = digitTable(weights);
  for (let j = 0; j < x.length; j++) {
    for (let n = 0; n < weights.outputs; n++) {
      const code = weightCode(weights, codes, j, n);
      for (const { shift, sign } of digits[Math.abs(code)]) {
        column[n] += (code < 0 ? -sign : sign) * 2 ** shift * x[j];
      }
    }
  }
};

/** Sums inputs of weights of equal magnitude, then adds the signed digits of each magnitude times its sum. */
export const sumGroups: TileSum = (x, weights: HardwareWeights, { codes }, column) => {
  const digits = digitTable(weights);
  const groups = new Float64Array(digits.length);
  for (let n = 0; n < weights.outputs; n++) {
    groups.fill(0);
    for (let j = 0; j < x.length; j++) {
      const code = weightCode(weights, codes, j, n);
      groups[Math.abs(code)] += code < 0 ? -x[j] : x[j];
    }
    for (let m = 1; m < groups.length; m++) {
      for (const { shift, sign } of digits[m]) column[n] += sign * 2 ** shift * groups[m];
    }
  }
};

const digitTable = ({ format }: HardwareWeights) =>
  Array.from({ length: format.magnitudeMax + 1 }, (_, m) => signedDigits(m));
