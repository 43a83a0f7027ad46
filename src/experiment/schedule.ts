/**
 * Who runs the jobs of a run. Where a backend spreads every token over its own threads, one engine at a time runs them
 * one after the other; else each thread has an engine and runs whole jobs. A thread keeps the chip that it built, so it
 * is given that chip's next window first, then the chip that the fewest threads work on. Results do not depend on who
 * does what, only their order of arrival does.
 */
import { Worker } from 'node:worker_threads';
import { findBackend } from '../engine/create.ts';
import { fromPlainError, interrupted, OnefetError, type PlainError } from '../error.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { sourceExtension } from '../files.ts';
import { createExecutor, type ExecutorHooks, type ExecutorOptions } from './execute.ts';
import type { Job, JobResult } from './job.ts';
import { variantKey } from './variant.ts';

export interface JobRunner {
  /** Runs all jobs; `onResult` sees each as it ends. Rejects at the first failure, after stopping the others. */
  run(
    jobs: readonly Job[],
    ranges: RangeTable | undefined,
    onResult: (result: JobResult) => void,
  ): Promise<void>;
  close(): Promise<void>;
}

/** `threads`: all together; `mostJobs`: threads beyond that many would have nothing to do. */
export function createRunner(options: ExecutorOptions, mostJobs: number, hooks: ExecutorHooks): JobRunner {
  const threads = Math.min(options.threads, mostJobs);
  // One thread that runs whole jobs is this one: a worker would only load everything again.
  return threads === 1 || findBackend(options.backend).parallelism === 'tokens'
    ? oneByOne(options, hooks)
    : onThreads(threads, { ...options, threads: 1 }, hooks);
}

function oneByOne(options: ExecutorOptions, hooks: ExecutorHooks): JobRunner {
  const executor = createExecutor(options, hooks);
  return {
    async run(jobs, ranges, onResult) {
      for (const queue of byVariant(jobs).values()) {
        for (const job of queue) {
          if (hooks.signal?.aborted) throw runInterrupted();
          onResult(await resumable(executor.execute(job, ranges)));
          // Lets Ctrl-C and the progress in between two windows.
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    },
    close: () => executor.close(),
  };
}

/** An engine's own interruption does not know that finished jobs are kept. */
async function resumable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof OnefetError && error.kind === 'interrupted' ? runInterrupted() : error;
  }
}

/** The jobs of each variant, variants in the order of their first job. */
export function byVariant(jobs: readonly Job[]): Map<string, Job[]> {
  const queues = new Map<string, Job[]>();
  for (const job of jobs) {
    const key = variantKey(job.variant);
    const queue = queues.get(key);
    if (queue) queue.push(job);
    else queues.set(key, [job]);
  }
  return queues;
}

/** A message of a thread. */
interface Message {
  readonly result?: JobResult;
  readonly error?: PlainError;
  readonly share?: { readonly key: string; readonly share: number; readonly loading: boolean };
}

function onThreads(threads: number, options: ExecutorOptions, { signal, onShare }: ExecutorHooks): JobRunner {
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
  const run: JobRunner['run'] = (jobs, ranges, onResult) => {
    const waiting = newWaiting(jobs, threads);
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
        const job = waiting.take(index);
        if (job === undefined) {
          if (busy === 0) settle();
          return;
        }
        busy++;
        workers[index].postMessage({ job, ranges });
      };
      onFailure = settle;
      onMessage = (index, { share, result, error }) => {
        if (share) return onShare?.(share.key, share.share, share.loading);
        busy--;
        if (error) return settle(fromPlainError(error));
        try {
          onResult(result!);
        } catch (cause) {
          return settle(cause instanceof OnefetError ? cause : workerFailure(cause));
        }
        next(index);
      };
      if (jobs.length === 0) return settle();
      for (let index = 0; index < Math.min(workers.length, jobs.length); index++) next(index);
    });
  };
  return { run, close };
}

/** Jobs that no thread has, handed out so that a chip is built by few threads. */
export function newWaiting(jobs: readonly Job[], threads: number): { take(thread: number): Job | undefined } {
  const queues = byVariant(jobs);
  for (const queue of queues.values()) queue.reverse(); // the next one is the last
  const lastVariant = new Array<string>(threads).fill('');
  const pick = (thread: number): string | undefined => {
    if (queues.has(lastVariant[thread])) return lastVariant[thread];
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const key of queues.keys()) {
      const others = lastVariant.reduce((n, last) => n + (last === key ? 1 : 0), 0);
      if (others < fewest) {
        fewest = others;
        best = key;
      }
      if (fewest === 0) break;
    }
    return best;
  };
  return {
    take(thread) {
      const key = pick(thread);
      if (key === undefined) return undefined;
      const queue = queues.get(key)!;
      const job = queue.pop();
      if (queue.length === 0) queues.delete(key);
      lastVariant[thread] = key;
      return job;
    },
  };
}

/** Ctrl-C in a run. */
const runInterrupted = () =>
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
