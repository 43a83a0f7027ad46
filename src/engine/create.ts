/**
 * Which backend runs a model on a fabric, and why not another. The only place that knows them all: a new one is a folder,
 * its name in names.ts and its place in `BACKENDS`.
 */
import { freemem } from 'node:os';
import { OnefetError } from '../error.ts';
import { requireThreads } from '../threads.ts';
import {
  type Backend,
  type Engine,
  type EngineMode,
  type EngineNeeds,
  type EngineRequest,
  type Host,
  type Refusal,
  refusal,
  refusalText,
} from './backend.ts';
import { type BackendName, ENGINE_CHOICES, type EngineChoice } from './names.ts';
import { reference, scalar } from './scalar.ts';
import { wasm } from './wasm/engine.ts';

/** In the order in which `auto` tries them. */
export const BACKENDS: readonly Backend[] = [wasm, scalar, reference];

/** Hosts of this program, by backend and number of threads. */
const hosts = new Map<string, Host>();

/** An engine on the program's host of that backend and number of threads. */
export function createEngine(backend: BackendName, request: EngineRequest): Promise<Engine> {
  const key = `${backend} ${request.threads}`;
  const host = hosts.get(key) ?? findBackend(backend).open(request.threads);
  hosts.set(key, host);
  return host.create(request);
}

/** Ends the program's hosts now; without it their threads and weights go when they have had nothing to do for seconds. */
export async function closeHosts(): Promise<void> {
  const open = [...hosts.values()];
  hosts.clear();
  await Promise.all(open.map((host) => host.close()));
}

/** Throws OnefetError('usage', 'ENGINE_UNKNOWN') that says which there are. */
export function findBackend(name: string): Backend {
  const found = BACKENDS.find((backend) => backend.name === name);
  if (found) return found;
  throw new OnefetError('usage', 'ENGINE_UNKNOWN', `there is no engine ${name}`, {
    hint: `engines are ${ENGINE_CHOICES.join(', ')}`,
  });
}

export interface ChosenBackend {
  readonly backend: Backend;
  /** Why the backends before it were not taken. */
  readonly reason: string | undefined;
  /** Of the whole program while it runs. */
  readonly memoryBytes: number;
}

/**
 * The backend that was asked for, or the first that can do all modes. Throws OnefetError('usage', 'ENGINE_REFUSAL') where
 * none can, or not the one that was asked for; THREADS where so many threads would never end.
 */
export function chooseBackend(
  choice: EngineChoice,
  needs: Omit<EngineNeeds, 'mode'>,
  modes: readonly EngineMode[],
): ChosenBackend {
  requireThreads(needs.threads);
  const candidates = choice === 'auto' ? BACKENDS : [findBackend(choice)];
  const refused: Refusal[] = [];
  for (const backend of candidates) {
    const found = firstRefusal(backend, needs, modes);
    if (found === undefined) {
      return {
        backend,
        reason: refused.length > 0 ? refused.map(refusalText).join('; ') : undefined,
        memoryBytes:
          PROGRAM_BYTES + Math.max(...modes.map((mode) => backend.memory({ ...needs, mode }).bytes)),
      };
    }
    refused.push(found);
  }
  const others = BACKENDS.filter(
    (backend) => !candidates.includes(backend) && !firstRefusal(backend, needs, modes),
  );
  throw new OnefetError('usage', 'ENGINE_REFUSAL', refused.map(refusalText).join('; '), {
    hint: others.length > 0 ? `use --engine ${others[0].name}` : 'change what is refused',
  });
}

function firstRefusal(
  backend: Backend,
  needs: Omit<EngineNeeds, 'mode'>,
  modes: readonly EngineMode[],
): Refusal | undefined {
  for (const mode of modes) {
    const found = refusal(backend, { ...needs, mode });
    if (found) return found;
  }
  return undefined;
}

/** Node and its compiled code, without weights. */
const PROGRAM_BYTES = 250e6;

/** Throws OnefetError('usage', 'MEMORY') where the machine has less memory free than a run needs. */
export function requireFreeMemory({ backend, memoryBytes, reason }: ChosenBackend, threads: number): void {
  const free = freemem();
  if (memoryBytes <= free) return;
  const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  const fewer =
    backend.parallelism === 'texts' && threads > 1 ? 'use --threads 1, or a smaller model' : undefined;
  throw new OnefetError(
    'usage',
    'MEMORY',
    `this run needs about ${gib(memoryBytes)} GiB on the ${backend.name} engine with ${threads} threads; ${gib(free)} GiB are free`,
    { hint: [fewer ?? 'use a smaller model or a shorter context', reason].filter(Boolean).join('; ') },
  );
}
