/**
 * What the cost model needs to know of a design.
 */
import { OnefetError } from '../error.ts';
import { integratorF } from '../tile/integrator.ts';
import { type WeightFormat, weightFormat } from '../tile/weight-code.ts';

export interface CostDesign {
  tileRows: number;
  weightBits: number;
  /** Bits of single tensors, by GGUF name. */
  weightOverrides: Readonly<Record<string, number>>;
  dacBits: number;
  adcBits: number;
  /** Columns that share one converter. */
  adcColumnsShared: number;
  integrationTimeS: number;
  /** Voltage of the integrator at full scale. */
  swingV: number;
  /** By tensor: mean full scale of its columns, in full-scale currents of a cell; sets their integrators. */
  fullScaleCells: Readonly<Record<string, number>>;
  settleTimeS: number;
  supplyV: number;
  vdsV: number;
  /** Current of a cell at the largest input and the top tap. */
  fullScaleA: number;
  /** Assumed current of a row ladder; replaced by `rowDriver` where that was simulated. */
  ladderCurrentA: number;
  /** Columns that one row ladder feeds. */
  ladderColumns: number;
  /** Share of a token's time that a row ladder is powered; 1 = never switched off. */
  ladderDuty: number;
  /**
   * Supply current of one row's driver, ladder included, and of the reference that the rows of a tile share, as measured
   * in SPICE; null: only assumed figures exist.
   */
  rowDriver: { currentA: number; sharedA: number; source: string } | null;
  /** Most current of both bit lines that a column's clamps carry: the overload limit that the run was held to. */
  clampMaxA: number;
  kvBits: number;
  headFabric: 'digital' | 'analog';
  sign: 'integrate' | 'two-conversion' | 'paired-rows';
  device: { widthM: number; lengthM: number; gateF: number; drainF: number };
}

/** How the weights of a tensor are coded: its taps, and the cells that a weight takes. */
export function formatOf(
  design: Pick<CostDesign, 'weightBits' | 'weightOverrides'>,
  tensor: string,
): WeightFormat {
  return weightFormat(design.weightOverrides[tensor] ?? design.weightBits);
}

/** Integration phases and conversions of one step: how the sign of an input is handled. */
export function phasesOf(sign: CostDesign['sign']): { phases: number; conversions: number } {
  switch (sign) {
    case 'integrate':
      return { phases: 2, conversions: 1 };
    case 'two-conversion':
      return { phases: 2, conversions: 2 };
    case 'paired-rows':
      return { phases: 1, conversions: 1 };
  }
}

/** Mean capacitance of the integrators of a tensor's columns, F: the one whose kT/C noise the run had. */
export function integratorOf(design: CostDesign, tensor: string): number {
  const cells = design.fullScaleCells[tensor];
  if (cells === undefined || !(cells > 0)) {
    throw new OnefetError('internal', 'RANGES', `cost: no full scale of the columns of ${tensor}`);
  }
  return integratorF(cells * design.fullScaleA, design.integrationTimeS, design.swingV);
}

/** Refuses designs outside of what the formulas mean. */
export function checkDesign(design: CostDesign): void {
  const positive = [
    'tileRows',
    'dacBits',
    'adcBits',
    'adcColumnsShared',
    'integrationTimeS',
    'supplyV',
    'fullScaleA',
    'clampMaxA',
    'swingV',
    'ladderColumns',
    'kvBits',
  ] as const;
  for (const key of positive) need(design[key] > 0 && Number.isFinite(design[key]), key, design[key], '> 0');
  for (const key of ['settleTimeS', 'ladderCurrentA'] as const) {
    need(design[key] >= 0 && Number.isFinite(design[key]), key, design[key], '>= 0');
  }
  need(design.ladderDuty >= 0 && design.ladderDuty <= 1, 'ladderDuty', design.ladderDuty, '0 to 1');
  need(
    design.vdsV > 0 && design.vdsV <= design.supplyV,
    'vdsV',
    design.vdsV,
    `0 to supplyV = ${design.supplyV}`,
  );
  if (design.rowDriver)
    need(design.rowDriver.currentA > 0, 'rowDriver.currentA', design.rowDriver.currentA, '> 0');
  for (const key of ['widthM', 'lengthM', 'gateF'] as const) {
    need(design.device[key] > 0, `device.${key}`, design.device[key], '> 0');
  }
  for (const bits of [design.weightBits, ...Object.values(design.weightOverrides)]) weightFormat(bits);
}

function need(ok: boolean, key: string, value: number, range: string): void {
  if (!ok) throw new OnefetError('usage', 'COST_DESIGN', `cost: ${key} is ${value}, it must be ${range}`);
}
