/** The routed fabric as the cost sees it: cells told by their connection, selectors and adder trees. */
import { loadCircuit } from '../cell/circuits/circuit.ts';
import { OnefetError } from '../error.ts';
import type { Activity, RoutedActivity } from '../fabric/activity.ts';
import { type RoutedDesign, SELECTOR } from '../fabric/routed.ts';
import type { NamedShape } from '../model/shapes.ts';
import { bankTraffic } from './components/macs.ts';
import { countMatrices } from './components/matrices.ts';
import {
  connectionAreaLine,
  connectionCells,
  connectionCosts,
  connectionReadLine,
} from './components/rom-cells.ts';
import { scaleLine, scaleReadLine, scaleRomLine } from './components/scales.ts';
import { type SelectorCounts, selectorAreas, selectors } from './components/selectors.ts';
import { onSilicon, SIMULATED, sumLines } from './lines.ts';
import type { CostComponent, PricedDesign } from './priced-design.ts';
import { projectedLayer, projectLayers } from './project.ts';

/** Energy of one selected bit of a design's process. Errors: those of loadCircuit, CIRCUIT_INVALID. */
export function selectedBitJ({ process }: Pick<RoutedDesign, 'process'>): number {
  const { selector } = loadCircuit(process, SELECTOR);
  if (selector) return selector.energyPerSelectedBitJ;
  throw new OnefetError('input', 'CIRCUIT_INVALID', `circuit ${process}/${SELECTOR} is not a selector`);
}

/** Prices a routed design at the activity of a run. Errors: NO_ACTIVITY, those of `selectedBitJ`. */
export function priceRouted(activity: Activity<RoutedActivity>, design: RoutedDesign): PricedDesign {
  const counts = countSelections(activity, design);
  return {
    kvBits: design.kvBits,
    headInFabric: design.head === 'mapped',
    components: [weightCells(counts), selectors(counts)],
    traffic: ({ constants }) =>
      bankTraffic(
        counts,
        sumLines([connectionAreaLine(counts, constants), ...selectorAreas(counts, constants)]),
      ),
    weights: (constants) => connectionCosts(counts, constants),
    warnings: [],
  };
}

function weightCells(counts: SelectorCounts): CostComponent {
  return {
    name: 'weight-cells',
    clocked: true,
    area: ({ constants }) =>
      onSilicon('rom', connectionAreaLine(counts, constants), scaleRomLine(counts, constants)),
    energy: ({ constants }) => [
      connectionReadLine(counts, constants),
      scaleReadLine(counts, constants),
      scaleLine(counts, constants),
    ],
  };
}

function countSelections({ layers }: Activity<RoutedActivity>, design: RoutedDesign): SelectorCounts {
  const totals = countMatrices(layers, design, ({ selections }) => selections);
  const { weightsPerAdder, treeInputs } = design.select;
  const perBank = totals.banks.map(
    (weights) => treeInputs * Math.ceil(weights / weightsPerAdder / treeInputs),
  );
  const leaves = perBank.reduce((sum, n) => sum + n, 0);
  // Inputs at once: fewest outputs share the leaves of a bank.
  const fewest = Math.min(...layers.map(({ outputs }) => outputs));
  const makers = perBank.reduce((sum, n) => sum + Math.ceil(n / fewest), 0);
  return {
    ...totals,
    weightsPerAdder,
    treeInputs,
    leaves,
    makers,
    // A weight of two cells selects twice, in two cycles of its selector or on two selectors: twice the work either way.
    selections: totals.formats.reduce((sum, { bits, macs }) => sum + macs * connectionCells(bits), 0),
    productSets: layers.reduce((sum, one) => sum + one.productSets / one.tokens, 0),
    selectedBitJ: selectedBitJ(design),
    selector: { source: `SPICE, selector of ${design.process}, TT and 27 C`, tag: SIMULATED.tag },
  };
}

/** All weights are selected for every token, whatever the model. */
export function projectRouted(
  activity: Activity<RoutedActivity>,
  from: NamedShape,
  to: NamedShape,
): Activity<RoutedActivity> {
  return projectLayers(activity, from, to, (seen, matrix) => ({
    ...projectedLayer(seen, matrix),
    selections: matrix.outputs * matrix.inputs,
    productSets: matrix.inputs,
  }));
}
