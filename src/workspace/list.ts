/** What there is to work with: processes, cells, designs, keys, models and runs, of the working folder and the package. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { loadCalibration } from '../cell/calibration.ts';
import { loadProcess } from '../cell/technology.ts';
import { OnefetError } from '../error.ts';
import { readResult } from '../experiment/read-result.ts';
import { runFolders } from '../experiment/run-folder.ts';
import { loadDesign } from '../fabric/design.ts';
import { designKeys } from '../fabric/design-keys.ts';
import { displayPath, findDataFile, listDataFolder } from '../files.ts';
import { formatSi } from '../format.ts';
import { openModel } from '../model/model.ts';

export const LISTABLE = ['cells', 'processes', 'designs', 'keys', 'models', 'runs'] as const;
export type Listable = (typeof LISTABLE)[number];

/** Rows of a list: plain data under names with units. `problem` says why the rest of a row is missing. */
export type ListRow = Readonly<Record<string, string | number | boolean | null>>;

export interface ListOptions {
  /** Folder of the runs. */
  readonly runs: string;
  /** Design whose keys are listed. */
  readonly design: string;
  /** Only cells of this process. */
  readonly process?: string | undefined;
}

/** Lists one kind of thing; what is broken is a row with its problem and ends no list. */
export function listThings(what: Listable, options: ListOptions): ListRow[] {
  switch (what) {
    case 'processes':
      return processNames().map((name) => row({ process: name }, () => processRow(name)));
    case 'cells':
      return (options.process === undefined ? processNames() : [options.process]).flatMap(cellRows);
    case 'designs':
      return designNames().map((name) => row({ design: name }, () => designRow(name)));
    case 'keys':
      return keyRows(options.design);
    case 'models':
      return modelPaths().map((path) => row({ model: displayPath(path) }, () => modelRow(path)));
    case 'runs':
      return runFolders(options.runs).map((folder) => row({ run: folder }, () => runRow(folder)));
  }
}

/** The row, or what is known of it beside the reason why there is no more. */
function row(known: ListRow, read: () => ListRow): ListRow {
  try {
    return { ...known, ...read() };
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind === 'internal') throw error;
    return { ...known, problem: error.message };
  }
}

const processNames = (): string[] =>
  listDataFolder('spice').filter((name) => findDataFile(join('spice', name, 'technology.yaml')));

function processRow(name: string): ListRow {
  const { technology, path } = loadProcess(name);
  return {
    supplyV: technology.supplyV.value,
    cells: Object.keys(technology.cells).length,
    calibrated: Object.keys(technology.cells).filter((cell) => isCalibrated(name, cell)).length,
    costs: findDataFile(join('spice', name, 'cost.yaml')) !== undefined,
    file: displayPath(path),
    description: technology.description.trim(),
  };
}

function cellRows(process: string): ListRow[] {
  let cells: ReturnType<typeof loadProcess>['technology']['cells'];
  try {
    ({ cells } = loadProcess(process).technology);
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind === 'internal') throw error;
    return [{ process, cell: null, problem: error.message }];
  }
  return Object.entries(cells).map(([cell, { topology, widthM, lengthM, fullScaleA, source }]) => ({
    process,
    cell,
    topology,
    widthUm: toMicro(widthM),
    lengthUm: toMicro(lengthM),
    fullScaleA,
    calibration: calibrationState(process, cell),
    description: source,
  }));
}

const toMicro = (metres: number): number => Number((metres * 1e6).toPrecision(6));

const calibrationFile = (process: string, cell: string): string =>
  join('calibration', process, `${cell}.json`);

const isCalibrated = (process: string, cell: string): boolean =>
  findDataFile(calibrationFile(process, cell)) !== undefined;

/** none, ready, or why it is refused. */
function calibrationState(process: string, cell: string): string {
  if (!isCalibrated(process, cell)) return 'none';
  try {
    loadCalibration(process, cell);
    return 'ready';
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind === 'internal') throw error;
    return error.code === 'CALIBRATION_STALE' ? 'stale' : error.message;
  }
}

const designNames = (): string[] =>
  listDataFolder('experiments/designs')
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length));

function designRow(name: string): ListRow {
  const { design, path } = loadDesign(name);
  return {
    fabric: design.fabric,
    process: design.process,
    file: displayPath(path),
    description: design.description,
  };
}

function keyRows(design: string): ListRow[] {
  const { fabric } = loadDesign(design).design;
  return designKeys(fabric).map(({ key, allowed, unit, default: value, description }) => ({
    key,
    default: value === undefined ? null : valueText(value),
    unit: unit ?? null,
    allowed,
    description,
  }));
}

export const valueText = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '');

/** GGUF files of the package, of `npm run fetch-model` and of the working folder itself. */
function modelPaths(): string[] {
  const inPackage = listDataFolder('experiments/models').map((name) => join('experiments/models', name));
  const besides = ['.onefet/models', '.'].flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [],
  );
  return [...inPackage.map((path) => findDataFile(path) ?? path), ...besides].filter((path) =>
    path.endsWith('.gguf'),
  );
}

function modelRow(path: string): ListRow {
  const model = openModel(path);
  try {
    return {
      name: model.name,
      architecture: model.shape.architecture.name,
      parameters: model.parameterCount,
      type: model.fileType,
      contextTokens: model.shape.contextTokens,
      bytes: statSync(path).size,
    };
  } finally {
    model.close();
  }
}

function runRow(folder: string): ListRow {
  if (!existsSync(join(folder, 'result.json'))) return { problem: 'not finished: give its command again' };
  const { model, design, chips, digital, summary, projection, text } = readResult(folder);
  return {
    model: model.name,
    design: design.name,
    changed: Object.entries(design.overrides)
      .map(([key, value]) => `${key}=${valueText(value)}`)
      .join(' '),
    chips: chips.length,
    predictions: text.scored,
    digitalPerplexity: digits(digital.perplexity),
    perplexity: digits(summary.perplexity.mean),
    klNats: digits(summary.kl.mean),
    energy8b: formatSi(projection.perTokenJ, 'J'),
    area8bMm2: digits(projection.areaMm2),
  };
}

const digits = (value: number): number => Number(value.toPrecision(4));
