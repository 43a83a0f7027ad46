/**
 * Executes jobs, one after the other, on engines of one backend: keeps the engine of the last variant, so that the
 * windows of a chip follow each other without building it again.
 */
import { join } from 'node:path';
import type { Engine } from '../engine/backend.ts';
import { createEngine } from '../engine/create.ts';
import type { BackendName, Precision } from '../engine/names.ts';
import type { FabricParts } from '../fabric/fabric.ts';
import type { RangeTable } from '../fabric/ranges.ts';
import { loadFabric } from '../fabric/registry.ts';
import { type ImageReader, openImage } from '../mapping/image.ts';
import { openModel } from '../model/model.ts';
import { computedTokens, keptTokens } from '../model/scoring.ts';
import { openBlockErrors } from './block-error.ts';
import { chipImagePath, correctionErrors, isCorrected } from './correction.ts';
import type { Job, JobResult } from './job.ts';
import { openLayerErrors } from './layer-error.ts';
import { openScorer } from './score.ts';
import { type Variant, variantKey, variantRequest } from './variant.ts';

/** Everything that any job of a run needs: plain data, handed to a thread once. */
export interface ExecutorOptions {
  readonly modelPath: string;
  /** There is a job of ranges, which says the coding; else that of the mapped weights does. */
  readonly measuresRanges: boolean;
  readonly fabric: FabricParts;
  readonly backend: BackendName;
  /** Of chips. */
  readonly precision: Precision;
  /** Of each engine. */
  readonly threads: number;
  readonly contextTokens: number;
  readonly baselinePath: string;
  readonly statesPath: string;
  readonly layersPath: string;
  readonly modelSha256: string;
  /** The chip image that all variants but the digital one run on. */
  readonly imagePath: string | undefined;
  /** Folder of the images of single chips (correction.ts), there before their jobs begin; undefined without correction. */
  readonly chipImages: string | undefined;
  /** See block-error.ts. */
  readonly stateStride: number;
}

export interface ExecutorHooks {
  readonly signal?: AbortSignal | undefined;
  /** Share of the job with that key that is done, and whether its engine is still being loaded. */
  readonly onShare?: ((key: string, share: number, loading: boolean) => void) | undefined;
}

export interface Executor {
  /** `ranges` is needed by `chip` and `source`. */
  execute(job: Job, ranges: RangeTable | undefined): Promise<JobResult>;
  close(): Promise<void>;
}

/** Below the working folder, beside the simulations: mapped weights that the next engine need not map again. */
export const CODES_FOLDER = join('.onefet', 'cache', 'codes');

export function createExecutor(options: ExecutorOptions, hooks: ExecutorHooks = {}): Executor {
  const model = openModel(options.modelPath);
  const fabric = loadFabric(options.fabric.design, options.fabric.calibration);
  const image = options.imagePath === undefined ? undefined : openImage(options.imagePath);
  let current: { key: string; engine: Engine; own: ImageReader | undefined } | undefined;
  /** The job in progress: its tokens, those of finished windows, and those of the window that is running. */
  let progress: { key: string; tokens: number; before: number; ofWindow: number } | undefined;

  const onProgress = (stage: 'load' | 'prefill', share: number) => {
    if (!progress) return;
    const { key, tokens, before, ofWindow } = progress;
    if (stage === 'load') hooks.onShare?.(key, share, true);
    else hooks.onShare?.(key, (before + share * ofWindow) / tokens, false);
  };

  const leave = async (): Promise<void> => {
    await current?.engine.close();
    current?.own?.close();
    current = undefined;
  };

  const engineOf = async (variant: Variant, ranges: RangeTable | undefined): Promise<Engine> => {
    const key = variantKey(variant);
    if (current?.key === key) return current.engine;
    await leave(); // let the last chip go before the next is built
    const own =
      options.chipImages !== undefined && isCorrected(variant)
        ? openImage(chipImagePath(options.chipImages, variant))
        : undefined;
    const request = variantRequest(variant, fabric, ranges);
    // A single source of error has real-valued inputs, which no engine codes.
    const coded = request.fabric.physics?.design.input.bits !== 'float';
    const engine = await createEngine(options.backend, {
      model,
      ...request,
      tuning: { precision: coded ? options.precision : 'exact' },
      threads: options.threads,
      contextTokens: options.contextTokens,
      image: own ?? image,
      codesCache: { folder: CODES_FOLDER, modelSha256: options.modelSha256 },
      onProgress,
      signal: hooks.signal,
    });
    current = { key, engine, own };
    return engine;
  };

  return {
    async execute(job, ranges) {
      const started = performance.now();
      const tokens = computedTokens(job.windows);
      progress = { key: job.key, tokens, before: 0, ofWindow: 0 };
      const engine = await engineOf(job.variant, ranges);
      engine.resetActivity();
      const layers = openLayerErrors(job, options.layersPath, model.shape);
      const scorer = openScorer(job, options.baselinePath, model.shape.vocab);
      const states = openBlockErrors(job, options.statesPath, model.shape, options.stateStride);
      let scored = 0;
      try {
        for (const [i, one] of job.windows.entries()) {
          const { ids, window, scoreFrom, scoreTo } = one;
          const kept = keptTokens(one, job.windows[i - 1]);
          progress.ofWindow = scoreTo - kept;
          const first = scored - scoreFrom;
          await engine.prefill(
            // The last token of a window predicts nothing that is known.
            ids.subarray(0, scoreTo),
            window,
            (position, logits) => scorer.add(logits, ids[position + 1]),
            scoreFrom,
            {
              states: states && {
                wants: (position) => position >= scoreFrom && states.wants(first + position),
                visit: (position, block, x) => states.add(first + position, block, x),
              },
              ...(i === job.windows.length - 1 ? layers?.visitors : undefined),
            },
            kept,
          );
          progress.before += scoreTo - kept;
          scored += scoreTo - scoreFrom;
        }
      } finally {
        scorer.close();
        states?.close();
      }
      const { kind } = job.variant;
      // What is counted is what the text took.
      const activity = kind === 'chip' ? engine.activity() : undefined;
      progress.ofWindow = 0;
      const layerSums = await layers?.finish(engine);
      const seconds = (performance.now() - started) / 1e3;
      const done = { key: job.key, tokens, seconds };
      if (kind === 'range')
        return {
          ...done,
          ranges: engine.ranges(),
          columns: engine.columnCounts(),
          coding: engine.codingLoss(),
        };
      return {
        ...done,
        metrics: scorer.sums,
        positions: scorer.positions(),
        blocks: states!.sums(),
        ...(layerSums ? { layers: layerSums } : {}),
        ...(activity ? { activity, ...correctionOf(current?.own) } : {}),
        ...(kind === 'recoded' && !options.measuresRanges ? { coding: engine.codingLoss() } : {}),
      };
    },
    async close() {
      await leave();
      image?.close();
      model.close();
    },
  };
}

function correctionOf(image: ImageReader | undefined): Pick<JobResult, 'correction'> {
  const correction = image && correctionErrors(image);
  return correction ? { correction } : {};
}
