/** The hardwired fabric as the cost sees it: adders and registers of the codes that ran. */
import type { Activity, HardwiredActivity } from '../fabric/activity.ts';
import type { HardwiredDesign } from '../fabric/hardwired.ts';
import type { NamedShape } from '../model/shapes.ts';
import { bankTraffic } from './components/macs.ts';
import { countMatrices } from './components/matrices.ts';
import { cellCosts } from './components/rom-cells.ts';
import { scaleLine, scaleReadLine, scaleRomLine } from './components/scales.ts';
import {
  formatUm2,
  type WiredCounts,
  type WiredFormat,
  wiredAdders,
  wiredAreaLine,
} from './components/wired-adders.ts';
import { onSilicon } from './lines.ts';
import type { CostComponent, PricedDesign } from './priced-design.ts';
import { perWeight, projectedLayer, projectLayers } from './project.ts';

/** Prices a hardwired design at the activity of a run. Errors: NO_ACTIVITY. */
export function priceHardwired(activity: Activity<HardwiredActivity>, design: HardwiredDesign): PricedDesign {
  const counts = countWires(activity, design);
  return {
    kvBits: design.kvBits,
    headInFabric: design.head === 'mapped',
    components: [wiredAdders(counts), scales(counts)],
    traffic: ({ constants }) => bankTraffic(counts, wiredAreaLine(counts, constants).value),
    weights: (constants) =>
      cellCosts(
        counts,
        ({ weights }) => weights,
        (format) => formatUm2(counts, counts.formats.indexOf(format), constants) / format.weights,
      ),
    warnings: [],
  };
}

/** One scale for each output and tile: the last multiplication. */
function scales(counts: WiredCounts): CostComponent {
  return {
    name: 'scales',
    clocked: true,
    area: ({ constants }) => onSilicon('rom', scaleRomLine(counts, constants)),
    energy: ({ constants }) => [scaleReadLine(counts, constants), scaleLine(counts, constants)],
  };
}

function countWires({ layers }: Activity<HardwiredActivity>, design: HardwiredDesign): WiredCounts {
  const totals = countMatrices(layers, design, ({ outputs, inputs, tokens }) => tokens * outputs * inputs);
  const wires = totals.formats.map(({ bits }): WiredFormat => {
    const own = layers.filter(({ weightBits }) => weightBits === bits);
    const sum = (of: (one: HardwiredActivity) => number) => own.reduce((total, one) => total + of(one), 0);
    return {
      connected: sum(({ connected }) => connected),
      digits: sum(({ digits }) => digits),
      sums: sum(({ outputs, tiles }) => outputs * tiles),
    };
  });
  return {
    ...totals,
    arithmetic: design.wires.arithmetic,
    headInFabric: design.head === 'mapped',
    wires,
  };
}

/** Shares of zeros and digits per weight are carried over, tensor by tensor. */
export function projectHardwired(
  activity: Activity<HardwiredActivity>,
  from: NamedShape,
  to: NamedShape,
): Activity<HardwiredActivity> {
  return projectLayers(activity, from, to, (seen, matrix) => {
    const weights = matrix.outputs * matrix.inputs;
    return {
      ...projectedLayer(seen, matrix),
      connected: weights * perWeight(seen, ({ connected }) => connected),
      digits: weights * perWeight(seen, ({ digits }) => digits),
    };
  });
}
