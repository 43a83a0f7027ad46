/**
 * What of a log-domain design decides the error of its outputs (predict.ts), from the physics of its tiles:
 *
 *   cellSigma        sqrt of (gm/I sigma(Vt))^2 + sigma(beta)^2 and of the slow noise of a cell, which looks the same within
 *                    a window
 *   columnGainSigma  a tile's gain (replica, temperature, gradient), its noise per phase, and its converters' gain
 */
import type { TilePhysics } from '../tile/physics.ts';
import type { ChipErrors } from './predict.ts';

export function chipErrors(
  physics: Pick<
    TilePhysics,
    | 'design'
    | 'gmOverIPerV'
    | 'sigmaVtV'
    | 'sigmaBeta'
    | 'lowFrequencyVariance'
    | 'tileGainSigma'
    | 'gradientGainSigma'
    | 'phaseGainSigma'
    | 'whiteVariance'
    | 'samplingVariance'
    | 'lineVariance'
  >,
): ChipErrors {
  const { design } = physics;
  return {
    input: design.input,
    scale: design.input.scale,
    adcBits: design.adc.bits,
    rangeQuantile: design.adc.rangeQuantile,
    cellSigma: Math.hypot(
      physics.gmOverIPerV * physics.sigmaVtV,
      physics.sigmaBeta,
      Math.sqrt(physics.lowFrequencyVariance),
    ),
    columnGainSigma: Math.hypot(
      physics.tileGainSigma,
      physics.gradientGainSigma,
      physics.phaseGainSigma,
      design.adc.gainSigma,
    ),
    offsetLsb: design.adc.offsetSigmaLsb,
    whiteVariance: physics.whiteVariance,
    samplingVariance: physics.samplingVariance,
    lineVariance: physics.lineVariance,
  };
}
