/**
 * llama.cpp as the peer of `bench engine`: experiments/oracle runs it on two models of the benchmarked shape, of 2 and 8
 * blocks, so that the time of a block and of the head come apart:
 *   t(L) = head + L block    (of one token; in a prefill the head is evaluated once)
 */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';
import { OnefetError } from '../error.ts';
import { packageRoot, reasonOf } from '../files.ts';
import { MODEL_SHAPES, type NamedShape } from '../model/shapes.ts';
import { synthesise } from '../synth/synthesise.ts';
import type { PeerTimes, SpeedPeer } from './engine.ts';

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
  readonly onProgress?: (done: number, total: number, label: string) => void;
  readonly signal?: AbortSignal;
}

/** Writes the two models to a temporary folder, loads them, and answers with times of the whole shape. */
export async function startLlamaCpp(options: LlamaCppOptions): Promise<SpeedPeer> {
  const { threads, batchTokens, decodeTokens, onProgress, signal } = options;
  const shape: NamedShape = options.shape ?? MODEL_SHAPES['llama-3.1-8b'];
  const folder = mkdtempSync(join(tmpdir(), 'onefet-bench-'));
  let child: ChildProcessWithoutNullStreams | undefined;
  const close = async () => {
    child?.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const paths = DEPTHS.map((layers) => join(folder, `${layers}.gguf`));
    for (const [i, layers] of DEPTHS.entries()) {
      await synthesise({
        shape: { ...shape, name: `${shape.name}-${layers}-blocks`, layers },
        type: LLAMA_CPP_TYPE,
        path: paths[i],
        threads,
        signal,
        onProgress: (done, total) => onProgress?.(i + done / total, DEPTHS.length, 'models for llama.cpp'),
      });
    }
    const script = join(packageRoot, 'experiments/oracle/bench.mjs');
    const contextTokens = batchTokens + decodeTokens + 64;
    child = spawn(execPath, [script, String(threads), String(contextTokens), ...paths]);
    const { system } = (await nextLine(child)) as { system: string };
    const running = child;
    const ask = async (request: object): Promise<number> => {
      const answer = nextLine(running);
      running.stdin.write(`${JSON.stringify(request)}\n`);
      return ((await answer) as { seconds: number }).seconds;
    };
    const ids = Array.from({ length: batchTokens }, (_, i) => (i * 7919) % shape.vocab);
    const times = async (request: (model: number) => object): Promise<PeerTimes> => {
      const [few, many] = [await ask(request(0)), await ask(request(1))];
      const block = (many - few) / (DEPTHS[1] - DEPTHS[0]);
      return { wholeS: few + block * (shape.layers - DEPTHS[0]) };
    };
    return {
      name: `llama.cpp ${LLAMA_CPP_TYPE}`,
      system,
      prefill: () => times((model) => ({ model, prefill: ids })),
      decode: () => times((model) => ({ model, decode: ids.slice(0, decodeTokens) })),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
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
    const onExit = (code: number | null) => {
      finish();
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
