/** Makes the folder that all test files of a run share, and removes it behind the last of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { packageRoot } from '../files.ts';
import { RUN_FOLDER_VARIABLE } from './run-folder.ts';

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-tests-'));
  env[RUN_FOLDER_VARIABLE] = folder;
  // The many worker threads of engines and simulators compile the same files: once is enough.
  env.NODE_COMPILE_CACHE ??= join(packageRoot, 'node_modules', '.cache', 'onefet');
  return () => rmSync(folder, { recursive: true, force: true });
}
