/** Designs by name or path: experiments/designs/<name>.yaml in the working folder or the package, or a file. */
import { applyChanges, listChanges, type Overrides, readYaml, validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { readTextFile, requireDataFile, sha256 } from '../files.ts';
import { type Design, fabricModule } from './registry.ts';

/** Of a design that does not say. */
const DEFAULT_FABRIC = 'log-domain';

export interface LoadedDesign<D extends Design = Design> {
  readonly path: string;
  /** Of the resolved design: what decides the result. */
  readonly sha256: string;
  readonly design: D;
  /** Changes to the file, by key: settings and overrides together. */
  readonly overrides: Overrides;
}

/** Loads a design and changes it by the command line's `settings`, then by `overrides`. */
export function loadDesign(
  nameOrPath: string,
  settings: readonly string[] = [],
  overrides: Overrides = {},
): LoadedDesign {
  const path = /[/\\]|\.ya?ml$/.test(nameOrPath)
    ? nameOrPath
    : requireDataFile(`experiments/designs/${nameOrPath}.yaml`, 'design');
  readTextFile(path, 'design');
  const data = readYaml(path, 'design');
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new OnefetError('usage', 'CONFIG_VALUE', `${path}: a design is a mapping of keys to values`);
  }
  const changes = listChanges(settings, overrides);
  const settled = applyChanges(data, changes);
  const word = (settled as { fabric?: unknown }).fabric ?? DEFAULT_FABRIC;
  const design = validate(fabricModule(word, path).schema, settled, path) as Design;
  return { path, sha256: sha256(JSON.stringify(design)), design, overrides: changes };
}
