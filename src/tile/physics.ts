/**
 * From a calibration and a design to the numbers that a tile computes with. Currents are in units of one cell's
 * full-scale current I_fs from here on, so that the ideal product of a cell is a number between 0 and 1.
 */

import type { Calibration } from '../cell/calibration.ts';
import {
  biasPoint,
  cellCurrentA,
  gmOverIPerV,
  type OperatingPoint,
  offCurrentA,
  outputConductancePerV,
} from '../cell/response.ts';
import {
  BOLTZMANN_J_PER_K,
  ELEMENTARY_CHARGE_C,
  VACUUM_PERMITTIVITY_F_PER_M,
} from '../physical-constants.ts';
import { type AdcFormat, adcFormat } from './adc.ts';
import type { Design } from './design.ts';
import { type InputFormat, inputFormat } from './input-code.ts';
import { decompose, type Separable } from './separable.ts';

export { type ChipInstance, DRAW, drawKey } from './draws.ts';

/** Permittivity of SiO2: 3.9 times that of vacuum, F/m. */
const OXIDE_PERMITTIVITY_F_PER_M = 3.9 * VACUUM_PERMITTIVITY_F_PER_M;

/** Response of a cell on a ladder with a given number of taps. */
export interface Response {
  readonly taps: number;
  /** [levels][taps + 1] I / I_fs at input level k and tap m; row 0 and column 0 are 0 (off rows are in `off`). */
  readonly table: readonly Float64Array[];
  /** [levels][taps + 1] gm/I at the same points, 1/V. */
  readonly gmOverI: readonly Float64Array[];
  /** table ~ sum_r u_r[k] v_r[m]. */
  readonly separable: Separable;
  /** [taps + 1] gm/I averaged over the levels with weight table^2: what the baked kernel uses. */
  readonly gmOverIByTap: Float64Array;
  /** [levels] gm/I averaged over the taps with weight table^2: what a row's own error is multiplied by. */
  readonly gmOverIByLevel: Float64Array;
}

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
  const nominalOp: OperatingPoint = { ...op, tempK: cal.nominal.tempK };
  const fullScaleVgsV = biasPoint(cal, design.bias.mode === 'replica' ? op : nominalOp).fullScaleVgsV;
  const ladderSlopeV = biasPoint(cal, design.driver.ladder === 'ptat' ? op : nominalOp).ladderSlopeV;
  const thermalVoltageV = (BOLTZMANN_J_PER_K * design.tempK) / ELEMENTARY_CHARGE_C;
  const ideal = design.response.model === 'ideal';
  const input = inputFormat(design.input);
  const responses = new Map<number, Response>();
  for (const taps of [3, 7]) {
    responses.set(
      taps,
      ideal
        ? idealResponse(input, taps, ladderSlopeV)
        : calibratedResponse(
            cal,
            op,
            input,
            taps,
            fullScaleVgsV,
            ladderSlopeV,
            design.response.residualBound,
          ),
    );
  }
  const gmOverI = ideal ? 1 / ladderSlopeV : gmOverIPerV(cal, op, fullScaleVgsV);
  const lambdaPerV = ideal ? 0 : outputConductancePerV(cal, op, fullScaleVgsV);
  const fs = design.fullScaleA;
  // A threshold shift moves the current by more than the same shift at the gate: it also moves the mobility
  // (thresholdGain, measured by Monte Carlo in SPICE; 1.045 for the 32 nm-class card).
  const sigmaVtV = cal.mismatch.sigmaVtV * cal.mismatch.thresholdGain * design.mismatch.scale;
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
    offCurrent: ideal ? 0 : offCurrentA(cal, op, design.driver.offVgsV) / fs,
    offGmOverIPerV: ideal ? 0 : offSlope(cal, op, design.driver.offVgsV),
    gmOverIPerV: gmOverI,
    ladderSlopeV,
    fullScaleVgsV,
    thermalVoltageV,
    sigmaVtV,
    sigmaBeta,
    meanGain: design.mismatch.meanGain ? Math.exp(logVariance / 2) : 1,
    tileGainSigma: Math.hypot(
      gmOverI * replicaOffsetV,
      design.bias.tileTempSigmaK * temperatureSensitivity(cal, op, fullScaleVgsV),
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
    lowFrequencyVariance: lowFrequencyVariance(cal, design, gmOverI),
  };
}

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

/**
 * Relative variance of one cell's current from slow noise, persistent over a window:
 *   flicker   (S_I / I^2)(1 Hz) ln(f_high / f_low), f_high the integrator's bandwidth
 *   telegraph trapsPerCell * (gm/I * q / (Cox W L))^2 / 4, each trap occupied half the time
 */
function lowFrequencyVariance(cal: Calibration, design: Design, gmOverI: number): number {
  const highHz = 1 / (2 * design.timing.integrationTimeS);
  const flicker = design.noise.flicker
    ? cal.noise.flickerRelativePsdAt1Hz * Math.log(highHz / design.noise.lowestFrequencyHz)
    : 0;
  const oxideF = (OXIDE_PERMITTIVITY_F_PER_M / cal.device.oxideM) * cal.device.widthM * cal.device.lengthM;
  const trapStep = (gmOverI * ELEMENTARY_CHARGE_C) / oxideF;
  return flicker + (design.noise.trapsPerCell * trapStep ** 2) / 4;
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
    separable: { rank: 1, u: [Float64Array.from(levels)], v: [row((m) => m / taps)], residual: 0 },
    gmOverIByTap: row(() => slope),
    gmOverIByLevel: Float64Array.from(levels, () => slope),
  };
}

function calibratedResponse(
  cal: Calibration,
  op: OperatingPoint,
  input: InputFormat,
  taps: number,
  fullScaleVgsV: number,
  ladderSlopeV: number,
  residualBound: number,
): Response {
  const table: Float64Array[] = [];
  const gmOverI: Float64Array[] = [];
  for (const magnitude of input.magnitudes) {
    const currents = new Float64Array(taps + 1);
    const slopes = new Float64Array(taps + 1);
    if (magnitude > 0) {
      for (let m = 1; m <= taps; m++) {
        const vgsV = fullScaleVgsV + ladderSlopeV * (Math.log(magnitude) + Math.log(m / taps));
        currents[m] = cellCurrentA(cal, op, vgsV) / op.fullScaleA;
        slopes[m] = gmOverIPerV(cal, op, vgsV);
      }
    }
    table.push(currents);
    gmOverI.push(slopes);
  }
  const average = (weight: (k: number, m: number) => boolean) => {
    let sum = 0;
    let norm = 0;
    table.forEach((currents, k) => {
      for (let m = 1; m <= taps; m++) {
        if (!weight(k, m)) continue;
        sum += currents[m] ** 2 * gmOverI[k][m];
        norm += currents[m] ** 2;
      }
    });
    return norm > 0 ? sum / norm : 0;
  };
  return {
    taps,
    table,
    gmOverI,
    separable: decompose(table, residualBound),
    gmOverIByTap: Float64Array.from({ length: taps + 1 }, (_, m) => average((_k, tap) => tap === m)),
    gmOverIByLevel: Float64Array.from(table, (_, k) => average((level) => level === k)),
  };
}
