/**
 * Every cell of a process side by side: accuracy where it is designed, accuracy over corners, temperature and supply,
 * what a replica and a PTAT ladder are worth, area, static power, drift. All errors are simulated products of 63 codes
 * and all taps against the ideal product, one common gain removed; gains are the change of that common gain.
 */
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { findDataFile, listDataFolder, readTextFile, writeFileAtomic } from '../files.ts';
import { DEFAULT_CACHE_FOLDER } from '../spice/cache.ts';
import { createSpicePool, type SpicePool } from '../spice/pool.ts';
import { calibrateToFile } from './calibrate.ts';
import type { Calibration } from './calibration.ts';
import { BOLTZMANN_OVER_CHARGE, REFERENCE_TEMP_K } from './ekv.ts';
import type { Bench } from './sweeps.ts';
import { CORNERS, type Corner, cellOf, loadProcess, type Process } from './technology.ts';
import { type BlockCalibration, blockPath, calibrateBlockToFile } from './topology/blocks.ts';
import { ladderMismatchError } from './topology/calibrate.ts';
import {
  codeMagnitudes,
  findBias,
  productErrorOf,
  type RowCondition,
  sweepRow,
  tuneDrive,
} from './topology/sweep.ts';
import { loadMultiplier, type MultiplierTopology, parameterValues } from './topology/topology.ts';

const CODES = 63;
const TAPS = 7;
const WORST_TEMPS_C = [-40, 27, 85, 125];
const SUPPLY_SHARES = [0.9, 1, 1.1];
const MODE_TEMPS_C = [-40, 0, 27, 60, 85, 125];
const LADDER_SIGMAS = [0.01, 0.03];
const LADDER_DRAWS = 16;

export interface ErrorAt {
  readonly corner: Corner;
  readonly tempK: number;
  readonly supplyV: number;
  readonly rms: number;
  readonly max: number;
  /** ln of the common gain over that of TT, 27 C, nominal supply, at the bias of the mode. */
  readonly lnGain: number;
}

/** Bias found by a replica at each condition, or kept at that of TT, 27 C; converter and ladder PTAT, or kept. */
export type Mode = 'replica+ptat' | 'fixed+ptat' | 'replica+fixed' | 'fixed+fixed';

export interface CellComparison {
  readonly cell: string;
  readonly topology: string;
  readonly driver: 'ideal' | 'transistor';
  readonly widthM: number;
  readonly lengthM: number;
  readonly fullScaleA: number;
  readonly dacSlopeFactor: number;
  readonly ladderSlopeFactor: number;
  /** TT, 27 C, nominal supply. */
  readonly nominal: { readonly rms: number; readonly max: number };
  /** Largest over all corners at 27 C; over all corners, temperatures and supplies, replica and PTAT. */
  readonly corners: ErrorAt;
  readonly worst: ErrorAt;
  readonly worstBelow85C: ErrorAt;
  /** TT, nominal supply. */
  readonly modes: Readonly<Partial<Record<Mode, readonly ErrorAt[]>>>;
  /** Decades within 5 % of an exponential (EKV cells: of the transistor). */
  readonly exponentialDecades: number;
  /** Per weight: device, tracks, resistors, wells; undefined without a cost.yaml of the process. */
  readonly areaM2: number | undefined;
  /** Sigma of ln I of one cell at full scale from mismatch. */
  readonly lnSigma: number;
  /** Mean static power of one weight at uniformly distributed codes, W: cell current and resistors. */
  readonly cellPowerW: number;
  /** Static power of one row's driver, W; undefined where the driver is an ideal source. */
  readonly rowPowerW: number | undefined;
  /** Largest change of the common gain at fixed bias, TT: ln over the temperatures, and for +-10 % supply. */
  readonly gainDriftFixed: number;
  readonly gainDriftReplica: number;
  readonly supplyGain: number;
  /** Sigma of one row's ln gain from the driver's offset, without and with auto-zero; undefined for ideal sources. */
  readonly rowOffsetLnSigma: { readonly plain: number; readonly autoZero: number } | undefined;
  /** Mean error with random ladder steps of this relative sigma; empty without a ladder of resistors or taps. */
  readonly ladderMismatch: readonly { readonly sigma: number; readonly rms: number; readonly max: number }[];
  /** Interpolation error of the table, or held-out error of the fitted equation: ln I. */
  readonly interpolation: { readonly rms: number; readonly max: number };
}

export interface Comparison {
  readonly schema: 'onefet.comparison/1';
  readonly process: string;
  readonly codes: number;
  readonly taps: number;
  readonly supplyV: number;
  readonly cells: readonly CellComparison[];
  readonly blocks: readonly BlockCalibration[];
}

const layoutSchema = z.looseObject({
  layout: z.looseObject({
    metalPitchM: z.looseObject({ value: z.number().positive() }),
    deviceSideM: z.looseObject({ value: z.number().min(0) }),
    deviceEndM: z.looseObject({ value: z.number().min(0) }),
  }),
});

/**
 * Area of one weight: the larger of the devices (each W and L with the layout's spacings) and its wires
 * (horizontal tracks times vertical tracks at the metal pitch), plus resistors of 4 squares at minimum pitch and the
 * spacing of isolated wells (20 pitches around a device). The last two are assumed.
 */
function cellAreaM2(process: Process, topology: MultiplierTopology, cell: CellSize): number | undefined {
  const path = findDataFile(join('spice', process.technology.name, 'cost.yaml'));
  if (path === undefined) return undefined;
  const { layout } = layoutSchema.parse(parse(readTextFile(path, 'cost constants')));
  const pitch = layout.metalPitchM.value;
  const { fingersOfTopTap, horizontalTracks, verticalTracks, resistors, isolatedWells } = topology.area;
  const device =
    fingersOfTopTap * (cell.widthM + layout.deviceSideM.value) * (cell.lengthM + layout.deviceEndM.value);
  const wires = (horizontalTracks === 'taps' ? TAPS : horizontalTracks) * verticalTracks * pitch ** 2;
  return Math.max(device, wires) + resistors * 4 * pitch ** 2 + isolatedWells * (20 * pitch) ** 2;
}

interface CellSize {
  readonly widthM: number;
  readonly lengthM: number;
}

/** Simulates one calibrated cell's row of the comparison. */
export async function compareCell(
  process: Process,
  cellName: string,
  calibration: Calibration,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<CellComparison> {
  const cell = cellOf(process, cellName);
  const { topology } = loadMultiplier(cell.topology);
  const bench: Bench = { process, cellName, cell, pool, signal, sources: new Set(), onRun: () => {} };
  const { technology } = process;
  const nominalV = technology.supplyV.value;
  const ratio = cell.vdsV / nominalV;
  const at = (corner: Corner, tempK: number, supplyV: number): RowCondition => ({
    corner,
    tempK,
    supplyV,
    vdsV: ratio * supplyV,
    taps: TAPS,
  });
  const nominal = at('TT', REFERENCE_TEMP_K, nominalV);
  const drive = await tuneDrive(bench, topology, nominal, CODES);
  const magnitudes = codeMagnitudes(CODES);
  const product = async (condition: RowCondition, mode: Mode) => {
    const ladder = mode.endsWith('ptat') ? {} : { ladderTempK: REFERENCE_TEMP_K };
    const slopes = {
      dacSlopeFactor: drive.dacSlopeFactor,
      ladderSlopeFactor: drive.ladderSlopeFactor,
      ...ladder,
    };
    const bias = mode.startsWith('replica') ? await findBias(bench, topology, condition, slopes) : drive.bias;
    const run = await sweepRow(
      bench,
      topology,
      condition,
      { ...slopes, bias },
      { kind: 'codes', codes: CODES },
    );
    return { ...productErrorOf(run.currentA, magnitudes), supplyA: run.supplyA };
  };
  const reference = await product(nominal, 'fixed+ptat');
  const errorAt = async (condition: RowCondition, mode: Mode): Promise<ErrorAt> => {
    const { rms, max, gainA } = await product(condition, mode);
    const { corner, tempK, supplyV } = condition;
    return { corner, tempK, supplyV, rms, max, lnGain: Math.log(gainA / reference.gainA) };
  };
  const kelvin = (temps: readonly number[]) =>
    temps
      .map((c) => c + 273.15)
      .filter((t) => t >= technology.minTempK.value - 1e-6 && t <= technology.maxTempK.value + 1e-6);
  const corners = CORNERS.filter((corner) => technology.models.corners[corner] !== undefined);
  const grid = await Promise.all(
    corners.flatMap((corner) =>
      kelvin(WORST_TEMPS_C).flatMap((t) =>
        SUPPLY_SHARES.map((share) => errorAt(at(corner, t, share * nominalV), 'replica+ptat')),
      ),
    ),
  );
  signal?.throwIfAborted();
  const worstOf = (list: readonly ErrorAt[]) => list.reduce((a, b) => (b.rms > a.rms ? b : a));
  // A transistor driver makes its own PTAT current: there is no fixed ladder to compare with.
  const modes: Mode[] =
    topology.driver === 'ideal'
      ? ['replica+ptat', 'fixed+ptat', 'replica+fixed', 'fixed+fixed']
      : ['replica+ptat', 'fixed+ptat'];
  const byMode = Object.fromEntries(
    await Promise.all(
      modes.map(
        async (mode) =>
          [
            mode,
            await Promise.all(kelvin(MODE_TEMPS_C).map((t) => errorAt(at('TT', t, nominalV), mode))),
          ] as const,
      ),
    ),
  );
  const supply = await Promise.all(
    [0.9, 1.1].map((share) => errorAt(at('TT', REFERENCE_TEMP_K, share * nominalV), 'fixed+ptat')),
  );
  const drift = (mode: Mode) => Math.max(...byMode[mode].map(({ lnGain }: ErrorAt) => Math.abs(lnGain)));
  const tapLadder = topology.ladder !== 'none';
  const ladderMismatch = tapLadder
    ? await Promise.all(
        LADDER_SIGMAS.map(async (sigma) => ({
          sigma,
          ...(await ladderMismatchError(bench, topology, nominal, drive, sigma, LADDER_DRAWS)),
        })),
      )
    : [];
  const { monteCarlo, sigmaVtV, sigmaBeta } = calibration.mismatch;
  const slope = monteCarlo.thresholdSlopePerV[monteCarlo.thresholdSlopePerV.length - 1];
  const table = calibration.product;
  const interpolation =
    table === undefined
      ? calibration.multiply.heldOut.reduce((a, b) => (b.max > a.max ? b : a))
      : {
          rms: Math.max(table.heldOut.temp.rms, table.heldOut.supply.rms, table.heldOut.codes.rms),
          max: Math.max(table.heldOut.temp.max, table.heldOut.supply.max, table.heldOut.codes.max),
        };
  return {
    cell: cellName,
    topology: cell.topology,
    driver: topology.driver,
    widthM: cell.widthM,
    lengthM: cell.lengthM,
    fullScaleA: cell.fullScaleA,
    dacSlopeFactor: drive.dacSlopeFactor,
    ladderSlopeFactor: drive.ladderSlopeFactor,
    nominal: { rms: reference.rms, max: reference.max },
    corners: worstOf(grid.filter((e) => e.tempK === REFERENCE_TEMP_K && e.supplyV === nominalV)),
    worst: worstOf(grid),
    worstBelow85C: worstOf(grid.filter((e) => e.tempK < 359)),
    modes: byMode,
    exponentialDecades: calibration.exponentialRange[1].decades,
    areaM2: cellAreaM2(process, topology, cell),
    lnSigma: Math.hypot(slope * sigmaVtV, sigmaBeta) / Math.sqrt(topology.area.fingersOfTopTap),
    cellPowerW: cellPowerW(topology, cell.fullScaleA, nominalV, drive),
    rowPowerW:
      topology.driver === 'transistor'
        ? reference.supplyA[reference.supplyA.length - 1] * nominalV
        : undefined,
    gainDriftFixed: drift('fixed+ptat'),
    gainDriftReplica: drift('replica+ptat'),
    supplyGain: Math.max(...supply.map(({ lnGain }) => Math.abs(lnGain))),
    rowOffsetLnSigma: await rowOffset(bench, topology, nominal, drive),
    ladderMismatch,
    interpolation: { rms: interpolation.rms, max: interpolation.max },
  };
}

/** Cell current at the mean product (codes and taps uniform) times the supply, and what averaging resistors burn. */
function cellPowerW(
  topology: MultiplierTopology,
  fullScaleA: number,
  supplyV: number,
  drive: { dacSlopeFactor: number; ladderSlopeFactor: number },
): number {
  let product = 0;
  let squared = 0;
  const ut = BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K;
  for (let k = 1; k <= CODES; k++) {
    for (let m = 1; m <= TAPS; m++) {
      product += (k * m) / (CODES * TAPS);
      squared +=
        (ut * (drive.dacSlopeFactor * Math.log(k / CODES) - drive.ladderSlopeFactor * Math.log(m / TAPS))) **
        2;
    }
  }
  const count = CODES * TAPS;
  const parameters = parameterValues(topology);
  const resistive =
    topology.area.resistors === 2 && parameters.resistor_ohm !== undefined
      ? squared / count / (2 * parameters.resistor_ohm)
      : 0;
  return (product / count) * fullScaleA * supplyV + resistive;
}

/** Sigma of ln gain of a row from its driver's offset: slope in SPICE times the mismatch of the transistor named. */
async function rowOffset(
  bench: Bench,
  topology: MultiplierTopology,
  condition: RowCondition,
  drive: { bias: number; dacSlopeFactor: number; ladderSlopeFactor: number },
): Promise<CellComparison['rowOffsetLnSigma']> {
  const { offset } = topology;
  if (offset === undefined) return undefined;
  const values = parameterValues(topology, bench.cell.parameters);
  const step = 1e-3;
  const [up, down] = await Promise.all(
    [step, -step].map(async (shift) => {
      const run = await sweepRow(
        bench,
        topology,
        condition,
        { ...drive, parameters: { [offset.parameter]: values[offset.parameter] + shift } },
        { kind: 'codes', codes: CODES },
      );
      return productErrorOf(run.currentA, codeMagnitudes(CODES)).gainA;
    }),
  );
  const slopePerV = Math.log(up / down) / (2 * step);
  const area = values[offset.widthParameter] * values[offset.lengthParameter];
  const sigmaV = bench.process.technology.mismatch.avtVm.value / Math.sqrt(area);
  return { plain: slopePerV * sigmaV, autoZero: slopePerV * offset.autoZeroResidueV };
}

export interface CalibrateAllOptions {
  /** One process, or every folder below spice/ that has a technology.yaml. */
  readonly process?: string;
  readonly threads?: number;
  readonly cacheFolder?: string | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: number; total: number; label: string }) => void;
}

export interface CalibrateAllResult {
  readonly comparisons: readonly Comparison[];
  /** Every file written: calibrations, blocks, comparison.json. */
  readonly paths: readonly string[];
}

/**
 * Calibrates every cell and block of one or all processes, compares them, and writes
 * calibration/<process>/{<cell>,<block>,comparison}.json below the working folder; report/comparison.ts makes the pages.
 * Errors: as `calibrate`; the first one ends it (finished simulations stay in the cache, so a second run continues).
 */
export async function calibrateAll(options: CalibrateAllOptions = {}): Promise<CalibrateAllResult> {
  const names = options.process === undefined ? processNames() : [options.process];
  const processes = names.map(loadProcess);
  const pool = createSpicePool({
    threads: options.threads ?? 2,
    ...(options.cacheFolder === null ? {} : { cacheFolder: options.cacheFolder ?? DEFAULT_CACHE_FOLDER }),
  });
  const steps = processes.reduce(
    (sum, { technology }) =>
      sum + 2 * Object.keys(technology.cells).length + Object.keys(technology.blocks ?? {}).length,
    0,
  );
  let done = 0;
  const report = (label: string) => options.onProgress?.({ done: ++done, total: steps, label });
  const paths: string[] = [];
  const comparisons: Comparison[] = [];
  try {
    for (const process of processes) {
      const { technology } = process;
      const cells: CellComparison[] = [];
      for (const cell of Object.keys(technology.cells)) {
        const { path, calibration } = await calibrateToFile({
          process: technology.name,
          cell,
          pool,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        });
        paths.push(path);
        report(`${technology.name}/${cell} calibrated`);
        cells.push(await compareCell(process, cell, calibration, pool, options.signal));
        report(`${technology.name}/${cell} compared`);
      }
      const blocks: BlockCalibration[] = [];
      for (const block of Object.keys(technology.blocks ?? {})) {
        blocks.push(await calibrateBlockToFile(process, block, pool, options.signal));
        paths.push(blockPath(technology.name, block));
        report(`${technology.name}/${block} calibrated`);
      }
      const comparison = rounded({
        schema: 'onefet.comparison/1',
        process: technology.name,
        codes: CODES,
        taps: TAPS,
        supplyV: technology.supplyV.value,
        cells,
        blocks,
      }) as Comparison;
      comparisons.push(comparison);
      const path = join('calibration', technology.name, 'comparison.json');
      writeFileAtomic(path, `${JSON.stringify(comparison, null, 1)}\n`);
      paths.push(path);
    }
  } finally {
    await pool.close();
  }
  return { comparisons, paths };
}

/** Folders below spice/ that describe a process. */
export function processNames(): string[] {
  return listDataFolder('spice').filter(
    (name) => findDataFile(join('spice', name, 'technology.yaml')) !== undefined,
  );
}

/** Five digits: a stable file. */
function rounded(value: unknown): unknown {
  if (typeof value === 'number') return Number.isInteger(value) ? value : Number(value.toPrecision(5));
  if (Array.isArray(value)) return value.map(rounded);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item)]));
  }
  return value;
}
