/**
 * The analog circuits of a design around its cells, each in one place for accuracy and cost: bit line, row driver and their
 * settling.
 */
import type { Calibration } from '../cell/calibration.ts';
import { requireLaw } from '../cell/calibration.ts';
import { lawConstants } from '../cell/cell-law.ts';
import { loadCircuit } from '../cell/circuits/circuit.ts';
import { loadCellWires } from '../cell/footprint.ts';
import { biasPoint, offCurrentA } from '../cell/operating-point.ts';
import { loadMultiplier, type MultiplierTopology } from '../cell/topology.ts';
import { BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C } from '../physical-constants.ts';
import { type BitLine, bitLine, lineTauS, typicalLineA } from './bit-line.ts';
import type { TileDesign } from './design.ts';
import {
  checkSettleTime,
  earliestStartS,
  type RowModes,
  rowModes,
  settledShare,
  settlingTimeS,
} from './settling.ts';

export interface Circuits {
  readonly bitLine: BitLine;
  readonly row: Row;
  /** Of the row driver, before the design's own figure takes its place. */
  readonly rowOffsetSigmaV: number;
  /** Capacitance that one driver moves, F. */
  readonly rowF: number;
  /** Output resistance of the follower, ohm. */
  readonly driverOhm: number;
  /** From off until every tap at full scale is within 1 %: what a row takes to wake up as well. */
  readonly settled1pcS: number;
  /** From the change of the rows to the start of integration. */
  readonly settleTimeS: number;
  /** Share of its charge that a cell with `steps` e-folds between off and its level gives to the integrator. */
  share(taps: number, tap: number, steps: number): number;
  /** e-folds from off to full scale. */
  readonly fullSteps: number;
}

/** Circuits and wires of a row, from the cell's topology. */
export interface Row {
  /** A ladder below each row's buffer; otherwise the row is one wire. */
  readonly ladder: boolean;
  /** Weight rails that the rows of a tile share in place of it. */
  readonly rails: boolean;
  /** Gates that a cell puts on its row, on average. */
  gatesPerCell(taps: number): number;
  /** Wires of a row across a cell. */
  wires(taps: number): number;
}

/** Taps of the ladder that times are stated for: the slowest. */
const MOST_TAPS = 7;

/** m: volts of source per e-fold over Ut. Error: NO_CELL_LAW where it was not measured and the design does not say. */
export function sourceSlopeFactor(cal: Calibration, design: TileDesign): number {
  const { sourceSlopeFactor: chosen } = design.bias;
  return chosen === 'measured' ? lawConstants(requireLaw(cal), design.tempK).sourceSlopeFactor : chosen;
}

/** Errors: SETTLE_TIME, NO_CELL_LAW, OUT_OF_RANGE, and those of the topology, cost constants and auto-zero files. */
export function designCircuits(cal: Calibration, design: TileDesign): Circuits {
  const { driver, ladder, tile, timing, tempK } = design;
  const ut = (BOLTZMANN_J_PER_K * tempK) / ELEMENTARY_CHARGE_C;
  const gateSlopeV = cal.nominal.ladderSlopeFactorN * ut;
  const topology = loadMultiplier(cal.topology).topology;
  const { area } = topology;
  const row = rowOf(topology);
  const wires = loadCellWires(cal.process, design.costs);
  const wireF = (taps: number) => wires(area, cal.device, taps);
  const { gateF, drainF } = cal.capacitance;
  const line = bitLine(design, {
    // The drain via puts a cell on either line: half of the drains, all of the wire.
    lineF: tile.rows * ((drainF * row.gatesPerCell(MOST_TAPS)) / 2 + wireF(MOST_TAPS)),
    sourceSlopeV: sourceSlopeFactor(cal, design) * ut,
    gateSlopeV,
    tempK,
    device: cal.device,
  });
  const driverA = ladderDriveA(cal, design);
  const driverOhm = gateSlopeV / (driverA + driver.biasA);
  const modesOf = (taps: number): RowModes =>
    rowModes({
      ...{ taps, slopeV: gateSlopeV, driverOhm },
      ladderA: row.ladder ? driverA : 0,
      gatesF: ladder.columns * gateF * row.gatesPerCell(taps),
      wireF: ladder.columns * wireF(taps),
    });
  const modes = new Map([3, MOST_TAPS].map((taps) => [taps, modesOf(taps)]));
  const fullSteps = (fullScaleVgsV(cal, design) - driver.offVgsV) / gateSlopeV;
  const slowest = modes.get(MOST_TAPS)!;
  const { corner, vdsV, fullScaleA } = design;
  // A line at rest carries what its off cells leak.
  const restA = tile.rows * offCurrentA(cal, { corner, tempK, vdsV, fullScaleA }, driver.offVgsV);
  const typicalA = typicalLineA(design);
  const follow = { tauS: lineTauS(line, typicalA), startShare: Math.min(1, restA / typicalA) };
  // The lowest tap is the slowest of a ladder, the top one has the largest step.
  const settled1pcS = Math.max(
    settlingTimeS(slowest, 1, fullSteps - Math.log(MOST_TAPS), follow),
    settlingTimeS(slowest, MOST_TAPS, fullSteps, follow),
  );
  const settleTimeS = timing.settleTimeS === 'derived' ? settled1pcS : timing.settleTimeS;
  if (design.response.model === 'calibrated')
    checkSettleTime(settleTimeS, earliestStartS(slowest, fullSteps));
  return {
    bitLine: line,
    row,
    rowOffsetSigmaV:
      driver.buffer === 'auto-zero'
        ? loadCircuit(cal.process, 'auto-zero').autoZero!.rowSigmaV
        : cal.mismatch.avtVm / Math.sqrt(driver.widthM * driver.lengthM),
    rowF: ladder.columns * (gateF * row.gatesPerCell(MOST_TAPS) + row.wires(MOST_TAPS) * wireF(MOST_TAPS)),
    driverOhm,
    settled1pcS,
    settleTimeS,
    fullSteps,
    share: (taps, tap, steps) =>
      settledShare(modes.get(taps)!, tap, steps, settleTimeS, timing.integrationTimeS),
  };
}

/** Of a topology: where a weight is a number of transistors, a cell has the mean of 1 .. taps of them. */
export function rowOf({ row, ladder, area }: MultiplierTopology): Row {
  return {
    ladder: row.ladder,
    rails: !row.ladder && ladder !== 'none',
    gatesPerCell: (taps) => (area.fingersOfTopTap === 1 ? 1 : (taps + 1) / 2),
    wires: (taps) => (row.ladder ? taps : 1),
  };
}

/** Current of a row's ladder: the design's, or of a simulated driver the one that SPICE has. */
function ladderDriveA(cal: Calibration, design: TileDesign): number {
  const { product } = cal;
  if (product === undefined || product.driver !== 'transistor') return design.ladder.currentA;
  return Math.min(...product.rowSupplyA);
}

/** Gate voltage of full scale; of a cell that is calibrated as products that of its unit transistor. */
function fullScaleVgsV(cal: Calibration, design: TileDesign): number {
  if (cal.product !== undefined) return cal.nominal.fullScaleVgsV;
  const { corner, tempK, vdsV, fullScaleA } = design;
  const at = design.bias.mode === 'replica' ? tempK : cal.nominal.tempK;
  return biasPoint(cal, { corner, tempK: at, vdsV, fullScaleA }).fullScaleVgsV;
}
