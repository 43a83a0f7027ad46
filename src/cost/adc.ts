/**
 * Energy and area of a column ADC: the regression of the Accelergy ADC plug-in over Murmann's ADC survey.
 *
 *   b = ENOB >= 4, f in Hz, technology in nm
 *   FOM   = min(213.7807 - 2.87190 ln f, 128.3068 + 3.22052 ceil(b))                                     dB
 *   SNDR  = 6.0206 b + 1.7609                                                                            dB
 *   E[pJ] = exp(26.04962 + 1.880037 ln tech - 2.829126 ln b - 1.470202) / (2 * 10^((FOM - SNDR) / 10))
 *   A     = exp(1.346192 + 0.993279 ln tech + 0.180715 ln f + 0.299124 ln E)                             um2
 *
 * The coefficients are those of adc_data/model.yaml in github.com/Accelergy-Project/accelergy-adc-plug-in, rounded. Its authors call
 * its estimates optimistic ("the best possible ADC design"). Silicon lies on both sides: 0.276 and 3.14 of the energy, 0.40 of the area
 * in two macros (`onefet power --validate`). Multipliers are in the cost data.
 */
import { OnefetError } from '../error.ts';

interface AdcCost {
  /** One conversion, J. */
  energyJ: number;
  /** One converter, um2. */
  areaUm2: number;
}

/** Range of the survey that the regression was made from; outside it the formula is not evidence. */
const RANGE = {
  enobBits: [4, 14],
  rateHz: [1e3, 1e11],
  technologyNm: [7, 180],
} as const;

export function adcCost(enobBits: number, rateHz: number, technologyNm: number): AdcCost {
  inRange('enobBits', enobBits);
  inRange('rateHz', rateHz);
  inRange('technologyNm', technologyNm);
  const fomDb = Math.min(213.7807 - 2.8719 * Math.log(rateHz), 128.3068 + 3.22052 * Math.ceil(enobBits));
  const sndrDb = 6.0206 * enobBits + 1.7609;
  const energyPj =
    Math.exp(26.04962 + 1.880037 * Math.log(technologyNm) - 2.829126 * Math.log(enobBits) - 1.470202) /
    (2 * 10 ** ((fomDb - sndrDb) / 10));
  const areaUm2 = Math.exp(
    1.346192 +
      0.993279 * Math.log(technologyNm) +
      0.180715 * Math.log(rateHz) +
      0.299124 * Math.log(energyPj),
  );
  return { energyJ: energyPj * 1e-12, areaUm2 };
}

function inRange(name: keyof typeof RANGE, value: number): void {
  const [low, high] = RANGE[name];
  if (!(value >= low && value <= high)) {
    throw new OnefetError(
      'usage',
      'ADC_RANGE',
      `the ADC regression is not valid at ${name} = ${value}: it covers ${low} to ${high}`,
      { hint: 'change adc.bits of the design, or adc.rateHz / adc.technologyNm in cost.yaml' },
    );
  }
}
