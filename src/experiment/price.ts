/** Cost at the activity of a run: of the model that ran, or of one of another shape. */
import { priceModel } from '../cost/chip.ts';
import { type MappingWork, mapping } from '../cost/components/mapping.ts';
import type { CostConstants } from '../cost/constants.ts';
import { priceFabric, projectFabric } from '../cost/fabrics.ts';
import type { PricedDesign } from '../cost/priced-design.ts';
import type { CostReport } from '../cost/report.ts';
import type { Activity } from '../fabric/activity.ts';
import type { Fabric } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { NamedShape } from '../model/shapes.ts';

/** What a run counted, and on what. */
export interface CountedRun {
  readonly fabric: Fabric;
  readonly activity: Activity;
  /** Full scales that its converters had. */
  readonly ranges: RangeTable;
  /** What the digital part did around mapped weights; null: nothing. */
  readonly mapping: MappingWork | null;
  /** Of the model that ran. */
  readonly shape: NamedShape;
}

/** A fabric at the activity of a run, scaled to `to` where that is not the model that ran. */
export function priceRunDesign(run: CountedRun, to: NamedShape): PricedDesign {
  const { fabric, activity, shape, ranges } = run;
  const counted = to === shape ? activity : projectFabric(fabric, activity, shape, to);
  const design = priceFabric(fabric, counted, ranges);
  if (run.mapping === null) return design;
  return { ...design, components: [...design.components, mapping(run.mapping)] };
}

export function priceRun(
  run: CountedRun,
  to: NamedShape,
  constants: CostConstants,
  options: { readonly contextTokens: number; readonly draws?: number },
): CostReport {
  return priceModel(priceRunDesign(run, to), to, constants, options);
}

/** Says where a tile has more rows than any matrix that ran: what larger tiles do to the accuracy was not seen. */
export function tileWarnings({ activity: { layers } }: Pick<CountedRun, 'activity'>): string[] {
  if (layers.length === 0) return [];
  const rows = Math.max(...layers.map(({ tileRows }) => tileRows));
  const inputs = Math.max(...layers.map((layer) => layer.inputs));
  if (rows <= inputs) return [];
  return [
    `tile.rows is ${rows}, but no matrix that ran has more than ${inputs} inputs: the accuracy was seen with tiles of at most ${inputs} rows, the cost of other shapes is of ${rows}.`,
  ];
}
