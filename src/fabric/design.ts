/** Designs by name or path: experiments/designs/<name>.yaml in the working folder or the package, or a file. */

import type { z } from 'zod';
import { applyChanges, listChanges, type Overrides, readYaml, validate } from '../config.ts';
import { OnefetError } from '../error.ts';
import { requireDataFile, sha256 } from '../files.ts';
import { designKeys } from './design-keys.ts';
import { DEFAULT_FABRIC, type Design, fabricModule } from './registry.ts';

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
  const data = readYaml(path, 'design');
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new OnefetError('usage', 'CONFIG_VALUE', `${path}: a design is a mapping of keys to values`);
  }
  const changes = listChanges(settings, overrides);
  const settled = applyChanges(data, changes);
  const giver = (key: string) => giverOf(key, settings, overrides) ?? path;
  refuseBlockOverrides(settled, giver('weights.overrides.blk'));
  const word = (settled as { fabric?: unknown }).fabric ?? DEFAULT_FABRIC;
  const design = validateDesign(String(word), fabricModule(word, path).schema, settled, giver);
  return { path, sha256: sha256(JSON.stringify(design)), design, overrides: changes };
}

/** Validates a design; what a wrong value may be is said in the hint. */
function validateDesign(
  fabric: string,
  schema: z.ZodType,
  settled: unknown,
  giver: (key: string) => string,
): Design {
  let wrong = '';
  try {
    return validate(schema, settled, (key) => {
      wrong = key;
      return giver(key);
    }) as Design;
  } catch (error) {
    if (!(error instanceof OnefetError) || error.hint !== undefined) throw error;
    const allowed = designKeys(fabric).find(({ key }) => key === wrong)?.allowed;
    if (allowed === undefined) throw error;
    const hint = `${wrong} may be ${allowed}; what it means: onefet show design ${wrong}`;
    throw new OnefetError(error.kind, error.code, error.message, { hint, cause: error });
  }
}

/** The option or override that gave a key, one inside it or a group around it; undefined: the file did. */
function giverOf(key: string, settings: readonly string[], overrides: Overrides): string | undefined {
  const gives = (given: string) =>
    given === key || given.startsWith(`${key}.`) || key.startsWith(`${given}.`);
  const setting = settings.findLast((one) => gives(one.slice(0, one.indexOf('='))));
  if (setting !== undefined) return `--set ${setting}`;
  return Object.keys(listChanges([], overrides)).some(gives) ? 'overrides' : undefined;
}

/** `weights.overrides.blk.0.ffn_down`, which the schema could only call a wrong value of "blk". */
function refuseBlockOverrides(design: unknown, where: string): void {
  const overrides = (design as { weights?: { overrides?: unknown } }).weights?.overrides;
  if (typeof overrides !== 'object' || overrides === null) return;
  const named = Object.entries(overrides).find(([key]) => key === 'blk' || key.startsWith('blk.'));
  if (named === undefined) return;
  throw new OnefetError(
    'usage',
    'DESIGN_TENSOR',
    `${where}: weights.overrides.${named[0]}: bits are those of a matrix in every block, not in one`,
    { hint: 'name the matrix alone, as in weights.overrides.ffn_down=6' },
  );
}
