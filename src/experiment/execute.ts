/**
 * Executes jobs in one thread: keeps the model, the hardware weights and the layers of the last variant, so that the
 * windows of a chip follow each other without building it again.
 */

import type { Calibration } from '../cell/calibration.ts';
import { resetActivity } from '../fabric/activity.ts';
import type { LogDomainDesign as Design } from '../fabric/log-domain.ts';
import { TILE_COUNTERS } from '../fabric/log-domain.ts';
import { type RangeTable, rangesOf } from '../fabric/ranges.ts';
import { newSession, type Session } from '../model/forward.ts';
import { openModel } from '../model/model.ts';
import { runWindow } from '../model/scoring.ts';
import type { CellSumsKind as TileKernel } from '../tile/cell-sums.ts';
import { tilePhysics } from '../tile/physics.ts';
import { openBlockErrors } from './block-error.ts';
import type { Job, JobResult } from './job.ts';
import { openScorer } from './score.ts';
import { buildVariant, codingOf, type HardwareCache, type VariantLayers, variantKey } from './variant.ts';

/** Everything a thread needs to execute any job of a run: plain data, handed over once. */
export interface ExecutorOptions {
  readonly modelPath: string;
  readonly design: Design;
  readonly calibration: Calibration;
  readonly kernel: TileKernel;
  readonly contextTokens: number;
  readonly baselinePath: string;
  readonly statesPath: string;
  readonly modelSha256: string;
  /** See block-error.ts. */
  readonly stateStride: number;
}

export interface Executor {
  /** `ranges` is needed by `chip` and `source`. */
  execute(job: Job, ranges: RangeTable | undefined): JobResult;
  close(): void;
}

export function createExecutor(options: ExecutorOptions): Executor {
  const { design, calibration, kernel } = options;
  const model = openModel(options.modelPath);
  const hardware: HardwareCache = new Map();
  let current: { key: string; built: VariantLayers; session: Session } | undefined;

  const prepare = (job: Job, ranges: RangeTable | undefined) => {
    const key = variantKey(job.variant);
    if (current?.key !== key) {
      current = undefined; // let the last chip go before the next is built
      const built = buildVariant(job.variant, { model, design, calibration, kernel, hardware, ranges });
      current = { key, built, session: newSession(model, built.layers, options.contextTokens) };
    }
    return current;
  };

  return {
    execute(job, ranges) {
      const started = performance.now();
      const { built, session } = prepare(job, ranges);
      for (const layer of built.analog) resetActivity(layer.activity, TILE_COUNTERS);
      const scorer = openScorer(job, options.baselinePath, model.shape.vocab);
      const states = openBlockErrors(job, options.statesPath, model.shape, options.stateStride);
      let tokens = 0;
      let scored = 0;
      try {
        for (const window of job.windows) {
          const first = scored - window.scoreFrom;
          runWindow(
            session,
            window,
            (_position, logits, target) => scorer.add(logits, target),
            (position) =>
              states?.wants(first + position)
                ? (block, x) => states.add(first + position, block, x)
                : undefined,
          );
          tokens += window.scoreTo;
          scored += window.scoreTo - window.scoreFrom;
        }
      } finally {
        scorer.close();
        states?.close();
      }
      const result: JobResult = { key: job.key, tokens, seconds: (performance.now() - started) / 1e3 };
      if (job.variant.kind === 'range') {
        return {
          ...result,
          ranges: rangesOf(built.record, tilePhysics(calibration, design)),
          coding: codingOf(hardware),
        };
      }
      return {
        ...result,
        metrics: scorer.sums,
        blocks: states!.sums(),
        ...(job.variant.kind === 'chip'
          ? { activity: built.analog.map(({ activity }) => ({ ...activity })) }
          : {}),
      };
    },
    close: () => model.close(),
  };
}
