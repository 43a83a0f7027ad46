/** A thread of the engine: waits for commands on shared memory and runs them together with the other threads. */
import { parentPort, workerData } from 'node:worker_threads';
import { toPlainError } from '../../error.ts';
import { fail, finish, nextCommand, OtherFailed } from './control.ts';
import { loadWeights } from './load/load.ts';
import { type EngineData, newContext } from './plan/context.ts';
import { runHead, runLayers } from './run/forward.ts';

const { data, index } = workerData as { data: EngineData; index: number };
const crew = { words: data.control, threads: data.threads };

try {
  const context = await newContext(data, index);
  parentPort?.postMessage({ ready: true });
  for (let seen = 0; ; seen++) {
    const command = nextCommand(crew, seen);
    if (command.kind === 'stop') break;
    if (command.kind === 'load') await loadWeights(context);
    else if (command.kind === 'layers') runLayers(context, command.batch, command.from, command.to);
    else runHead(context, command.batch, command.from);
    finish(crew);
  }
} catch (error) {
  fail(crew);
  if (!(error instanceof OtherFailed)) parentPort?.postMessage({ error: toPlainError(error) });
}
