/** The engine's worker threads: start, end, and what happens when one dies. */
import { Worker } from 'node:worker_threads';
import { fromPlainError, type PlainError } from '../../error.ts';
import { sourceExtension } from '../../files.ts';
import { fail } from './control.ts';
import type { EngineData } from './plan/context.ts';

export interface Workers {
  stop(): Promise<void>;
  /** Error of a worker, if one failed. */
  failure(): Error | undefined;
}

/** Starts them all; rejects with the first one's error. */
export async function startWorkers(data: EngineData): Promise<Workers> {
  let failure: Error | undefined;
  const stopping = { value: false };
  const workers = Array.from(
    { length: data.threads },
    (_, index) =>
      new Worker(new URL(`./worker${sourceExtension}`, import.meta.url), { workerData: { data, index } }),
  );
  try {
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise<void>((resolve, reject) => {
            worker.on('message', (message: { ready?: true; error?: PlainError }) => {
              if (message.error) {
                failure ??= fromPlainError(message.error);
                reject(failure);
              } else resolve();
            });
            // A thread that dies without a report must not leave the others waiting.
            const died = (error: Error) => {
              failure ??= error;
              fail({ words: data.control, threads: data.threads });
              reject(error);
            };
            worker.on('error', died);
            worker.on('exit', (code) => {
              if (code !== 0 && !stopping.value)
                died(new Error(`a thread of the engine ended with code ${code}`));
            });
          }),
      ),
    );
  } catch (error) {
    stopping.value = true;
    await Promise.all(workers.map((worker) => worker.terminate()));
    throw error;
  }
  return {
    async stop() {
      stopping.value = true;
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
    failure: () => failure,
  };
}
