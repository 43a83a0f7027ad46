/**
 * The thread that owns one ngspice instance. One run at a time; the parent kills the thread on a time-out.
 *
 * Three properties of the engine (eecircuit-engine 1.8.0) shape this file:
 *  - it reads commands from a list that it rewinds; the list is private, so the version is pinned exactly;
 *  - after the last command it reads `out.raw` and resolves only if that parses, so a minimal one is always there and
 *    results go to files of other names;
 *  - `info` is re-sliced at 2 MB for every line (quadratic), so it is replaced by a bounded log.
 */
import { parentPort } from 'node:worker_threads';
import { Simulation } from 'eecircuit-engine';

export interface WorkerRequest {
  readonly netlist: string;
  readonly files: Readonly<Record<string, string>>;
  readonly commands: readonly string[];
  readonly outputs: readonly string[];
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
}

/** The private parts that are used. */
interface EngineInternals {
  commandList: string[];
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

let log: string[] = [];
let logChars = 0;
let stderr: string[] = [];
// The engine prints every stderr line again; what it says is in the reply.
console.error = () => {};
console.info = () => {};

function appendLog(text: string): void {
  if (text === '' || logChars > MAX_LOG_CHARS) return;
  log.push(text);
  logChars += text.length;
}

const engine = new Simulation() as unknown as EngineInternals;
Object.defineProperty(engine, 'info', { get: () => '', set: appendLog });
const stderrSink = {
  push(line: string) {
    if (stderr.length < MAX_STDERR_LINES) stderr.push(line);
  },
};
Object.defineProperty(engine, 'error', { get: () => stderrSink, set: () => {} });
await engine.start();
const fileSystem = engine.__getSpiceModuleForTests().FS;

function remove(path: string): void {
  try {
    fileSystem.unlink(path);
  } catch {
    // It was not there: nothing to remove.
  }
}

async function run(request: WorkerRequest): Promise<WorkerReply> {
  log = [];
  logChars = 0;
  stderr = [];
  for (const name of request.outputs) remove(`/${name}`);
  for (const [name, text] of Object.entries(request.files)) fileSystem.writeFile(`/${name}`, text);
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
  ];
  await engine.runSim();
  const contents = request.outputs.map((name) => {
    try {
      return Uint8Array.from(fileSystem.readFile(`/${name}`));
    } catch {
      return null;
    }
  });
  for (const name of [...request.outputs, ...Object.keys(request.files)]) remove(`/${name}`);
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
parentPort?.postMessage('ready');
