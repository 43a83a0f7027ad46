/**
 * The digital fabric: what a design flow gives today, multiply-accumulate units beside a compiled ROM of one bit per
 * transistor that holds the mapped weights. Nothing is drawn, so every chip is the same.
 */
import { z } from 'zod';
import type { MacActivity } from './activity.ts';
import { closingShape, mappingShape, nameShape, processShape, weightsShape } from './common-design.ts';
import type { FabricModule } from './fabric.ts';
import { type IntegerKind, integerFabric, integerShape, type MatrixCounts } from './integer.ts';

/** Keys of the multiply-accumulate units beside a ROM. */
export const macShape = {
  mac: z
    .strictObject({
      weightsPerUnit: z
        .int()
        .min(1)
        .max(1_048_576)
        .default(1664)
        .describe(
          'Weights of a block that share one multiply-accumulate unit, one a cycle: sets the units of a chip and the time of a block.',
        ),
    })
    .prefault({}),
};

export const digitalDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('digital').describe('What a linear layer is made of.'),
  ...processShape,
  ...integerShape,
  ...weightsShape,
  ...mappingShape,
  ...macShape,
  ...closingShape,
});

export type DigitalDesign = z.infer<typeof digitalDesign>;

export const digitalFabric: FabricModule<DigitalDesign> = {
  schema: digitalDesign,
  load: (design) => integerFabric(design, digitalKind),
};

const digitalKind = (): IntegerKind<DigitalDesign> => ({
  wording: {
    loss: 'the coding of the inputs',
    remark:
      'Digital arithmetic on mapped weights has no errors of its own: every chip computes the same, and what it costs is that of multiply-accumulate units beside a compiled ROM.',
  },
  counters: MAC_COUNTERS,
  countsCodes: false,
  activity: macCounts,
});

export const MAC_COUNTERS = ['tokens', 'macs'] as const satisfies readonly (keyof MacActivity)[];

/** Every weight is multiplied once per token. */
export const macCounts = ({ outputs, inputs }: MatrixCounts, tokens: number): Pick<MacActivity, 'macs'> => ({
  macs: tokens * outputs * inputs,
});
