/**
 * A job for the simulator, and what must come back. A job that does not state the plot, the variables and
 * the number of points that it expects cannot be told from one that failed: ngspice answers a failed analysis with
 * whatever plot it still holds.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OnefetError } from '../error.ts';
import { packageRoot, sha256 } from '../files.ts';

/** One raw file that the job has to write. */
export interface ExpectedOutput {
  /** Name given to `write` in the netlist's .control section, without a folder. */
  readonly file: string;
  /** Start of the raw file's "Plotname", e.g. "DC transfer characteristic", "AC Analysis". */
  readonly plot: string;
  /** Variables that must be there, in ngspice's lower-case spelling, e.g. "i(vd)". */
  readonly variables: readonly string[];
  /** Number of points: exact, or bounds for an adaptive time step. */
  readonly points: number | { readonly min: number; readonly max: number };
}

export interface SpiceJob {
  /** For messages and progress. */
  readonly label: string;
  /** With all that it includes in place: the simulator has no other files. */
  readonly netlist: string;
  /** Says where a line of the netlist is from, for messages of the simulator. */
  readonly locate?: (line: number) => string | undefined;
  /**
   * Commands between `source` and the clean-up. Empty when a .control section in the netlist does the work;
   * for a netlist with dot-analyses: ['run', 'write result.raw'].
   */
  readonly commands: readonly string[];
  readonly outputs: readonly ExpectedOutput[];
  /** Wall-clock limit of the run, s; the worker is killed beyond it. Default: the pool's, 60. */
  readonly timeoutS?: number;
}

/** Exact version that the wrapper is written for: it reaches into the module's internal file system. */
export const ENGINE_PACKAGE = 'eecircuit-engine';
const ENGINE_VERSION = '1.8.0';
/** Changes when the wrapper treats a netlist differently, so that cached results are not mixed. */
const WRAPPER_REVISION = 2;

/** Folder of the installed simulator package, its version checked. */
export function engineFolder(): string {
  for (let folder = packageRoot; ; folder = dirname(folder)) {
    try {
      const found = join(folder, 'node_modules', ENGINE_PACKAGE);
      const path = join(found, 'package.json');
      const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
      if (version === ENGINE_VERSION) return found;
      throw new OnefetError(
        'simulation',
        'SPICE_ENGINE_VERSION',
        `${path}: version ${version} is not ${ENGINE_VERSION}`,
        {
          hint: `npm install ${ENGINE_PACKAGE}@${ENGINE_VERSION}`,
        },
      );
    } catch (cause) {
      if (cause instanceof OnefetError) throw cause;
      if (dirname(folder) === folder) {
        throw new OnefetError('simulation', 'SPICE_ENGINE_MISSING', `${ENGINE_PACKAGE} is not installed`, {
          hint: `npm install ${ENGINE_PACKAGE}@${ENGINE_VERSION}`,
          cause,
        });
      }
    }
  }
}

/** Name and version of the simulator, checked against the installed package. */
export function engineId(): string {
  engineFolder();
  return `${ENGINE_PACKAGE} ${ENGINE_VERSION} (ngspice 45.2)`;
}

/** Content hash of everything that decides a job's result: the key of the cache and the name in messages. */
export function jobHash(job: SpiceJob, engine: string): string {
  return sha256(
    JSON.stringify({
      engine,
      wrapper: WRAPPER_REVISION,
      netlist: job.netlist,
      commands: job.commands,
      outputs: job.outputs,
    }),
  );
}
