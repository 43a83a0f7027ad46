/**
 * From netlists and a process to a calibration: simulate, fit, check against points that the fit never saw.
 */
import { OnefetError } from '../error.ts';
import { readTextFile, sha256, writeFileAtomic } from '../files.ts';
import { DEFAULT_CACHE_FOLDER } from '../spice/cache.ts';
import { engineId } from '../spice/job.ts';
import { createSpicePool, type SpicePool } from '../spice/pool.ts';
import {
  type Calibration,
  type CornerCalibration,
  calibrationPath,
  calibrationSchema,
  sourceKey,
} from './calibration.ts';
import {
  checkLimits,
  checkResidual,
  fitCorner,
  LARGEST_PRODUCT,
  nearestIndex,
  OFF_RANGE_V,
  SMALLEST_PRODUCT,
} from './corner-fit.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  COEFFICIENT_NAMES,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
  REFERENCE_TEMP_K,
} from './ekv.ts';
import { type CellFit, residualOf } from './fit.ts';
import {
  exponentialRange,
  ladderSlopeFactor,
  mismatchStatistics,
  noiseSummary,
  productError,
} from './measures.ts';
import { multiplyPoints, residualPlots, transferPlots } from './plot-data.ts';
import {
  type Bench,
  type Grid,
  gridValue,
  gridValues,
  measureCapacitance,
  sampleMismatch,
  sweepMultiply,
  sweepNoise,
  sweepTransfer,
  type TransferSweep,
} from './sweeps.ts';
import {
  type CellDescription,
  CORNERS,
  type Corner,
  cellOf,
  loadProcess,
  type Process,
} from './technology.ts';

export interface CalibrateOptions {
  readonly process: string;
  readonly cell: string;
  /** Folder of the simulation cache; null for none. Default .onefet/cache/spice in the working folder. */
  readonly cacheFolder?: string | null;
  /** Simulator threads, default 2. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: number; total: number; label: string }) => void;
  /** Simulators to use instead of starting some; they are left running. */
  readonly pool?: SpicePool;
}

/** Temperatures that are simulated, C, closer where leakage doubles every 8 K; those outside the range are left out. */
const TEMPS_C = [-40, -20, 0, 27, 50, 70, 85, 95, 105, 115, 125];
const STEP_VGS_V = 0.005;
const LOWEST_VGS_V = -0.4;
const STEP_VDS_V = 0.1;
/** Drain voltages up to this share of the supply: the rest is headroom of the clamp. */
const HIGHEST_VDS_OF_SUPPLY = 0.75;
const CODES = 63;
const LEVELS = 7;
const MONTE_CARLO_DEVICES = 1000;
const MONTE_CARLO_SEED = 1;

/** Simulates and fits one cell. Errors: SPICE_*, FIT_RESIDUAL, CELL_UNKNOWN, INTERRUPTED. */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const process = loadProcess(options.process);
  const cell = cellOf(process, options.cell);
  const { technology } = process;
  const corners = CORNERS.filter((corner) => technology.models.corners[corner] !== undefined);
  const { temps, vgs, vds } = planSweep(process, cell);
  const multiplyTemps = [temps[0], REFERENCE_TEMP_K, temps[temps.length - 1]];
  const pool =
    options.pool ??
    createSpicePool({
      threads: options.threads ?? 2,
      ...(options.cacheFolder === null ? {} : { cacheFolder: options.cacheFolder ?? DEFAULT_CACHE_FOLDER }),
    });
  const total = 2 * corners.length + multiplyTemps.length + Math.ceil(MONTE_CARLO_DEVICES / 250) + 2;
  let done = 0;
  const advance = (label: string) => options.onProgress?.({ done: ++done, total, label });
  const bench: Bench = {
    process,
    cellName: options.cell,
    cell,
    pool,
    signal: options.signal,
    sources: new Set([process.path]),
    onRun: advance,
  };
  try {
    const sweeps = await Promise.all(corners.map((corner) => sweepTransfer(bench, corner, temps, vgs, vds)));
    const fitted: { corner: Corner; sweep: TransferSweep; fit: CellFit; entry: CornerCalibration }[] = [];
    for (const [i, corner] of corners.entries()) {
      const entry = fitCorner(sweeps[i], cell.fullScaleA, cell.vdsV, fitted[0]?.fit.coefficients);
      checkResidual(`${options.process}/${options.cell} ${corner}`, entry.entry);
      fitted.push({ corner, sweep: sweeps[i], ...entry });
      advance(`${options.process}/${options.cell} fit ${corner}`);
      options.signal?.throwIfAborted();
    }
    const nominal = fitted[0];
    const at = atTemperature(nominal.fit.coefficients, REFERENCE_TEMP_K);
    const vgsAt = (tempK: number) =>
      ekvGateVoltageV(
        atTemperature(nominal.fit.coefficients, tempK),
        cell.fullScaleA,
        cell.vdsV,
        LOWEST_VGS_V,
        gridValue(vgs, vgs.count - 1),
      );
    const fullScaleVgsV = vgsAt(REFERENCE_TEMP_K);
    const current = (v: number) => ekvCurrentA(at, v, cell.vdsV);
    const n = ladderSlopeFactor(current, fullScaleVgsV, CODES, LEVELS);
    const slopeV = (tempK: number) => n * BOLTZMANN_OVER_CHARGE * tempK;
    const { avtVm, abetaM } = technology.mismatch;
    const rootArea = Math.sqrt(cell.widthM * cell.lengthM);
    const sigmaVtV = avtVm.value / rootArea;
    const sigmaBeta = abetaM.value / rootArea;
    const lowestV = fullScaleVgsV - slopeV(REFERENCE_TEMP_K) * Math.log(CODES * LEVELS);
    const mcVgs: Grid = { start: lowestV, step: (fullScaleVgsV - lowestV) / 6, count: 7 };
    const noiseVgs = [0.01, 0.1, 1, 5].map(
      (share) => fullScaleVgsV + slopeV(REFERENCE_TEMP_K) * Math.log(share),
    );
    const operating = { tempK: REFERENCE_TEMP_K, vdsV: cell.vdsV };
    const [multiply, mismatch, noise, capacitance] = await Promise.all([
      Promise.all(
        multiplyTemps.map((tempK) =>
          sweepMultiply(bench, 'TT', {
            tempK,
            vdsV: cell.vdsV,
            fullScaleVgsV: vgsAt(tempK),
            ladderSlopeV: slopeV(tempK),
            codes: CODES,
            levels: LEVELS,
          }),
        ),
      ),
      sampleMismatch(bench, 'TT', {
        ...operating,
        vgs: mcVgs,
        devices: MONTE_CARLO_DEVICES,
        seed: MONTE_CARLO_SEED,
        sigmaVtV,
        sigmaBeta,
      }),
      sweepNoise(bench, 'TT', { ...operating, vgsV: noiseVgs }),
      measureCapacitance(bench, 'TT', { ...operating, vgsV: fullScaleVgsV }),
    ]);
    const vdsIndex = nearestIndex(vds, cell.vdsV);
    const tempIndex = temps.indexOf(REFERENCE_TEMP_K);
    const row = (values: readonly Float64Array[]) =>
      values[tempIndex].subarray(vdsIndex * vgs.count, (vdsIndex + 1) * vgs.count);
    const gm = (v: number) => {
      const { currentA, perGateV } = ekvDerivatives(at, v, cell.vdsV);
      return perGateV / currentA;
    };
    const warm = atTemperature(nominal.fit.coefficients, REFERENCE_TEMP_K + 1);
    const cool = atTemperature(nominal.fit.coefficients, REFERENCE_TEMP_K - 1);
    const heldOut = multiply.map((sweep) =>
      residualOf(multiplyPoints(sweep, cell.vdsV), nominal.fit.coefficients),
    );
    heldOut.forEach((residual, i) => {
      checkLimits(`${options.process}/${options.cell} multiply at ${multiplyTemps[i]} K`, residual);
    });
    const sources = Object.fromEntries(
      [...bench.sources]
        .map((path) => [sourceKey(path), sha256(readTextFile(path, 'calibration source'))] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
    const everyFourth = gridValues(vgs)
      .map((v, i) => ({ v, i }))
      .filter(({ i }) => i % 4 === 0);
    const calibration: Calibration = {
      schema: 'onefet.calibration/1',
      process: options.process,
      cell: options.cell,
      topology: cell.topology,
      driver: 'ideal',
      engine: engineId(),
      sources,
      device: { widthM: cell.widthM, lengthM: cell.lengthM, oxideM: technology.oxideM.value },
      nominal: {
        tempK: REFERENCE_TEMP_K,
        vdsV: cell.vdsV,
        fullScaleA: cell.fullScaleA,
        fullScaleVgsV,
        ladderSlopeFactorN: n,
      },
      validRange: {
        tempK: [temps[0], temps[temps.length - 1]],
        vdsV: [vds.start, gridValue(vds, vds.count - 1)],
        smallestProduct: SMALLEST_PRODUCT,
        largestProduct: LARGEST_PRODUCT,
        offVgsV: [...OFF_RANGE_V],
      },
      model: {
        equation: 'Is [F(vp/Ut) - F((vp-Vds)/Ut)] (1+lambda Vds) + junction + drain edge; src/cell/ekv.ts',
        referenceTempK: REFERENCE_TEMP_K,
        coefficientNames: [...COEFFICIENT_NAMES],
      },
      corners: Object.fromEntries(fitted.map(({ corner, entry }) => [corner, entry])),
      mismatch: {
        avtVm: avtVm.value,
        abetaM: abetaM.value,
        sigmaVtV,
        sigmaBeta,
        sources: { avt: `${avtVm.source} (${avtVm.tag})`, abeta: `${abetaM.source} (${abetaM.tag})` },
        monteCarlo: {
          devices: MONTE_CARLO_DEVICES,
          seed: MONTE_CARLO_SEED,
          ...mismatchStatistics(mismatch, gm, sigmaVtV, sigmaBeta, fullScaleVgsV, slopeV(REFERENCE_TEMP_K)),
        },
      },
      noise: noiseSummary(noise, 2, cell.vdsV, REFERENCE_TEMP_K),
      capacitance,
      gateLeakageA: {
        vgsV: everyFourth.map(({ v }) => v),
        currentA: everyFourth.map(({ i }) => row(nominal.sweep.gateA)[i]),
      },
      temperatureSensitivityPerK:
        Math.log(ekvCurrentA(warm, fullScaleVgsV, cell.vdsV) / ekvCurrentA(cool, fullScaleVgsV, cell.vdsV)) /
        2,
      exponentialRange: [0.01, 0.05, 0.1].map((tolerance) =>
        exponentialRange(gridValues(vgs), row(nominal.sweep.drainA), tolerance, REFERENCE_TEMP_K),
      ),
      multiply: {
        codes: CODES,
        levels: LEVELS,
        tempK: multiplyTemps,
        spice: multiply.map(({ drainA }) => Array.from(drainA, (value) => value / cell.fullScaleA)),
        fit: multiply.map((sweep) =>
          multiplyPoints(sweep, cell.vdsV).map(
            ({ vgsV, vdsV, tempK }) =>
              ekvCurrentA(atTemperature(nominal.fit.coefficients, tempK), vgsV, vdsV) / cell.fullScaleA,
          ),
        ),
        heldOut,
        product: multiply.map(productError),
      },
      plots: {
        transfer: transferPlots(nominal.sweep, nominal.fit.coefficients, nominal.entry, tempIndex),
        residuals: residualPlots(nominal.sweep, nominal.fit.coefficients, nominal.entry, cell.vdsV),
      },
    };
    return calibrationSchema.parse(rounded(calibration));
  } catch (error) {
    if (options.signal?.aborted)
      throw new OnefetError('interrupted', 'INTERRUPTED', 'calibration interrupted');
    throw error;
  } finally {
    if (options.pool === undefined) await pool.close();
  }
}

/** Calibrates and writes calibration/<process>/<cell>.json below the working folder. Returns it and its path. */
export async function calibrateToFile(
  options: CalibrateOptions,
): Promise<{ path: string; calibration: Calibration }> {
  const calibration = await calibrate(options);
  const path = calibrationPath(options.process, options.cell);
  writeFileAtomic(path, `${JSON.stringify(calibration)}\n`);
  return { path, calibration };
}

/** Temperatures and grids of the transfer sweep, from the technology's limits. */
function planSweep(process: Process, cell: CellDescription): { temps: number[]; vgs: Grid; vds: Grid } {
  const { minTempK, maxTempK, supplyV } = process.technology;
  const temps = TEMPS_C.map((c) => c + 273.15).filter(
    (t) => t >= minTempK.value - 1e-6 && t <= maxTempK.value + 1e-6,
  );
  if (temps.length < 4 || !temps.includes(REFERENCE_TEMP_K)) {
    throw new OnefetError(
      'input',
      'TECHNOLOGY_RANGE',
      `${process.path}: ${minTempK.value} to ${maxTempK.value} K holds ${temps.length} of the calibration temperatures; 27 C and three more are needed`,
    );
  }
  const vgs = grid(LOWEST_VGS_V, supplyV.value, STEP_VGS_V);
  const vds = grid(STEP_VDS_V, supplyV.value * HIGHEST_VDS_OF_SUPPLY, STEP_VDS_V);
  const highest = gridValue(vds, vds.count - 1);
  if (vds.count < 4 || cell.vdsV < vds.start || cell.vdsV > highest + 1e-9) {
    throw new OnefetError(
      'input',
      'TECHNOLOGY_RANGE',
      `${process.path}: vdsV ${cell.vdsV} V does not lie between ${vds.start} and ${highest.toFixed(1)} V (${HIGHEST_VDS_OF_SUPPLY} of a supply of ${supplyV.value} V)`,
    );
  }
  return { temps, vgs, vds };
}

function grid(start: number, stop: number, step: number): Grid {
  return { start, step, count: Math.floor((stop - start) / step + 1e-6) + 1 };
}

/** Coefficients keep 12 digits, everything else 6: a stable file and no invented precision. */
function rounded(value: unknown, key = ''): unknown {
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return value;
    return Number(value.toPrecision(key === 'coefficients' ? 12 : key === 'lnRatio' ? 3 : 6));
  }
  if (Array.isArray(value)) return value.map((item) => rounded(item, key));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, rounded(item, name)]));
  }
  return value;
}
