/**
 * What of a log-domain design decides the error of its outputs (predict.ts), from the physics of its tiles:
 *
 *   cellSigma        sqrt of (gm/I sigma(Vt))^2 + sigma(beta)^2 and of the slow noise of a cell, which looks the same within
 *                    a window
 *   columnGainSigma  a tile's gain (replica, temperature, gradient), its noise per phase, and its converters' gain; of a
 *                    chip that is corrected only the noise, for the others are in what was read
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
  correctionRank?: number,
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
    correctionRank,
    columnGainSigma:
      correctionRank === undefined
        ? Math.hypot(
            physics.tileGainSigma,
            physics.gradientGainSigma,
            physics.phaseGainSigma,
            design.adc.gainSigma,
          )
        : physics.phaseGainSigma,
    offsetLsb: design.adc.offsetSigmaLsb,
    whiteVariance: physics.whiteVariance,
    samplingVariance: physics.samplingVariance,
    lineVariance: physics.lineVariance,
  };
}
