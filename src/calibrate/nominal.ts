/**
 * Fits of every corner, and all that is measured around the bias that the typical one gives: products, mismatch, noise,
 * capacitance.
 */
import type { CornerCalibration } from '../cell/calibration.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  ekvCurrentA,
  ekvGateVoltageV,
  REFERENCE_TEMP_K,
} from '../cell/ekv.ts';
import type { Corner } from '../cell/technology.ts';
import { cachedFitCorner } from './fit/cache.ts';
import { checkResidual } from './fit/corner-fit.ts';
import type { CellFit } from './fit/fit.ts';
import { ladderSlopeFactor } from './fit/measures.ts';
import type { Plan } from './sweep-plan.ts';
import {
  type MismatchSample,
  type MultiplySweep,
  measureCapacitance,
  type NoiseSpectrum,
  sampleMismatch,
  sweepMultiply,
  sweepNoise,
  sweepTransfer,
  type TransferSweep,
} from './sweeps.ts';
import { type CellTestbench, CODES, TAPS } from './testbench.ts';

/** Products at which the noise is simulated; the one at full scale (1) is what the behavioural model uses. */
export const NOISE_PRODUCTS = [0.01, 0.1, 1, 5];
export const MONTE_CARLO_DEVICES = 1000;
export const MONTE_CARLO_SEED = 1;

export interface FittedCorner {
  readonly corner: Corner;
  readonly sweep: TransferSweep;
  readonly fit: CellFit;
  readonly entry: CornerCalibration;
}

/** Transfer sweep and fit of every corner, TT first; the other fits start from it. */
export async function fitCorners(testbench: CellTestbench, plan: Plan): Promise<FittedCorner[]> {
  const { cell } = testbench;
  const sweeps = await Promise.all(
    plan.corners.map((corner) => sweepTransfer(testbench, corner, plan.temps, plan.vgs, plan.vds)),
  );
  const fitted: FittedCorner[] = [];
  for (const [i, corner] of plan.corners.entries()) {
    testbench.signal?.throwIfAborted();
    const label = `${testbench.process.technology.name}/${testbench.device} fit ${corner}`;
    const { fit, entry } = cachedFitCorner(
      testbench.pool.cacheFolder,
      sweeps[i],
      cell.fullScaleA,
      cell.vdsV,
      fitted[0]?.fit.coefficients,
    );
    checkResidual(label, entry);
    fitted.push({ corner, sweep: sweeps[i], fit, entry });
    testbench.onRun(label);
    // The fit occupies the thread for a second: let an abort and the progress through.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return fitted;
}

export interface NominalMeasurements {
  readonly fullScaleVgsV: number;
  readonly ladderSlopeFactorN: number;
  readonly sigmaVtV: number;
  readonly sigmaBeta: number;
  readonly multiply: readonly MultiplySweep[];
  readonly mismatch: MismatchSample;
  readonly noise: readonly NoiseSpectrum[];
  readonly capacitance: { readonly gateF: number; readonly drainF: number };
}

/** Everything that is measured at the typical corner around the bias that its fit gives. */
export async function measureNominal(
  testbench: CellTestbench,
  plan: Plan,
  nominal: FittedCorner,
): Promise<NominalMeasurements> {
  const { cell } = testbench;
  const { avtVm, abetaM } = testbench.process.technology.mismatch;
  const { coefficients } = nominal.fit;
  const fullScaleAt = (tempK: number) => {
    const k = plan.temps.indexOf(tempK);
    const { lowV, highV } = nominal.entry.gate;
    return ekvGateVoltageV(atTemperature(coefficients, tempK), cell.fullScaleA, cell.vdsV, lowV[k], highV[k]);
  };
  const fullScaleVgsV = fullScaleAt(REFERENCE_TEMP_K);
  const at = atTemperature(coefficients, REFERENCE_TEMP_K);
  const n = ladderSlopeFactor((v) => ekvCurrentA(at, v, cell.vdsV), fullScaleVgsV, CODES, TAPS);
  const slopeAt = (tempK: number) => n * BOLTZMANN_OVER_CHARGE * tempK;
  const rootArea = Math.sqrt(cell.widthM * cell.lengthM);
  const sigmaVtV = avtVm.value / rootArea;
  const sigmaBeta = abetaM.value / rootArea;
  const spanV = slopeAt(REFERENCE_TEMP_K) * Math.log(CODES * TAPS);
  const operating = { tempK: REFERENCE_TEMP_K, vdsV: cell.vdsV };
  const [multiply, mismatch, noise, capacitance] = await Promise.all([
    Promise.all(
      plan.multiplyTemps.map((tempK) =>
        sweepMultiply(testbench, 'TT', {
          tempK,
          vdsV: cell.vdsV,
          fullScaleVgsV: fullScaleAt(tempK),
          ladderSlopeV: slopeAt(tempK),
          codes: CODES,
          levels: TAPS,
        }),
      ),
    ),
    sampleMismatch(testbench, 'TT', {
      ...operating,
      vgs: { start: fullScaleVgsV - spanV, step: spanV / 6, count: 7 },
      devices: MONTE_CARLO_DEVICES,
      seed: MONTE_CARLO_SEED,
      sigmaVtV,
      sigmaBeta,
    }),
    sweepNoise(testbench, 'TT', {
      ...operating,
      vgsV: NOISE_PRODUCTS.map((product) => fullScaleVgsV + slopeAt(REFERENCE_TEMP_K) * Math.log(product)),
    }),
    measureCapacitance(testbench, 'TT', { ...operating, vgsV: fullScaleVgsV }),
  ]);
  return {
    fullScaleVgsV,
    ladderSlopeFactorN: n,
    sigmaVtV,
    sigmaBeta,
    multiply,
    mismatch,
    noise,
    capacitance,
  };
}
