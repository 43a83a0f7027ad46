/** Checks of the program's own parts: engine, simulator, calibrations, models. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { llamaCppMissing } from '../bench/llama-cpp.ts';
import { calibrationPath, loadCalibration } from '../cell/calibration.ts';
import { loadProcess } from '../cell/technology.ts';
import { chooseKernels } from '../engine/wasm/check/selftest.ts';
import { OnefetError } from '../error.ts';
import { findDataFile, listDataFolder, requireDataFile } from '../files.ts';
import { openModel } from '../model/model.ts';
import { engineId } from '../spice/job.ts';
import { createSpicePool, type SpicePool } from '../spice/pool.ts';
import type { Check } from './check.ts';

/** A failed check from an error, with its remedy; what is no error of ours is one of the program. */
function failed(name: string, error: unknown, hint?: string): Check {
  if (!(error instanceof OnefetError)) throw error;
  const remedy = error.hint ?? hint;
  return {
    name,
    state: 'fail',
    kind: error.kind,
    found: error.message,
    ...(remedy === undefined ? {} : { hint: remedy }),
  };
}

/** Runs the self-test of the WebAssembly kernels, SIMD among them: a compiler that gets one wrong is found here. */
export async function checkEngine(): Promise<Check> {
  const name = 'engine';
  try {
    const { kernel, gmacPerSecond, rejected } = await chooseKernels();
    const wrong = Object.entries(rejected).filter(([, why]) => why !== 'slower');
    const found = `WebAssembly with SIMD, kernel ${kernel}, ${gmacPerSecond[kernel]?.toFixed(0)} GMAC/s on one thread`;
    if (wrong.length === 0) return { name, state: 'ok', found };
    return {
      name,
      state: 'note',
      found: `${found}; not used: ${wrong.map(([kind, why]) => `${kind} (${why})`).join(', ')}`,
      hint: 'results are right, some kernels are not there: a newer Node may have them',
    };
  } catch (error) {
    return failed(name, error, 'onefet run --engine scalar');
  }
}

/** 2 V over two equal resistors: half of it in between. */
const DECK = 'doctor\nv1 in 0 2\nr1 in out 1k\nr2 out 0 1k\n.op\n.end\n';

/** Runs one tiny deck. `makePool`: for tests. */
export async function checkSimulator(
  makePool: () => SpicePool = () => createSpicePool({ threads: 1 }),
): Promise<Check> {
  const name = 'simulator';
  const started = performance.now();
  let pool: SpicePool | undefined;
  try {
    pool = makePool();
    const { plots } = await pool.run({
      label: 'doctor',
      netlist: DECK,
      commands: ['run', 'write result.raw'],
      outputs: [{ file: 'result.raw', plot: 'Operating Point', variables: ['v(out)'], points: 1 }],
    });
    const outV = plots[0].real.get('v(out)')![0];
    if (Math.abs(outV - 1) > 1e-6) {
      return {
        name,
        state: 'fail',
        kind: 'simulation',
        found: `${engineId()} gives ${outV} V for 1 V`,
        hint: 'reinstall the dependencies: npm install',
      };
    }
    const seconds = ((performance.now() - started) / 1e3).toFixed(1);
    return {
      name,
      state: 'ok',
      found: `${engineId()}, a deck of two resistors in ${seconds} s with its start`,
    };
  } catch (error) {
    return failed(name, error, 'reinstall the dependencies: npm install');
  } finally {
    await pool?.close();
  }
}

/** Every cell of every process: calibrated, and from sources that have not changed since? One check a process. */
export function checkCalibrations(): Check[] {
  const processes = listDataFolder('spice').filter(
    (name) => findDataFile(join('spice', name, 'technology.yaml')) !== undefined,
  );
  return processes.map((process): Check => {
    const name = `calibration of ${process}`;
    try {
      const cells = Object.keys(loadProcess(process).technology.cells);
      const made = cells.filter((cell) => findDataFile(calibrationPath(process, cell)) !== undefined);
      for (const cell of made) loadCalibration(process, cell);
      const missing = cells.filter((cell) => !made.includes(cell));
      const found = `${made.length} of ${cells.length} cells, none older than its sources`;
      if (missing.length === 0) return { name, state: 'ok', found };
      return {
        name,
        state: 'note',
        found: `${found}; not calibrated: ${missing.join(', ')}`,
        hint: `onefet calibrate --process ${process} --cell ${missing[0]}`,
      };
    } catch (error) {
      return failed(name, error, `onefet calibrate --all --process ${process}`);
    }
  });
}

const EMBEDDED = 'experiments/models/onefet-stories-f16.gguf';
const FETCHED = '.onefet/models/SmolLM2-135M-Instruct.Q4_1.gguf';

export function checkModels(): Check[] {
  const checks: Check[] = [];
  try {
    const model = openModel(requireDataFile(EMBEDDED, 'embedded model'));
    model.close();
    checks.push({ name: 'embedded model', state: 'ok', found: EMBEDDED });
  } catch (error) {
    checks.push(failed('embedded model', error, 'reinstall the package'));
  }
  const real = findDataFile(FETCHED);
  checks.push(
    real === undefined
      ? {
          name: 'real model',
          state: 'note',
          found: 'none fetched; only the experiments on mapping need it',
          hint: 'in a checkout: npm run fetch-model (98 MB, Apache 2.0); or any GGUF of yours by --model',
        }
      : { name: 'real model', state: 'ok', found: real },
  );
  return checks;
}

export function checkLlamaCpp(): Check {
  const missing = llamaCppMissing();
  return missing === undefined
    ? { name: 'llama.cpp', state: 'ok', found: 'experiments/oracle' }
    : {
        name: 'llama.cpp',
        state: 'note',
        found: 'not installed; only onefet bench engine needs it',
        hint: existsSync('experiments/oracle')
          ? 'npm ci --prefix experiments/oracle'
          : 'use a checkout, then: npm ci --prefix experiments/oracle',
      };
}
