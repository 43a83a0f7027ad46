/** Activity of a model of a given shape with round averages per cell: what a fabric would have counted. */

import { priceModel } from '../cost/chip.ts';
import type { CostConstants } from '../cost/constants.ts';
import { priceLogDomain } from '../cost/log-domain.ts';
import type { LogDomainCostDesign } from '../cost/log-domain-design.ts';
import type { CostReport } from '../cost/report.ts';
import type { Activity, LayerActivity, TileActivity } from '../fabric/activity.ts';
import { tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { LLAMA, tensorNames } from '../model/architecture.ts';
import { modelMatrices, modelShape } from '../model/shape.ts';
import type { NamedShape } from '../model/shapes.ts';
import { LLAMA_3_1_8B } from '../model/shapes.ts';
import { weightFormat } from '../tile/weight-code.ts';

/** Andrej Karpathy's stories260K. */
export const STORIES_260K: NamedShape = modelShape({
  name: 'stories260K',
  layers: 5,
  dim: 64,
  ffnDim: 172,
  heads: 8,
  kvHeads: 4,
  headDim: 8,
  vocab: 512,
  contextTokens: 512,
  normEpsilon: 1e-5,
  ropeBase: 10_000,
  tied: true,
});

export const EXAMPLE_DESIGN: LogDomainCostDesign = {
  tileRows: 256,
  dacBits: 6,
  unpriced: [],
  processSupplyV: 0.8,
  adcBits: 8,
  adcColumnsShared: 16,
  integrationTimeS: 100e-9,
  // 13 full-scale currents of 3 nA for 100 ns are 0.3 V on 13 fF.
  swingV: 0.3,
  fullScaleCells: Object.fromEntries(tensorNames(LLAMA).map((tensor) => [tensor, 13])),
  settleTimeS: 50e-9,
  wakeUpS: 60e-9,
  supplyV: 0.8,
  vdsV: 0.4,
  fullScaleA: 3e-9,
  ladderColumns: 256,
  ladderCurrentA: 1e-6,
  ladderDuty: 1 / 32,
  rowDriver: null,
  row: { ladder: true, rails: false, gatesPerCell: () => 1, wires: (taps) => taps },
  buffer: { widthM: 2e-6, lengthM: 0.5e-6, biasA: 0.5e-6, storeF: 0 },
  bitLine: {
    ...{ clamp: 'class-a', lineF: 60e-15, slopeV: 0.03, biasA: 1e-6, keepA: 1e-6 },
    ...{ amplifierShare: 0, chargeVarianceC2: 0, levelVarianceV2: 0 },
    devices: [
      { count: 1, widthM: 1e-6, lengthM: 0.1e-6 },
      { count: 1, widthM: 1e-6, lengthM: 0.2e-6 },
    ],
  },
  clampMaxA: 1e-6,
  correctedScales: false,
  kvBits: 16,
  headFabric: 'digital',
  sign: 'integrate',
  device: { widthM: 0.2e-6, lengthM: 0.1e-6, gateF: 0.25e-15, drainF: 0.1e-15 },
  // One transistor below seven taps, two bit lines and a source line.
  footprint: {
    fingersOfTopTap: 1,
    horizontalTracks: 'taps',
    verticalTracks: 3,
    resistors: 0,
    isolatedWells: 0,
  },
};

export function exampleActivity(
  shape: NamedShape,
  options: {
    tileRows?: number;
    tokens?: number;
    head?: boolean;
    currentPerCellA?: number;
    /** By tensor; 4 where nothing is said. */
    weightBits?: Readonly<Record<string, number>>;
  } = {},
): Activity<TileActivity> {
  const {
    tileRows = 256,
    tokens = 1,
    head = false,
    currentPerCellA = 0.2e-9,
    weightBits: bitsOf = {},
  } = options;
  const layers: TileActivity[] = [];
  const matrices = modelMatrices(shape).slice(0, head ? undefined : -1);
  for (const { name, outputs, inputs } of matrices) {
    const { layer, tensor } = name;
    const tiles = Math.ceil(inputs / tileRows);
    const weightBits = bitsOf[tensor] ?? 4;
    const columns = outputs * weightFormat(weightBits).cellWeights.length;
    const cells = columns * inputs;
    layers.push({
      layer,
      tensor,
      outputs,
      inputs,
      weightBits,
      tiles,
      tileRows,
      columns,
      cells,
      connectedCells: cells * 0.85,
      phases: 2,
      tokens,
      sumCurrentA: tokens * cells * currentPerCellA,
      sumActiveRows: tokens * inputs * 0.75,
      dacConversions: tokens * inputs,
      adcConversions: tokens * tiles * columns,
      adcClipped: tokens * tiles * columns * 0.001,
    });
  }
  return { layers };
}

/** Prices a model on a log-domain chip at an activity, with coarse bands: they take most of the time. */
export function priceRun(
  activity: Activity<TileActivity>,
  shape: NamedShape,
  design: LogDomainCostDesign,
  constants: CostConstants,
  options: { contextTokens: number },
): CostReport {
  return priceModel(priceLogDomain(activity, design), shape, constants, { ...options, draws: 20 });
}

/** Activity of one token of Llama 3.1 8B on a fabric that counts from shapes: `shares` are those of the magnitudes of its codes. */
export function activityOf8b(fabric: Fabric, shares: readonly number[]): LayerActivity[] {
  return modelMatrices(LLAMA_3_1_8B).flatMap(({ name, outputs, inputs }) =>
    fabric.carries(name)
      ? [
          fabric.activityOf(
            name,
            { outputs, inputs, weightBits: tensorBits(fabric.design, name.tensor) },
            1,
            shares.map((share) => share * outputs * inputs),
          )!,
        ]
      : [],
  );
}
