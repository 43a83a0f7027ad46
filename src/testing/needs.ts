/** Needs of some tests that not every machine meets: such tests are skipped, and the closing lines say why. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { packageRoot } from '../files.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** Why the test is skipped on this machine. */
    missing?: string;
  }
}

/** Returns the options of a test or suite that is skipped if something is missing: the first reason, if any. */
export function needs(...reasons: readonly (string | undefined)[]): {
  skip: boolean;
  meta: { missing?: string };
} {
  const missing = reasons.find((reason) => reason !== undefined);
  return missing === undefined ? { skip: false, meta: {} } : { skip: true, meta: { missing } };
}

/** Returns the path of reference material that is kept beside the checkout and not in it. */
export function sharedPath(relative: string): string {
  return resolve(packageRoot, '../shared', relative);
}

/** Returns why a file of that folder cannot be read, or undefined. */
export function missingShared(relative: string): string | undefined {
  if (existsSync(sharedPath(relative))) return undefined;
  return existsSync(sharedPath('.'))
    ? `no ../shared/${relative} beside the repository`
    : 'no ../shared beside the repository';
}
