/** A temporary folder for all test files of one run: what one file made, the others find. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';

/** Set by global-setup.ts before the test files start. */
export const RUN_FOLDER_VARIABLE = 'ONEFET_TEST_FOLDER';

/** Returns the path of a folder below the run's, and makes it. */
export function runFolder(name: string): string {
  env[RUN_FOLDER_VARIABLE] ??= mkdtempSync(join(tmpdir(), 'onefet-tests-'));
  const path = join(env[RUN_FOLDER_VARIABLE], name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** Simulations and fits by content: whatever file of a run needs the same one again reads it. */
export const sharedSpiceCache = (): string => runFolder('spice');
