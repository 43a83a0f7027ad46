/**
 * From netlists and a process to a calibration: simulate, fit, check against points that the fit never saw.
 */
import {
  type Calibration,
  CELL_EQUATION,
  calibrationDigits,
  calibrationPath,
  calibrationSchema,
} from '../cell/calibration.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  ekvCurrentA,
  ekvDerivatives,
  REFERENCE_TEMP_K,
} from '../cell/ekv.ts';
import {
  type CellChanges,
  cellOf,
  loadProcess,
  technologySource,
  withCellChanges,
} from '../cell/technology.ts';
import { loadMultiplier } from '../cell/topology.ts';
import { writeFileAtomic } from '../files.ts';
import { roundDigits } from '../numbers.ts';
import { encodeResult, hashSources } from '../sources.ts';
import { engineId } from '../spice/job.ts';
import {
  checkLimits,
  LARGEST_PRODUCT,
  nearestIndex,
  OFF_RANGE_V,
  SMALLEST_PRODUCT,
} from './fit/corner-fit.ts';
import {
  EXPONENTIAL_TOLERANCES,
  exponentialRange,
  mismatchStatistics,
  noiseSummary,
} from './fit/measures.ts';
import { productEntry, residualPlots, transferPlots } from './fit/plot-data.ts';
import { lawRuns, measureCellLaw } from './measure-law.ts';
import { calibrateTable, tableRuns } from './measure-products.ts';
import {
  type FittedCorner,
  fitCorners,
  MONTE_CARLO_DEVICES,
  MONTE_CARLO_SEED,
  measureNominal,
  NOISE_PRODUCTS,
  type NominalMeasurements,
} from './nominal.ts';
import { type Plan, planSweep } from './sweep-plan.ts';
import { DEVICES_PER_NETLIST, gridValue, gridValues } from './sweeps.ts';
import {
  type CellTestbench,
  calibratedTestbench,
  cellTestbench,
  type SimulatorOptions,
  withSimulators,
} from './testbench.ts';

export interface CalibrateOptions extends SimulatorOptions {
  readonly process: string;
  readonly cell: string;
  /** A trial of another size, bias or supply: its result is returned and never becomes the cell's file. */
  readonly changes?: CellChanges | undefined;
  readonly onProgress?: (progress: { done: number; total: number; label: string }) => void;
}

/** Simulates and fits one cell. Errors: SPICE_*, FIT_RESIDUAL, CELL_UNKNOWN, TECHNOLOGY_*, INTERRUPTED. */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const process = withCellChanges(loadProcess(options.process), options.cell, options.changes ?? {});
  const described = cellOf(process, options.cell);
  const { topology, path: topologyPath } = loadMultiplier(described.topology);
  // The transistor is characterised with the decks of an exponentiator, at its share of the full-scale current.
  const cell = {
    ...described,
    topology: topology.kind === 'multiplier' ? topology.transistor : described.topology,
    fullScaleA: described.fullScaleA / topology.area.fingersOfTopTap,
  };
  const plan = planSweep(process, cell);
  const total =
    2 * plan.corners.length +
    plan.multiplyTemps.length +
    Math.ceil(MONTE_CARLO_DEVICES / DEVICES_PER_NETLIST) +
    2 +
    lawRuns([plan.temps[0], plan.temps[plan.temps.length - 1]]) +
    (topology.kind === 'multiplier' ? tableRuns(plan.corners.length, 7) : 0);
  let done = 0;
  return withSimulators(options, 'calibration', async (pool) => {
    const models = topology.pmos ? (['pmos'] as const) : [];
    const parts = {
      pool,
      signal: options.signal,
      sources: [technologySource(process, { cell: options.cell }, models), topologyPath],
    };
    const onRun = (label: string) => options.onProgress?.({ done: ++done, total, label });
    const testbench = cellTestbench(process, options.cell, cell, { ...parts, onRun });
    const corners = await fitCorners(testbench, plan);
    const measured = await measureNominal(testbench, plan, corners[0]);
    const fitted = roundDigits(assemble(testbench, plan, corners, measured), calibrationDigits);
    // With the topology's own cell.inc where it has one: its well decides how it answers to the source line.
    const whole = { ...testbench, cell: { ...cell, topology: described.topology } };
    const lawBench = calibratedTestbench(whole, fitted, cell.topology);
    const law = roundDigits(await measureCellLaw(lawBench), calibrationDigits);
    const calibration: Calibration = { ...fitted, sources: hashSources(testbench.sources), law };
    if (topology.kind === 'exponentiator') return calibrationSchema.parse(calibration);
    testbench.sources.add(loadMultiplier(topology.transistor).path);
    const multiplier = {
      ...testbench,
      cell: described,
      folder: described.topology,
    };
    const product = await calibrateTable(multiplier, topology, plan.corners);
    return calibrationSchema.parse({
      ...calibration,
      topology: described.topology,
      driver: topology.driver,
      sources: hashSources(testbench.sources),
      product: roundDigits(product, calibrationDigits),
    });
  });
}

/** The calibration file's contents, before rounding. */
function assemble(
  testbench: CellTestbench,
  plan: Plan,
  corners: readonly FittedCorner[],
  measured: NominalMeasurements,
): Calibration {
  const { process, cell, device } = testbench;
  const { technology } = process;
  const { temps, vgs, vds } = plan;
  const { fullScaleVgsV, ladderSlopeFactorN } = measured;
  const [nominal] = corners;
  const { coefficients } = nominal.fit;
  const currentA = (tempK: number) =>
    ekvCurrentA(atTemperature(coefficients, tempK), fullScaleVgsV, cell.vdsV);
  const tempIndex = temps.indexOf(REFERENCE_TEMP_K);
  const rowStart = nearestIndex(vds, cell.vdsV) * vgs.count;
  const nominalRow = (values: readonly Float64Array[]) =>
    values[tempIndex].subarray(rowStart, rowStart + vgs.count);
  const everyFourth = <T>(values: Iterable<T>) => [...values].filter((_, i) => i % 4 === 0);
  return {
    schema: 'onefet.calibration/1',
    process: technology.name,
    cell: device,
    topology: cell.topology,
    driver: 'ideal',
    engine: engineId(),
    sources: hashSources(testbench.sources),
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
    model: CELL_EQUATION,
    corners: Object.fromEntries(corners.map(({ corner, entry }) => [corner, entry])),
    mismatch: mismatchEntry(testbench, coefficients, measured),
    noise: noiseSummary(measured.noise, NOISE_PRODUCTS.indexOf(1), cell.vdsV, REFERENCE_TEMP_K),
    capacitance: measured.capacitance,
    gateLeakageA: {
      vgsV: everyFourth(gridValues(vgs)),
      currentA: everyFourth(nominalRow(nominal.sweep.gateA)),
    },
    temperatureSensitivityPerK: Math.log(currentA(REFERENCE_TEMP_K + 1) / currentA(REFERENCE_TEMP_K - 1)) / 2,
    exponentialRange: EXPONENTIAL_TOLERANCES.map((tolerance) =>
      exponentialRange(gridValues(vgs), nominalRow(nominal.sweep.drainA), tolerance, REFERENCE_TEMP_K),
    ),
    multiply: checkedProducts(testbench, coefficients, measured.multiply),
    plots: {
      transfer: transferPlots(nominal.sweep, coefficients, nominal.entry, tempIndex),
      residuals: residualPlots(nominal.sweep, coefficients, nominal.entry, cell.vdsV),
    },
  };
}

/** Drawn devices of SPICE against the fitted cell's first order. */
function mismatchEntry(
  { process, cell }: CellTestbench,
  coefficients: readonly number[],
  { mismatch, sigmaVtV, sigmaBeta, fullScaleVgsV, ladderSlopeFactorN }: NominalMeasurements,
): Calibration['mismatch'] {
  const { avtVm, abetaM } = process.technology.mismatch;
  const gmOverIPerV = (vgsV: number) => {
    const at = atTemperature(coefficients, REFERENCE_TEMP_K);
    const { currentA, perGateV } = ekvDerivatives(at, vgsV, cell.vdsV);
    return perGateV / currentA;
  };
  const statistics = mismatchStatistics(
    mismatch,
    gmOverIPerV,
    sigmaVtV,
    sigmaBeta,
    fullScaleVgsV,
    ladderSlopeFactorN * BOLTZMANN_OVER_CHARGE * REFERENCE_TEMP_K,
  );
  // Full scale is the last gate voltage of the sample.
  const last = statistics.vgsV.length - 1;
  return {
    avtVm: avtVm.value,
    abetaM: abetaM.value,
    sigmaVtV,
    sigmaBeta,
    thresholdGain: statistics.thresholdSlopePerV[last] / statistics.gmOverIPerV[last],
    sources: { avt: `${avtVm.source} (${avtVm.tag})`, abeta: `${abetaM.source} (${abetaM.tag})` },
    monteCarlo: { devices: MONTE_CARLO_DEVICES, seed: MONTE_CARLO_SEED, ...statistics },
  };
}

/** Simulated products beside those of the fitted cell, which never saw them. Error: FIT_RESIDUAL. */
function checkedProducts(
  { process, cell, device }: CellTestbench,
  coefficients: readonly number[],
  multiply: NominalMeasurements['multiply'],
): Calibration['multiply'] {
  const products = productEntry(multiply, cell, coefficients);
  products.heldOut.forEach((residual, i) => {
    checkLimits(`${process.technology.name}/${device} multiply at ${multiply[i].tempK} K`, residual);
  });
  return products;
}

/** Calibrates and writes calibration/<process>/<cell>.json below the working folder. Returns it and its path. */
export async function calibrateToFile(
  options: Omit<CalibrateOptions, 'changes'>,
): Promise<{ path: string; calibration: Calibration }> {
  const calibration = await calibrate({ ...options, changes: undefined });
  const path = calibrationPath(options.process, options.cell);
  writeFileAtomic(path, encodeResult(calibration, `calibration ${path}`));
  return { path, calibration };
}
