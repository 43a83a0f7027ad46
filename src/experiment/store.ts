/**
 * The folder of a run: runs/<name>-<hash>/
 *   manifest.json         what decides the result: hashes of model, text, calibration and design, seed, versions
 *   config.resolved.yaml  the design with every default filled in
 *   results.jsonl         one line per finished job, appended; a resumed run skips what stands there
 *   baseline.f32          log-probabilities of the digital model at the scored positions
 *   states.f32            its residual stream behind each block, at some of them (block-error.ts)
 *   layers.f32            what its matrices read and give, at the end of the first window (layer-error.ts)
 *   result.json           the result; report.html the page
 *   activity.json         what was counted, to price it again (activity-file.ts)
 *   lock                  who is working in it (lock.ts)
 *
 * The hash covers everything that decides a job's outcome but not how many chips there are or how many threads work,
 * so that asking for more chips continues the same folder.
 *
 * A line of results.jsonl has a schema and the SHA-256 of its own content. One that was cut off or changed is not
 * believed: its job is done again. The last line of a job counts.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { OnefetError } from '../error.ts';
import { makeFolder, reasonOf, sha256, toJson, writeFileAtomic } from '../files.ts';
import { holdLock } from '../lock.ts';
import { type FinishedJob, JOB_SCHEMA } from './job.ts';

export interface RunFolder {
  readonly path: string;
  /** Finished jobs by key. */
  readonly finished: ReadonlyMap<string, FinishedJob>;
  /** Lines that could not be believed: their jobs are done again. */
  readonly damagedLines: number;
  /** Writes a job to the disk, then counts it as finished. */
  append(job: FinishedJob): void;
  /** Counts a job as not finished after all. */
  forget(key: string): void;
  /** Releases the folder for other processes. */
  close(): void;
}

/** Opens or creates the folder and takes its lock; lines of results.jsonl that are damaged are taken out. */
export function openRunFolder(path: string, manifest: object, configYaml: string): RunFolder {
  try {
    makeFolder(path);
  } catch (cause) {
    throw new OnefetError('usage', 'RUN_FOLDER', `cannot create the run folder ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'choose another folder with --out',
    });
  }
  const lock = holdLock(join(path, 'lock'), `the run folder ${path}`);
  try {
    writeFileAtomic(join(path, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    writeFileAtomic(join(path, 'config.resolved.yaml'), configYaml);
    const results = join(path, 'results.jsonl');
    const { finished, damagedLines } = readResults(results);
    return {
      path,
      finished,
      damagedLines,
      append(job) {
        lock.check();
        appendLine(results, encodeJob(job));
        finished.set(job.key, job);
      },
      forget: (key) => finished.delete(key),
      close: lock.release,
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Jobs that a run's folder has, read while another process may be working in it. */
export function readFinished(folder: string): ReadonlyMap<string, FinishedJob> {
  return parseResults(join(folder, 'results.jsonl')).finished;
}

/** One line of JSON that ends in the hash of all before it. */
export function encodeJob(job: FinishedJob): string {
  return JSON.stringify({ ...job, sha256: sha256(toJson(job, `job ${job.key}`)) });
}

/** The job of a line, or undefined where it is not what was written. */
export function decodeJob(line: string): FinishedJob | undefined {
  try {
    const { sha256: hash, ...job } = JSON.parse(line) as FinishedJob & { sha256: string };
    return job.schema === JOB_SCHEMA && hash === sha256(JSON.stringify(job)) ? job : undefined;
  } catch {
    return undefined;
  }
}

function readResults(path: string): { finished: Map<string, FinishedJob>; damagedLines: number } {
  const { finished, good, damagedLines } = parseResults(path);
  if (damagedLines > 0) writeFileAtomic(path, good.map((line) => `${line}\n`).join(''));
  return { finished, damagedLines };
}

function parseResults(path: string): {
  finished: Map<string, FinishedJob>;
  good: readonly string[];
  damagedLines: number;
} {
  const finished = new Map<string, FinishedJob>();
  if (!existsSync(path)) return { finished, good: [], damagedLines: 0 };
  const lines = readFileSync(path, 'utf8').split('\n');
  // Behind the last line break there is nothing, or a line that was cut off.
  const rest = lines.pop();
  const good = lines.filter((line) => {
    const job = decodeJob(line);
    if (job) finished.set(job.key, job);
    return job !== undefined;
  });
  return { finished, good, damagedLines: lines.length - good.length + (rest === '' ? 0 : 1) };
}

function appendLine(path: string, line: string): void {
  try {
    const handle = openSync(path, 'a');
    try {
      const bytes = Buffer.from(`${line}\n`, 'utf8');
      for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  } catch (cause) {
    throw new OnefetError('input', 'FILE_UNWRITABLE', `cannot write ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'free disk space and run the same command again: finished jobs are kept',
    });
  }
}
