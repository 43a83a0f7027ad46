/**
 * Simulator threads. Each runs one job at a time; a job that exceeds its time, or whose simulator has said that it cannot go
 * on, is ended by killing its thread from outside, the only way to stop ngspice (an undefined .param loops without ever
 * returning to the event loop). What the simulator says is heard while it runs.
 */
import { Worker } from 'node:worker_threads';
import { interrupted, OnefetError } from '../error.ts';
import { sourceExtension } from '../files.ts';
import { readCache, writeCache } from './cache.ts';
import { type ExpectedOutput, engineId, jobHash, type SpiceJob } from './job.ts';
import { parseRawFile, type RawPlot } from './raw-file.ts';
import { stateLeft } from './refuse.ts';
import { classifyStderr, SpiceError, spokenError } from './spice-error.ts';
import type { WorkerMessage, WorkerReply, WorkerRequest, WorkerSaid, WorkerStart } from './worker.ts';

export interface SpiceResult {
  readonly hash: string;
  readonly fromCache: boolean;
  /** [outputs] the plot of each expected output, checked. */
  readonly plots: readonly RawPlot[];
}

export interface SpicePoolOptions {
  /** Simulator threads; about 240 MB each. Default 2. */
  readonly threads?: number;
  /** Folder of the result cache; without one nothing is cached. */
  readonly cacheFolder?: string;
  /**
   * An instance grows by some 20 to 60 kB a run, which goes with its thread: after so many runs a new one takes its place, in
   * half a second. Default 1000: 12,000 runs then stay where the first 2,400 are. With 2000 they grew to the end.
   */
  readonly runsPerThread?: number;
  /** Wall-clock limit of every job, s, in place of the job's own and of 60. */
  readonly timeoutS?: number;
}

export interface SpicePool {
  /** Runs or queues a job. Rejects with a SpiceError, or with INTERRUPTED when the signal fires. */
  run(job: SpiceJob, signal?: AbortSignal): Promise<SpiceResult>;
  /** Threads started so far, for tests and diagnostics. */
  readonly threadsStarted: number;
  /** Folder of its cached results, for those who cache what they derive from them. */
  readonly cacheFolder?: string;
  close(): Promise<void>;
}

const DEFAULT_RUNS_PER_THREAD = 1000;
const START_TIMEOUT_S = 60;
const DEFAULT_TIMEOUT_S = 60;
/** A day; timers of Node take no more than 24. */
const MAX_TIMEOUT_S = 86_400;
/** No voltage, current or spectral density of a cell comes near; ngspice's own clamp of exp() is 1e99. */
const LARGEST_PLAUSIBLE = 1e30;

/** A simulator thread and whoever waits for it. */
interface Thread {
  readonly worker: Worker;
  readonly ready: Promise<void>;
  runs: number;
  /** Called once with why the thread cannot answer any more. */
  onDeath: ((reason: string) => void) | undefined;
  onReply: ((reply: WorkerReply) => void) | undefined;
  /** Called with each line that the simulator prints on stderr, as it prints it. */
  onSaid: ((said: WorkerSaid) => void) | undefined;
  dead: boolean;
}

/** At most `size` threads, lent to one job each. */
interface ThreadShelf {
  /** A free thread, a new one while there are fewer than `size`, or the next to become free; undefined: closed. */
  acquire(): Promise<Thread | undefined>;
  release(thread: Thread): void;
  kill(thread: Thread): void;
  readonly started: number;
  close(): Promise<void>;
}

/** Starts a pool of simulator threads; each starts with its first job. Error: SPICE_THREADS. */
export function createSpicePool(options: SpicePoolOptions = {}): SpicePool {
  const size = options.threads ?? 2;
  if (!Number.isInteger(size) || size < 1 || size > 64) {
    throw new OnefetError('usage', 'SPICE_THREADS', `threads is ${size}: it must be 1 to 64`);
  }
  const { timeoutS } = options;
  if (timeoutS !== undefined && !(timeoutS > 0 && timeoutS <= MAX_TIMEOUT_S)) {
    throw new OnefetError(
      'usage',
      'SPICE_TIMEOUT',
      `the time limit is ${timeoutS} s: it must be above 0 and at most ${MAX_TIMEOUT_S}`,
    );
  }
  const { cacheFolder } = options;
  const engine = engineId();
  const threads = createThreads(size, options.runsPerThread ?? DEFAULT_RUNS_PER_THREAD);

  async function run(job: SpiceJob, signal?: AbortSignal): Promise<SpiceResult> {
    if (signal?.aborted) throw interrupted();
    const hash = jobHash(job, engine);
    if (job.outputs.length === 0) {
      throw new SpiceError('SPICE_NO_OUTPUT', `${job.label}: the job states no expected output`, {
        netlistHash: hash,
      });
    }
    const cached = cacheFolder === undefined ? undefined : readCache(cacheFolder, hash);
    if (cached !== undefined && cached.length === job.outputs.length) {
      return { hash, fromCache: true, plots: checkOutputs(job, hash, cached, []) };
    }
    const { contents, stderr } = await simulate(
      threads,
      timeoutS === undefined ? job : { ...job, timeoutS },
      hash,
      signal,
    );
    const plots = checkOutputs(job, hash, contents, stderr);
    if (cacheFolder !== undefined) writeCache(cacheFolder, hash, contents as Uint8Array[]);
    return { hash, fromCache: false, plots };
  }

  return {
    run,
    ...(cacheFolder === undefined ? {} : { cacheFolder }),
    get threadsStarted() {
      return threads.started;
    },
    close: () => threads.close(),
  };
}

/** Runs a job on a thread of its own; one that failed is not used again. Errors: SPICE_*, INTERRUPTED. */
async function simulate(
  threads: ThreadShelf,
  job: SpiceJob,
  hash: string,
  signal: AbortSignal | undefined,
): Promise<WorkerReply> {
  const thread = await threads.acquire();
  if (thread === undefined) {
    throw new SpiceError('SPICE_POOL_CLOSED', `${job.label}: the simulators were shut down`);
  }
  let reply: WorkerReply;
  const state = stateLeft(job.netlist, job.commands);
  try {
    await thread.ready;
    if (signal?.aborted) throw interrupted();
    thread.runs++;
    reply = await exchange(thread, job, state.unset, hash, signal, threads.kill);
    if (state.lasting || reply.failure !== undefined) threads.kill(thread);
  } catch (error) {
    if (!(error instanceof OnefetError && error.code === 'INTERRUPTED')) threads.kill(thread);
    throw error;
  } finally {
    threads.release(thread);
  }
  const failed = classifyStderr(reply.stderr, hash, job);
  if (failed !== undefined) throw failed;
  if (reply.failure !== undefined) {
    throw new SpiceError('SPICE_ENGINE_DIED', `${job.label}: the simulator failed: ${reply.failure}`, {
      stderr: reply.stderr,
      netlistHash: hash,
    });
  }
  return reply;
}

function createThreads(size: number, runsPerThread: number): ThreadShelf {
  const idle: Thread[] = [];
  const waiting: ((thread: Thread | undefined) => void)[] = [];
  const alive = new Set<Thread>();
  let busy = 0;
  let started = 0;
  let closed = false;

  function start(): Thread {
    started++;
    const thread = startThread((ended) => alive.delete(ended));
    alive.add(thread);
    return thread;
  }

  function acquire(): Promise<Thread | undefined> {
    if (closed) return Promise.resolve(undefined);
    for (let thread = idle.pop(); thread !== undefined; thread = idle.pop()) {
      if (thread.dead) continue;
      busy++;
      return Promise.resolve(thread);
    }
    if (busy < size) {
      busy++;
      return Promise.resolve(start());
    }
    return new Promise((resolve) => waiting.push(resolve));
  }

  function release(thread: Thread): void {
    if (thread.runs >= runsPerThread) kill(thread);
    const next = waiting.shift();
    if (next !== undefined) {
      next(thread.dead ? start() : thread);
      return;
    }
    busy--;
    if (!thread.dead) idle.push(thread);
  }

  function kill(thread: Thread): void {
    thread.dead = true;
    alive.delete(thread);
    void thread.worker.terminate();
  }

  return {
    acquire,
    release,
    kill,
    get started() {
      return started;
    },
    async close() {
      closed = true;
      for (const next of waiting.splice(0)) next(undefined);
      await Promise.all([...alive].map((thread) => thread.worker.terminate()));
    },
  };
}

/** The simulator as the first thread of this process compiled it: 0.5 s of a processor that the others need not. */
let compiledSimulator: WebAssembly.Module | undefined;

/** Starts a simulator; `onEnd` is called when it has ended by itself. Its `ready` fails with SPICE_ENGINE_START. */
function startThread(onEnd: (thread: Thread) => void): Thread {
  const worker = new Worker(new URL(`./worker${sourceExtension}`, import.meta.url), {
    stderr: false,
    workerData: { module: compiledSimulator } satisfies WorkerStart,
  });
  // An idle simulator does not keep the process alive.
  worker.unref();
  const refused = (what: string, cause?: unknown) =>
    new SpiceError('SPICE_ENGINE_START', `the simulator ${what}`, { cause });
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(refused(`did not start within ${START_TIMEOUT_S} s`));
      void worker.terminate();
    }, START_TIMEOUT_S * 1000);
    const end = (error: SpiceError, reason: string) => {
      clearTimeout(timer);
      reject(error);
      if (thread.dead) return;
      thread.dead = true;
      onEnd(thread);
      thread.onDeath?.(reason);
    };
    worker.on('message', (message: WorkerMessage) => {
      if ('ready' in message) {
        compiledSimulator = message.ready;
        clearTimeout(timer);
        resolve();
      } else if ('said' in message) thread.onSaid?.(message);
      else thread.onReply?.(message);
    });
    worker.on('error', (cause) => end(refused(`did not start: ${cause.message}`, cause), cause.message));
    worker.on('exit', (status) =>
      end(refused(`ended with status ${status}`), `thread ended with status ${status}`),
    );
  });
  ready.catch(() => {});
  const thread: Thread = {
    worker,
    ready,
    runs: 0,
    onDeath: undefined,
    onReply: undefined,
    onSaid: undefined,
    dead: false,
  };
  return thread;
}

/**
 * Sends a job and waits for the reply, the thread's end, a message after which the simulator cannot go on, the time limit or
 * the signal; all but the first kill the thread.
 */
function exchange(
  thread: Thread,
  job: SpiceJob,
  unset: readonly string[],
  hash: string,
  signal: AbortSignal | undefined,
  kill: (thread: Thread) => void,
): Promise<WorkerReply> {
  const timeoutS = job.timeoutS ?? DEFAULT_TIMEOUT_S;
  return new Promise((resolve, reject) => {
    const said: string[] = [];
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      thread.onReply = undefined;
      thread.onDeath = undefined;
      thread.onSaid = undefined;
      thread.worker.unref();
    };
    const give = (error: OnefetError) => {
      end();
      kill(thread);
      reject(error);
    };
    const onAbort = () => give(interrupted());
    const timer = setTimeout(() => {
      const spoken = classifyStderr(said, hash, job);
      const more = spoken === undefined ? '' : `; it said: ${spokenError(said, job)}`;
      give(
        new SpiceError('SPICE_TIMEOUT', `${job.label}: no result within ${timeoutS} s${more}`, {
          stderr: said,
          netlistHash: hash,
          hint: 'a larger limit is given by onefet calibrate --timeout, in the library by timeoutS',
        }),
      );
    }, timeoutS * 1000);
    signal?.addEventListener('abort', onAbort);
    thread.onSaid = ({ said: line, fatal }) => {
      if (line !== '') said.push(line);
      if (!fatal) return;
      give(
        classifyStderr(said, hash, job) ??
          new SpiceError('SPICE_FATAL', `${job.label}: the simulator cannot go on`, { netlistHash: hash }),
      );
    };
    thread.onReply = (reply) => {
      end();
      resolve(reply);
    };
    thread.onDeath = (reason) => {
      end();
      reject(
        new SpiceError('SPICE_ENGINE_DIED', `${job.label}: the simulator died: ${reason}`, {
          stderr: said,
          netlistHash: hash,
        }),
      );
    };
    thread.worker.ref();
    const request: WorkerRequest = {
      netlist: job.netlist,
      commands: job.commands,
      outputs: job.outputs.map(({ file }) => file),
      unset,
    };
    thread.worker.postMessage(request);
  });
}

/**
 * Every expected file, plot, variable and point must be there, finite and of a plausible size. Each file that is not is named:
 * one bad temperature of nine does not hide another.
 */
function checkOutputs(
  job: SpiceJob,
  hash: string,
  contents: readonly (Uint8Array | null)[],
  stderr: readonly string[],
): RawPlot[] {
  const failures: SpiceError[] = [];
  const plots = job.outputs.flatMap((expected, i) => {
    try {
      return [checkOutput(expected, contents[i])];
    } catch (error) {
      if (!(error instanceof OnefetError)) throw error;
      failures.push(
        new SpiceError(error.code, error.message, { stderr, netlistHash: hash, cause: error.cause }),
      );
      return [];
    }
  });
  if (failures.length === 0) return plots;
  const [{ code }] = failures;
  const shown = failures.slice(0, MAX_SHOWN).map(({ message }) => message.replace(/ \[netlist \w+\]$/, ''));
  if (failures.length > MAX_SHOWN) shown.push(`${failures.length - MAX_SHOWN} more`);
  const count = job.outputs.length === 1 ? '' : `${failures.length} of ${job.outputs.length} results: `;
  throw new SpiceError(code, `${job.label}: ${count}${shown.join('; ')}`, { stderr, netlistHash: hash });
}

const MAX_SHOWN = 8;

/** Reads and checks one file; messages start with its name. */
function checkOutput(expected: ExpectedOutput, bytes: Uint8Array | null | undefined): RawPlot {
  const fail = (code: string, what: string) =>
    new OnefetError('simulation', code, `${expected.file}: ${what}`);
  if (bytes === null || bytes === undefined) throw fail('SPICE_NO_RESULT', 'the simulation wrote no result');
  const plots = parseRawFile(bytes, expected.file);
  if (plots.length !== 1) throw fail('SPICE_PLOT', `${plots.length} plots instead of one`);
  checkPlot(plots[0], expected, fail);
  return plots[0];
}

function checkPlot(
  plot: RawPlot,
  expected: ExpectedOutput,
  fail: (code: string, what: string) => OnefetError,
): void {
  if (!plot.plotname.toLowerCase().startsWith(expected.plot.toLowerCase())) {
    throw fail('SPICE_PLOT', `plot "${plot.plotname}" instead of "${expected.plot}"`);
  }
  for (const variable of expected.variables) {
    if (!plot.real.has(variable)) {
      throw fail('SPICE_VARIABLE', `no variable ${variable}, only ${plot.variables.slice(0, 8).join(', ')}`);
    }
  }
  const { points } = expected;
  const [least, most] = typeof points === 'number' ? [points, points] : [points.min, points.max];
  if (plot.points < least || plot.points > most) {
    throw fail(
      'SPICE_POINTS',
      `${plot.points} points instead of ${least === most ? least : `${least} to ${most}`}`,
    );
  }
  // The sweep's own variable comes first in a raw file.
  const axis = plot.variables[0];
  for (const variable of expected.variables) {
    for (const values of [plot.real.get(variable)!, plot.imaginary.get(variable)]) {
      const bad = values?.findIndex((value) => !(Math.abs(value) < LARGEST_PLAUSIBLE)) ?? -1;
      if (values === undefined || bad < 0) continue;
      const many = values.filter((value) => !(Math.abs(value) < LARGEST_PLAUSIBLE)).length;
      const where = plot.points === 1 ? '' : ` at point ${bad + 1}, ${axis} ${plot.real.get(axis)![bad]}`;
      const more = many > 1 ? `, and ${many - 1} points more` : '';
      throw fail(
        'SPICE_OVERFLOW',
        `${variable} is ${values[bad]}${where}${more}: an expression overflowed or a device is broken`,
      );
    }
  }
}
