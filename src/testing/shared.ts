/** Reference material that is kept beside the checkout and not in it; tests skip without it. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { packageRoot } from '../files.ts';

/** Path of ../shared/<relative>, or undefined after printing why the tests that need it are skipped. */
export function sharedFile(relative: string): string | undefined {
  const path = resolve(packageRoot, '../shared', relative);
  if (existsSync(path)) return path;
  console.log(`skipped: ../shared/${relative} is not there`);
  return undefined;
}
