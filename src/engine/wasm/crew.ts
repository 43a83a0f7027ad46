/**
 * A crew: worker threads in step, which are started once and run commands for engines one after the other. What happens
 * when one of them dies: the others end, and whoever waits is told why.
 */
import { Worker } from 'node:worker_threads';
import { fromPlainError, interrupted, type PlainError } from '../../error.ts';
import { sourceExtension } from '../../files.ts';
import {
  CONTROL_WORDS,
  type Command,
  type Crew,
  fail,
  finished,
  itemsTaken,
  send,
  type Work,
} from './control.ts';
import type { EngineData } from './plan/context.ts';
import type { CrewData } from './worker.ts';

/**
 * What a thread makes beside the shared memories lives for a panel or a token: with the usual 48 MB of young objects, and what they hold
 * outside the heap, two threads took 120 MB more while they loaded the codes of a 1B model, in the same time.
 */
const YOUNG_MB = 4;

export interface WorkingCrew {
  /** Ended, by itself or by a failure: it takes no more commands. */
  readonly ended: boolean;
  /** Gives the threads an engine's data; resolves to the number that it has with them. */
  attach(data: EngineData): Promise<number>;
  /** Lets an engine go. */
  detach(engine: number): Promise<void>;
  /**
   * Does work for an engine, after what was asked for before it. `signal` ends the crew while it does, with an error of kind
   * `interrupted`.
   */
  run(engine: number, work: Work, signal?: AbortSignal): Promise<void>;
  /** Items of the stage in progress that were taken. */
  itemsTaken(): number;
  /** Whether the threads keep the program from ending; they do at first. */
  keepProgram(alive: boolean): void;
  stop(): Promise<void>;
}

/** Starts the threads; rejects with the first one's error. */
export async function startCrew(module: WebAssembly.Module, threads: number): Promise<WorkingCrew> {
  const crew: Crew = { words: new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4)), threads };
  const workers = await startWorkers(crew, module);
  let engines = 0;
  let ended = false;
  /** All commands so far. */
  let queue: Promise<unknown> = Promise.resolve();

  const stop = () => {
    ended = true;
    return workers.stop();
  };
  const command = async (command: Command, signal?: AbortSignal): Promise<void> => {
    if (signal?.aborted) throw interrupted();
    if (ended) throw workers.failure() ?? interrupted();
    const abort = () => fail(crew);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      send(crew, command);
      await finished(crew);
    } catch (error) {
      // The worker's own report arrives as a message.
      if (!signal?.aborted) await new Promise((resolve) => setTimeout(resolve, 20));
      await stop();
      throw signal?.aborted ? interrupted() : (workers.failure() ?? error);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  };
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = queue.then(work);
    queue = done.catch(() => {});
    return done;
  };

  return {
    get ended() {
      return ended;
    },
    attach: (data) =>
      inTurn(async () => {
        const engine = ++engines;
        workers.post(data);
        await command({ kind: 'attach', engine });
        return engine;
      }),
    detach: (engine) =>
      inTurn(async () => {
        if (!ended) await command({ kind: 'detach', engine });
      }),
    run: (engine, work, signal) => inTurn(() => command({ ...work, engine }, signal)),
    itemsTaken: () => itemsTaken(crew),
    keepProgram: workers.keepProgram,
    stop: () => inTurn(stop),
  };
}

interface Workers {
  /** Sends a message to all. */
  post(message: EngineData): void;
  keepProgram(alive: boolean): void;
  stop(): Promise<void>;
  /** Error of a worker, if one failed. */
  failure(): Error | undefined;
}

async function startWorkers(crew: Crew, module: WebAssembly.Module): Promise<Workers> {
  let failure: Error | undefined;
  const stopping = { value: false };
  const url = new URL(`./worker${sourceExtension}`, import.meta.url);
  const workers = Array.from(
    { length: crew.threads },
    (_, index) =>
      new Worker(url, {
        workerData: { crew, module, index } satisfies CrewData,
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
      }),
  );
  const stop = async () => {
    stopping.value = true;
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
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
              fail(crew);
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
    await stop();
    throw error;
  }
  return {
    post(message) {
      for (const worker of workers) worker.postMessage(message);
    },
    keepProgram(alive) {
      for (const worker of workers) {
        if (alive) worker.ref();
        else worker.unref();
      }
    },
    stop,
    failure: () => failure,
  };
}
