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
import type { CellLaw } from './cell-law.ts';
import { lawRuns, measureCellLaw } from './column/measure-law.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  COEFFICIENT_NAMES,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
  REFERENCE_TEMP_K,
} from './ekv.ts';
import { cachedFitCorner } from './fit/cache.ts';
import {
  checkLimits,
  checkResidual,
  LARGEST_PRODUCT,
  nearestIndex,
  OFF_RANGE_V,
  SMALLEST_PRODUCT,
} from './fit/corner-fit.ts';
import { type CellFit, residualOf } from './fit/fit.ts';
import {
  exponentialRange,
  ladderSlopeFactor,
  mismatchStatistics,
  noiseSummary,
  productError,
} from './fit/measures.ts';
import { multiplyPoints, residualPlots, transferPlots } from './fit/plot-data.ts';
import {
  type Bench,
  DEVICES_PER_NETLIST,
  type Grid,
  gridValue,
  gridValues,
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
import {
  type CellDescription,
  CORNERS,
  type Corner,
  cellOf,
  loadProcess,
  type Process,
} from './technology.ts';
import { calibrateTable, tableRuns } from './topology/calibrate.ts';
import { loadMultiplier } from './topology/topology.ts';

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
/** Products at which the noise is simulated; the one at full scale (1) is what the behavioural model uses. */
const NOISE_PRODUCTS = [0.01, 0.1, 1, 5];
const CODES = 63;
const LEVELS = 7;
const MONTE_CARLO_DEVICES = 1000;
const MONTE_CARLO_SEED = 1;

/** Simulates and fits one cell. Errors: SPICE_*, FIT_RESIDUAL, CELL_UNKNOWN, TECHNOLOGY_*, INTERRUPTED. */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const process = loadProcess(options.process);
  const described = cellOf(process, options.cell);
  const { topology, path: topologyPath } = loadMultiplier(described.topology);
  // The transistor is characterised with the decks of an exponentiator, at its share of the full-scale current.
  const cell = {
    ...described,
    topology: topology.kind === 'multiplier' ? topology.transistor : described.topology,
    fullScaleA: described.fullScaleA / topology.area.fingersOfTopTap,
  };
  const plan = planSweep(process, cell);
  const pool =
    options.pool ??
    createSpicePool({
      threads: options.threads ?? 2,
      ...(options.cacheFolder === null ? {} : { cacheFolder: options.cacheFolder ?? DEFAULT_CACHE_FOLDER }),
    });
  const total =
    2 * plan.corners.length +
    plan.multiplyTemps.length +
    Math.ceil(MONTE_CARLO_DEVICES / DEVICES_PER_NETLIST) +
    2 +
    lawRuns([plan.temps[0], plan.temps[plan.temps.length - 1]]) +
    (topology.kind === 'multiplier' ? tableRuns(plan.corners.length, 7) : 0);
  let done = 0;
  const bench: Bench = {
    process,
    cellName: options.cell,
    cell,
    pool,
    signal: options.signal,
    sources: new Set([process.path, topologyPath]),
    onRun: (label) => options.onProgress?.({ done: ++done, total, label }),
  };
  try {
    const corners = await fitCorners(bench, plan);
    const measured = await measureNominal(bench, plan, corners[0]);
    const fitted = rounded(assemble(bench, plan, corners, measured)) as Calibration;
    const law = rounded(await measureCellLaw({ ...bench, cal: fitted })) as CellLaw;
    const calibration: Calibration = { ...fitted, sources: hashSources(bench.sources), law };
    if (topology.kind === 'exponentiator') return calibrationSchema.parse(calibration);
    const { path: transistorPath } = loadMultiplier(topology.transistor);
    bench.sources.add(transistorPath);
    const product = await calibrateTable({ ...bench, cell: described }, topology, plan.corners);
    return calibrationSchema.parse({
      ...calibration,
      topology: described.topology,
      driver: topology.driver,
      sources: hashSources(bench.sources),
      product: rounded(product),
    });
  } catch (error) {
    if (options.signal?.aborted) {
      throw new OnefetError('interrupted', 'INTERRUPTED', 'calibration interrupted', { cause: error });
    }
    throw error;
  } finally {
    if (options.pool === undefined) await pool.close();
  }
}

interface Plan {
  readonly corners: readonly Corner[];
  readonly temps: readonly number[];
  readonly multiplyTemps: readonly number[];
  readonly vgs: Grid;
  readonly vds: Grid;
}

interface FittedCorner {
  readonly corner: Corner;
  readonly sweep: TransferSweep;
  readonly fit: CellFit;
  readonly entry: CornerCalibration;
}

/** Transfer sweep and fit of every corner, TT first; the other fits start from it. */
async function fitCorners(bench: Bench, plan: Plan): Promise<FittedCorner[]> {
  const { cell } = bench;
  const sweeps = await Promise.all(
    plan.corners.map((corner) => sweepTransfer(bench, corner, plan.temps, plan.vgs, plan.vds)),
  );
  const fitted: FittedCorner[] = [];
  for (const [i, corner] of plan.corners.entries()) {
    bench.signal?.throwIfAborted();
    const label = `${bench.process.technology.name}/${bench.cellName} fit ${corner}`;
    const { fit, entry } = cachedFitCorner(
      bench.pool.cacheFolder,
      sweeps[i],
      cell.fullScaleA,
      cell.vdsV,
      fitted[0]?.fit.coefficients,
    );
    checkResidual(label, entry);
    fitted.push({ corner, sweep: sweeps[i], fit, entry });
    bench.onRun(label);
    // The fit holds the thread for a second: let an abort and the progress through.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return fitted;
}

interface NominalMeasurements {
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
async function measureNominal(bench: Bench, plan: Plan, nominal: FittedCorner): Promise<NominalMeasurements> {
  const { cell } = bench;
  const { avtVm, abetaM } = bench.process.technology.mismatch;
  const { coefficients } = nominal.fit;
  const fullScaleAt = (tempK: number) => {
    const k = plan.temps.indexOf(tempK);
    const { lowV, highV } = nominal.entry.gate;
    return ekvGateVoltageV(atTemperature(coefficients, tempK), cell.fullScaleA, cell.vdsV, lowV[k], highV[k]);
  };
  const fullScaleVgsV = fullScaleAt(REFERENCE_TEMP_K);
  const at = atTemperature(coefficients, REFERENCE_TEMP_K);
  const n = ladderSlopeFactor((v) => ekvCurrentA(at, v, cell.vdsV), fullScaleVgsV, CODES, LEVELS);
  const slopeAt = (tempK: number) => n * BOLTZMANN_OVER_CHARGE * tempK;
  const rootArea = Math.sqrt(cell.widthM * cell.lengthM);
  const sigmaVtV = avtVm.value / rootArea;
  const sigmaBeta = abetaM.value / rootArea;
  const spanV = slopeAt(REFERENCE_TEMP_K) * Math.log(CODES * LEVELS);
  const operating = { tempK: REFERENCE_TEMP_K, vdsV: cell.vdsV };
  const [multiply, mismatch, noise, capacitance] = await Promise.all([
    Promise.all(
      plan.multiplyTemps.map((tempK) =>
        sweepMultiply(bench, 'TT', {
          tempK,
          vdsV: cell.vdsV,
          fullScaleVgsV: fullScaleAt(tempK),
          ladderSlopeV: slopeAt(tempK),
          codes: CODES,
          levels: LEVELS,
        }),
      ),
    ),
    sampleMismatch(bench, 'TT', {
      ...operating,
      vgs: { start: fullScaleVgsV - spanV, step: spanV / 6, count: 7 },
      devices: MONTE_CARLO_DEVICES,
      seed: MONTE_CARLO_SEED,
      sigmaVtV,
      sigmaBeta,
    }),
    sweepNoise(bench, 'TT', {
      ...operating,
      vgsV: NOISE_PRODUCTS.map((product) => fullScaleVgsV + slopeAt(REFERENCE_TEMP_K) * Math.log(product)),
    }),
    measureCapacitance(bench, 'TT', { ...operating, vgsV: fullScaleVgsV }),
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

/** The calibration file's contents, before rounding. */
function assemble(
  bench: Bench,
  plan: Plan,
  corners: readonly FittedCorner[],
  measured: NominalMeasurements,
): Calibration {
  const { process, cell, cellName } = bench;
  const { technology } = process;
  const { temps, vgs, vds } = plan;
  const { fullScaleVgsV, ladderSlopeFactorN, sigmaVtV, sigmaBeta, multiply } = measured;
  const [nominal] = corners;
  const { coefficients } = nominal.fit;
  const at = (tempK: number) => atTemperature(coefficients, tempK);
  const currentA = (tempK: number, vgsV: number) => ekvCurrentA(at(tempK), vgsV, cell.vdsV);
  const gmOverIPerV = (vgsV: number) => {
    const derivatives = ekvDerivatives(at(REFERENCE_TEMP_K), vgsV, cell.vdsV);
    return derivatives.perGateV / derivatives.currentA;
  };
  const tempIndex = temps.indexOf(REFERENCE_TEMP_K);
  const rowStart = nearestIndex(vds, cell.vdsV) * vgs.count;
  const nominalRow = (values: readonly Float64Array[]) =>
    values[tempIndex].subarray(rowStart, rowStart + vgs.count);
  const everyFourth = <T>(values: Iterable<T>) => [...values].filter((_, i) => i % 4 === 0);
  const heldOut = multiply.map((sweep) => residualOf(multiplyPoints(sweep, cell.vdsV), coefficients));
  heldOut.forEach((residual, i) => {
    checkLimits(`${technology.name}/${cellName} multiply at ${multiply[i].tempK} K`, residual);
  });
  const { avtVm, abetaM } = technology.mismatch;
  const statistics = mismatchStatistics(
    measured.mismatch,
    gmOverIPerV,
    sigmaVtV,
    sigmaBeta,
    fullScaleVgsV,
    ladderSlopeFactorN * BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K,
  );
  // Full scale is the last gate voltage of the sample.
  const last = statistics.vgsV.length - 1;
  return {
    schema: 'onefet.calibration/1',
    process: technology.name,
    cell: cellName,
    topology: cell.topology,
    driver: 'ideal',
    engine: engineId(),
    sources: hashSources(bench.sources),
    device: { widthM: cell.widthM, lengthM: cell.lengthM, oxideM: technology.oxideM.value },
    nominal: {
      tempK: REFERENCE_TEMP_K,
      vdsV: cell.vdsV,
      fullScaleA: cell.fullScaleA,
      fullScaleVgsV,
      ladderSlopeFactorN,
    },
    validRange: {
      tempK: [temps[0], temps[temps.length - 1]],
      vdsV: [vds.start, gridValue(vds, vds.count - 1)],
      smallestProduct: SMALLEST_PRODUCT,
      largestProduct: LARGEST_PRODUCT,
      offVgsV: [...OFF_RANGE_V],
    },
    model: {
      equation:
        'Is [F(vp/Ut) - F((vp - s Vds)/Ut)] (1 + lambda Vds) + junction + drain edge; src/cell/ekv.ts',
      referenceTempK: REFERENCE_TEMP_K,
      coefficientNames: [...COEFFICIENT_NAMES],
    },
    corners: Object.fromEntries(corners.map(({ corner, entry }) => [corner, entry])),
    mismatch: {
      avtVm: avtVm.value,
      abetaM: abetaM.value,
      sigmaVtV,
      sigmaBeta,
      thresholdGain: statistics.thresholdSlopePerV[last] / statistics.gmOverIPerV[last],
      sources: { avt: `${avtVm.source} (${avtVm.tag})`, abeta: `${abetaM.source} (${abetaM.tag})` },
      monteCarlo: {
        devices: MONTE_CARLO_DEVICES,
        seed: MONTE_CARLO_SEED,
        ...statistics,
      },
    },
    noise: noiseSummary(measured.noise, NOISE_PRODUCTS.indexOf(1), cell.vdsV, REFERENCE_TEMP_K),
    capacitance: measured.capacitance,
    gateLeakageA: {
      vgsV: everyFourth(gridValues(vgs)),
      currentA: everyFourth(nominalRow(nominal.sweep.gateA)),
    },
    temperatureSensitivityPerK:
      Math.log(
        currentA(REFERENCE_TEMP_K + 1, fullScaleVgsV) / currentA(REFERENCE_TEMP_K - 1, fullScaleVgsV),
      ) / 2,
    exponentialRange: [0.01, 0.05, 0.1].map((tolerance) =>
      exponentialRange(gridValues(vgs), nominalRow(nominal.sweep.drainA), tolerance, REFERENCE_TEMP_K),
    ),
    multiply: {
      codes: CODES,
      levels: LEVELS,
      tempK: multiply.map(({ tempK }) => tempK),
      spice: multiply.map(({ drainA }) => Array.from(drainA, (value) => value / cell.fullScaleA)),
      fit: multiply.map((sweep) =>
        multiplyPoints(sweep, cell.vdsV).map(({ vgsV }) => currentA(sweep.tempK, vgsV) / cell.fullScaleA),
      ),
      heldOut,
      product: multiply.map(productError),
    },
    plots: {
      transfer: transferPlots(nominal.sweep, coefficients, nominal.entry, tempIndex),
      residuals: residualPlots(nominal.sweep, coefficients, nominal.entry, cell.vdsV),
    },
  };
}

/** Path below the working folder or the package -> SHA-256, sorted. */
function hashSources(paths: Iterable<string>): Record<string, string> {
  return Object.fromEntries(
    [...paths]
      .map((path) => [sourceKey(path), sha256(readTextFile(path, 'calibration source'))] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
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
function planSweep(process: Process, cell: CellDescription): Plan {
  const { models, minTempK, maxTempK, supplyV } = process.technology;
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
  return {
    corners: CORNERS.filter((corner) => models.corners[corner] !== undefined),
    temps,
    multiplyTemps: [temps[0], REFERENCE_TEMP_K, temps[temps.length - 1]],
    vgs,
    vds,
  };
}

function grid(start: number, stop: number, step: number): Grid {
  return { start, step, count: Math.floor((stop - start) / step + 1e-6) + 1 };
}

/** Coefficients keep 12 digits, everything else 6: a stable file and no invented precision. */
export function rounded(value: unknown, key = ''): unknown {
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
