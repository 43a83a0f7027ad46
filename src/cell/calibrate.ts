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
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  COEFFICIENT_NAMES,
  ekvCurrentA,
  ekvDerivatives,
  ekvGateVoltageV,
  REFERENCE_TEMP_K,
} from './ekv.ts';
import { type CellFit, type CellPoint, fitCell, type Residual, residualOf } from './fit.ts';
import {
  exponentialRange,
  ladderSlopeFactor,
  mismatchStatistics,
  noiseSummary,
  productError,
} from './measures.ts';
import {
  type Bench,
  type Grid,
  gridValue,
  gridValues,
  type MultiplySweep,
  measureCapacitance,
  sampleMismatch,
  sweepMultiply,
  sweepNoise,
  sweepTransfer,
  type TransferSweep,
} from './sweeps.ts';
import { CORNERS, type Corner, cellOf, loadProcess, SMALLEST_OFF_A } from './technology.ts';

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
/** Of these the fit never sees: the residual there is the error of the temperature law. */
const HELD_OUT_TEMPS_C = [-20, 50, 95, 115];
const STEP_VGS_V = 0.005;
const LOWEST_VGS_V = -0.4;
const STEP_VDS_V = 0.1;
/** Drain voltages up to this share of the supply: the rest is headroom of the clamp. */
const HIGHEST_VDS_OF_SUPPLY = 0.75;
/** Ideal products that the gate range covers: a 10-bit code times the lowest of seven taps, to eight times full scale. */
const SMALLEST_PRODUCT = 1 / (1023 * 7 * 1.05);
const LARGEST_PRODUCT = 8;
const OFF_RANGE_V = [-0.3, 0.1] as const;
/** Accepted deviation of ln I inside the valid range. */
const MAX_RMS = 0.01;
const MAX_DEVIATION = 0.03;
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
  const temps = TEMPS_C.map((c) => c + 273.15).filter(
    (t) => t >= technology.minTempK.value - 1e-6 && t <= technology.maxTempK.value + 1e-6,
  );
  const vgs: Grid = grid(LOWEST_VGS_V, technology.supplyV.value, STEP_VGS_V);
  const vds: Grid = grid(STEP_VDS_V, technology.supplyV.value * HIGHEST_VDS_OF_SUPPLY, STEP_VDS_V);
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
    const heldOut = multiply.map((sweep) => multiplyResidual(sweep, nominal.fit.coefficients, cell.vdsV));
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
        heldOut,
        product: multiply.map(productError),
      },
      plots: { transfer: transferPlots(nominal.sweep, nominal.fit.coefficients, nominal.entry, tempIndex) },
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

function grid(start: number, stop: number, step: number): Grid {
  return { start, step, count: Math.floor((stop - start) / step + 1e-6) + 1 };
}

function nearestIndex(axis: Grid, value: number): number {
  return Math.min(axis.count - 1, Math.max(0, Math.round((value - axis.start) / axis.step)));
}

/** Drain voltages that the fit never sees: every second of the grid, neither its ends nor the nominal one. */
function isHeldOutVds(vds: Grid, j: number, nominalVdsV: number): boolean {
  return j > 0 && j < vds.count - 1 && j % 2 === 0 && j !== nearestIndex(vds, nominalVdsV);
}

function fitCorner(
  sweep: TransferSweep,
  fullScaleA: number,
  nominalVdsV: number,
  start: readonly number[] | undefined,
): { fit: CellFit; entry: CornerCalibration } {
  const { tempK, vgs, vds } = sweep;
  const gate = gateBounds(sweep, fullScaleA, nominalVdsV);
  const fitPoints: CellPoint[] = [];
  const vdsPoints: CellPoint[] = [];
  const tempPoints: CellPoint[] = [];
  tempK.forEach((t, k) => {
    const heldOutTemp = HELD_OUT_TEMPS_C.some((c) => Math.abs(c + 273.15 - t) < 1e-6);
    for (let j = 0; j < vds.count; j++) {
      const points = heldOutTemp ? tempPoints : isHeldOutVds(vds, j, nominalVdsV) ? vdsPoints : fitPoints;
      // Every second gate voltage: neighbours of 5 mV carry the same information.
      for (let i = 0; i < vgs.count; i += 2) {
        const vgsV = gridValue(vgs, i);
        if (vgsV < gate.lowV[k] || vgsV > gate.highV[k]) continue;
        points.push({
          vgsV,
          vdsV: gridValue(vds, j),
          tempK: t,
          currentA: sweep.drainA[k][j * vgs.count + i],
        });
      }
    }
  });
  const fit = fitCell(fitPoints, start);
  const offIndex = gridValues(vgs)
    .map((v, i) => ({ v, i }))
    .filter(({ v, i }) => i % 4 === 0 && v >= OFF_RANGE_V[0] - 1e-9 && v <= OFF_RANGE_V[1] + 1e-9);
  return {
    fit,
    entry: {
      coefficients: fit.coefficients,
      covariance: fit.covariance.flatMap((row, i) => row.slice(i)),
      fit: fit.residual,
      heldOutVds: residualOf(vdsPoints, fit.coefficients),
      heldOutTemp: residualOf(tempPoints, fit.coefficients),
      gate,
      off: {
        tempK: [...tempK],
        vdsV: gridValues(vds),
        vgsV: offIndex.map(({ v }) => v),
        lnCurrent: tempK.flatMap((_, k) =>
          gridValues(vds).flatMap((_v, j) =>
            offIndex.map(({ i }) => Math.log(Math.max(sweep.drainA[k][j * vgs.count + i], SMALLEST_OFF_A))),
          ),
        ),
      },
    },
  };
}

/**
 * Gate voltages of the calibrated range at each temperature: from full scale down and up by n Ut ln(product), n from
 * the steepest part of the curve, inside what was swept.
 */
function gateBounds(
  sweep: TransferSweep,
  fullScaleA: number,
  nominalVdsV: number,
): CornerCalibration['gate'] {
  const { vgs, vds, tempK } = sweep;
  const offset = nearestIndex(vds, nominalVdsV) * vgs.count;
  const lowV: number[] = [];
  const highV: number[] = [];
  tempK.forEach((t, k) => {
    const ln = (i: number) => Math.log(sweep.drainA[k][offset + i]);
    let above = vgs.count - 1;
    while (above > 0 && sweep.drainA[k][offset + above - 1] > fullScaleA) above--;
    if (above === 0 || sweep.drainA[k][offset + above] < fullScaleA) {
      throw new OnefetError(
        'simulation',
        'FULL_SCALE_UNREACHED',
        `the cell does not carry ${fullScaleA} A between Vgs ${vgs.start} and ${gridValue(vgs, vgs.count - 1)} V at ${t} K`,
        {
          hint: 'change fullScaleA, widthM or lengthM of the cell in technology.yaml',
        },
      );
    }
    const fraction = (Math.log(fullScaleA) - ln(above - 1)) / (ln(above) - ln(above - 1));
    const fullScaleVgsV = gridValue(vgs, above - 1) + fraction * vgs.step;
    let steepest = 0;
    for (let i = 1; i <= above; i++) steepest = Math.max(steepest, (ln(i) - ln(i - 1)) / vgs.step);
    lowV.push(Math.max(vgs.start, fullScaleVgsV + Math.log(SMALLEST_PRODUCT) / steepest));
    highV.push(Math.min(gridValue(vgs, vgs.count - 1), fullScaleVgsV + Math.log(LARGEST_PRODUCT) / steepest));
  });
  return { tempK: [...tempK], lowV, highV };
}

function checkResidual(name: string, entry: CornerCalibration): void {
  checkLimits(`${name} fit`, entry.fit);
  checkLimits(`${name} held-out Vds`, entry.heldOutVds);
  checkLimits(`${name} held-out temperature`, entry.heldOutTemp);
}

function checkLimits(name: string, { rms, max }: Residual): void {
  if (rms <= MAX_RMS && max <= MAX_DEVIATION) return;
  throw new OnefetError(
    'simulation',
    'FIT_RESIDUAL',
    `${name}: the cell equation deviates by ${(100 * rms).toFixed(2)} % RMS, ${(100 * max).toFixed(2)} % at most (limits ${100 * MAX_RMS} and ${100 * MAX_DEVIATION} %)`,
    { hint: 'lower fullScaleA so that the cell stays in weak inversion, or reduce its leakage' },
  );
}

/** Fit against the netlist that forms the product itself, in ln I. */
function multiplyResidual(sweep: MultiplySweep, coefficients: readonly number[], vdsV: number): Residual {
  const points: CellPoint[] = [];
  for (let level = 1; level <= sweep.levels; level++) {
    for (let code = 1; code <= sweep.codes; code++) {
      points.push({
        vgsV:
          sweep.fullScaleVgsV + sweep.ladderSlopeV * Math.log((code * level) / (sweep.codes * sweep.levels)),
        vdsV,
        tempK: sweep.tempK,
        currentA: sweep.drainA[(level - 1) * sweep.codes + code - 1],
      });
    }
  }
  return residualOf(points, coefficients);
}

function transferPlots(
  sweep: TransferSweep,
  coefficients: readonly number[],
  entry: CornerCalibration,
  tempIndex: number,
): Calibration['plots']['transfer'] {
  const { vgs, vds, tempK } = sweep;
  const at = atTemperature(coefficients, tempK[tempIndex]);
  const every = gridValues(vgs)
    .map((v, i) => ({ v, i }))
    .filter(({ i }) => i % 2 === 0);
  const inside = every.filter(({ v }) => v >= entry.gate.lowV[tempIndex] && v <= entry.gate.highV[tempIndex]);
  return gridValues(vds).map((vdsV, j) => ({
    vdsV,
    vgsV: every.map(({ v }) => v),
    spiceA: every.map(({ i }) => sweep.drainA[tempIndex][j * vgs.count + i]),
    fitVgsV: inside.map(({ v }) => v),
    fitA: inside.map(({ v }) => ekvCurrentA(at, v, vdsV)),
  }));
}

/** Coefficients keep 12 digits, everything else 6: a stable file and no invented precision. */
function rounded(value: unknown, key = ''): unknown {
  if (typeof value === 'number') {
    return Number.isInteger(value) ? value : Number(value.toPrecision(key === 'coefficients' ? 12 : 6));
  }
  if (Array.isArray(value)) return value.map((item) => rounded(item, key));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, rounded(item, name)]));
  }
  return value;
}
