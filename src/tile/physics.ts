/**
 * From a calibration and a design to the numbers that a tile computes with. Currents are in units of one cell's
 * full-scale current I_fs from here on, so that the ideal product of a cell is a number between 0 and 1.
 */

import type { Calibration } from '../cell/calibration.ts';
import type { OperatingPoint } from '../cell/response.ts';
import {
  BOLTZMANN_J_PER_K,
  ELEMENTARY_CHARGE_C,
  VACUUM_PERMITTIVITY_F_PER_M,
} from '../physical-constants.ts';
import { type AdcFormat, adcFormat } from './adc.ts';
import type { Design } from './design.ts';
import { type InputFormat, inputFormat } from './input-code.ts';
import { cellOfDesign, type Response } from './response.ts';

export { type ChipInstance, DRAW, drawKey } from './draws.ts';

/** Permittivity of SiO2: 3.9 times that of vacuum, F/m. */
const OXIDE_PERMITTIVITY_F_PER_M = 3.9 * VACUUM_PERMITTIVITY_F_PER_M;

export interface TilePhysics {
  readonly design: Design;
  readonly input: InputFormat;
  readonly adc: AdcFormat;
  /** By number of taps (3 or 7). */
  readonly responses: ReadonlyMap<number, Response>;
  /** Current of a connected cell whose row is off, and its gm/I there. */
  readonly offCurrent: number;
  readonly offGmOverIPerV: number;
  /** gm/I at full scale, 1/V: gain of everything that is common to a tile. */
  readonly gmOverIPerV: number;
  /** Volts per e-fold of the ladder, n Ut. */
  readonly ladderSlopeV: number;
  readonly fullScaleVgsV: number;
  readonly thermalVoltageV: number;
  /** Static per cell: threshold shift as the gate voltage that moves the current as much. */
  readonly sigmaVtV: number;
  readonly sigmaBeta: number;
  /** exp(sigma_lnI^2 / 2), or 1. */
  readonly meanGain: number;
  /** Static per tile: sigma of ln gain from the replica's offset and the tile's temperature. */
  readonly tileGainSigma: number;
  /** Across the die, edge to edge, in ln gain; zero with a replica per tile. */
  readonly gradientGainSigma: number;
  /** Per tile, phase and token: sigma of ln gain. */
  readonly phaseGainSigma: number;
  /** d I / I per unit of bit-line current through the clamp. */
  readonly clampDroop: number;
  /** d ln I per unit of common current through the source line. */
  readonly sourceDroop: number;
  /** White noise: variance = whiteVariance * sum(I). */
  readonly whiteVariance: number;
  /** Bit-line noise: variance = clampVariance * (I+^2 + I-^2). */
  readonly clampVariance: number;
  /** kT/C: variance = samplingVariance * fullScale (C follows from the full scale). */
  readonly samplingVariance: number;
  /** Flicker and random telegraph noise: variance = lowFrequencyVariance * sum(I^2), constant over a window. */
  readonly lowFrequencyVariance: number;
}

/** Evaluates the calibration at the design's operating point. Refuses what is outside the calibrated range. */
export function tilePhysics(cal: Calibration, design: Design): TilePhysics {
  const op: OperatingPoint = {
    corner: design.corner,
    tempK: design.tempK,
    vdsV: design.vdsV,
    fullScaleA: design.fullScaleA,
  };
  const thermalVoltageV = (BOLTZMANN_J_PER_K * design.tempK) / ELEMENTARY_CHARGE_C;
  const input = inputFormat(design.input);
  const cell = cellOfDesign(cal, design, op, input);
  const { fullScaleVgsV, ladderSlopeV, responses } = cell;
  const gmOverI = cell.gmOverIPerV;
  const lambdaPerV = cell.outputConductancePerV;
  const fs = design.fullScaleA;
  const sigmaVtV = cal.mismatch.sigmaVtV * cell.thresholdGain * design.mismatch.scale;
  const sigmaBeta = cal.mismatch.sigmaBeta * design.mismatch.scale;
  const logVariance = (gmOverI * sigmaVtV) ** 2 + sigmaBeta ** 2;
  const replica = design.bias.mode === 'replica';
  const replicaOffsetV = replica ? sigmaVtV / Math.sqrt(design.bias.replicaCells) : 0;
  const bandwidthHz = 1 / (2 * design.timing.integrationTimeS);
  const coth = 1 / Math.tanh(design.vdsV / (2 * thermalVoltageV));
  return {
    design,
    input,
    adc: adcFormat(design.adc.bits),
    responses,
    offCurrent: cell.offCurrent,
    offGmOverIPerV: cell.offGmOverIPerV,
    gmOverIPerV: gmOverI,
    ladderSlopeV,
    fullScaleVgsV,
    thermalVoltageV,
    sigmaVtV,
    sigmaBeta,
    meanGain: design.mismatch.meanGain ? Math.exp(logVariance / 2) : 1,
    tileGainSigma: Math.hypot(
      gmOverI * replicaOffsetV,
      design.bias.tileTempSigmaK * cell.temperatureSensitivityPerK,
    ),
    gradientGainSigma: replica ? 0 : gmOverI * design.bias.gradientSigmaV,
    phaseGainSigma: Math.hypot(
      design.bias.sourceNoiseV / (design.bias.sourceSlopeFactor * thermalVoltageV),
      design.bias.referenceNoiseV * gmOverI,
    ),
    clampDroop: lambdaPerV * design.column.clampOhm * fs,
    sourceDroop: (design.column.sourceOhm * fs) / (design.bias.sourceSlopeFactor * thermalVoltageV),
    whiteVariance: design.noise.white ? (2 * ELEMENTARY_CHARGE_C * bandwidthHz * coth) / fs : 0,
    clampVariance: (lambdaPerV * design.column.clampNoiseV) ** 2,
    samplingVariance: design.noise.sampling
      ? (BOLTZMANN_J_PER_K * design.tempK) / (design.timing.integrationTimeS * fs * design.adc.swingV)
      : 0,
    lowFrequencyVariance: lowFrequencyVariance(cal, design, gmOverI * cell.thresholdGain),
  };
}

/**
 * Relative variance of one cell's current from slow noise, persistent over a window:
 *   flicker   (S_I / I^2)(1 Hz) ln(f_high / f_low), f_high the integrator's bandwidth
 *   telegraph trapsPerM2 W L (gm/I * q / (Cox W L))^2 / 4, each trap occupied half the time
 */
function lowFrequencyVariance(cal: Calibration, design: Design, gmOverI: number): number {
  const highHz = 1 / (2 * design.timing.integrationTimeS);
  const flicker = design.noise.flicker
    ? cal.noise.flickerRelativePsdAt1Hz * Math.log(highHz / design.noise.lowestFrequencyHz)
    : 0;
  const oxideF = (OXIDE_PERMITTIVITY_F_PER_M / cal.device.oxideM) * cal.device.widthM * cal.device.lengthM;
  const trapStep = (gmOverI * ELEMENTARY_CHARGE_C) / oxideF;
  const traps = design.noise.trapsPerM2 * cal.device.widthM * cal.device.lengthM;
  return flicker + (traps * trapStep ** 2) / 4;
}
