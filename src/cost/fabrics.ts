/** Pricing of each fabric, one line each. */
import { OnefetError } from '../error.ts';
import type {
  Activity,
  HardwiredActivity,
  LayerActivity,
  MacActivity,
  RoutedActivity,
  TileActivity,
} from '../fabric/activity.ts';
import type { CommonDesign } from '../fabric/common-design.ts';
import type { DigitalDesign } from '../fabric/digital.ts';
import type { Fabric, FabricParts } from '../fabric/fabric.ts';
import type { GpuDesign } from '../fabric/gpu.ts';
import type { HardwiredDesign } from '../fabric/hardwired.ts';
import type { LogDomainDesign } from '../fabric/log-domain.ts';
import type { MaskRomDesign } from '../fabric/mask-rom.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import type { RoutedDesign } from '../fabric/routed.ts';
import type { NamedShape } from '../model/shapes.ts';
import type { CostConstants } from './constants.ts';
import { priceDigital, projectMacs } from './digital.ts';
import { gpuConstants, priceGpu } from './gpu.ts';
import { priceHardwired, projectHardwired } from './hardwired.ts';
import { priceLogDomain } from './log-domain.ts';
import { logDomainCostDesign } from './log-domain-design.ts';
import { priceMaskRom } from './mask-rom.ts';
import type { PricedDesign } from './priced-design.ts';
import { projectActivity } from './project.ts';
import { priceRouted, projectRouted, selectedBitJ } from './routed.ts';

interface FabricPricing<D extends CommonDesign = CommonDesign, A extends LayerActivity = LayerActivity> {
  /** Throws what a cost would refuse, before the work of a run. */
  check(parts: FabricParts<D>, constants: CostConstants): void;
  /** `ranges`: the full scales that the run's converters had. */
  price(parts: FabricParts<D>, activity: Activity<A>, ranges: RangeTable): PricedDesign;
  /** The activity of a model of another shape. */
  project(activity: Activity<A>, from: NamedShape, to: NamedShape): Activity<A>;
}

const logDomain: FabricPricing<LogDomainDesign, TileActivity> = {
  // No full scale is known yet, so nothing is priced.
  check: (parts) => {
    logDomainCost(parts, {});
  },
  price: (parts, activity, ranges) => priceLogDomain(activity, logDomainCost(parts, ranges)),
  project: projectActivity,
};

function logDomainCost({ design, calibration }: FabricParts<LogDomainDesign>, ranges: RangeTable) {
  if (calibration === undefined) {
    throw new OnefetError('internal', 'COST_DESIGN', `cost: design ${design.name} has no calibrated cell`);
  }
  return logDomainCostDesign(design, calibration, ranges);
}

const digital: FabricPricing<DigitalDesign, MacActivity> = {
  check: () => {},
  price: ({ design }, activity) => priceDigital(activity, design),
  project: projectMacs,
};

const routed: FabricPricing<RoutedDesign, RoutedActivity> = {
  check: ({ design }) => {
    selectedBitJ(design);
  },
  price: ({ design }, activity) => priceRouted(activity, design),
  project: projectRouted,
};

const maskRom: FabricPricing<MaskRomDesign, MacActivity> = {
  check: () => {},
  price: ({ design }, activity) => priceMaskRom(activity, design),
  project: projectMacs,
};

const hardwired: FabricPricing<HardwiredDesign, HardwiredActivity> = {
  check: () => {},
  price: ({ design }, activity) => priceHardwired(activity, design),
  project: projectHardwired,
};

const gpu: FabricPricing<GpuDesign> = {
  check: (_parts, constants) => {
    gpuConstants(constants);
  },
  price: ({ design }) => priceGpu(design),
  // Nothing was counted: what it does follows from the shape.
  project: (activity) => activity,
};

const FABRICS: Readonly<Record<string, FabricPricing>> = {
  'log-domain': logDomain,
  digital,
  routed,
  'mask-rom': maskRom,
  hardwired,
  gpu,
};

function pricingOf({ kind }: Fabric): FabricPricing {
  const pricing = FABRICS[kind];
  if (pricing) return pricing;
  throw new OnefetError('internal', 'COST_FABRIC', `cost: nothing says how a ${kind} fabric is priced`);
}

/** Refuses what cannot be priced, before any work. Errors: COST_DESIGN, OUT_OF_RANGE, COST_CONSTANTS. */
export function checkPriceable(fabric: Fabric, constants: CostConstants): void {
  pricingOf(fabric).check(fabric.parts, constants);
}

/** A fabric's part of the cost of a chip, at the activity of a run. */
export function priceFabric(fabric: Fabric, activity: Activity, ranges: RangeTable): PricedDesign {
  return pricingOf(fabric).price(fabric.parts, activity, ranges);
}

/** From the activity of the model that ran to that of a model of another shape. */
export function projectFabric(
  fabric: Fabric,
  activity: Activity,
  from: NamedShape,
  to: NamedShape,
): Activity {
  return pricingOf(fabric).project(activity, from, to);
}
