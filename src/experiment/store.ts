/**
 * The folder of a run: runs/<name>-<hash>/
 *   manifest.json         what decides the result: hashes of model, text, calibration and design, seed, versions
 *   config.resolved.yaml  the design with every default filled in
 *   results.jsonl         one line per finished job, appended; a resumed run skips what stands there
 *   baseline.f32          log-probabilities of the digital model at the scored positions
 *   states.f32            its residual stream behind each block, at some of them (block-error.ts)
 *   result.json           the result; report.html the page
 *
 * The hash covers everything that decides a job's outcome but not how many chips there are or how many threads work,
 * so that asking for more chips continues the same folder.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { reasonOf, writeFileAtomic } from '../files.ts';
import { takeLock } from '../lock.ts';
import type { JobResult } from './job.ts';

export interface RunFolder {
  readonly path: string;
  /** Finished jobs by key. */
  readonly finished: Map<string, JobResult>;
  append(result: JobResult): void;
  /** Releases the folder for other processes. */
  close(): void;
}

/** Opens or creates the folder and takes its lock; a half-written last line of results.jsonl is cut off. */
export function openRunFolder(path: string, manifest: object, configYaml: string): RunFolder {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw new OnefetError('usage', 'RUN_FOLDER', `cannot create the run folder ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'choose another folder with --out',
    });
  }
  const unlock = takeLock(join(path, 'lock'), `the run folder ${path}`);
  try {
    writeFileAtomic(join(path, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    writeFileAtomic(join(path, 'config.resolved.yaml'), configYaml);
    const results = join(path, 'results.jsonl');
    const finished = readResults(results);
    return {
      path,
      finished,
      append(result) {
        try {
          appendFileSync(results, `${JSON.stringify(result)}\n`);
        } catch (cause) {
          throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${results}: ${reasonOf(cause)}`, {
            cause,
            hint: 'free disk space and run the same command again: finished jobs are kept',
          });
        }
        finished.set(result.key, result);
      },
      close: unlock,
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

function readResults(path: string): Map<string, JobResult> {
  const finished = new Map<string, JobResult>();
  if (!existsSync(path)) return finished;
  const text = readFileSync(path, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  let good = 0;
  for (const line of whole.split('\n')) {
    if (line === '') continue;
    try {
      const result = JSON.parse(line) as JobResult;
      finished.set(result.key, result);
    } catch {
      // A line that a full disk or a crash spoiled: it and what follows is done again.
      break;
    }
    good += Buffer.byteLength(line, 'utf8') + 1;
  }
  const handle = openSync(path, 'r+');
  try {
    if (fstatSync(handle).size !== good) ftruncateSync(handle, good);
  } finally {
    closeSync(handle);
  }
  return finished;
}
