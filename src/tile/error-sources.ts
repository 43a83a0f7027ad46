/**
 * Sources of error apart: designs in which one group of errors acts and all others are off.
 *
 * They run on the recoded weights, so their KL to the digital model holds the coding loss as well: what is reported of a
 * source is its excess over the recoded weights alone, mean and interval over chips. The groups do not add up to the whole
 * chip (errors interact, and the model is not linear).
 */
import type { TileDesign } from './design.ts';

export const ERROR_SOURCES = {
  input: 'row DAC: input levels of the design, everything else ideal',
  response: 'cell response: calibrated current instead of the ideal product, with the input levels',
  mismatch: 'mismatch of threshold and gain, of every cell and of the replica of each tile',
  driver: 'row drivers, ladders, bias, source line and clamp',
  noise: 'dynamic noise: shot, kT/C, flicker, telegraph, level noise',
  'adc-clipping': 'column ADC: clipping at its range (full scale), with steps too fine to matter',
  'adc-resolution': 'column ADC: its steps, gain and offset, with a range too wide to clip',
} as const;

export type ErrorSource = keyof typeof ERROR_SOURCES;

/** Nothing is drawn in these: every chip has the same error, so one is enough and has no interval. */
export function sameOnEveryChip(source: ErrorSource): boolean {
  return source === 'input' || source === 'response' || source === 'adc-clipping';
}

/** Bits of the converter in `adc-clipping`: 1/512 of the steps of 8 bits and less. */
const FINE_BITS = 18;
/** Bits by which the range of `adc-resolution` is widened: sixteen times, at the design's own steps. */
const WIDER_BITS = 4;

/** Returns the factor on the full scales of a source's converters: `adc-resolution` has the design's steps and a range that nothing leaves. */
export function rangeFactor(design: TileDesign, source: ErrorSource): number {
  const { bits } = design.adc;
  if (source !== 'adc-resolution' || bits === 'float') return 1;
  // lsb = fullScale / (2^(bits - 1) - 1) stays the same with WIDER_BITS more bits.
  return (2 ** (bits + WIDER_BITS - 1) - 1) / (2 ** (bits - 1) - 1);
}

/** The design with everything ideal: real-valued inputs, g = k m, no errors, real-valued converters. */
export function idealDesign<D extends TileDesign>(design: D): D {
  return {
    ...design,
    input: { ...design.input, bits: 'float' },
    response: { ...design.response, model: 'ideal' },
    mismatch: { ...design.mismatch, scale: 0 },
    driver: { ...design.driver, offsetSigmaV: 0, resistorSigma: 0, noiseV: 0 },
    bias: { ...design.bias, tileTempSigmaK: 0, gradientSigmaV: 0, sourceNoiseV: 0, referenceNoiseV: 0 },
    column: {
      ...design.column,
      clamp: 'resistance',
      clampOhm: 0,
      bitWireOhm: 0,
      sourceWireOhm: 0,
      sourceOhm: 0,
    },
    noise: { ...design.noise, white: false, sampling: false, flicker: false, trapsPerM2: 0 },
    adc: { ...design.adc, bits: 'float', gainSigma: 0, offsetSigmaLsb: 0, trimVectors: 0 },
  };
}

/** The design without what is drawn anew for each token: dynamic noise, noise of rows, of lines and of references. */
export function withoutNoise<D extends TileDesign>(design: D): D {
  return {
    ...design,
    driver: { ...design.driver, noiseV: 0 },
    bias: { ...design.bias, sourceNoiseV: 0, referenceNoiseV: 0 },
    noise: { ...design.noise, white: false, sampling: false, flicker: false, trapsPerM2: 0 },
  };
}

/** The ideal design with one group of errors put back. */
export function onlySource<D extends TileDesign>(design: D, source: ErrorSource): D {
  const ideal = idealDesign(design);
  switch (source) {
    case 'input':
      return { ...ideal, input: design.input };
    case 'response':
      return { ...ideal, input: design.input, response: design.response };
    case 'mismatch':
      return { ...ideal, mismatch: design.mismatch };
    case 'driver':
      return {
        ...ideal,
        driver: { ...design.driver, noiseV: 0 },
        bias: { ...design.bias, sourceNoiseV: 0, referenceNoiseV: 0 },
        column: design.column,
      };
    case 'noise':
      return {
        ...ideal,
        noise: design.noise,
        driver: { ...ideal.driver, noiseV: design.driver.noiseV },
        bias: {
          ...ideal.bias,
          sourceNoiseV: design.bias.sourceNoiseV,
          referenceNoiseV: design.bias.referenceNoiseV,
        },
        // The clamp itself, for its noise, on lines without resistance.
        column: { ...design.column, clampOhm: 0, bitWireOhm: 0, sourceWireOhm: 0, sourceOhm: 0 },
      };
    case 'adc-clipping':
      return design.adc.bits === 'float' ? ideal : { ...ideal, adc: { ...ideal.adc, bits: FINE_BITS } };
    case 'adc-resolution': {
      const { bits } = design.adc;
      const wide = bits === 'float' ? bits : bits + WIDER_BITS;
      return { ...ideal, adc: { ...design.adc, bits: wide, trimVectors: 0 } };
    }
  }
}
