/** Designs by name or path: experiments/designs/<name>.yaml in the working folder or the package, or a file. */
import { applySettings, readYaml, validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { readTextFile, requireDataFile, sha256 } from '../files.ts';
import type { LogDomainDesign } from './log-domain.ts';
import { type Design, fabricModule } from './registry.ts';

/** Of a design that does not say. */
const DEFAULT_FABRIC = 'log-domain';

export interface LoadedDesign<D extends Design = Design> {
  readonly path: string;
  /** Of the resolved design: what decides the result. */
  readonly sha256: string;
  readonly design: D;
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
  const settled = applySettings(data, settings);
  const word = (settled as { fabric?: unknown }).fabric ?? DEFAULT_FABRIC;
  const design = validate(fabricModule(word, path).schema, settled, path) as Design;
  return { path, sha256: sha256(JSON.stringify(design)), design };
}

/** A design for what is about the tiles of a log-domain chip alone; others are refused. */
export function loadLogDomainDesign(
  nameOrPath: string,
  settings: readonly string[] = [],
): LoadedDesign<LogDomainDesign> {
  const { path, sha256: hash, design } = loadDesign(nameOrPath, settings);
  if (design.fabric === 'log-domain') return { path, sha256: hash, design };
  throw new OnefetError(
    'usage',
    'FABRIC',
    `${path}: this is for log-domain chips, not for ${design.fabric}`,
    {
      hint: 'use a design with fabric: log-domain',
    },
  );
}
