/**
 * Figures of merit from simulated curves: exponential range, ladder slope, product error, mismatch statistics, noise.
 */
import { BOLTZMANN_OVER_CHARGE } from '../../cell/ekv.ts';
import type { Residual } from '../../cell/residual.ts';
import { deviation, largest, mean, rms, upperMedian } from '../../numbers.ts';
import { ELEMENTARY_CHARGE_C } from '../../physical-constants.ts';
import { gridValue, type MismatchSample, type MultiplySweep, type NoiseSpectrum } from '../sweeps.ts';

/** Deviations from an exponential for which a calibration states the range. */
export const EXPONENTIAL_TOLERANCES = [0.01, 0.05, 0.1];

export interface ExponentialRange {
  readonly tolerance: number;
  readonly decades: number;
  readonly lowA: number;
  readonly highA: number;
  /** 1 / (slope Ut) of the line through the range. */
  readonly slopeFactorN: number;
}

/**
 * The longest run of gate voltages over which ln I stays within ln(1 + tolerance) of a straight line (least squares,
 * its offset moved to halve the largest deviation).
 */
export function exponentialRange(
  vgsV: readonly number[],
  currentA: ArrayLike<number>,
  tolerance: number,
  tempK: number,
): ExponentialRange {
  const y = Array.from(currentA, (i) => Math.log(i));
  const limit = Math.log(1 + tolerance);
  let best: ExponentialRange = { tolerance, decades: 0, lowA: 0, highA: 0, slopeFactorN: 0 };
  const least = 8;
  for (let i = 0; i + least < y.length; i++) {
    if (!(currentA[i] > 0)) continue;
    for (let j = i + least; j < y.length; j++) {
      const { offset, slope } = line(vgsV, y, i, j);
      let high = Number.NEGATIVE_INFINITY;
      let low = Number.POSITIVE_INFINITY;
      for (let k = i; k <= j; k++) {
        const off = y[k] - offset - slope * vgsV[k];
        if (off > high) high = off;
        if (off < low) low = off;
      }
      if ((high - low) / 2 > limit) {
        // Longer runs from here only get worse once they are far outside.
        if ((high - low) / 2 > 4 * limit) break;
        continue;
      }
      const decades = (y[j] - y[i]) / Math.LN10;
      if (decades > best.decades) {
        best = {
          tolerance,
          decades,
          lowA: currentA[i],
          highA: currentA[j],
          slopeFactorN: 1 / (slope * BOLTZMANN_OVER_CHARGE * tempK),
        };
      }
    }
  }
  return best;
}

function line(
  x: readonly number[],
  y: readonly number[],
  from: number,
  to: number,
): { offset: number; slope: number } {
  const n = to - from + 1;
  let sx = 0;
  let sy = 0;
  let sxx = 0;
  let sxy = 0;
  for (let k = from; k <= to; k++) {
    // Relative to the first point: gate voltages of a short run are nearly equal.
    const dx = x[k] - x[from];
    sx += dx;
    sy += y[k];
    sxx += dx * dx;
    sxy += dx * y[k];
  }
  const slope = (n * sxy - sx * sy) / (n * sxx - sx * sx);
  return { offset: (sy - slope * sx) / n - slope * x[from], slope };
}

/**
 * n of the ladder: gate volts per e-fold of the product over Ut that minimises the RMS deviation of ln I from
 * ln(product), one gain removed, over all codes times levels. Golden-section search; the function has one minimum.
 */
export function ladderSlopeFactor(
  currentA: (vgsV: number) => number,
  fullScaleVgsV: number,
  codes: number,
  levels: number,
  tempK = 300.15,
): number {
  const lnProducts: number[] = [];
  for (let c = 1; c <= codes; c++)
    for (let l = 1; l <= levels; l++) lnProducts.push(Math.log((c * l) / (codes * levels)));
  const spread = (n: number) => {
    const slopeV = n * BOLTZMANN_OVER_CHARGE * tempK;
    const deviations = lnProducts.map((p) => Math.log(currentA(fullScaleVgsV + slopeV * p)) - p);
    const centre = mean(deviations);
    return deviations.reduce((sum, d) => sum + (d - centre) ** 2, 0);
  };
  const golden = (Math.sqrt(5) - 1) / 2;
  let low = 1;
  let high = 2.5;
  while (high - low > 1e-7) {
    const a = high - golden * (high - low);
    const b = low + golden * (high - low);
    if (spread(a) < spread(b)) high = b;
    else low = a;
  }
  return (low + high) / 2;
}

/** Relative error of the simulated products after the gain that fits them best is removed. */
export function productError(sweep: MultiplySweep): Residual {
  const ratios: number[] = [];
  for (let level = 1; level <= sweep.levels; level++) {
    for (let code = 1; code <= sweep.codes; code++) {
      const ideal = (code * level) / (sweep.codes * sweep.levels);
      ratios.push(sweep.drainA[(level - 1) * sweep.codes + code - 1] / ideal);
    }
  }
  const { points, rms, max } = gainFreeError(ratios);
  return { points, rms, max };
}

/** Relative error of ratios after the gain that fits them best is removed: least squares of (ratio / gain - 1) over the gain. */
export function gainFreeError(ratios: readonly number[]): Residual & { readonly gain: number } {
  const gain = ratios.reduce((sum, r) => sum + r * r, 0) / ratios.reduce((sum, r) => sum + r, 0);
  const errors = ratios.map((r) => r / gain - 1);
  return { gain, points: errors.length, rms: rms(errors), max: largest(errors) };
}

/**
 * Spread of ln I in the sample against sqrt((gm/I sigmaVt)^2 + sigmaBeta^2), and what a threshold shift really does:
 * the regression slope of ln I (its drawn gain removed) on the drawn shift. The slope exceeds gm/I because a
 * higher threshold also raises the vertical field, (Vgsteff + 2 Vth)/toxe in BSIM4, and so lowers the mobility.
 */
export function mismatchStatistics(
  sample: MismatchSample,
  gmOverIPerV: (vgsV: number) => number,
  sigmaVtV: number,
  sigmaBeta: number,
  fullScaleVgsV: number,
  ladderSlopeV: number,
) {
  const vgsV = Array.from({ length: sample.vgs.count }, (_, k) => gridValue(sample.vgs, k));
  const gm = vgsV.map(gmOverIPerV);
  const lnSigmaTheory = gm.map((g) => Math.hypot(g * sigmaVtV, sigmaBeta));
  const last = vgsV.length - 1;
  const ln = sample.drainA.map((currents) => Math.log(currents[last]));
  const middle = upperMedian(ln);
  const bins = 40;
  const lowerEdge = -4 * lnSigmaTheory[last];
  const binWidth = (8 * lnSigmaTheory[last]) / bins;
  const counts = new Array<number>(bins).fill(0);
  for (const value of ln) {
    const bin = Math.floor((value - middle - lowerEdge) / binWidth);
    counts[Math.min(bins - 1, Math.max(0, bin))]++;
  }
  return {
    product: vgsV.map((v) => Math.exp((v - fullScaleVgsV) / ladderSlopeV)),
    vgsV,
    gmOverIPerV: gm,
    lnSigmaSpice: vgsV.map((_, k) => deviation(sample.drainA.map((currents) => Math.log(currents[k])))),
    lnSigmaTheory,
    thresholdSlopePerV: vgsV.map((_, k) => thresholdSlope(sample, k)),
    histogram: { lowerEdge, binWidth, counts },
  };
}

/** -d ln I / d Vt at one gate voltage, 1/V. */
function thresholdSlope({ thresholdShiftV, lnGain, drainA }: MismatchSample, k: number): number {
  const y = drainA.map((currents, i) => Math.log(currents[k]) - lnGain[i]);
  const meanX = mean(thresholdShiftV);
  const meanY = mean(y);
  let xy = 0;
  let xx = 0;
  y.forEach((value, i) => {
    xy += (thresholdShiftV[i] - meanX) * (value - meanY);
    xx += (thresholdShiftV[i] - meanX) ** 2;
  });
  return -xy / xx;
}

/**
 * White and flicker parts of each spectrum. White is the density at the highest frequency; the flicker part is what
 * is above it at 1 Hz, its exponent from 1 to 10 Hz. `main` is the spectrum at full scale.
 */
export function noiseSummary(spectra: readonly NoiseSpectrum[], main: number, vdsV: number, tempK: number) {
  const parts = spectra.map(({ currentA, frequencyHz, densityA2PerHz }) => {
    const white = densityA2PerHz[densityA2PerHz.length - 1];
    const at10Hz = frequencyHz.findIndex((f) => f > 9.999);
    const flicker = densityA2PerHz[0] - white;
    return {
      currentA,
      white: white / (2 * ELEMENTARY_CHARGE_C * currentA),
      flicker: flicker / (currentA * currentA),
      exponent:
        Math.log10(flicker / (densityA2PerHz[at10Hz] - white)) /
        Math.log10(frequencyHz[at10Hz] / frequencyHz[0]),
    };
  });
  return {
    flickerRelativePsdAt1Hz: parts[main].flicker,
    flickerExponent: parts[main].exponent,
    whiteRatioSpice: parts[main].white,
    whiteRatioTheory: 1 / Math.tanh(vdsV / (2 * BOLTZMANN_OVER_CHARGE * tempK)),
    currentA: parts.map(({ currentA }) => currentA),
    whiteRatioByCurrent: parts.map(({ white }) => white),
    flickerByCurrent: parts.map(({ flicker }) => flicker),
  };
}
