/**
 * Runs jobs on threads. A thread keeps the chip that it built, so it is given that chip's next window first, then the
 * chip that the fewest threads work on. Results do not depend on who does what, only their order of arrival does.
 */

import { Worker } from 'node:worker_threads';
import { fromPlainError, interrupted, OnefetError, type PlainError } from '../error.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { sourceExtension } from '../files.ts';
import type { ExecutorOptions } from './execute.ts';
import type { Job, JobResult } from './job.ts';
import { variantKey } from './variant.ts';

export interface Crew {
  /** Runs all jobs; `onResult` sees each as it ends. Rejects at the first failure, after stopping the others. */
  run(
    jobs: readonly Job[],
    ranges: RangeTable | undefined,
    onResult: (result: JobResult) => void,
  ): Promise<void>;
  close(): Promise<void>;
}

export function createCrew(threads: number, options: ExecutorOptions, signal?: AbortSignal): Crew {
  type Message = { result?: JobResult; error?: PlainError };
  // What the run in progress does with a worker's message or death; between runs nobody listens.
  let onMessage: (index: number, message: Message) => void = () => {};
  let onFailure: (error: OnefetError) => void = () => {};
  let dead: OnefetError | undefined;
  const workers = Array.from({ length: threads }, (_, index) => {
    const worker = new Worker(new URL(`./worker${sourceExtension}`, import.meta.url), {
      workerData: options,
    });
    const fail = (cause: unknown) => {
      dead ??= workerFailure(cause);
      onFailure(dead);
    };
    worker.on('message', (message: Message) => onMessage(index, message));
    worker.on('error', fail);
    worker.on('exit', (code) => fail(new Error(`a worker thread ended with code ${code}`)));
    return worker;
  });
  const close = async () => {
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
  const run: Crew['run'] = (jobs, ranges, onResult) => {
    const waiting = [...jobs];
    const lastVariant = new Array<string>(threads).fill('');
    let busy = 0;
    return new Promise<void>((resolve, reject) => {
      const settle = (error?: OnefetError) => {
        onMessage = () => {};
        onFailure = () => {};
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else close().then(() => reject(error), reject);
      };
      const onAbort = () => settle(runInterrupted());
      if (signal?.aborted) return settle(runInterrupted());
      if (dead) return settle(dead);
      signal?.addEventListener('abort', onAbort);
      const next = (index: number) => {
        const position = pick(waiting, lastVariant, index);
        if (position < 0) {
          if (busy === 0) settle();
          return;
        }
        const [job] = waiting.splice(position, 1);
        lastVariant[index] = variantKey(job.variant);
        busy++;
        workers[index].postMessage({ job, ranges });
      };
      onFailure = settle;
      onMessage = (index, { result, error }) => {
        busy--;
        if (error) return settle(fromPlainError(error));
        try {
          onResult(result!);
        } catch (cause) {
          return settle(cause instanceof OnefetError ? cause : workerFailure(cause));
        }
        next(index);
      };
      if (waiting.length === 0) return settle();
      for (let index = 0; index < workers.length && waiting.length > 0; index++) next(index);
    });
  };
  return { run, close };
}

function pick(waiting: readonly Job[], lastVariant: readonly string[], index: number): number {
  if (waiting.length === 0) return -1;
  const own = waiting.findIndex((job) => variantKey(job.variant) === lastVariant[index]);
  if (own >= 0) return own;
  let best = 0;
  let fewest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < waiting.length; i++) {
    const key = variantKey(waiting[i].variant);
    const others = lastVariant.reduce((n, last) => n + (last === key ? 1 : 0), 0);
    if (others < fewest) {
      fewest = others;
      best = i;
    }
  }
  return best;
}

/** Ctrl-C in a run. */
export const runInterrupted = () =>
  interrupted('interrupted', { hint: 'run the same command again to resume: finished jobs are kept' });

function workerFailure(cause: unknown): OnefetError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return new OnefetError('usage', 'MEMORY', 'a worker thread ran out of memory', {
      cause,
      hint: 'use fewer --threads or a smaller model',
    });
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return new OnefetError('internal', 'WORKER', message, { cause });
}
