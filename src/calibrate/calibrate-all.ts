/**
 * Every cell and block of one or all processes: calibrated, compared, written.
 */
import { join } from 'node:path';
import { loadProcess } from '../cell/technology.ts';
import { findDataFile, listDataFolder, writeFileAtomic } from '../files.ts';
import { roundDigits } from '../numbers.ts';
import { DEFAULT_CACHE_FOLDER } from '../spice/cache.ts';
import { createSpicePool } from '../spice/pool.ts';
import { calibrateToFile } from './calibrate.ts';
import { type BlockCalibration, blockPath, calibrateBlockToFile } from './circuits/calibrate-circuit.ts';
import { type CellComparison, CODES, type Comparison, compareCell, TAPS } from './compare-cells.ts';

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
      // Blocks first: the comparison of a cell may use what a block leaves.
      const blocks: BlockCalibration[] = [];
      for (const block of Object.keys(technology.blocks ?? {})) {
        blocks.push(await calibrateBlockToFile(process, block, pool, options.signal));
        paths.push(blockPath(technology.name, block));
        report(`${technology.name}/${block} calibrated`);
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
          blocks,
        },
        5,
      );
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
