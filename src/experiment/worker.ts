/** A thread of a run: executes the jobs that it is sent, one at a time. */
import { parentPort, workerData } from 'node:worker_threads';
import { toPlainError } from '../error.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { createExecutor, type Executor, type ExecutorOptions } from './execute.ts';
import type { Job } from './job.ts';

const onShare = (key: string, share: number, loading: boolean) =>
  parentPort?.postMessage({ share: { key, share, loading } });

let executor: Executor | undefined;
parentPort?.on('message', async ({ job, ranges }: { job: Job; ranges: RangeTable | undefined }) => {
  try {
    executor ??= createExecutor(workerData as ExecutorOptions, { onShare });
    parentPort?.postMessage({ result: await executor.execute(job, ranges) });
  } catch (error) {
    parentPort?.postMessage({ error: toPlainError(error) });
  }
});
