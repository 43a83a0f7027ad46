/**
 * The cost model's view of a design and its calibration.
 */

import type { Calibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import type { LogDomainDesign as Design } from '../fabric/log-domain.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { type CostDesign, checkDesign } from './priced-design.ts';

/**
 * `converters` are those of the design, known to be of a number of bits; `ranges` are the full scales that the run's
 * converters had (empty: not known yet, so nothing can be costed). Errors: COST_DESIGN, OUT_OF_RANGE.
 */
export function costDesignOf(
  design: Design,
  calibration: Calibration,
  converters: { readonly dacBits: number; readonly adcBits: number },
  ranges: RangeTable,
): CostDesign {
  const costDesign: CostDesign = {
    tileRows: design.tile.rows,
    weightBits: design.weights.bits,
    weightOverrides: design.weights.overrides,
    ...converters,
    adcColumnsShared: design.adc.columnsShared,
    swingV: design.adc.swingV,
    fullScaleCells: meanFullScales(ranges),
    integrationTimeS: design.timing.integrationTimeS,
    settleTimeS: design.timing.settleTimeS,
    supplyV: design.supplyV,
    vdsV: design.vdsV,
    fullScaleA: design.fullScaleA,
    ladderColumns: design.ladder.columns,
    ladderCurrentA: design.ladder.currentA,
    ladderDuty: design.ladder.duty,
    rowDriver: rowDriverOf(calibration, design.tempK),
    clampMaxA: design.column.clampMaxA,
    kvBits: design.kvBits,
    headFabric: design.head,
    sign: design.tile.sign,
    device: {
      widthM: calibration.device.widthM,
      lengthM: calibration.device.lengthM,
      gateF: calibration.capacitance.gateF,
      drainF: calibration.capacitance.drainF,
    },
  };
  checkDesign(costDesign);
  return costDesign;
}

/** By tensor, over blocks, tiles and cells: every cell of a tensor has as many columns. */
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
 * Supply currents of a row as SPICE measured them with the calibration's transistor-level driver: follower and ladder of
 * the row, and the reference with its string that rows share; linear between the temperatures. null where the driver is
 * ideal, so that nothing was measured.
 */
export function rowDriverOf(calibration: Calibration, tempK: number): CostDesign['rowDriver'] {
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
