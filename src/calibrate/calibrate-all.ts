/**
 * Every cell and circuit of one or all processes: calibrated, compared, written.
 */
import { join } from 'node:path';
import { calibrationPath } from '../cell/calibration.ts';
import type { CircuitCalibration } from '../cell/circuits/circuit.ts';
import type { CellComparison, Comparison } from '../cell/comparison.ts';
import { loadProcess } from '../cell/technology.ts';
import { findDataFile, listDataFolder, toJson, writeFileAtomic } from '../files.ts';
import { roundDigits } from '../numbers.ts';
import { calibrateToFile } from './calibrate.ts';
import { calibrateCircuitToFile } from './circuits/calibrate-circuit.ts';
import { compareCell } from './compare-cells.ts';
import { CODES, type SimulatorOptions, TAPS, withSimulators } from './testbench.ts';

export interface CalibrateAllOptions extends Omit<SimulatorOptions, 'pool'> {
  /** One process, or every folder below spice/ that has a technology.yaml. */
  readonly process?: string;
  readonly onProgress?: (progress: { done: number; total: number; label: string }) => void;
}

export interface CalibrateAllResult {
  readonly comparisons: readonly Comparison[];
  /** Every file written: calibrations, circuits, comparison.json. */
  readonly paths: readonly string[];
}

/**
 * Calibrates every cell and circuit of one or all processes, compares them, and writes
 * calibration/<process>/{<cell>,<circuit>,comparison}.json below the working folder; report/cell-comparison.ts makes the pages.
 * Errors: as `calibrate`; the first one ends it (finished simulations stay in the cache, so a second run continues).
 */
export async function calibrateAll(options: CalibrateAllOptions = {}): Promise<CalibrateAllResult> {
  const names = options.process === undefined ? processNames() : [options.process];
  const processes = names.map(loadProcess);
  const steps = processes.reduce(
    (sum, { technology }) =>
      sum + 2 * Object.keys(technology.cells).length + Object.keys(technology.blocks ?? {}).length,
    0,
  );
  let done = 0;
  const report = (label: string) => options.onProgress?.({ done: ++done, total: steps, label });
  const paths: string[] = [];
  const comparisons: Comparison[] = [];
  await withSimulators(options, 'calibration', async (pool) => {
    for (const process of processes) {
      const { technology } = process;
      // Circuits first: the comparison of a cell may use what an auto-zero leaves.
      const circuits: CircuitCalibration[] = [];
      for (const circuit of Object.keys(technology.blocks ?? {})) {
        circuits.push(await calibrateCircuitToFile(process, circuit, pool, options.signal));
        paths.push(calibrationPath(technology.name, circuit));
        report(`${technology.name}/${circuit} calibrated`);
      }
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
      const comparison: Comparison = roundDigits(
        {
          schema: 'onefet.comparison/1' as const,
          process: technology.name,
          codes: CODES,
          taps: TAPS,
          supplyV: technology.supplyV.value,
          cells,
          blocks: circuits,
        },
        5,
      );
      comparisons.push(comparison);
      const path = join('calibration', technology.name, 'comparison.json');
      writeFileAtomic(path, `${toJson(comparison, `comparison ${path}`, 'simulation', 1)}\n`);
      paths.push(path);
    }
  });
  return { comparisons, paths };
}

/** Folders below spice/ that describe a process. */
export function processNames(): string[] {
  return listDataFolder('spice').filter(
    (name) => findDataFile(join('spice', name, 'technology.yaml')) !== undefined,
  );
}
