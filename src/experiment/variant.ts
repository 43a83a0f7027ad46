/**
 * The variants of a model that a run compares, as layers for the forward pass:
 *   digital   the model as shipped
 *   recoded   the hardware weights in exact arithmetic: the coding loss alone
 *   range     the nominal chip with its converters left open: where their ranges come from
 *   chip      one chip with everything that the design says
 *   source    one chip with a single group of errors, all others off: what limits the accuracy
 */

import type { Calibration } from '../cell/calibration.ts';
import type { TileActivity } from '../fabric/activity.ts';
import { buildDigital } from '../fabric/digital.ts';
import type { CountedLinear } from '../fabric/fabric.ts';
import type { Linear, LinearBuilder, LinearName } from '../fabric/linear.ts';
import type { LogDomainDesign as Design } from '../fabric/log-domain.ts';
import { logDomainLinear } from '../fabric/log-domain.ts';
import { tensorKey } from '../fabric/placement.ts';
import { type RangeRecord, type RangeTable, scaleRanges } from '../fabric/ranges.ts';
import { buildLayers, type LlamaModel, type ModelLayers } from '../model/model.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { type ErrorSource, onlySource, rangeFactor } from '../tile/error-sources.ts';
import { tilePhysics } from '../tile/physics.ts';
import { type HardwareWeights, hardwareRow, recodeWeights } from '../tile/weight-code.ts';
import type { TensorCoding } from './result.ts';

export type Variant =
  | { readonly kind: 'digital' }
  | { readonly kind: 'recoded' }
  | { readonly kind: 'range' }
  | { readonly kind: 'chip'; readonly seed: number }
  | { readonly kind: 'source'; readonly source: string; readonly seed: number };

/** Stable name of a variant: part of the key of its jobs. */
export function variantKey(variant: Variant): string {
  switch (variant.kind) {
    case 'chip':
      return `chip-${variant.seed}`;
    case 'source':
      return `source-${variant.source}-${variant.seed}`;
    default:
      return variant.kind;
  }
}

/** The design of a variant: with a single group of errors for `source`. */
export function variantDesign(variant: Variant, design: Design): Design {
  return variant.kind === 'source' ? onlySource(design, variant.source as ErrorSource) : design;
}

/** The converters' full scales of a variant. */
export function variantRanges(
  variant: Variant,
  design: Design,
  ranges: RangeTable | undefined,
): RangeTable | undefined {
  return ranges && variant.kind === 'source'
    ? scaleRanges(ranges, rangeFactor(design, variant.source as ErrorSource))
    : ranges;
}

export interface VariantLayers {
  readonly layers: ModelLayers;
  /** The analog layers, in the order of the data flow. */
  readonly analog: readonly CountedLinear<TileActivity>[];
  /** Filled by the range variant. */
  readonly record: RangeRecord;
}

/** Hardware weights by tensor, recoded once and shared by all variants of a thread. */
export type HardwareCache = Map<string, HardwareWeights>;

export interface VariantParts {
  readonly model: LlamaModel;
  readonly design: Design;
  readonly calibration: Calibration;
  readonly kernel: TileKernel;
  readonly hardware: HardwareCache;
  readonly ranges: RangeTable | undefined;
}

export function isAnalog(name: LinearName, design: Design): boolean {
  return name.tensor !== 'output' || design.head === 'analog';
}

export function buildVariant(variant: Variant, parts: VariantParts): VariantLayers {
  const { model, design } = parts;
  const record: RangeRecord = new Map();
  const analog: CountedLinear<TileActivity>[] = [];
  const builder = variantBuilder(variant, parts, analog, record);
  const layers = buildLayers(model, (name, outputs, inputs, row) => {
    if (variant.kind === 'digital' || !isAnalog(name, design))
      return buildDigital(name, outputs, inputs, row);
    return builder(name, outputs, inputs, row);
  });
  return { layers, analog, record };
}

function variantBuilder(
  variant: Variant,
  parts: VariantParts,
  analog: CountedLinear<TileActivity>[],
  record: RangeRecord,
): LinearBuilder {
  const { model, design, calibration, kernel, ranges } = parts;
  if (variant.kind === 'digital' || variant.kind === 'recoded') {
    return (name, outputs, inputs, row): Linear => {
      const weights = hardwareOf(parts, name, outputs, inputs, row);
      return buildDigital(name, outputs, inputs, (n, out) => hardwareRow(weights, n, out));
    };
  }
  const physics = tilePhysics(calibration, variantDesign(variant, design));
  return (name, outputs, inputs, row): Linear => {
    const layer = logDomainLinear(name, hardwareOf(parts, name, outputs, inputs, row), {
      physics,
      chip: variant.kind === 'range' ? { errors: false, seed: 0 } : { errors: true, seed: variant.seed },
      cellSums: kernel,
      blocks: model.shape.layers,
      ranges: variant.kind === 'range' ? undefined : variantRanges(variant, design, ranges),
      ...(variant.kind === 'range' ? { record } : {}),
    });
    analog.push(layer);
    return layer;
  };
}

function hardwareOf(
  { hardware, design }: VariantParts,
  name: LinearName,
  outputs: number,
  inputs: number,
  row: (n: number, out: Float32Array) => void,
): HardwareWeights {
  const key = tensorKey(name);
  let weights = hardware.get(key);
  if (!weights) {
    const bits = design.weights.overrides[name.tensor] ?? design.weights.bits;
    weights = recodeWeights(outputs, inputs, row, bits, design.tile.rows);
    hardware.set(key, weights);
  }
  return weights;
}

/** The coding loss of each recoded tensor. */
export function codingOf(hardware: HardwareCache): TensorCoding[] {
  return [...hardware].map(([key, weights]) => {
    const match = /^blk\.(\d+)\.(.+)$/.exec(key);
    return {
      layer: match ? Number(match[1]) : -1,
      tensor: match ? match[2] : key,
      outputs: weights.outputs,
      inputs: weights.inputs,
      bits: weights.format.bits,
      codingSnrDb: weights.codingSnrDb,
      zeroShare: weights.zeroShare,
    };
  });
}
