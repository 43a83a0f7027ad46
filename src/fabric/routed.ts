/**
 * Multiplication by routing: all products of an input with the magnitudes that a weight may have are computed once by a few
 * adders, the one transistor of a weight connects the select line of its product, and adder trees sum what was selected.
 * Integer arithmetic: every chip is the same.
 */
import { z } from 'zod';
import { routedProducts } from '../tile/signed-digits.ts';
import type { HardwareWeights } from '../tile/weight-code.ts';
import type { RoutedActivity } from './activity.ts';
import { bindCircuit } from './circuit.ts';
import { closingShape, mappingShape, nameShape, processShape, weightsShape } from './common-design.ts';
import type { FabricModule } from './fabric.ts';
import { type IntegerKind, integerFabric, integerShape, type TileSum } from './integer.ts';

export const routedDesign = z.strictObject({
  ...nameShape,
  fabric: z.literal('routed').describe('What a linear layer is made of.'),
  ...processShape,
  ...integerShape,
  ...weightsShape,
  ...mappingShape,
  select: z
    .strictObject({
      weightsPerAdder: z
        .int()
        .min(1)
        .max(1_048_576)
        .default(1664)
        .describe(
          'Weights of a block that share one selector and its place in an adder tree, one a cycle: sets the selectors of a chip and the time of a block.',
        ),
      treeInputs: z
        .int()
        .min(2)
        .max(4096)
        .default(64)
        .describe('Selected products that one adder tree sums in a cycle before its accumulator.'),
    })
    .prefault({}),
  ...closingShape,
});

export type RoutedDesign = z.infer<typeof routedDesign>;

/** The selector of SPICE: its energy per selected bit is what a chip pays. */
export const SELECTOR = 'routed-selector';

export const routedFabric: FabricModule<RoutedDesign> = {
  schema: routedDesign,
  load(design) {
    const { provenance } = bindCircuit(design.process, SELECTOR);
    return integerFabric(
      design,
      (): IntegerKind<RoutedDesign> => ({
        wording: {
          loss: 'the coding of the inputs',
          remark:
            'Products that are selected are exact: every chip computes the same, and what is saved against multipliers is silicon; the maker of the chip that raised the question says that its arithmetic is fully digital, which this is.',
        },
        circuit: provenance,
        counters: ['tokens', 'selections', 'productSets'] satisfies (keyof RoutedActivity)[],
        countsCodes: false,
        activity: ({ outputs, inputs }, tokens): Pick<RoutedActivity, 'selections' | 'productSets'> => ({
          selections: tokens * outputs * inputs,
          productSets: tokens * inputs,
        }),
        sumTile: routeTile,
      }),
    );
  },
};

/** What the selectors and adders of a tile do: the products of a row, then one of them for every weight. */
export const routeTile: TileSum = (x, { columns, format }: HardwareWeights, { codes }, column) => {
  const products = new Float64Array(format.taps + 1);
  for (let j = 0; j < x.length; j++) {
    routedProducts(x[j], products);
    for (let c = 0, at = j * columns; c < columns; c++, at++) {
      const code = codes[at];
      column[c] += code < 0 ? -products[-code] : products[code];
    }
  }
};
