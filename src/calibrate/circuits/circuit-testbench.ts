/**
 * Decks of converters, selectors and memory cells: like a cell's decks, but their transistors are the process's `nmos`
 * and `pmos`, and their numbers come from the topology's parameters.
 */
import { join } from 'node:path';
import type { Corner, Process } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { requireDataFile } from '../../files.ts';
import { assembleDeck } from '../../spice/deck.ts';
import type { ExpectedOutput } from '../../spice/job.ts';
import type { SpicePool } from '../../spice/pool.ts';
import type { RawPlot } from '../../spice/raw-file.ts';
import { spiceNumber } from '../sweeps.ts';

export interface BlockBench {
  readonly process: Process;
  /** Folder below netlists/. */
  readonly block: string;
  /** The topology's parameters with the process's overrides. */
  readonly parameters: Readonly<Record<string, number>>;
  readonly pool: SpicePool;
  readonly signal: AbortSignal | undefined;
  readonly sources: Set<string>;
}

/** Fills and runs one deck. `slots` names parameters to pass (by name) and further values. */
export async function runBlockDeck(
  bench: BlockBench,
  file: string,
  corner: Corner,
  parameterSlots: readonly string[],
  slots: Readonly<Record<string, string | number>>,
  outputs: readonly ExpectedOutput[],
): Promise<readonly RawPlot[]> {
  const { process, block } = bench;
  const { models } = process.technology;
  const section = models.corners[corner];
  if (section === undefined) {
    throw new OnefetError('usage', 'CORNER_UNKNOWN', `${process.path}: no corner ${corner}`);
  }
  const path = requireDataFile(join('netlists', block, file), `netlist of ${block}`);
  const filled: Record<string, string> = { models: models.file, corner: section };
  for (const name of parameterSlots) filled[name] = spiceNumber(parameterOf(bench, name));
  for (const [name, value] of Object.entries(slots)) {
    filled[name] = typeof value === 'number' ? spiceNumber(value) : value;
  }
  const deck = assembleDeck(path, filled, [process.folder]);
  for (const source of deck.sources) bench.sources.add(source);
  const label = `${process.technology.name}/${block} ${file.replace(/\.cir$/, '')} ${corner}`;
  const { plots } = await bench.pool.run(
    { label, netlist: deck.netlist, files: deck.files, commands: [], outputs },
    bench.signal,
  );
  return plots;
}

/** A parameter that the measurement needs. */
export function parameterOf(bench: BlockBench, name: string): number {
  const value = bench.parameters[name];
  if (value !== undefined) return value;
  throw new OnefetError(
    'input',
    'TOPOLOGY_INVALID',
    `netlists/${bench.block}/topology.yaml: no parameter ${name}`,
    {
      hint: 'the measurement of this kind of topology needs it',
    },
  );
}

/** An integer parameter within bounds: counts come from files. */
export function countOf(bench: BlockBench, name: string, least: number, most: number): number {
  const value = parameterOf(bench, name);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new OnefetError(
    'input',
    'TOPOLOGY_INVALID',
    `netlists/${bench.block}/topology.yaml: ${name} is ${value}: an integer from ${least} to ${most} is needed`,
  );
}

export function modelOf({ process }: BlockBench, kind: 'nmos' | 'pmos'): string {
  const model = process.technology[kind];
  if (model !== undefined) return model;
  throw new OnefetError('input', 'TECHNOLOGY_INVALID', `${process.path}: no ${kind} model named`, {
    hint: `add a line "${kind}: <model name>"`,
  });
}

/** Integral of y over x by the trapezoidal rule, from x = from to x = to. */
export function integrate(x: Float64Array, y: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let i = 1; i < x.length; i++) {
    const a = Math.max(x[i - 1], from);
    const b = Math.min(x[i], to);
    if (b <= a) continue;
    const at = (t: number) => y[i - 1] + ((y[i] - y[i - 1]) * (t - x[i - 1])) / (x[i] - x[i - 1]);
    sum += ((at(a) + at(b)) / 2) * (b - a);
  }
  return sum;
}

/** First time after `from` at which y passes `level` in the given direction, or undefined. */
export function crossing(
  x: Float64Array,
  y: Float64Array,
  level: number,
  from: number,
  direction: 'rising' | 'falling',
): number | undefined {
  for (let i = 1; i < x.length; i++) {
    if (x[i] < from) continue;
    const passes =
      direction === 'rising' ? y[i - 1] < level && y[i] >= level : y[i - 1] > level && y[i] <= level;
    if (passes) return x[i - 1] + ((level - y[i - 1]) / (y[i] - y[i - 1])) * (x[i] - x[i - 1]);
  }
  return undefined;
}

export function valueAt(x: Float64Array, y: Float64Array, t: number): number {
  let i = 1;
  while (i < x.length - 1 && x[i] < t) i++;
  return y[i - 1] + ((y[i] - y[i - 1]) * (t - x[i - 1])) / (x[i] - x[i - 1]);
}
