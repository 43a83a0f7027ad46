/**
 * Design and calibration of a log-domain chip, as far as its cost needs them.
 */
import type { Calibration } from '../cell/calibration.ts';
import { loadCircuit } from '../cell/circuits/circuit.ts';
import type { Footprint } from '../cell/footprint.ts';
import { loadProcess } from '../cell/technology.ts';
import { loadMultiplier } from '../cell/topology.ts';
import { OnefetError } from '../error.ts';
import { wantedCorrection } from '../fabric/common-design.ts';
import type { LogDomainDesign } from '../fabric/log-domain.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { type BitLine, largestColumnA } from '../tile/bit-line.ts';
import { designCircuits, type Row } from '../tile/circuits.ts';
import { integratorF } from '../tile/integrator.ts';

export interface LogDomainCostDesign {
  tileRows: number;
  /** Of what passes between rows, columns and the digital units. */
  dacBits: number;
  adcBits: number;
  /** Keys of the design that say what can be emulated and not be built, and has no price. */
  unpriced: readonly string[];
  /** Columns that share one converter. */
  adcColumnsShared: number;
  integrationTimeS: number;
  /** Voltage of the integrator at full scale. */
  swingV: number;
  /** By tensor: mean full scale of its columns, in full-scale currents of a cell; sets their integrators. */
  fullScaleCells: Readonly<Record<string, number>>;
  settleTimeS: number;
  /** From off until a row has settled: how long before its step a gated row is switched on. */
  wakeUpS: number;
  supplyV: number;
  /** Of the process, by its technology.yaml. */
  processSupplyV: number;
  vdsV: number;
  /** Current of a cell at the largest input and the top tap. */
  fullScaleA: number;
  /** What a row has, from the topology of the cell. */
  row: Row;
  /** Follower of a ladder, its bias beside the ladder's current, and the capacitor of its auto-zero (0: none). */
  buffer: { widthM: number; lengthM: number; biasA: number; storeF: number };
  /** Assumed current of a row ladder; replaced by `rowDriver` where that was simulated. */
  ladderCurrentA: number;
  /** Columns that one row ladder feeds. */
  ladderColumns: number;
  /** Share of a token's time that a row ladder is powered; 1 = never switched off. */
  ladderDuty: number;
  /**
   * Supply current of one row's driver, ladder included, and of the reference that the rows of a tile share, from SPICE; null: only assumed figures exist.
   */
  rowDriver: { currentA: number; sharedA: number; source: string } | null;
  /** Clamp of a bit line. */
  bitLine: BitLine;
  /** Most current of both bit lines that a column's clamps carry: the overload limit that the run was held to. */
  clampMaxA: number;
  /** Each chip has digital scales of its own: they stand in SRAM, not in ROM. */
  correctedScales: boolean;
  kvBits: number;
  headFabric: 'digital' | 'analog';
  sign: 'integrate' | 'two-conversion' | 'paired-rows';
  device: { widthM: number; lengthM: number; gateF: number; drainF: number };
  /** Devices of a weight, from the topology of the cell. */
  footprint: Footprint;
}

/** Integration phases and conversions of one step: how the sign of an input is handled. */
export function countPhases(sign: LogDomainCostDesign['sign']): { phases: number; conversions: number } {
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
export function meanIntegratorF(design: LogDomainCostDesign, tensor: string): number {
  const cells = design.fullScaleCells[tensor];
  if (cells === undefined || !(cells > 0)) {
    throw new OnefetError('internal', 'RANGES', `cost: no full scale of the columns of ${tensor}`);
  }
  return integratorF(cells * design.fullScaleA, design.integrationTimeS, design.swingV);
}

/** Refuses designs outside of what the formulas mean. */
export function checkDesign(design: LogDomainCostDesign): void {
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
  for (const key of ['settleTimeS', 'wakeUpS', 'ladderCurrentA'] as const) {
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
}

function need(ok: boolean, key: string, value: number, range: string): void {
  if (!ok) throw new OnefetError('usage', 'COST_DESIGN', `cost: ${key} is ${value}, it must be ${range}`);
}

/**
 * Gathers what the cost needs. `ranges` are the full scales that the run's converters had (empty: not known yet, so
 * nothing can be priced). Errors: COST_DESIGN, OUT_OF_RANGE, and those of the cell's topology file.
 */
export function logDomainCostDesign(
  design: LogDomainDesign,
  calibration: Calibration,
  ranges: RangeTable,
): LogDomainCostDesign {
  const circuits = designCircuits(calibration, design);
  const { driver } = design;
  const costDesign: LogDomainCostDesign = {
    tileRows: design.tile.rows,
    dacBits: design.input.bits === 'float' ? FLOAT_BITS : design.input.bits,
    adcBits: design.adc.bits === 'float' ? FLOAT_BITS : design.adc.bits,
    unpriced: [
      ...(design.input.bits === 'float' ? ['input.bits'] : []),
      ...(design.adc.bits === 'float' ? ['adc.bits'] : []),
      ...(design.column.clamp === 'resistance' ? ['column.clamp'] : []),
    ],
    adcColumnsShared: design.adc.columnsShared,
    swingV: design.adc.swingV,
    fullScaleCells: meanFullScales(ranges),
    integrationTimeS: design.timing.integrationTimeS,
    settleTimeS: circuits.settleTimeS,
    wakeUpS: circuits.settled1pcS,
    bitLine: circuits.bitLine,
    row: circuits.row,
    buffer: {
      ...{ widthM: driver.widthM, lengthM: driver.lengthM, biasA: driver.biasA },
      storeF: driver.buffer === 'auto-zero' ? loadCircuit(design.process, 'auto-zero').parameters.store_f : 0,
    },
    supplyV: design.supplyV,
    processSupplyV: loadProcess(design.process).technology.supplyV.value,
    vdsV: design.vdsV,
    fullScaleA: design.fullScaleA,
    ladderColumns: design.ladder.columns,
    ladderCurrentA: design.ladder.currentA,
    ladderDuty: design.ladder.duty,
    rowDriver: rowDriverCurrents(calibration, design.tempK),
    clampMaxA: design.column.clampMaxA === 'derived' ? largestColumnA(design, 1) : design.column.clampMaxA,
    correctedScales: wantedCorrection(design) !== undefined,
    kvBits: design.kvBits,
    headFabric: design.head,
    sign: design.tile.sign,
    device: {
      widthM: calibration.device.widthM,
      lengthM: calibration.device.lengthM,
      gateF: calibration.capacitance.gateF,
      drainF: calibration.capacitance.drainF,
    },
    footprint: loadMultiplier(calibration.topology).topology.area,
  };
  checkDesign(costDesign);
  return costDesign;
}

/** Bits on the wires of a real value. */
const FLOAT_BITS = 16;

/** Averages by tensor, over blocks, tiles and cells: every cell of a tensor has as many columns. */
function meanFullScales(ranges: RangeTable): Record<string, number> {
  const all = new Map<string, number[]>();
  for (const [key, tiles] of Object.entries(ranges)) {
    const tensor = key.replace(/^blk\.\d+\./, '');
    all.set(tensor, [...(all.get(tensor) ?? []), ...tiles.flat()]);
  }
  return Object.fromEntries(
    [...all].map(([tensor, values]) => [tensor, values.reduce((sum, x) => sum + x, 0) / values.length]),
  );
}

/**
 * Returns the supply currents of a row as SPICE computed them with the calibration's transistor-level driver: follower and ladder of
 * the row, and the reference with its string that rows share; linear between the temperatures. null where the driver is
 * ideal, so that nothing is known.
 */
export function rowDriverCurrents(calibration: Calibration, tempK: number): LogDomainCostDesign['rowDriver'] {
  const { process, cell, product } = calibration;
  if (product === undefined || product.driver !== 'transistor') return null;
  const { tempK: nodes, rowSupplyA, sharedSupplyA } = product;
  const last = nodes.length - 1;
  const known = Math.min(rowSupplyA.length, sharedSupplyA.length);
  if (known !== nodes.length || !(tempK >= nodes[0] && tempK <= nodes[last])) {
    throw new OnefetError(
      'usage',
      'OUT_OF_RANGE',
      `cost: the supply current of the row driver of ${process}/${cell} is known at ${known} of ${nodes.length} temperatures from ${nodes[0]} to ${nodes[last]} K, not at ${tempK} K`,
      { hint: `set tempK within that range, or run: onefet calibrate --process ${process} --cell ${cell}` },
    );
  }
  let below = 0;
  while (below < last - 1 && nodes[below + 1] <= tempK) below++;
  const share = (tempK - nodes[below]) / (nodes[below + 1] - nodes[below]);
  const at = (currentA: readonly number[]) =>
    currentA[below] + share * (currentA[below + 1] - currentA[below]);
  return {
    currentA: at(rowSupplyA),
    sharedA: at(sharedSupplyA),
    source: `SPICE supply currents of ${process}/${cell} at full input, typical corner, ${tempK} K`,
  };
}
