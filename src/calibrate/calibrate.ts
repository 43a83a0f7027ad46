/**
 * From netlists and a process to a calibration: simulate, fit, check against points that the fit never saw.
 */
import {
  type Calibration,
  calibrationDigits,
  calibrationPath,
  calibrationSchema,
} from '../cell/calibration.ts';
import {
  atTemperature,
  BOLTZMANN_OVER_CHARGE,
  COEFFICIENT_NAMES,
  ekvCurrentA,
  ekvDerivatives,
  REFERENCE_TEMP_K,
} from '../cell/ekv.ts';
import { cellOf, loadProcess } from '../cell/technology.ts';
import { loadMultiplier } from '../cell/topology.ts';
import { writeFileAtomic } from '../files.ts';
import { roundDigits } from '../numbers.ts';
import { hashSources } from '../sources.ts';
import { engineId } from '../spice/job.ts';
import {
  checkLimits,
  LARGEST_PRODUCT,
  nearestIndex,
  OFF_RANGE_V,
  SMALLEST_PRODUCT,
} from './fit/corner-fit.ts';
import { residualOf } from './fit/fit.ts';
import { exponentialRange, mismatchStatistics, noiseSummary, productError } from './fit/measures.ts';
import { multiplyPoints, residualPlots, transferPlots } from './fit/plot-data.ts';
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
  CODES,
  calibratedTestbench,
  cellTestbench,
  type SimulatorOptions,
  TAPS,
  withSimulators,
} from './testbench.ts';

export interface CalibrateOptions extends SimulatorOptions {
  readonly process: string;
  readonly cell: string;
  readonly onProgress?: (progress: { done: number; total: number; label: string }) => void;
}

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
  const total =
    2 * plan.corners.length +
    plan.multiplyTemps.length +
    Math.ceil(MONTE_CARLO_DEVICES / DEVICES_PER_NETLIST) +
    2 +
    lawRuns([plan.temps[0], plan.temps[plan.temps.length - 1]]) +
    (topology.kind === 'multiplier' ? tableRuns(plan.corners.length, 7) : 0);
  let done = 0;
  return withSimulators(options, 'calibration', async (pool) => {
    const parts = { pool, signal: options.signal, sources: [process.path, topologyPath] };
    const onRun = (label: string) => options.onProgress?.({ done: ++done, total, label });
    const bench = cellTestbench(process, options.cell, cell, { ...parts, onRun });
    const corners = await fitCorners(bench, plan);
    const measured = await measureNominal(bench, plan, corners[0]);
    const fitted = roundDigits(assemble(bench, plan, corners, measured), calibrationDigits);
    // With the topology's own cell.inc where it has one: its well decides how it answers to the source line.
    const whole = { ...bench, cell: { ...cell, topology: described.topology } };
    const lawBench = calibratedTestbench(whole, fitted, cell.topology);
    const law = roundDigits(await measureCellLaw(lawBench), calibrationDigits);
    const calibration: Calibration = { ...fitted, sources: hashSources(bench.sources), law };
    if (topology.kind === 'exponentiator') return calibrationSchema.parse(calibration);
    bench.sources.add(loadMultiplier(topology.transistor).path);
    const multiplier = {
      ...bench,
      cell: described,
      folder: described.topology,
    };
    const product = await calibrateTable(multiplier, topology, plan.corners);
    return calibrationSchema.parse({
      ...calibration,
      topology: described.topology,
      driver: topology.driver,
      sources: hashSources(bench.sources),
      product: roundDigits(product, calibrationDigits),
    });
  });
}

/** The calibration file's contents, before rounding. */
function assemble(
  bench: CellTestbench,
  plan: Plan,
  corners: readonly FittedCorner[],
  measured: NominalMeasurements,
): Calibration {
  const { process, cell, device } = bench;
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
    checkLimits(`${technology.name}/${device} multiply at ${multiply[i].tempK} K`, residual);
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
    cell: device,
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
      levels: TAPS,
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

/** Calibrates and writes calibration/<process>/<cell>.json below the working folder. Returns it and its path. */
export async function calibrateToFile(
  options: CalibrateOptions,
): Promise<{ path: string; calibration: Calibration }> {
  const calibration = await calibrate(options);
  const path = calibrationPath(options.process, options.cell);
  writeFileAtomic(path, `${JSON.stringify(calibration)}\n`);
  return { path, calibration };
}
