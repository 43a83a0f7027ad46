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
import { CORNERS, type Corner, cellOf, type Process } from '../cell/technology.ts';
import { loadMultiplier, type MultiplierTopology, parameterValues } from '../cell/topology.ts';
import type { SpicePool } from '../spice/pool.ts';
import { ladderMismatchError } from './measure-products.ts';
import {
  codeMagnitudes,
  findBias,
  productErrorOf,
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

/** Simulates one calibrated cell's row of the comparison; the process's blocks are calibrated before it. */
export async function compareCell(
  process: Process,
  cellName: string,
  calibration: Calibration,
  pool: SpicePool,
  signal?: AbortSignal,
): Promise<CellComparison> {
  const cell = cellOf(process, cellName);
  const { topology } = loadMultiplier(cell.topology);
  const bench = cellTestbench(process, cellName, cell, { pool, signal });
  const { technology } = process;
  const rules = loadLayoutRules(technology.name);
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
    return { ...productErrorOf(run.currentA, magnitudes), supplyA: run.supplyA, sharedA: run.sharedSupplyA };
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
  // A transistor driver makes its own PTAT current: there is no fixed ladder to compare with.
  const modes: Mode[] =
    topology.driver === 'ideal'
      ? ['replica+ptat', 'fixed+ptat', 'replica+fixed', 'fixed+fixed']
      : ['replica+ptat', 'fixed+ptat'];
  const grids = Object.fromEntries(
    await Promise.all(
      modes.map(
        async (mode) =>
          [
            mode,
            await Promise.all(
              corners.flatMap((corner) =>
                kelvin(WORST_TEMPS_C).flatMap((t) =>
                  SUPPLY_SHARES.map((share) => errorAt(at(corner, t, share * nominalV), mode)),
                ),
              ),
            ),
          ] as const,
      ),
    ),
  );
  signal?.throwIfAborted();
  const grid: readonly ErrorAt[] = grids['replica+ptat'];
  const isNominal = (e: ErrorAt) => e.tempK === REFERENCE_TEMP_K && e.supplyV === nominalV;
  const cornersByMode = Object.fromEntries(
    modes.map((mode) => [
      mode,
      corners.map((corner): CornerErrors => {
        const own = (grids[mode] as readonly ErrorAt[]).filter((e) => e.corner === corner);
        const gains = own.map(({ lnGain }) => lnGain);
        return {
          corner,
          nominal: own.find(isNominal)!,
          worstBelow85C: worstOf(own.filter(isBelow85C)),
          worst: worstOf(own),
          leastLnGain: Math.min(...gains),
          mostLnGain: Math.max(...gains),
        };
      }),
    ]),
  );
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
  const powerW = (currentA: Float64Array) =>
    topology.driver === 'transistor' ? currentA[currentA.length - 1] * nominalV : undefined;
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
    corners: worstOf(grid.filter(isNominal)),
    worst: worstOf(grid),
    worstBelow85C: worstOf(grid.filter(isBelow85C)),
    modes: byMode,
    cornersByMode,
    exponentialDecades: calibration.exponentialRange[1].decades,
    areaM2: rules && cellArea(topology.area, cell, rules, TAPS).um2 * 1e-12,
    lnSigma: Math.hypot(slope * sigmaVtV, sigmaBeta) / Math.sqrt(topology.area.fingersOfTopTap),
    cellPowerW: cellPowerW(topology, cell.fullScaleA, nominalV, drive, CODES, TAPS),
    rowPowerW: powerW(reference.supplyA),
    sharedPowerW: powerW(reference.sharedA),
    gainDriftFixed: drift('fixed+ptat'),
    gainDriftReplica: drift('replica+ptat'),
    supplyGain: Math.max(...supply.map(({ lnGain }) => Math.abs(lnGain))),
    rowOffsetLnSigma: await rowOffset(bench, topology, nominal, drive),
    ladderMismatch,
    interpolation: { rms: interpolation.rms, max: interpolation.max },
  };
}

/** Sigma of ln gain of a row from its driver's offset: slope in SPICE times the mismatch of the transistor named. */
async function rowOffset(
  bench: CellTestbench,
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
  const { name, blocks = {} } = bench.process.technology;
  const residue = Object.hasOwn(blocks, offset.autoZeroBlock)
    ? loadCircuit(name, offset.autoZeroBlock).autoZero?.rowSigmaV
    : undefined;
  return {
    plain: slopePerV * sigmaV,
    autoZero: residue === undefined ? undefined : slopePerV * residue,
  };
}
