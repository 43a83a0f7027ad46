/** Designs for tests of what only log-domain chips have. */
import type { Overrides } from '../config.ts';
import { type LoadedDesign, loadDesign } from '../fabric/design.ts';
import type { LogDomainDesign } from '../fabric/log-domain.ts';

/** As loadDesign, typed; fails for another fabric. */
export function loadLogDomainDesign(
  nameOrPath: string,
  settings: readonly string[] = [],
  overrides: Overrides = {},
): LoadedDesign<LogDomainDesign> {
  const loaded = loadDesign(nameOrPath, settings, overrides);
  const { design } = loaded;
  if (design.fabric !== 'log-domain') throw new Error(`${loaded.path} is a ${design.fabric} design`);
  return { ...loaded, design };
}

/** By fabric: what makes the errors of its shipped design large enough to be seen on a few thousand weights. */
export const VISIBLE_ERRORS: Readonly<Record<string, readonly string[]>> = {
  'mask-rom': ['rom.cellArea=1'],
};
