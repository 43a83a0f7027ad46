/**
 * The digital fabric as the cost sees it: multiply-accumulate units beside a compiled ROM.
 */
import type { Activity, MacActivity } from '../fabric/activity.ts';
import type { DigitalDesign } from '../fabric/digital.ts';
import type { IntegerDesign } from '../fabric/integer.ts';
import type { NamedShape } from '../model/shapes.ts';
import { type MacCounts, macTraffic, macUnits, storedWeights, weightRom } from './components/macs.ts';
import { countMatrices } from './components/matrices.ts';
import type { PricedDesign } from './priced-design.ts';
import { perWeight, projectedLayer, projectLayers } from './project.ts';

/** Prices a digital design at the activity of a run. Errors: NO_ACTIVITY. */
export function priceDigital(activity: Activity<MacActivity>, design: DigitalDesign): PricedDesign {
  const counts = countMacs(activity, design);
  return {
    kvBits: design.kvBits,
    headInFabric: design.head === 'mapped',
    components: [weightRom(counts), macUnits(counts)],
    traffic: (system) => macTraffic(counts, system),
    weights: (constants) => storedWeights(counts, constants),
    warnings: [],
  };
}

/** Units of each bank serve its weights in turn. */
export function countMacs(
  { layers }: Activity<MacActivity>,
  design: IntegerDesign & { readonly mac: { readonly weightsPerUnit: number } },
): MacCounts {
  const totals = countMatrices(layers, design, ({ macs }) => macs);
  const { weightsPerUnit } = design.mac;
  return {
    ...totals,
    weightsPerUnit,
    units: totals.banks.reduce((sum, weights) => sum + Math.ceil(weights / weightsPerUnit), 0),
  };
}

/** Products per weight are carried over, tensor by tensor: all of them, since no product is left out. */
export function projectMacs(
  activity: Activity<MacActivity>,
  from: NamedShape,
  to: NamedShape,
): Activity<MacActivity> {
  return projectLayers(activity, from, to, (seen, matrix) => ({
    ...projectedLayer(seen, matrix),
    macs: matrix.outputs * matrix.inputs * perWeight(seen, ({ macs, tokens }) => macs / tokens),
  }));
}
