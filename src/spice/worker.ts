/**
 * The thread that owns one ngspice instance. One run at a time; the parent kills the thread on a time-out and when the
 * simulator has said that it cannot go on, which it does while it loops for ever or before it ends without a word.
 *
 * Four properties of the engine (eecircuit-engine 1.8.0) shape this file:
 *  - it reads commands from a list that it rewinds; the list is private, so the version is pinned exactly;
 *  - after the last command it reads `out.raw` and resolves only if that parses, so a minimal one is always there and
 *    results go to files of other names;
 *  - `info` is re-sliced at 2 MB for every line (quadratic), so it is replaced by a bounded log;
 *  - it fetches its own WebAssembly from a data URL of 8 MB and compiles it, so the first thread of a process compiles
 *    and hands the module to the others.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Simulation } from 'eecircuit-engine';

export interface WorkerStart {
  /** What an earlier thread of this process compiled. */
  readonly module: WebAssembly.Module | undefined;
}

export interface WorkerRequest {
  readonly netlist: string;
  readonly commands: readonly string[];
  readonly outputs: readonly string[];
  /** Variables that the clean-up takes back. */
  readonly unset: readonly string[];
}

/** 'ready' with the compiled simulator, once; of a running job, lines of stderr as they are printed, then one reply. */
export type WorkerMessage = WorkerReady | WorkerSaid | WorkerReply;

export interface WorkerReady {
  readonly ready: WebAssembly.Module;
}

export interface WorkerSaid {
  readonly said: string;
  /** The simulator cannot go on after this line. */
  readonly fatal: boolean;
}

export interface WorkerReply {
  /** [outputs] contents, or null for a file that was not written. */
  readonly contents: readonly (Uint8Array<ArrayBuffer> | null)[];
  readonly stderr: readonly string[];
  readonly stdout: string;
  readonly failure?: string;
}

interface EngineFileSystem {
  writeFile(path: string, data: string | Uint8Array): void;
  readFile(path: string): Uint8Array<ArrayBuffer>;
  unlink(path: string): void;
  readdir(path: string): string[];
}

/** The private parts that are used. */
interface EngineInternals {
  commandList: string[];
  cmd: number;
  setNetList(text: string): void;
  start(): Promise<void>;
  runSim(): Promise<unknown>;
  __getSpiceModuleForTests(): { FS: EngineFileSystem };
}

const MAX_LOG_CHARS = 64_000;
const MAX_STDERR_LINES = 400;
/** A raw file with nothing in it: lets the engine's own reader succeed. */
const EMPTY_RAW =
  'Title: none\nDate: none\nPlotname: none\nFlags: real\nNo. Variables: 0\nNo. Points: 0\nVariables:\nBinary:\n';

/** Asked for ever when a parameter has no value: there is nobody to answer. */
const ASKS = /Run Spice anyway\?/;
const ENDS = /fatal error in ngspice, exit|cannot recover|^Aborted\(/;
/** The event loop turns while the simulator computes only if it has ended; so many turns without a command are an end. */
const IDLE_TURNS = 5;
const IDLE_TURN_MS = 100;

let log: string[] = [];
let logChars = 0;
let stderr: string[] = [];
let asked = false;
/** Commands taken and lines printed. */
let activity = 0;
// The engine prints every stderr line again; what it says is in the reply.
console.error = () => {};
console.info = () => {};

function say(said: string, fatal: boolean): void {
  parentPort?.postMessage({ said, fatal } satisfies WorkerSaid);
}

function appendLog(text: string): void {
  activity++;
  if (!asked && ASKS.test(text)) {
    asked = true;
    say('', true);
  }
  if (text === '' || logChars > MAX_LOG_CHARS) return;
  log.push(text);
  logChars += text.length;
}

const engine = new Simulation() as unknown as EngineInternals;
Object.defineProperty(engine, 'info', { get: () => '', set: appendLog });
const stderrSink = {
  push(line: string) {
    const fatal = ENDS.test(line);
    if (stderr.length >= MAX_STDERR_LINES && !fatal) return;
    stderr.push(line);
    say(line, fatal);
  },
};
Object.defineProperty(engine, 'error', { get: () => stderrSink, set: () => {} });
let command = engine.cmd;
Object.defineProperty(engine, 'cmd', {
  get: () => command,
  set: (value: number) => {
    activity++;
    command = value;
  },
});
const compiled = await startEngine();
const fileSystem = engine.__getSpiceModuleForTests().FS;
/** Files of the simulator itself; any other is of a job and goes with it. */
const ownFiles = new Set([...fileSystem.readdir('/'), 'test.cir', 'out.raw']);

/** Starts the engine on the module of an earlier thread, or on one compiled here; returns it. */
async function startEngine(): Promise<WebAssembly.Module> {
  let { module: started } = workerData as WorkerStart;
  const { fetch } = globalThis;
  const { instantiateStreaming } = WebAssembly;
  let url = '';
  globalThis.fetch = async (input) => {
    if (started === undefined) url = String(input);
    return undefined as unknown as Response;
  };
  WebAssembly.instantiateStreaming = async (fetched, imports) => {
    await fetched;
    const module =
      started ?? (await WebAssembly.compile(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64')));
    started = module;
    url = '';
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
  try {
    await engine.start();
  } finally {
    globalThis.fetch = fetch;
    WebAssembly.instantiateStreaming = instantiateStreaming;
  }
  if (started === undefined) throw new Error('the simulator did not ask for its WebAssembly');
  return started;
}

function remove(path: string): void {
  try {
    fileSystem.unlink(path);
  } catch {
    // It was not there: nothing to remove.
  }
}

/** Settles as `work` does, or fails when the simulator has ended without a word. */
async function unlessEnded<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let turns = 0;
  let seen = activity;
  const ended = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      turns = activity === seen ? turns + 1 : 0;
      seen = activity;
      if (turns === IDLE_TURNS) reject(new Error('it ended in the middle of the job'));
    }, IDLE_TURN_MS);
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    clearInterval(timer);
  }
}

async function run(request: WorkerRequest): Promise<WorkerReply> {
  log = [];
  logChars = 0;
  stderr = [];
  asked = false;
  for (const name of request.outputs) remove(`/${name}`);
  fileSystem.writeFile('/out.raw', EMPTY_RAW);
  engine.setNetList(request.netlist);
  // `setNetList` resets the list. `remcirc` and `destroy all` leave nothing for the next run to fall back on.
  engine.commandList = [
    ' ',
    'source test.cir',
    ...request.commands,
    'setplot const',
    'destroy all',
    'remcirc',
    ...request.unset.map((name) => `unset ${name}`),
  ];
  await unlessEnded(engine.runSim());
  const contents = request.outputs.map((name) => {
    try {
      return Uint8Array.from(fileSystem.readFile(`/${name}`));
    } catch {
      return null;
    }
  });
  for (const name of fileSystem.readdir('/')) if (!ownFiles.has(name)) remove(`/${name}`);
  return { contents, stderr, stdout: log.join('') };
}

parentPort?.on('message', async (request: WorkerRequest) => {
  let reply: WorkerReply;
  try {
    reply = await run(request);
  } catch (error) {
    reply = { contents: [], stderr, stdout: log.join(''), failure: String(error) };
  }
  parentPort?.postMessage(
    reply,
    reply.contents.flatMap((bytes) => (bytes === null ? [] : [bytes.buffer])),
  );
});
parentPort?.postMessage({ ready: compiled } satisfies WorkerMessage);
