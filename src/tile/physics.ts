/**
 * From a calibration and a design to the numbers that a tile computes with. Currents are in units of one cell's
 * full-scale current I_fs from here on, so that the ideal product of a cell is a number between 0 and 1.
 */

import type { Calibration } from '../cell/calibration.ts';
import { type ColumnLines, columnDroop, type Droop } from '../cell/droop.ts';
import type { OperatingPoint } from '../cell/operating-point.ts';
import { OnefetError } from '../error.ts';
import {
  BOLTZMANN_J_PER_K,
  ELEMENTARY_CHARGE_C,
  VACUUM_PERMITTIVITY_F_PER_M,
} from '../physical-constants.ts';
import { type AdcFormat, adcFormat } from './adc.ts';
import { type BitLine, largestColumnA, typicalLineA } from './bit-line.ts';
import { designCircuits, sourceSlopeFactor } from './circuits.ts';
import type { TileDesign } from './design.ts';
import { type InputFormat, inputFormat } from './input-code.ts';
import { checkSwing, samplingVariance } from './integrator.ts';
import { cellOfDesign, type Response } from './response.ts';
import { type TapSpread, tapSpread } from './tap-spread.ts';

/** Permittivity of SiO2: 3.9 times that of vacuum, F/m. */
const OXIDE_PERMITTIVITY_F_PER_M = 3.9 * VACUUM_PERMITTIVITY_F_PER_M;

export interface TilePhysics {
  readonly design: TileDesign;
  readonly input: InputFormat;
  readonly adc: AdcFormat;
  /** By number of taps (3 or 7). */
  readonly responses: ReadonlyMap<number, Response>;
  /** Current of a connected cell whose row is off, and its gm/I there. */
  readonly offCurrent: number;
  readonly offGmOverIPerV: number;
  /** Slope against a threshold at full scale, 1/V: gain of everything that is common to a tile. */
  readonly gmOverIPerV: number;
  /** Slope against the voltage of the row (its level, its reference) at full scale, 1/V. */
  readonly rowSlopePerV: number;
  /** Volts per e-fold of the ladder, n Ut; 0 without a ladder. */
  readonly ladderSlopeV: number;
  readonly fullScaleVgsV: number;
  readonly thermalVoltageV: number;
  /** Static per cell: threshold shift as the gate voltage that moves the current as much. */
  readonly sigmaVtV: number;
  readonly sigmaBeta: number;
  /** Threshold shift that acts like a gate step over that step: what sigmaVtV holds besides sigma(Vt). */
  readonly thresholdGain: number;
  /** By number of taps: the spread of a tap that is several transistors. */
  readonly spreads: ReadonlyMap<number, TapSpread>;
  /** exp(sigma_lnI^2 / 2) of one transistor, which is every tap's; or 1. */
  readonly meanGain: number;
  /** Static per tile: sigma of ln gain from the replica's offset and the tile's temperature. */
  readonly tileGainSigma: number;
  /** Across the die, edge to edge, in ln gain; zero with a replica per tile. */
  readonly gradientGainSigma: number;
  /** Per tile, phase and token: sigma of ln gain. */
  readonly phaseGainSigma: number;
  /** Most current of both bit lines of a column that its clamps carry, A. */
  readonly clampMaxA: number;
  /** Sigma of the offset of a row's buffer, V. */
  readonly rowOffsetSigmaV: number;
  /** From the change of the rows to the start of integration, s: derived, or the design's. */
  readonly settleTimeS: number;
  /** Wires, clamp and source line, per I_fs. */
  readonly droop: Droop;
  /** White noise: variance = whiteVariance * sum(I). */
  readonly whiteVariance: number;
  /** Bit-line noise: variance = clampVariance * (I+^2 + I-^2). */
  readonly clampVariance: number;
  /** kT/C of the integrator: variance = samplingVariance * fullScale (C follows from the full scale). */
  readonly samplingVariance: number;
  /** Of the bit lines and their clamps: variance of a conversion whatever its value. */
  readonly lineVariance: number;
  /** Flicker and random telegraph noise: variance = lowFrequencyVariance * sum(I^2), constant over a window. */
  readonly lowFrequencyVariance: number;
}

/** Evaluates the calibration at the design's operating point. Refuses what is outside the calibrated range. */
export function tilePhysics(cal: Calibration, design: TileDesign): TilePhysics {
  checkSwing(design);
  const op: OperatingPoint = {
    corner: design.corner,
    tempK: design.tempK,
    vdsV: design.vdsV,
    fullScaleA: design.fullScaleA,
  };
  const thermalVoltageV = (BOLTZMANN_J_PER_K * design.tempK) / ELEMENTARY_CHARGE_C;
  const input = inputFormat(design.input);
  const circuits = designCircuits(cal, design);
  const cell = cellOfDesign(cal, design, op, input, circuits);
  const { fullScaleVgsV, ladderSlopeV, responses } = cell;
  const gmOverI = cell.gmOverIPerV;
  const lambdaPerV = cell.outputConductancePerV;
  const sourceSlopeV = sourceSlopeFactor(cal, design) * thermalVoltageV;
  const fs = design.fullScaleA;
  const sigmaVtV = cal.mismatch.sigmaVtV * cell.thresholdGain * design.mismatch.scale;
  const sigmaBeta = cal.mismatch.sigmaBeta * design.mismatch.scale;
  const logVariance = (gmOverI * sigmaVtV) ** 2 + sigmaBeta ** 2;
  const replica = design.bias.mode === 'replica';
  const spreads = new Map(
    [...responses.keys()].map((taps) => [taps, tapSpread(taps, cell.fingersByTap, Math.sqrt(logVariance))]),
  );
  // A replica's cells are of the top tap.
  const replicaOffsetV = replica
    ? (sigmaVtV * spreads.get(TOP_TAP)!.share[TOP_TAP]) / Math.sqrt(design.bias.replicaCells)
    : 0;
  const meanGain = design.mismatch.meanGain ? Math.exp(logVariance / 2) : 1;
  const { clampMaxA: statedMaxA } = design.column;
  const clampMaxA = statedMaxA === 'derived' ? largestColumnA(design, meanGain) : statedMaxA;
  const timeS = design.timing.integrationTimeS;
  const { white, sampling } = design.noise;
  const { bitLine } = circuits;
  const coth = 1 / Math.tanh(design.vdsV / (2 * thermalVoltageV));
  return {
    design,
    input,
    adc: adcFormat(design.adc.bits),
    responses,
    offCurrent: cell.offCurrent,
    offGmOverIPerV: cell.offGmOverIPerV,
    gmOverIPerV: gmOverI,
    rowSlopePerV: cell.rowSlopePerV,
    ladderSlopeV,
    fullScaleVgsV,
    thermalVoltageV,
    sigmaVtV,
    sigmaBeta,
    thresholdGain: cell.thresholdGain,
    spreads,
    meanGain,
    clampMaxA,
    tileGainSigma: Math.hypot(
      gmOverI * replicaOffsetV,
      design.bias.tileTempSigmaK * cell.temperatureSensitivityPerK,
    ),
    gradientGainSigma: replica ? 0 : gmOverI * design.bias.gradientSigmaV,
    phaseGainSigma: Math.hypot(
      design.bias.sourceNoiseV / sourceSlopeV,
      design.bias.referenceNoiseV * cell.rowSlopePerV,
    ),
    rowOffsetSigmaV:
      design.driver.offsetSigmaV === 'derived' ? circuits.rowOffsetSigmaV : design.driver.offsetSigmaV,
    settleTimeS: circuits.settleTimeS,
    droop: columnDroop(columnLines(cal, design, bitLine, clampMaxA), { lambdaPerV, sourceSlopeV }, fs),
    // 2 q I over the integrator's bandwidth of 1 / 2T.
    whiteVariance: white ? (ELEMENTARY_CHARGE_C * (coth + bitLine.amplifierShare)) / (timeS * fs) : 0,
    clampVariance: sampling ? lambdaPerV ** 2 * bitLine.levelVarianceV2 : 0,
    samplingVariance: sampling
      ? samplingVariance(BOLTZMANN_J_PER_K * design.tempK, fs, timeS, design.adc.swingV)
      : 0,
    lineVariance: sampling ? bitLine.chargeVarianceC2 / (fs * timeS) ** 2 : 0,
    lowFrequencyVariance: lowFrequencyVariance(cal, design, gmOverI * cell.thresholdGain),
  };
}

const TOP_TAP = 7;

/**
 * The design's column. A ragged last tile has the wires of a whole one. A cascode is refused where its line would fall
 * below the calibrated drain voltages at the current that the clamps are built for.
 */
function columnLines(
  cal: Calibration,
  design: TileDesign,
  { clamp, slopeV }: BitLine,
  clampMaxA: number,
): ColumnLines {
  const { clampOhm, sinkA, ...wires } = design.column;
  const middleA = typicalLineA(design);
  const lines = {
    rows: design.tile.rows,
    bitWireOhm: wires.bitWireOhm,
    sourceWireOhm: wires.sourceWireOhm,
    sourceOhm: wires.sourceOhm,
  };
  if (clamp === 'resistance') return { ...lines, clampOhm };
  // A sink far above the cells' current makes a resistance of the cascode.
  if (clamp === 'class-a') return { ...lines, clampOhm: slopeV / sinkA };
  const fallV = slopeV * Math.log(clampMaxA / middleA);
  const lowestV = design.vdsV - fallV;
  if (lowestV < cal.validRange.vdsV[0]) {
    throw new OnefetError(
      'usage',
      'CLAMP_RANGE',
      `a cascode at rest at ${middleA} A lets the bit line fall to ${lowestV.toFixed(3)} V at column.clampMaxA of ${clampMaxA} A, below the calibrated ${cal.validRange.vdsV[0]} V`,
      { hint: 'lower column.clampMaxA, raise column.cascodeMiddleA, or set column.clamp to regulated' },
    );
  }
  // With a gain the logarithm is an exponent of 0.9997 on the current: its fall at the most current, taken as linear.
  if (clamp === 'regulated') return { ...lines, clampOhm: Math.max(0, fallV) / clampMaxA };
  return { ...lines, clampOhm: 0, cascode: { slopeV, middleA } };
}

/**
 * Relative variance of one cell's current from slow noise, persistent over a window:
 *   flicker   (S_I / I^2)(1 Hz) ln(f_high / f_low), f_high the integrator's bandwidth
 *   telegraph trapsPerM2 W L (gm/I * q / (Cox W L))^2 / 4, each trap occupied half the time
 */
function lowFrequencyVariance(cal: Calibration, design: TileDesign, gmOverI: number): number {
  const highHz = 1 / (2 * design.timing.integrationTimeS);
  const flicker = design.noise.flicker
    ? cal.noise.flickerRelativePsdAt1Hz * Math.log(highHz / design.noise.lowestFrequencyHz)
    : 0;
  const oxideF = (OXIDE_PERMITTIVITY_F_PER_M / cal.device.oxideM) * cal.device.widthM * cal.device.lengthM;
  const trapStep = (gmOverI * ELEMENTARY_CHARGE_C) / oxideF;
  const traps = design.noise.trapsPerM2 * cal.device.widthM * cal.device.lengthM;
  return flicker + (traps * trapStep ** 2) / 4;
}
