/** The host of the WebAssembly backend: one crew for engine after engine, started when it is first needed. */
import { type Engine, type EngineRequest, type Host, requireThreads } from '../backend.ts';
import { engineKernels } from './check/selftest.ts';
import { startCrew, type WorkingCrew } from './crew.ts';
import { dropParts } from './residents.ts';

/** Threads that have had nothing to do for so long end. */
const IDLE_MS = 10_000;

/** `create` makes an engine on the crew that it asks for, after it has seen to it that it can. */
export function openHost(
  threads: number,
  create: (ready: () => Promise<WorkingCrew>, request: EngineRequest) => Promise<Engine>,
): Host {
  let working: WorkingCrew | undefined;
  let starting: Promise<WorkingCrew> | undefined;
  let engines = 0;
  let idle: NodeJS.Timeout | undefined;

  const start = async () => {
    const { module } = await engineKernels();
    return startCrew(module, threads);
  };
  /** The crew, or a new one where it ended: by a failure or for want of work. */
  const ready = async (): Promise<WorkingCrew> => {
    if (working && !working.ended) return working;
    starting ??= start().finally(() => {
      starting = undefined;
    });
    working = await starting;
    return working;
  };
  const begin = () => {
    engines++;
    clearTimeout(idle);
    working?.keepProgram(true);
  };
  const end = () => {
    engines--;
    if (engines > 0) return;
    working?.keepProgram(false);
    idle = setTimeout(() => working?.stop(), IDLE_MS);
    idle.unref();
  };
  return {
    async create(request) {
      requireThreads(threads, request);
      begin();
      let engine: Engine;
      try {
        engine = await create(ready, request);
      } catch (error) {
        end();
        throw error;
      }
      let closed = false;
      return {
        ...engine,
        async close() {
          await engine.close();
          if (!closed) end();
          closed = true;
        },
      };
    },
    async close() {
      clearTimeout(idle);
      await working?.stop();
      dropParts();
    },
  };
}
