/**
 * Decks of converters, selectors and memory cells: like a cell's decks, but their transistors are the process's `nmos`
 * and `pmos`, and their numbers come from the topology's parameters.
 */

import { type Corner, type Process, processCorners } from '../../cell/technology.ts';
import { OnefetError } from '../../error.ts';
import { spiceNumber } from '../../spice/deck.ts';
import type { Testbench, TestbenchParts } from '../testbench.ts';

export interface CircuitTestbench extends Testbench {
  /** The topology's parameters with the process's overrides. */
  readonly parameters: Readonly<Record<string, number>>;
}

/** Puts a circuit into its testbench; decks come from the folder of its name. Errors: as `parameterValues`. */
export function circuitTestbench(
  process: Process,
  circuit: string,
  parameters: Readonly<Record<string, number>>,
  { pool, signal, sources = [], onRun = () => {} }: TestbenchParts,
): CircuitTestbench {
  return {
    process,
    device: circuit,
    folder: circuit,
    slots: {},
    includeFolders: [],
    parameters,
    pool,
    signal,
    sources: new Set(sources),
    onRun,
  };
}

/** Fills slots with the parameters of the same names. */
export function parameterSlots(
  testbench: CircuitTestbench,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, spiceNumber(requireParameter(testbench, name))]));
}

/** Lists the conditions at which circuits are measured: every corner of the process at -40, 27 and 125 C. */
export function circuitConditions(process: Process): { corner: Corner; tempK: number }[] {
  return processCorners(process).flatMap((corner) =>
    [-40, 27, 125].map((c) => ({ corner, tempK: c + 273.15 })),
  );
}

/** A parameter that the measurement needs. */
export function requireParameter(testbench: CircuitTestbench, name: string): number {
  const value = testbench.parameters[name];
  if (value !== undefined) return value;
  throw new OnefetError(
    'input',
    'TOPOLOGY_INVALID',
    `netlists/${testbench.folder}/topology.yaml: no parameter ${name}`,
    {
      hint: 'the measurement of this kind of topology needs it',
    },
  );
}

/** An integer parameter within bounds: counts come from files. */
export function requireCount(testbench: CircuitTestbench, name: string, least: number, most: number): number {
  const value = requireParameter(testbench, name);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new OnefetError(
    'input',
    'TOPOLOGY_INVALID',
    `netlists/${testbench.folder}/topology.yaml: ${name} is ${value}: an integer from ${least} to ${most} is needed`,
  );
}

export function requireModel({ process }: CircuitTestbench, kind: 'nmos' | 'pmos'): string {
  const model = process.technology[kind];
  if (model !== undefined) return model;
  throw new OnefetError('input', 'TECHNOLOGY_INVALID', `${process.path}: no ${kind} model named`, {
    hint: `add a line "${kind}: <model name>"`,
  });
}
