/** Engines for tests: made, used and closed; and how far two of them are apart. */
import type { Engine, EngineRequest } from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import type { BackendName } from '../engine/names.ts';
import { klDivergence, logSoftmax } from '../experiment/metrics.ts';
import type { RangeTable } from '../fabric/ranges.ts';

export type TestRequest = Omit<EngineRequest, 'threads' | 'contextTokens'> &
  Partial<Pick<EngineRequest, 'threads' | 'contextTokens'>>;

/**
 * One thread and the model's whole context unless the request says otherwise: small models take longer to start a thread
 * than to run, and tests of their own compare any number of threads bit by bit.
 */
export async function withEngine<T>(
  backend: BackendName,
  request: TestRequest,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  const { contextTokens } = request.model.shape;
  const engine = await createEngine(backend, { threads: 1, contextTokens, ...request });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/** Logits [positions][vocab] of a text. */
export async function logitsOf(
  engine: Engine,
  tokens: ArrayLike<number>,
  window = 0,
): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  await engine.prefill(tokens, window, (position, logits) => {
    if (position !== all.length) throw new Error(`position ${position} came as number ${all.length}`);
    all.push(logits.slice());
  });
  return all;
}

export interface TextRun {
  readonly logits: Float32Array[];
  /** Of mode `range`. */
  readonly ranges: RangeTable;
}

/** A text on an engine of its own. */
export function runText(
  backend: BackendName,
  request: TestRequest,
  tokens: ArrayLike<number>,
): Promise<TextRun> {
  return withEngine(backend, { contextTokens: tokens.length, ...request }, async (engine) => {
    const logits = await logitsOf(engine, tokens);
    return { logits, ranges: request.mode === 'range' ? engine.ranges() : {} };
  });
}

/** KL(p || q) in nats, mean over positions. */
export function meanKl(p: readonly Float32Array[], q: readonly Float32Array[]): number {
  const [logP, logQ] = [new Float32Array(p[0].length), new Float32Array(p[0].length)];
  const each = p.map((logits, i) => {
    logSoftmax(logP, logits);
    logSoftmax(logQ, q[i]);
    return klDivergence(logP, logQ);
  });
  return each.reduce((sum, x) => sum + x, 0) / each.length;
}
