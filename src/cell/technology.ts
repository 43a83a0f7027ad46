/**
 * A process: spice/<process>/technology.yaml beside its model files. Every value carries its source and how it is
 * known. A folder of the same name in the working folder comes before the package's.
 */
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { loadYaml } from '../config.ts';
import { nearestName, OnefetError } from '../error.ts';
import { requireDataFile } from '../files.ts';
import { provenanceShape, sourced } from '../provenance.ts';
import { partsOf } from '../sources.ts';

export const CORNERS = ['TT', 'FF', 'SS', 'FS', 'SF'] as const;
export type Corner = (typeof CORNERS)[number];

/** Floor of tabulated off currents, so that a logarithm exists where rounding leaves zero. */
export const SMALLEST_OFF_A = 1e-21;

const positive = sourced(z.number().positive());
const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and dashes');

const modelName = z.string().regex(/^[A-Za-z_][\w.]{0,63}$/);

const cellSchema = z.strictObject({
  /** Folder below netlists/. */
  topology: name,
  /** Name of the transistor model in the process's model file. */
  model: modelName,
  widthM: z.number().min(1e-9).max(1e-3),
  lengthM: z.number().min(1e-9).max(1e-3),
  /** Current at the largest code and the top tap at which the cell is calibrated. */
  fullScaleA: z.number().min(1e-12).max(1e-3),
  /** Nominal drain-source voltage. */
  vdsV: z.number().positive().default(0.4),
  /** Overrides of the topology's parameters for this process, by slot name. */
  parameters: z.record(z.string(), z.number()).optional(),
  ...provenanceShape,
});

export const technologySchema = z.strictObject({
  schema: z.literal('onefet.technology/1'),
  name,
  description: z.string().default(''),
  models: z.strictObject({
    /** Library in the same folder, with one .lib section per corner. */
    file: z.string().regex(/^[\w.-]+$/, 'a file name in the same folder'),
    /** Corner -> section name. TT is required; a corner that is absent cannot be selected later. */
    corners: z
      .partialRecord(z.enum(CORNERS), z.string().min(1))
      .refine((map) => map.TT !== undefined, 'TT is required'),
    /** Unit in which the library counts lengths, m, where it says `.option scale`. */
    scaleM: z.number().min(1e-9).max(1).optional(),
  }),
  /** Names of the transistor models for circuits around the cell: drivers, converters, selectors. */
  nmos: modelName.optional(),
  pmos: modelName.optional(),
  supplyV: positive,
  minTempK: positive,
  maxTempK: positive,
  oxideM: positive,
  /** Length of the drain and source junctions along the channel direction. */
  junctionLengthM: positive,
  mismatch: z.strictObject({
    /** Pelgrom coefficient of the threshold, V m: sigma(Vt) = avtVm / sqrt(W L). */
    avtVm: positive,
    /** Of the current factor, m: sigma(beta)/beta = abetaM / sqrt(W L). */
    abetaM: positive,
  }),
  cells: z.record(name, cellSchema),
  /** Converter, selector and memory topologies to characterise, with overrides of their parameters. */
  blocks: z
    .record(name, z.strictObject({ parameters: z.record(z.string(), z.number()).optional() }))
    .optional(),
});

export type Technology = z.infer<typeof technologySchema>;
export type CellDescription = z.infer<typeof cellSchema>;

export interface Process {
  readonly technology: Technology;
  /** Folder that holds technology.yaml and the models. */
  readonly folder: string;
  readonly path: string;
}

export function loadProcess(process: string): Process {
  checkName(process, 'process');
  const path = requireDataFile(join('spice', process, 'technology.yaml'), `process ${process}`);
  const technology = loadYaml(path, 'technology file', technologySchema, 'TECHNOLOGY_INVALID');
  if (technology.name !== process) {
    throw new OnefetError(
      'input',
      'TECHNOLOGY_INVALID',
      `${path}: name is ${technology.name} but the folder is ${process}`,
    );
  }
  return { technology, folder: dirname(path), path };
}

/**
 * The part of technology.yaml that a device's simulations use, as a source of its calibration: other cells and circuits of
 * the process, descriptions and remarks may change without making it stale. `models`: names of more transistors in use.
 */
export function technologySource(
  process: Process,
  device: { readonly cell: string } | { readonly circuit: string },
  models: readonly ('nmos' | 'pmos')[] = [],
): string {
  const own = 'cell' in device ? `cells.${device.cell}` : `blocks.${device.circuit}`;
  return partsOf(process.path, [...COMMON_PARTS, ...models, own]);
}

/** `mismatch` with sources and tags, which a calibration repeats. */
const COMMON_PARTS = [
  'models',
  'supplyV.value',
  'minTempK.value',
  'maxTempK.value',
  'oxideM.value',
  'junctionLengthM.value',
  'mismatch',
];

export function cellOf(process: Process, cell: string): CellDescription {
  const { cells } = process.technology;
  if (Object.hasOwn(cells, cell)) return cells[cell];
  const known = Object.keys(cells);
  const nearest = nearestName(cell, known);
  throw new OnefetError('usage', 'CELL_UNKNOWN', `${process.path}: no cell "${cell}"`, {
    hint: nearest ? `did you mean ${nearest}?` : `cells are ${known.join(', ')}`,
  });
}

/** A cell of another size or bias, and another supply, than its process file has. */
export interface CellChanges {
  readonly widthM?: number | undefined;
  readonly lengthM?: number | undefined;
  readonly vdsV?: number | undefined;
  readonly fullScaleA?: number | undefined;
  readonly supplyV?: number | undefined;
}

/** The process with one cell changed, for trials: what comes of it is not the cell's calibration and is not kept as such. */
export function withCellChanges(process: Process, cell: string, changes: CellChanges): Process {
  const { supplyV, ...ofCell } = changes;
  const said = Object.fromEntries(Object.entries(ofCell).filter(([, value]) => value !== undefined));
  const { technology } = process;
  return {
    ...process,
    technology: {
      ...technology,
      ...(supplyV === undefined ? {} : { supplyV: { ...technology.supplyV, value: supplyV } }),
      cells: { ...technology.cells, [cell]: { ...cellOf(process, cell), ...said } },
    },
  };
}

/** Lists the corners that the process's models have, TT first. */
export const processCorners = ({ technology }: Process): Corner[] =>
  CORNERS.filter((corner) => technology.models.corners[corner] !== undefined);

/** Picks temperatures in C that lie inside a range in K; returns them in K. */
export const temperaturesInside = (
  [lowK, highK]: readonly [number, number],
  tempsC: readonly number[],
): number[] => tempsC.map((c) => c + 273.15).filter((t) => t >= lowK - 1e-6 && t <= highK + 1e-6);

/** Temperatures that the process is made for, K. */
export const temperatureRangeK = ({ technology }: Process): [number, number] => [
  technology.minTempK.value,
  technology.maxTempK.value,
];

/** Names come from the command line and become path segments. */
export function checkName(text: string, what: string): void {
  if (!name.safeParse(text).success) {
    throw new OnefetError(
      'usage',
      'NAME_INVALID',
      `${what} "${text}": lower-case letters, digits and dashes only`,
    );
  }
}
