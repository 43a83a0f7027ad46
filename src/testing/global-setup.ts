/** Makes the folder that all test files of a run share, and removes it behind the last of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { RUN_FOLDER_VARIABLE } from './run-folder.ts';

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-tests-'));
  env[RUN_FOLDER_VARIABLE] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
