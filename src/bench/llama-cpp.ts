/**
 * llama.cpp as the peer of `bench engine` and `bench experiment`: experiments/oracle runs it on two models of the benchmarked shape, of 2 and 8
 * blocks, so that the time of a block and of the head come apart:
 *   t(L) = head + L block    (of one token; in a prefill the head is evaluated once)
 */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';
import { interrupted, OnefetError } from '../error.ts';
import { packageRoot, reasonOf } from '../files.ts';
import { MODEL_SHAPES, type NamedShape } from '../model/shapes.ts';
import { synthesise } from '../synth/synthesise.ts';
import type { PeerTimes, SpeedPeer } from './engine-rounds.ts';

/** Blocks of the two models. */
const DEPTHS = [2, 8] as const;
const LLAMA_CPP_TYPE = 'Q4_0';

/** Why there is no llama.cpp here, or undefined. */
export function llamaCppMissing(): string | undefined {
  const folder = join(packageRoot, 'experiments/oracle');
  if (!existsSync(join(folder, 'bench.mjs')))
    return 'this installation has no experiments/oracle: use a checkout';
  if (existsSync(join(folder, 'node_modules/node-llama-cpp'))) return undefined;
  return 'not installed (npm ci --prefix experiments/oracle)';
}

export interface LlamaCppOptions {
  /** Default: Llama 3.1 8B's. */
  readonly shape?: NamedShape;
  readonly threads: number;
  readonly batchTokens: number;
  readonly decodeTokens: number;
  /** One of its builds by name, such as `haswell`; default: the best that the processor takes. */
  readonly build?: string | undefined;
  readonly onProgress?: ((done: number, total: number, label: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Models of a shape with few blocks and with many, in a folder of their own. */
export interface DepthModels {
  readonly paths: readonly string[];
  readonly depths: readonly number[];
  remove(): void;
}

/** Writes them to the temporary folder. */
export async function writeDepthModels(
  shape: NamedShape,
  { threads, onProgress, signal }: Pick<LlamaCppOptions, 'threads' | 'onProgress' | 'signal'>,
  depths: readonly number[] = DEPTHS,
): Promise<DepthModels> {
  const folder = mkdtempSync(join(tmpdir(), 'onefet-bench-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const paths = depths.map((layers) => join(folder, `${layers}.gguf`));
    for (const [i, layers] of depths.entries()) {
      await synthesise({
        shape: { ...shape, name: `${shape.name}-${layers}-blocks`, layers },
        type: LLAMA_CPP_TYPE,
        path: paths[i],
        threads,
        signal,
        onProgress: (done, total) => onProgress?.(i + done / total, depths.length, 'models of a few blocks'),
      });
    }
    return { paths, depths, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** What one piece of work took. */
export interface Taken {
  readonly wallS: number;
  /** Of all threads. */
  readonly processorS: number;
}

/** Seconds of `layers` blocks and the head, from those of models of fewer. */
export function scaleTaken(taken: readonly Taken[], depths: readonly number[], layers: number): Taken {
  const [few, many = few] = taken;
  const scale = (of: (t: Taken) => number) =>
    depths.length === 1
      ? of(few)
      : of(few) + ((of(many) - of(few)) / (depths[1] - depths[0])) * (layers - depths[0]);
  return { wallS: scale((t) => t.wallS), processorS: scale((t) => t.processorS) };
}

/** llama.cpp with models loaded, which answers one request after the other. */
export interface LlamaCpp {
  readonly name: string;
  readonly system: string;
  /** A new text on a model by its number, evaluated at once. */
  prefill(model: number, ids: readonly number[]): Promise<Taken>;
  /** Token by token behind the last prefill; the mean of a token. */
  decode(model: number, ids: readonly number[]): Promise<Taken>;
  close(): void;
}

export async function spawnLlamaCpp(
  threads: number,
  contextTokens: number,
  paths: readonly string[],
  build?: string,
): Promise<LlamaCpp> {
  const script = join(packageRoot, 'experiments/oracle/bench.mjs');
  const builds = build === undefined ? [] : [`--build=${build}`];
  const child = spawn(execPath, [script, ...builds, String(threads), String(contextTokens), ...paths]);
  const { system } = (await nextLine(child)) as { system: string };
  const ask = async (request: object): Promise<Taken> => {
    const answer = nextLine(child);
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const { seconds, processorSeconds } = (await answer) as Record<'seconds' | 'processorSeconds', number>;
    return { wallS: seconds, processorS: processorSeconds };
  };
  return {
    name: `llama.cpp ${LLAMA_CPP_TYPE}`,
    system,
    prefill: (model, prefill) => ask({ model, prefill }),
    decode: (model, decode) => ask({ model, decode }),
    close: () => child.kill(),
  };
}

/** The peer of `bench engine`: on two models, with times of the whole shape. */
export async function startLlamaCpp(options: LlamaCppOptions): Promise<SpeedPeer> {
  const { threads, batchTokens, decodeTokens } = options;
  const shape: NamedShape = options.shape ?? MODEL_SHAPES['llama-3.1-8b'];
  const models = await writeDepthModels(shape, options);
  let running: LlamaCpp;
  try {
    running = await spawnLlamaCpp(threads, batchTokens + decodeTokens + 64, models.paths, options.build);
  } catch (error) {
    models.remove();
    throw error;
  }
  const ids = Array.from({ length: batchTokens }, (_, i) => (i * 7919) % shape.vocab);
  const times = async (measure: (model: number) => Promise<Taken>): Promise<PeerTimes> => {
    const taken = [await measure(0), await measure(1)];
    const { wallS, processorS } = scaleTaken(taken, models.depths, shape.layers);
    return { wholeS: wallS, processorS };
  };
  const prefill = () => times((model) => running.prefill(model, ids));
  const decode = () => times((model) => running.decode(model, ids.slice(0, decodeTokens)));
  // The first of each finds the file's pages not yet mapped.
  await prefill();
  await decode();
  return {
    name: running.name,
    system: running.system,
    prefill,
    decode,
    async close() {
      running.close();
      models.remove();
    },
  };
}

/** The next line of a child's output, parsed; an end of the child is an error with what it said. */
function nextLine(child: ChildProcessWithoutNullStreams): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    let said = '';
    const onError = (text: Buffer) => {
      said = (said + text).slice(-2000);
    };
    const finish = () => {
      lines.close();
      child.stderr.off('data', onError);
      child.off('exit', onExit);
    };
    const onExit = (code: number | null, killed: NodeJS.Signals | null) => {
      finish();
      // A signal to the whole group of processes reaches the child first.
      if (killed === 'SIGINT' || killed === 'SIGTERM')
        return reject(interrupted(`llama.cpp was ended by ${killed}`));
      reject(
        new OnefetError(
          'internal',
          'LLAMA_CPP',
          `llama.cpp ended with code ${code}: ${said.trim() || 'no message'}`,
        ),
      );
    };
    child.stderr.on('data', onError);
    child.once('exit', onExit);
    lines.once('line', (line) => {
      finish();
      try {
        resolve(JSON.parse(line));
      } catch (cause) {
        reject(
          new OnefetError('internal', 'LLAMA_CPP', `llama.cpp answered "${line}": ${reasonOf(cause)}`, {
            cause,
          }),
        );
      }
    });
  });
}
