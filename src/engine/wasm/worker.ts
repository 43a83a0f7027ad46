/**
 * A thread of a crew: waits for commands on shared memory and runs them together with the other threads, for as many
 * engines as the crew is given.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { toPlainError } from '../../error.ts';
import { collectGarbage } from '../../memory.ts';
import { type Command, type Crew, fail, finish, nextCommand, OtherFailed } from './control.ts';
import { loadWeights } from './load/load.ts';
import { loadChip } from './load/load-chip.ts';
import { trimChip } from './load/trim.ts';
import { type EngineData, newContext, type WorkerContext } from './plan/context.ts';
import { runHead, runLayers } from './run/forward.ts';

/** What a thread is started with. */
export interface CrewData {
  readonly crew: Crew;
  readonly module: WebAssembly.Module;
  readonly index: number;
}

const { crew, module, index } = workerData as CrewData;
/** By number. */
const engines = new Map<number, WorkerContext>();

/** Of engines that were let go since the last collection. */
let goneBytes = 0;

const memoryBytes = ({ state, weights, tables }: EngineData): number =>
  [state, ...weights, ...tables].reduce((sum, { buffer }) => sum + buffer.byteLength, 0);

/** Returns the bytes of an engine that is let go. In a function of its own: where its context is a local variable, the collector finds it. */
function letGo(engine: number): number {
  const bytes = memoryBytes(engines.get(engine)!.data);
  engines.delete(engine);
  return bytes;
}

async function obey(command: Command): Promise<void> {
  const { kind, engine } = command;
  if (kind === 'attach') {
    // It was sent before the command.
    const { message } = receiveMessageOnPort(parentPort!) as { message: EngineData };
    engines.set(engine, await newContext(message, crew, module, index));
    return;
  }
  if (kind === 'detach') {
    goneBytes += letGo(engine);
    goneBytes = collectGarbage(goneBytes);
    return;
  }
  const context = engines.get(engine)!;
  switch (kind) {
    case 'load':
      return loadWeights(context);
    case 'chip':
      return loadChip(context);
    case 'trim':
      return trimChip(context);
    case 'layers':
      return runLayers(context, command);
    case 'head':
      return runHead(context, command.batch, command.from);
  }
}

try {
  parentPort?.postMessage({ ready: true });
  for (let seen = 0; ; seen++) {
    await obey(nextCommand(crew, seen));
    finish(crew);
  }
} catch (error) {
  fail(crew);
  if (!(error instanceof OtherFailed)) parentPort?.postMessage({ error: toPlainError(error) });
}
