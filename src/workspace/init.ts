/**
 * Working templates in the working folder: a design, a process, a cell of a process or a topology, each a copy of one that
 * works under a name of its own. Nothing that exists is overwritten.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseDocument } from 'yaml';
import { datasheetPath } from '../cell/datasheet/datasheet.ts';
import { loadProcess } from '../cell/technology.ts';
import { nearestName, OnefetError } from '../error.ts';
import { displayPath, findDataFile, readTextFile, requireDataFile, writeFileAtomic } from '../files.ts';

export const TEMPLATES = ['design', 'process', 'cell', 'topology'] as const;
export type Template = (typeof TEMPLATES)[number];

export interface InitOptions {
  readonly name: string;
  /** What is copied: a design, process, cell or topology. Default: the one that `onefet start` uses. */
  readonly from?: string | undefined;
  /** Of a cell: the process that it belongs to, and its gate. */
  readonly process?: string | undefined;
  readonly widthM?: number | undefined;
  readonly lengthM?: number | undefined;
}

export interface Made {
  /** Files that were written, below the working folder. */
  readonly files: readonly string[];
  /** What still describes the source of the copy, by file. */
  readonly edit?: readonly string[];
  /** Commands that come next. */
  readonly next: readonly string[];
}

const DEFAULTS: Readonly<Record<Template, string>> = {
  design: 'log-domain',
  process: 'planar32lp',
  cell: 't1-large',
  topology: 't1',
};

/** Makes a template. Errors (usage): INIT_NAME, INIT_EXISTS; FILE_MISSING (input) for what it should be made of. */
export function initTemplate(template: Template, options: InitOptions): Made {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(options.name)) {
    throw new OnefetError(
      'usage',
      'INIT_NAME',
      `${JSON.stringify(options.name)} is no name of a ${template}`,
      {
        hint: 'lower-case letters, digits and dashes, at most 64',
      },
    );
  }
  switch (template) {
    case 'design':
      return initDesign(options);
    case 'process':
      return initProcess(options);
    case 'cell':
      return initCell(options);
    case 'topology':
      return initTopology(options);
  }
}

function initDesign({ name, from = DEFAULTS.design }: InitOptions): Made {
  const source = requireDataFile(`experiments/designs/${from}.yaml`, 'design');
  const target = join('experiments', 'designs', `${name}.yaml`);
  refuseExisting(target);
  writeFileAtomic(target, renamed(readTextFile(source, 'design'), 'name', from, name));
  return { files: [target], next: [`onefet run --design ${name}`, `onefet show design --design ${name}`] };
}

function initProcess({ name, from = DEFAULTS.process }: InitOptions): Made {
  const folder = dirname(requireDataFile(join('spice', from, 'technology.yaml'), `process ${from}`));
  const target = join('spice', name);
  refuseExisting(target);
  const files = copyTexts(folder, target, (file, text) =>
    file === 'technology.yaml'
      ? renamed(text, 'name', from, name)
      : isCosts(file)
        ? renamed(text, 'process', from, name)
        : text,
  );
  const cells = Object.keys(loadProcess(from).technology.cells);
  const datasheets = cells.flatMap((cell) => copyDatasheet({ process: from, cell }, { process: name, cell }));
  const [cell] = cells;
  const costs = files.filter((file) => isCosts(basename(file)));
  const { supplyV } = loadProcess(from).technology;
  return {
    files: [...files, ...datasheets],
    edit: [
      `${join(target, 'technology.yaml')}: description, supplyV, temperatures, oxideM, mismatch and cells are those of ${from}`,
      ...costs.map((file) => `${file}: nodesNm and every constant are those of ${from}`),
      ...datasheets.map((file) => `${file}: specifications`),
      `a design for another supply than ${supplyV.value} V: --set supplyV=... --set vdsV=..., or onefet init design ${name}`,
    ],
    next: [
      `onefet calibrate --process ${name} --cell ${cell}`,
      ...(existsSync(datasheetPath(name, cell)) ? [`onefet datasheet --process ${name} --cell ${cell}`] : []),
      `onefet run --set process=${name} --set cell=${cell}`,
      `onefet list cells --process ${name}`,
    ],
  };
}

/** Files of constants of a process: cost.yaml and its variants. */
const isCosts = (file: string): boolean => /^cost(-.*)?\.yaml$/.test(file);

interface NamedCell {
  readonly process: string;
  readonly cell: string;
}

/** Copies the specifications of a cell, where it has any, to one that has none; returns the file. */
function copyDatasheet(from: NamedCell, to: NamedCell): string[] {
  const source = findDataFile(datasheetPath(from.process, from.cell));
  const target = datasheetPath(to.process, to.cell);
  if (source === undefined || existsSync(target)) return [];
  // The title names the cell that it was written for.
  const title = `title: ${to.cell} of ${to.process}, specifications of ${from.process}/${from.cell}`;
  writeFileAtomic(target, readTextFile(source, 'datasheet').replace(/^title:.*$/m, title));
  return [target];
}

function initTopology({ name, from = DEFAULTS.topology }: InitOptions): Made {
  const folder = dirname(requireDataFile(join('netlists', from, 'topology.yaml'), `topology ${from}`));
  const target = join('netlists', name);
  refuseExisting(target);
  const files = copyTexts(folder, target, (file, text) =>
    file === 'topology.yaml' ? renamed(text, 'name', from, name) : text,
  );
  return {
    files,
    next: [`give a cell "topology: ${name}" in spice/<process>/technology.yaml, then onefet calibrate`],
  };
}

/** Adds an entry to technology.yaml of the working folder; a process of the package is copied there first. */
function initCell(options: InitOptions): Made {
  const { name, from = DEFAULTS.cell, process = DEFAULTS.process, widthM, lengthM } = options;
  const { technology, folder, path } = loadProcess(process);
  const { cells } = technology;
  if (!Object.hasOwn(cells, from)) {
    const nearest = nearestName(from, Object.keys(cells));
    throw new OnefetError('usage', 'INIT_NAME', `process ${process} has no cell ${from}`, {
      hint: nearest ? `did you mean ${nearest}?` : `its cells are ${Object.keys(cells).join(', ')}`,
    });
  }
  if (Object.hasOwn(cells, name)) throw exists(`cell ${name} of ${displayPath(path)}`);
  const own = join('spice', process, 'technology.yaml');
  const copied = existsSync(own) ? [] : copyTexts(folder, join('spice', process), (_, text) => text);
  const document = parseDocument(readTextFile(own, 'technology file'));
  const like = document.getIn(['cells', from]);
  const entry = document.createNode(like);
  document.setIn(['cells', name], {
    ...(entry.toJSON() as object),
    ...gate(widthM, lengthM),
    ...chosen(from),
  });
  writeFileAtomic(own, document.toString({ lineWidth: 0 }));
  const datasheet = copyDatasheet({ process, cell: from }, { process, cell: name });
  return {
    files: [...new Set([...copied, own, ...datasheet])],
    next: [`onefet calibrate --process ${process} --cell ${name}`, `onefet run --set cell=${name}`],
  };
}

const gate = (widthM: number | undefined, lengthM: number | undefined): object => ({
  ...(widthM === undefined ? {} : { widthM }),
  ...(lengthM === undefined ? {} : { lengthM }),
});

const chosen = (from: string): object => ({ source: `made from ${from}`, tag: 'chosen' });

/** `key: old` at the start of a line becomes `key: new`. */
function renamed(text: string, key: string, old: string, name: string): string {
  const line = new RegExp(`^${key}:[ \\t]*(["']?)${old}\\1[ \\t]*$`, 'm');
  if (!line.test(text)) {
    throw new OnefetError('input', 'CONFIG_VALUE', `the template has no line "${key}: ${old}"`, {
      hint: 'choose another with --from',
    });
  }
  return text.replace(line, `${key}: ${name}`);
}

/** Copies the text files of a folder, changed by `change`. */
function copyTexts(from: string, to: string, change: (file: string, text: string) => string): string[] {
  return readdirSync(from)
    .sort()
    .filter((file) => statSync(join(from, file)).isFile())
    .map((file) => {
      const target = join(to, file);
      const text = readTextFile(join(from, file), 'template', { orLatin1: true });
      writeFileAtomic(target, change(file, text));
      return target;
    });
}

function refuseExisting(path: string): void {
  if (existsSync(path)) throw exists(path);
}

const exists = (what: string): OnefetError =>
  new OnefetError('usage', 'INIT_EXISTS', `${what} exists already`, { hint: 'choose another name' });
