/**
 * Every cell of a process side by side: accuracy where it is designed, accuracy over corners, temperature and supply,
 * what a replica and a PTAT ladder are worth, area, static power, drift. All errors are simulated products of 63 codes
 * and all taps against the ideal product, one common gain removed; gains are the change of that common gain.
 */
import type { Calibration } from '../cell/calibration.ts';
import { loadCircuit } from '../cell/circuits/circuit.ts';
import type { CellComparison, CornerErrors, ErrorAt, Mode } from '../cell/comparison.ts';
import { REFERENCE_TEMP_K } from '../cell/ekv.ts';
import { cellArea, cellPowerW, loadLayoutRules } from '../cell/footprint.ts';
import {
  type Corner,
  cellOf,
  type Process,
  processCorners,
  temperatureRangeK,
  temperaturesInside,
} from '../cell/technology.ts';
import { loadMultiplier, type MultiplierTopology, parameterValues } from '../cell/topology.ts';
import type { SpicePool } from '../spice/pool.ts';
import { ladderMismatchError } from './measure-products.ts';
import {
  codeMagnitudes,
  findBias,
  productError,
  type RowCondition,
  sweepRow,
  tuneDrive,
} from './row-sweep.ts';
import { type CellTestbench, CODES, cellTestbench, TAPS } from './testbench.ts';

const WORST_TEMPS_C = [-40, 27, 85, 125];
const SUPPLY_SHARES = [0.9, 1, 1.1];
const MODE_TEMPS_C = [-40, 0, 27, 60, 85, 125];
const LADDER_SIGMAS = [0.01, 0.03];
const LADDER_DRAWS = 16;

const worstOf = (list: readonly ErrorAt[]): ErrorAt => list.reduce((a, b) => (b.rms > a.rms ? b : a));
const isBelow85C = (e: ErrorAt): boolean => e.tempK < 359;

/** One cell under comparison: its testbench and how its row is driven. */
interface Comparand {
  readonly testbench: CellTestbench;
  readonly topology: MultiplierTopology;
  readonly nominalV: number;
  /** TT, 27 C, nominal supply. */
  readonly nominal: RowCondition;
  readonly drive: {
    readonly bias: number;
    readonly dacSlopeFactor: number;
    readonly ladderSlopeFactor: number;
  };
}

/** Simulates one calibrated cell's row of the comparison; the process's circuits are calibrated before it. */
export async function compareCell(
  process: Process,
  cellName: string,
  calibration: Calibration,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<CellComparison> {
  const cell = cellOf(process, cellName);
  const { topology } = loadMultiplier(cell.topology);
  const testbench = cellTestbench(process, cellName, cell, { pool, signal });
  const nominalV = process.technology.supplyV.value;
  const nominal = conditionAt(testbench, 'TT', REFERENCE_TEMP_K, nominalV);
  const drive = await tuneDrive(testbench, topology, nominal, CODES);
  const comparand: Comparand = { testbench, topology, nominalV, nominal, drive };
  const reference = await simulateProducts(comparand, nominal, 'fixed+ptat');
  const errorAt: ErrorMeter = async (condition, mode) => {
    const { rms, max, gainA } = await simulateProducts(comparand, condition, mode);
    const { corner, tempK, supplyV } = condition;
    return { corner, tempK, supplyV, rms, max, lnGain: Math.log(gainA / reference.gainA) };
  };
  const rules = loadLayoutRules(process.technology.name);
  const errors = await measureErrors(comparand, errorAt);
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
    ...errors.worst,
    modes: errors.modes,
    cornersByMode: errors.cornersByMode,
    exponentialDecades: calibration.exponentialRange[1].decades,
    areaM2: rules && cellArea(topology.area, cell, rules, TAPS).um2 * 1e-12,
    lnSigma: cellLnSigma(calibration, topology),
    cellPowerW: cellPowerW(topology, cell.fullScaleA, nominalV, drive, CODES, TAPS),
    rowPowerW: fullInputPowerW(comparand, reference.supplyA),
    sharedPowerW: fullInputPowerW(comparand, reference.sharedA),
    ...errors.drift,
    supplyGain: await supplyGain(comparand, errorAt),
    rowOffsetLnSigma: await rowOffset(testbench, topology, nominal, drive),
    ladderMismatch: await ladderMismatch(comparand),
    interpolation: worstInterpolation(calibration),
  };
}

type ErrorMeter = (condition: RowCondition, mode: Mode) => Promise<ErrorAt>;

/** The row at a corner, temperature and supply; the bit line follows the supply. */
function conditionAt(
  { process, cell }: CellTestbench,
  corner: Corner,
  tempK: number,
  supplyV: number,
): RowCondition {
  const ratio = cell.vdsV / process.technology.supplyV.value;
  return { corner, tempK, supplyV, vdsV: ratio * supplyV, taps: TAPS };
}

/** Products of all codes and taps in a mode: their error, common gain and supply currents. */
async function simulateProducts(
  { testbench, topology, drive }: Comparand,
  condition: RowCondition,
  mode: Mode,
) {
  const { dacSlopeFactor, ladderSlopeFactor } = drive;
  const ladder = mode.endsWith('ptat') ? {} : { ladderTempK: REFERENCE_TEMP_K };
  const slopes = { dacSlopeFactor, ladderSlopeFactor, ...ladder };
  const bias = mode.startsWith('replica')
    ? await findBias(testbench, topology, condition, slopes)
    : drive.bias;
  const codes = { kind: 'codes', codes: CODES } as const;
  const run = await sweepRow(testbench, topology, condition, { ...slopes, bias }, codes);
  const error = productError(run.currentA, codeMagnitudes(CODES));
  return { ...error, supplyA: run.supplyA, sharedA: run.sharedSupplyA };
}

/** Errors over corners, temperatures and supplies in every mode, the worst of them, and the drift of the gain. */
async function measureErrors({ testbench, topology, nominalV }: Comparand, errorAt: ErrorMeter) {
  const rangeK = temperatureRangeK(testbench.process);
  const corners = processCorners(testbench.process);
  // A transistor driver makes its own PTAT current: there is no fixed ladder to compare with.
  const modes: Mode[] =
    topology.driver === 'ideal'
      ? ['replica+ptat', 'fixed+ptat', 'replica+fixed', 'fixed+fixed']
      : ['replica+ptat', 'fixed+ptat'];
  const grids = await byMode(modes, (mode) =>
    corners.flatMap((corner) =>
      temperaturesInside(rangeK, WORST_TEMPS_C).flatMap((t) =>
        SUPPLY_SHARES.map((share) => errorAt(conditionAt(testbench, corner, t, share * nominalV), mode)),
      ),
    ),
  );
  testbench.signal?.throwIfAborted();
  const typical = await byMode(modes, (mode) =>
    temperaturesInside(rangeK, MODE_TEMPS_C).map((t) =>
      errorAt(conditionAt(testbench, 'TT', t, nominalV), mode),
    ),
  );
  const isNominal = (e: ErrorAt) => e.tempK === REFERENCE_TEMP_K && e.supplyV === nominalV;
  const grid = grids['replica+ptat']!;
  const drift = (mode: Mode) => Math.max(...typical[mode]!.map(({ lnGain }) => Math.abs(lnGain)));
  return {
    worst: {
      corners: worstOf(grid.filter(isNominal)),
      worst: worstOf(grid),
      worstBelow85C: worstOf(grid.filter(isBelow85C)),
    },
    modes: typical,
    cornersByMode: Object.fromEntries(
      modes.map((mode) => [mode, corners.map((corner) => cornerErrors(corner, grids[mode]!, isNominal))]),
    ),
    drift: { gainDriftFixed: drift('fixed+ptat'), gainDriftReplica: drift('replica+ptat') },
  };
}

type ErrorsByMode = Partial<Record<Mode, readonly ErrorAt[]>>;

/** All errors of every mode at once; a mode that is not measured is absent. */
async function byMode(
  modes: readonly Mode[],
  errors: (mode: Mode) => readonly Promise<ErrorAt>[],
): Promise<ErrorsByMode> {
  const all = await Promise.all(modes.map(async (mode) => [mode, await Promise.all(errors(mode))] as const));
  const result: ErrorsByMode = {};
  for (const [mode, measured] of all) result[mode] = measured;
  return result;
}

function cornerErrors(
  corner: Corner,
  grid: readonly ErrorAt[],
  isNominal: (e: ErrorAt) => boolean,
): CornerErrors {
  const own = grid.filter((e) => e.corner === corner);
  const gains = own.map(({ lnGain }) => lnGain);
  return {
    corner,
    nominal: own.find(isNominal)!,
    worstBelow85C: worstOf(own.filter(isBelow85C)),
    worst: worstOf(own),
    leastLnGain: Math.min(...gains),
    mostLnGain: Math.max(...gains),
  };
}

/** Largest |ln gain| for +-10 % of the supply at fixed bias, TT, 27 C. */
async function supplyGain({ testbench, nominalV }: Comparand, errorAt: ErrorMeter): Promise<number> {
  const errors = await Promise.all(
    [0.9, 1.1].map((share) =>
      errorAt(conditionAt(testbench, 'TT', REFERENCE_TEMP_K, share * nominalV), 'fixed+ptat'),
    ),
  );
  return Math.max(...errors.map(({ lnGain }) => Math.abs(lnGain)));
}

/** Power at full input of a supply current [codes]; undefined with ideal sources. */
function fullInputPowerW({ topology, nominalV }: Comparand, currentA: Float64Array): number | undefined {
  return topology.driver === 'transistor' ? currentA[currentA.length - 1] * nominalV : undefined;
}

async function ladderMismatch({ testbench, topology, nominal, drive }: Comparand) {
  if (topology.ladder === 'none') return [];
  return Promise.all(
    LADDER_SIGMAS.map(async (sigma) => ({
      sigma,
      ...(await ladderMismatchError(testbench, topology, nominal, drive, sigma, LADDER_DRAWS)),
    })),
  );
}

/** Sigma of ln I of a cell at full scale from the mismatch of its unit transistors. */
function cellLnSigma({ mismatch }: Calibration, topology: MultiplierTopology): number {
  const { monteCarlo, sigmaVtV, sigmaBeta } = mismatch;
  const slope = monteCarlo.thresholdSlopePerV[monteCarlo.thresholdSlopePerV.length - 1];
  return Math.hypot(slope * sigmaVtV, sigmaBeta) / Math.sqrt(topology.area.fingersOfTopTap);
}

/** Interpolation error of the table, or held-out error of the fitted equation. */
function worstInterpolation({ product, multiply }: Calibration): { rms: number; max: number } {
  if (product === undefined) {
    const { rms, max } = multiply.heldOut.reduce((a, b) => (b.max > a.max ? b : a));
    return { rms, max };
  }
  const { temp, supply, codes } = product.heldOut;
  return {
    rms: Math.max(temp.rms, supply.rms, codes.rms),
    max: Math.max(temp.max, supply.max, codes.max),
  };
}

/** Sigma of ln gain of a row from its driver's offset: slope in SPICE times the mismatch of the transistor named. */
async function rowOffset(
  testbench: CellTestbench,
  topology: MultiplierTopology,
  condition: RowCondition,
  drive: { bias: number; dacSlopeFactor: number; ladderSlopeFactor: number },
): Promise<CellComparison['rowOffsetLnSigma']> {
  const { offset } = topology;
  if (offset === undefined) return undefined;
  const values = parameterValues(topology, testbench.cell.parameters);
  const step = 1e-3;
  const [up, down] = await Promise.all(
    [step, -step].map(async (shift) => {
      const run = await sweepRow(
        testbench,
        topology,
        condition,
        { ...drive, parameters: { [offset.parameter]: values[offset.parameter] + shift } },
        { kind: 'codes', codes: CODES },
      );
      return productError(run.currentA, codeMagnitudes(CODES)).gainA;
    }),
  );
  const slopePerV = Math.log(up / down) / (2 * step);
  const area = values[offset.widthParameter] * values[offset.lengthParameter];
  const sigmaV = testbench.process.technology.mismatch.avtVm.value / Math.sqrt(area);
  const { name, blocks = {} } = testbench.process.technology;
  const residue = Object.hasOwn(blocks, offset.autoZeroBlock)
    ? loadCircuit(name, offset.autoZeroBlock).autoZero?.rowSigmaV
    : undefined;
  return {
    plain: slopePerV * sigmaV,
    autoZero: residue === undefined ? undefined : slopePerV * residue,
  };
}
