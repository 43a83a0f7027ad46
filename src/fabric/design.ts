/** Designs by name or path: experiments/designs/<name>.yaml in the working folder or the package, or a file. */
import { applySettings, readYaml, validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { readTextFile, requireDataFile, sha256 } from '../files.ts';
import { type Design, designSchema } from '../tile/design.ts';

export interface LoadedDesign {
  readonly path: string;
  /** Of the resolved design: what decides the result. */
  readonly sha256: string;
  readonly design: Design;
}

export function loadDesign(nameOrPath: string, settings: readonly string[] = []): LoadedDesign {
  const path = /[/\\]|\.ya?ml$/.test(nameOrPath)
    ? nameOrPath
    : requireDataFile(`experiments/designs/${nameOrPath}.yaml`, 'design');
  readTextFile(path, 'design');
  const data = readYaml(path, 'design');
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new OnefetError('usage', 'CONFIG_VALUE', `${path}: a design is a mapping of keys to values`);
  }
  const design = validate(designSchema, applySettings(data, settings), path);
  return { path, sha256: sha256(JSON.stringify(design)), design };
}
