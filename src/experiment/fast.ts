/**
 * Executes jobs on the fast engine, one after the other: the engine spreads every token over its own threads, so a
 * variant is built once and all its windows follow. Same jobs, same results format as schedule.ts; `range` takes its
 * full scales and the coding loss from the engine's own pass.
 */

import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createEngine, type Engine } from '../engine/wasm/engine.ts';
import { OnefetError } from '../error.ts';
import type { TileActivity as LayerActivity } from '../fabric/activity.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { buildLayers, type LlamaModel, openModel } from '../model/model.ts';
import { recodeWeights } from '../tile/weight-code.ts';
import { openBlockErrors } from './block-error.ts';
import type { ExecutorOptions } from './execute.ts';
import type { Job, JobResult } from './job.ts';
import type { TensorCoding } from './result.ts';
import { type Crew, runInterrupted } from './schedule.ts';
import { openScorer } from './score.ts';
import { isAnalog, type Variant, variantDesign, variantKey, variantRanges } from './variant.ts';

/** `onShare` hears how much of the job with that key is done, and whether its engine is still being loaded. */
export function createFastCrew(
  threads: number,
  options: ExecutorOptions,
  signal?: AbortSignal,
  onShare?: (key: string, share: number, loading: boolean) => void,
): Crew {
  const model = openModel(options.modelPath);
  let current: { key: string; engine: Engine } | undefined;
  let job: { key: string; before: number; tokens: number; ofWindow: number } | undefined;
  const onProgress = (stage: 'load' | 'prefill', share: number) => {
    if (!job) return;
    const done = stage === 'load' ? 0 : (job.before + share * job.ofWindow) / job.tokens;
    onShare?.(job.key, stage === 'load' ? share : done, stage === 'load');
  };
  const engineOf = async (variant: Variant, ranges: RangeTable | undefined): Promise<Engine> => {
    const key = variantKey(variant);
    if (current?.key === key) return current.engine;
    if (current) {
      await current.engine.close();
      current = undefined;
      collectGarbage();
    }
    const engine = await createEngine({
      model,
      design: variantDesign(variant, options.design),
      calibration: options.calibration,
      mode: variant.kind === 'source' ? 'chip' : variant.kind,
      threads,
      contextTokens: options.contextTokens,
      codesCache: { folder: CODES_FOLDER, modelSha256: options.modelSha256 },
      onProgress,
      signal,
      ...('seed' in variant ? { chipSeed: variant.seed } : {}),
      ...('seed' in variant && ranges ? { ranges: variantRanges(variant, options.design, ranges)! } : {}),
    });
    current = { key, engine };
    return engine;
  };
  const execute = async (wanted: Job, ranges: RangeTable | undefined): Promise<JobResult> => {
    const started = performance.now();
    const all = wanted.windows.reduce((sum, window) => sum + window.scoreTo, 0);
    job = { key: wanted.key, before: 0, tokens: all, ofWindow: 0 };
    const engine = await engineOf(wanted.variant, ranges);
    engine.resetActivity();
    const scorer = openScorer(wanted, options.baselinePath, model.shape.vocab);
    const states = openBlockErrors(wanted, options.statesPath, model.shape, options.stateStride);
    let tokens = 0;
    let scored = 0;
    try {
      for (const { ids, window, scoreFrom, scoreTo } of wanted.windows) {
        // The last token of a window predicts nothing that is known.
        job = { ...job, before: tokens, ofWindow: scoreTo };
        const first = scored - scoreFrom;
        await engine.prefill(
          ids.subarray(0, scoreTo),
          window,
          (position, logits) => scorer.add(logits, ids[position + 1]),
          scoreFrom,
          states && {
            wants: (position) => position >= scoreFrom && states.wants(first + position),
            visit: (position, block, x) => states.add(first + position, block, x),
          },
        );
        tokens += scoreTo;
        scored += scoreTo - scoreFrom;
      }
    } finally {
      scorer.close();
      states?.close();
    }
    const result: JobResult = { key: wanted.key, tokens, seconds: (performance.now() - started) / 1e3 };
    if (wanted.variant.kind === 'range') {
      return { ...result, ranges: engine.ranges(), coding: codingOf(model, options) };
    }
    const activity: LayerActivity[] = wanted.variant.kind === 'chip' ? engine.activity() : [];
    return {
      ...result,
      metrics: scorer.sums,
      blocks: states!.sums(),
      ...(wanted.variant.kind === 'chip' ? { activity } : {}),
    };
  };
  return {
    async run(jobs, ranges, onResult) {
      const ordered = [...jobs].sort((a, b) => order(jobs, a) - order(jobs, b));
      for (const job of ordered) {
        if (signal?.aborted) throw runInterrupted();
        onResult(await resumable(execute(job, ranges)));
        // Lets Ctrl-C and the progress in between two windows.
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    async close() {
      await current?.engine.close();
      current = undefined;
      model.close();
    },
  };
}

/** The engine's own interruption does not know that finished jobs are kept. */
async function resumable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof OnefetError && error.kind === 'interrupted' ? runInterrupted() : error;
  }
}

/**
 * An 8B engine holds some 9 GB outside the heap, which the collector does not feel: without a push the next one is
 * allocated beside it.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
}

/** Below the working folder, beside the simulations. */
export const CODES_FOLDER = join('.onefet', 'cache', 'codes');

/** Jobs of one variant follow each other, variants in the order of their first job. */
function order(jobs: readonly Job[], job: Job): number {
  const key = variantKey(job.variant);
  return jobs.findIndex((other) => variantKey(other.variant) === key);
}

/** Weights of a tensor whose coding is evaluated: rows spread evenly over larger ones; 1 % is known to 0.01 dB. */
const CODING_SAMPLE = 2 ** 19;

/** The coding loss of each tensor: a pass of its own over (a sample of) the weights. */
function codingOf(model: LlamaModel, { design }: ExecutorOptions): TensorCoding[] {
  const coding: TensorCoding[] = [];
  buildLayers(model, (name, outputs, inputs, row) => {
    if (isAnalog(name, design)) {
      const bits = design.weights.overrides[name.tensor] ?? design.weights.bits;
      const rows = Math.max(1, Math.min(outputs, Math.floor(CODING_SAMPLE / inputs)));
      const sampled = (n: number, out: Float32Array) => row(Math.floor((n * outputs) / rows), out);
      const { codingSnrDb, zeroShare } = recodeWeights(rows, inputs, sampled, bits, design.tile.rows);
      coding.push({ layer: name.layer, tensor: name.tensor, outputs, inputs, bits, codingSnrDb, zeroShare });
    }
    return { outputs, inputs, apply: () => {} };
  });
  return coding;
}
