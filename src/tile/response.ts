/**
 * A calibrated cell as a design uses it: its response as a table of products and as separable products, its slopes,
 * its leakage. Three ways to know it:
 *   ideal       g = k m, for looking at one error at a time
 *   equation    the fitted transistor at the gate voltages of the design (T1 with ideal levels)
 *   table       products simulated as a whole, where there is no single gate voltage (row drivers, other topologies)
 */
import type { Calibration } from '../cell/calibration.ts';
import { lawConstants } from '../cell/cell-law.ts';
import {
  biasPoint,
  cellCurrentA,
  gmOverIPerV,
  type OperatingPoint,
  offCurrentA,
  outputConductancePerV,
} from '../cell/operating-point.ts';
import { productTable } from '../cell/product-table.ts';
import { OnefetError } from '../error.ts';
import type { Circuits } from './circuits.ts';
import type { TileDesign } from './design.ts';
import type { InputFormat } from './input-code.ts';
import { decompose, type Separable } from './separable.ts';

/** Response of a cell on a ladder with a given number of taps. */
export interface Response {
  readonly taps: number;
  /** [levels][taps + 1] I / I_fs at input level k and tap m; row 0 and column 0 are 0 (off rows are in `off`). */
  readonly table: readonly Float64Array[];
  /** [levels][taps + 1] -d ln I / dVt at the same points, 1/V: gm/I, of a table its threshold slope. */
  readonly gmOverI: readonly Float64Array[];
  /**
   * [levels][taps + 1] half of d(gm/I)/dVgs, 1/V^2, and a sixth of its second derivative, 1/V^3: a gate error g moves ln I
   * by gmOverI g + curvature g^2 + bend g^3. Without the curvature a column of the small cell with its mismatch is off
   * by up to 1.5 % of its RMS in SPICE; without the bend by up to 1.7 % where a cell is four sigma strong and cold.
   */
  readonly curvature: readonly Float64Array[];
  readonly bend: readonly Float64Array[];
  /** table ~ sum_r u_r[k] v_r[m]. */
  readonly separable: Separable;
  /** [taps + 1] gm/I averaged over the levels with weight table^2: what baked sums use. */
  readonly gmOverIByTap: Float64Array;
  /** [taps + 1] curvature and bend, averaged likewise. */
  readonly curvatureByTap: Float64Array;
  readonly bendByTap: Float64Array;
  /** [taps + 1] slope against an error of the tap's voltage over gmOverIByTap; 1 where the tap is the cell's gate. */
  readonly rowShareByTap: Float64Array;
  /** [levels] row slope averaged over the taps with weight table^2: what a row's own error is multiplied by. */
  readonly gmOverIByLevel: Float64Array;
}

/** The cell at the design's operating point; currents in units of I_fs. */
export interface DesignCell {
  readonly responses: ReadonlyMap<number, Response>;
  readonly offCurrent: number;
  readonly offGmOverIPerV: number;
  /** At full scale: against the threshold of one transistor, and against the row's voltage. */
  readonly gmOverIPerV: number;
  readonly rowSlopePerV: number;
  readonly outputConductancePerV: number;
  /** d ln I / dT at fixed bias. */
  readonly temperatureSensitivityPerK: number;
  /** Current moved by a threshold shift over that of the same shift at the gate. */
  readonly thresholdGain: number;
  /** Tap m is m transistors. */
  readonly fingersByTap: boolean;
  readonly fullScaleVgsV: number;
  /** Row volts per e-fold of the ladder; 0 without one. */
  readonly ladderSlopeV: number;
}

/** Ladders that weights are made for. */
const TAPS = [3, 7];

export function cellOfDesign(
  cal: Calibration,
  design: TileDesign,
  op: OperatingPoint,
  input: InputFormat,
  circuits: Circuits,
): DesignCell {
  if (design.response.model === 'ideal') return idealCell(cal, op, input);
  if (input.float) {
    throw new OnefetError('usage', 'FLOAT_INPUT', 'input.bits: float has no calibrated response', {
      hint: 'give input.bits a number, or set response.model to ideal',
    });
  }
  return cal.product === undefined
    ? equationCell(cal, design, op, input, circuits)
    : tableCell(cal, design, op, input, circuits);
}

function idealCell(cal: Calibration, op: OperatingPoint, input: InputFormat): DesignCell {
  const { ladderSlopeV } = biasPoint(cal, { ...op, fullScaleA: cal.nominal.fullScaleA });
  return {
    responses: new Map(TAPS.map((taps) => [taps, idealResponse(input, taps, ladderSlopeV)])),
    offCurrent: 0,
    offGmOverIPerV: 0,
    gmOverIPerV: 1 / ladderSlopeV,
    rowSlopePerV: 1 / ladderSlopeV,
    outputConductancePerV: 0,
    temperatureSensitivityPerK: cal.temperatureSensitivityPerK,
    thresholdGain: thresholdGain(cal, op.tempK),
    fingersByTap: cal.product?.fingersByTap ?? false,
    fullScaleVgsV: cal.nominal.fullScaleVgsV,
    ladderSlopeV: hasLadder(cal) ? ladderSlopeV : 0,
  };
}

/** Currents times the share of them that is integrated: what a row has not settled to is missing (settling.ts). */
function settled(
  table: readonly Float64Array[],
  input: InputFormat,
  taps: number,
  { share, fullSteps }: Circuits,
): Float64Array[] {
  return table.map((row, level) =>
    row.map((current, tap) => {
      const product = (input.magnitudes[level] * tap) / taps;
      return product > 0 ? current * share(taps, tap, fullSteps + Math.log(product)) : current;
    }),
  );
}

function equationCell(
  cal: Calibration,
  design: TileDesign,
  op: OperatingPoint,
  input: InputFormat,
  circuits: Circuits,
): DesignCell {
  const nominalOp: OperatingPoint = { ...op, tempK: cal.nominal.tempK };
  const { fullScaleVgsV } = biasPoint(cal, design.bias.mode === 'replica' ? op : nominalOp);
  const { ladderSlopeV } = biasPoint(cal, design.driver.ladder === 'ptat' ? op : nominalOp);
  const { residualBound } = design.response;
  const respond = (taps: number) =>
    equationResponse(cal, op, input, taps, fullScaleVgsV, ladderSlopeV, residualBound, circuits);
  return {
    responses: new Map(TAPS.map((taps) => [taps, respond(taps)])),
    offCurrent: offCurrentA(cal, op, design.driver.offVgsV) / op.fullScaleA,
    offGmOverIPerV: offSlope(cal, op, design.driver.offVgsV),
    gmOverIPerV: gmOverIPerV(cal, op, fullScaleVgsV),
    rowSlopePerV: gmOverIPerV(cal, op, fullScaleVgsV),
    outputConductancePerV: outputConductancePerV(cal, op, fullScaleVgsV),
    temperatureSensitivityPerK: temperatureSensitivity(cal, op, fullScaleVgsV),
    thresholdGain: thresholdGain(cal, op.tempK),
    fingersByTap: false,
    fullScaleVgsV,
    ladderSlopeV,
  };
}

/**
 * A cell that is calibrated as a table: with replica bias and a PTAT ladder only, the conditions of its table. Its
 * slopes against the threshold hold the threshold gain already. The leakage is the mean over the taps; the drain
 * conductance and the temperature drift are those of its unit transistor.
 */
function tableCell(
  cal: Calibration,
  design: TileDesign,
  op: OperatingPoint,
  input: InputFormat,
  circuits: Circuits,
): DesignCell {
  if (design.bias.mode !== 'replica' || design.driver.ladder !== 'ptat') {
    throw new OnefetError(
      'usage',
      'TABLE_CELL',
      `${cal.process}/${cal.cell} is calibrated with replica bias and a PTAT ladder, not ${design.bias.mode} and ${design.driver.ladder}`,
      { hint: 'set bias.mode to replica and driver.ladder to ptat, or use cell t1' },
    );
  }
  const { offVgsV } = design.driver;
  const tables = new Map(
    TAPS.map((taps) => [
      taps,
      productTable(cal, { ...op, supplyV: design.supplyV }, input.magnitudes, taps, offVgsV),
    ]),
  );
  const { residualBound } = design.response;
  const respond = (taps: number) => {
    const { table, thresholdSlopePerV, rowSlopePerV } = tables.get(taps)!;
    // The tables hold slopes only: first order in the threshold.
    const flat = table.map((row) => new Float64Array(row.length));
    const integrated = settled(table, input, taps, circuits);
    return finishResponse(taps, integrated, thresholdSlopePerV, flat, flat, rowSlopePerV, residualBound);
  };
  const top = tables.get(7)!;
  const levels = input.magnitudes.length;
  const rowSlopePerV = top.rowSlopePerV[levels - 1][7];
  const unit: OperatingPoint = { ...op, fullScaleA: cal.nominal.fullScaleA };
  return {
    responses: new Map(TAPS.map((taps) => [taps, respond(taps)])),
    offCurrent: top.off.reduce((sum, x) => sum + x, 0) / (top.off.length - 1),
    // The lowest product stands for the leakage's slope: the same transistor far below full scale.
    offGmOverIPerV: top.thresholdSlopePerV[1][1],
    gmOverIPerV: top.thresholdSlopePerV[levels - 1][7],
    rowSlopePerV,
    outputConductancePerV: outputConductancePerV(cal, unit, cal.nominal.fullScaleVgsV),
    temperatureSensitivityPerK: cal.temperatureSensitivityPerK,
    thresholdGain: 1,
    fingersByTap: cal.product!.fingersByTap,
    fullScaleVgsV: cal.nominal.fullScaleVgsV,
    // Whatever the ladder's own volts, a step of it is a step of the product: an e-fold is 1 / slope at the row.
    ladderSlopeV: hasLadder(cal) ? 1 / rowSlopePerV : 0,
  };
}

/**
 * Ratio of what a threshold shift does to what the same step at the gate does (it moves the
 * mobility too): Monte Carlo at the nominal temperature, 1.045 for the 32 nm-class card, and the change over temperature of single cells.
 */
function thresholdGain({ mismatch, law, nominal }: Calibration, tempK: number): number {
  if (law === undefined) return mismatch.thresholdGain;
  const at = (t: number) => lawConstants(law, t).thresholdGain;
  return (mismatch.thresholdGain * at(tempK)) / at(nominal.tempK);
}

const hasLadder = (cal: Calibration): boolean => cal.product?.ladderSlopeFactor !== 0;

/** d ln I / dT at a fixed gate voltage, 1/K, over +-1 K inside the calibrated range. */
function temperatureSensitivity(cal: Calibration, op: OperatingPoint, vgsV: number): number {
  const low = Math.max(op.tempK - 1, cal.validRange.tempK[0]);
  const high = Math.min(op.tempK + 1, cal.validRange.tempK[1]);
  const at = (tempK: number) => Math.log(cellCurrentA(cal, { ...op, tempK }, vgsV));
  return (at(high) - at(low)) / (high - low);
}

/** d ln I_off / dVgs over 10 mV: how far the mismatch of a cell moves its leakage. */
function offSlope(cal: Calibration, op: OperatingPoint, offVgsV: number): number {
  const stepV = 5e-3;
  const low = offCurrentA(cal, op, offVgsV);
  const high = offCurrentA(cal, op, offVgsV + 2 * stepV);
  return Math.log(high / low) / (2 * stepV);
}

/** g = k m, the product that the log domain promises. */
function idealResponse(input: InputFormat, taps: number, ladderSlopeV: number): Response {
  const slope = 1 / ladderSlopeV;
  const row = (f: (m: number) => number) => Float64Array.from({ length: taps + 1 }, (_, m) => f(m));
  const levels = [...input.magnitudes];
  return {
    taps,
    table: levels.map((x) => row((m) => (x * m) / taps)),
    gmOverI: levels.map(() => row(() => slope)),
    curvature: levels.map(() => row(() => 0)),
    bend: levels.map(() => row(() => 0)),
    separable: { rank: 1, u: [Float64Array.from(levels)], v: [row((m) => m / taps)], residual: 0 },
    gmOverIByTap: row(() => slope),
    curvatureByTap: row(() => 0),
    bendByTap: row(() => 0),
    rowShareByTap: row(() => 1),
    gmOverIByLevel: Float64Array.from(levels, () => slope),
  };
}

function equationResponse(
  cal: Calibration,
  op: OperatingPoint,
  input: InputFormat,
  taps: number,
  fullScaleVgsV: number,
  ladderSlopeV: number,
  residualBound: number,
  circuits: Circuits,
): Response {
  const table: Float64Array[] = [];
  const gmOverI: Float64Array[] = [];
  const curvature: Float64Array[] = [];
  const bend: Float64Array[] = [];
  for (const magnitude of input.magnitudes) {
    const currents = new Float64Array(taps + 1);
    const slopes = new Float64Array(taps + 1);
    const curves = new Float64Array(taps + 1);
    const bends = new Float64Array(taps + 1);
    if (magnitude > 0) {
      for (let m = 1; m <= taps; m++) {
        const vgsV = fullScaleVgsV + ladderSlopeV * (Math.log(magnitude) + Math.log(m / taps));
        currents[m] = cellCurrentA(cal, op, vgsV) / op.fullScaleA;
        const [below, at, above] = [-SLOPE_STEP_V, 0, SLOPE_STEP_V].map((v) =>
          gmOverIPerV(cal, op, vgsV + v),
        );
        slopes[m] = at;
        curves[m] = (above - below) / (4 * SLOPE_STEP_V);
        bends[m] = (above - 2 * at + below) / (6 * SLOPE_STEP_V ** 2);
      }
    }
    table.push(currents);
    gmOverI.push(slopes);
    curvature.push(curves);
    bend.push(bends);
  }
  const integrated = settled(table, input, taps, circuits);
  return finishResponse(taps, integrated, gmOverI, curvature, bend, gmOverI, residualBound);
}

/** Step of the numerical derivatives of gm/I. */
const SLOPE_STEP_V = 5e-3;

interface Span {
  readonly from: number;
  readonly to: number;
}

/** Averages and separable products of a table; `rowSlope` is what a row's own error is multiplied by. */
function finishResponse(
  taps: number,
  table: readonly Float64Array[],
  cellSlope: readonly Float64Array[],
  curvature: readonly Float64Array[],
  bend: readonly Float64Array[],
  rowSlope: readonly Float64Array[],
  residualBound: number,
): Response {
  // Over a tap's levels, or a level's taps, 1 .. taps: weighted by the square of the current.
  const average = (slopes: readonly Float64Array[], levels: Span, ofTaps: Span) => {
    let sum = 0;
    let norm = 0;
    for (let k = levels.from; k < levels.to; k++) {
      const currents = table[k];
      for (let m = ofTaps.from; m < ofTaps.to; m++) {
        sum += currents[m] ** 2 * slopes[k][m];
        norm += currents[m] ** 2;
      }
    }
    return norm > 0 ? sum / norm : 0;
  };
  const allLevels = { from: 0, to: table.length };
  const allTaps = { from: 1, to: taps + 1 };
  const byTap = (slopes: readonly Float64Array[]) =>
    Float64Array.from({ length: taps + 1 }, (_, m) =>
      m === 0 ? 0 : average(slopes, allLevels, { from: m, to: m + 1 }),
    );
  const gmOverIByTap = byTap(cellSlope);
  const rowSlopeByTap = byTap(rowSlope);
  return {
    taps,
    table,
    gmOverI: cellSlope,
    curvature,
    bend,
    separable: decompose(table, residualBound),
    gmOverIByTap,
    curvatureByTap: byTap(curvature),
    bendByTap: byTap(bend),
    rowShareByTap: rowSlopeByTap.map((slope, m) => (m === 0 ? 1 : slope / gmOverIByTap[m])),
    gmOverIByLevel: Float64Array.from(table, (_, k) => average(rowSlope, { from: k, to: k + 1 }, allTaps)),
  };
}
