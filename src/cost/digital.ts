/**
 * The digital fabric as the cost sees it: multiply-accumulate units beside a ROM.
 */
import { OnefetError } from '../error.ts';
import type { Activity, MacActivity } from '../fabric/activity.ts';
import { tensorBits } from '../fabric/common-design.ts';
import type { DigitalDesign } from '../fabric/digital.ts';
import type { MatrixShape } from '../model/shape.ts';
import type { NamedShape } from '../model/shapes.ts';
import {
  type MacCounts,
  type MacFormat,
  macTraffic,
  macUnits,
  storedWeights,
  weightRom,
} from './components/macs.ts';
import type { PricedDesign } from './priced-design.ts';
import { projectLayers } from './project.ts';

/** Bits of a real-valued input (`input.bits: float`) in the hardware. */
const FLOAT_INPUT_BITS = 16;

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

function countMacs({ layers }: Activity<MacActivity>, design: DigitalDesign): MacCounts {
  const { weightsPerUnit } = design.mac;
  const formats: MacFormat[] = [];
  /** Weights of each block, and of the head as -1. */
  const banks = new Map<number, number>();
  let scales = 0;
  let inputs = 0;
  let outputs = 0;
  let tileResults = 0;
  for (const one of layers) {
    if (!(one.tokens > 0)) {
      throw new OnefetError(
        'input',
        'NO_ACTIVITY',
        `cost: layer ${one.layer} ${one.tensor} processed ${one.tokens} tokens, so its averages do not exist`,
      );
    }
    const weights = one.outputs * one.inputs;
    addTo(formats, tensorBits(design, one.tensor), one.tensor, weights, one.macs / one.tokens);
    banks.set(one.layer, (banks.get(one.layer) ?? 0) + weights);
    scales += one.outputs * one.tiles;
    tileResults += one.outputs * one.tiles;
    inputs += one.inputs;
    outputs += one.outputs;
  }
  if (banks.size === 0) {
    throw new OnefetError(
      'input',
      'NO_ACTIVITY',
      'cost: the run has no layers on the fabric, so there is nothing to cost',
    );
  }
  const { bits } = design.input;
  return {
    inputBits: bits === 'float' ? FLOAT_INPUT_BITS : bits + 1,
    weightsPerUnit,
    formats: formats.sort((a, b) => a.bits - b.bits),
    banks: banks.size,
    weights: [...banks.values()].reduce((sum, weights) => sum + weights, 0),
    units: [...banks.values()].reduce((sum, weights) => sum + Math.ceil(weights / weightsPerUnit), 0),
    scales,
    inputs,
    outputs,
    tileResults,
  };
}

function addTo(formats: MacFormat[], bits: number, tensor: string, weights: number, macs: number): void {
  const at = formats.findIndex((format) => format.bits === bits);
  if (at < 0) {
    formats.push({ bits, tensors: [tensor], weights, macs });
    return;
  }
  const known = formats[at];
  const tensors = known.tensors.includes(tensor) ? known.tensors : [...known.tensors, tensor];
  formats[at] = { bits, tensors, weights: known.weights + weights, macs: known.macs + macs };
}

/** Products per weight are carried over, tensor by tensor: all of them, since no product is left out. */
export function projectMacs(
  activity: Activity<MacActivity>,
  from: NamedShape,
  to: NamedShape,
): Activity<MacActivity> {
  return projectLayers(activity, from, to, projectTensor);
}

function projectTensor(seen: readonly MacActivity[], { name, outputs, inputs }: MatrixShape): MacActivity {
  const total = (of: (one: MacActivity) => number) => seen.reduce((sum, one) => sum + of(one), 0);
  const perWeight = total((one) => one.macs) / total((one) => one.tokens * one.outputs * one.inputs);
  const { tileRows } = seen[0];
  return {
    layer: name.layer,
    tensor: name.tensor,
    outputs,
    inputs,
    tiles: Math.ceil(inputs / tileRows),
    tileRows,
    tokens: 1,
    macs: outputs * inputs * perWeight,
  };
}
