/**
 * A topology: netlists/<topology>/topology.yaml says what the folder's decks describe (an exponentiator, a multiplier,
 * a converter, a selector or a memory cell), what they can be asked, and what the cell occupies. The code knows no
 * topology by name: a new one is a folder.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { loadYaml } from '../config.ts';
import { OnefetError } from '../error.ts';
import { requireDataFile } from '../files.ts';
import { sourced } from '../provenance.ts';
import { checkName } from './technology.ts';

const folderName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and dashes');
const slotName = z.string().regex(/^[a-z][a-z0-9_]{0,40}$/, 'a slot of the netlist');

/** A number that fills a slot of the netlist, with where it comes from. */
const parameterSchema = sourced(z.number());
const parametersSchema = z.record(slotName, parameterSchema).default({});

const common = {
  schema: z.literal('onefet.topology/1'),
  name: folderName,
  description: z.string().min(1),
};

const multiplierShape = {
  ...common,
  /** Origin of gate levels: ideal sources, or transistors in the netlist. */
  driver: z.enum(['ideal', 'transistor']),
  /** A voltage in proportion to ln x on the row line, or a current in proportion to x (no slope to tune). */
  input: z.enum(['voltage', 'current']).default('voltage'),
  /**
   * Origin of input levels: a source that is told the slope at every temperature, or a string of resistors under a
   * PTAT current, which keep their size (the slope stands at the reference temperature then).
   */
  dac: z.enum(['ideal', 'string']).default('ideal'),
  /** Taps below a row line, source rails, or no ladder (the weight is a number of fingers). */
  ladder: z.enum(['tap', 'rail', 'none']),
  /** Quantity that sets the full-scale current, and the range in which a replica looks for it. */
  bias: z.strictObject({
    quantity: z.string().min(1),
    unit: z.string().min(1),
    startV: z.number(),
    stopV: z.number(),
    stepV: z.number().positive(),
  }),
  /** A larger bias lowers the current. */
  biasFalls: z.boolean().default(false),
  /** Needs a PMOS model: `pmos` in technology.yaml. */
  pmos: z.boolean().default(false),
  /** Volts per e-fold over Ut that the search for the best ones starts from. */
  start: z.strictObject({ dacSlopeFactor: z.number().positive(), ladderSlopeFactor: z.number().min(0) }),
  area: z.strictObject({
    /** Unit transistors that the top tap needs. */
    fingersOfTopTap: z.int().min(1).max(1024),
    horizontalTracks: z.union([z.literal('taps'), z.int().min(1).max(1024)]),
    verticalTracks: z.int().min(1).max(1024),
    resistors: z.int().min(0).max(16),
    isolatedWells: z.int().min(0).max(16),
  }),
  /** Circuits that each row (input) needs besides its line. */
  row: z.strictObject({ ladder: z.boolean(), buffer: z.boolean() }),
  parameters: parametersSchema,
  /** The parameter that is a row's random offset, and the size of the transistor whose mismatch it is. */
  offset: z
    .strictObject({
      parameter: slotName,
      widthParameter: slotName,
      lengthParameter: slotName,
      /** Circuit of the process whose simulated residue is a row's offset with auto-zero. */
      autoZeroBlock: folderName,
    })
    .optional(),
};

const exponentiatorSchema = z.strictObject({ ...multiplierShape, kind: z.literal('exponentiator') });
const multiplierSchema = z.strictObject({
  ...multiplierShape,
  kind: z.literal('multiplier'),
  /** Topology whose decks characterise the transistor: transfer, mismatch, noise, capacitance. */
  transistor: folderName,
});
const converterSchema = z.strictObject({
  ...common,
  kind: z.literal('converter'),
  /** Tap voltages in equal steps (logarithmic codes) or at ln k (linear codes). */
  law: z.enum(['uniform', 'logarithmic']),
  parameters: parametersSchema,
});
const selectorSchema = z.strictObject({
  ...common,
  kind: z.literal('selector'),
  parameters: parametersSchema,
});
const romSchema = z.strictObject({ ...common, kind: z.literal('rom'), parameters: parametersSchema });

const autoZeroSchema = z.strictObject({
  ...common,
  kind: z.literal('auto-zero'),
  parameters: parametersSchema,
});

const topologySchema = z.discriminatedUnion('kind', [
  exponentiatorSchema,
  multiplierSchema,
  converterSchema,
  selectorSchema,
  romSchema,
  autoZeroSchema,
]);

export type Topology = z.infer<typeof topologySchema>;
/** A topology that makes products. */
export type MultiplierTopology = Extract<Topology, { kind: 'exponentiator' | 'multiplier' }>;

/** Errors: NAME_INVALID, FILE_MISSING, TOPOLOGY_INVALID. */
export function loadTopology(topology: string): { topology: Topology; path: string } {
  checkName(topology, 'topology');
  const path = requireDataFile(join('netlists', topology, 'topology.yaml'), `topology ${topology}`);
  const valid = loadYaml(path, 'topology file', topologySchema, 'TOPOLOGY_INVALID');
  if (valid.name !== topology) {
    throw new OnefetError(
      'input',
      'TOPOLOGY_INVALID',
      `${path}: name is ${valid.name} but the folder is ${topology}`,
    );
  }
  return { topology: valid, path };
}

export function isMultiplier(topology: Topology): topology is MultiplierTopology {
  return topology.kind === 'exponentiator' || topology.kind === 'multiplier';
}

/** The multiplier that a cell of this topology is, or an error that says what it is instead. */
export function loadMultiplier(name: string): { topology: MultiplierTopology; path: string } {
  const { topology, path } = loadTopology(name);
  if (!isMultiplier(topology)) {
    throw new OnefetError('usage', 'TOPOLOGY_KIND', `${path}: a ${topology.kind}, not a multiplier`);
  }
  return { topology, path };
}

/** Values of the parameter slots; overrides must name parameters that there are. */
export function parameterValues(
  topology: Topology,
  overrides: Readonly<Record<string, number>> = {},
): Record<string, number> {
  for (const name of Object.keys(overrides)) {
    if (Object.hasOwn(topology.parameters, name)) continue;
    throw new OnefetError('usage', 'PARAMETER_UNKNOWN', `topology ${topology.name}: no parameter ${name}`, {
      hint: `parameters are ${Object.keys(topology.parameters).join(', ') || 'none'}`,
    });
  }
  return Object.fromEntries(
    Object.entries(topology.parameters).map(([name, { value }]) => [name, overrides[name] ?? value]),
  );
}
