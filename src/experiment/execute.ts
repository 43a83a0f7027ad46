/**
 * Executes jobs in one thread: keeps the model, the hardware weights and the layers of the last variant, so that the
 * windows of a chip follow each other without building it again.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { Calibration } from '../cell/calibration.ts';
import { OnefetError } from '../error.ts';
import { type RangeTable, rangesOf, resetActivity, type TileKernel } from '../fabric/log-domain.ts';
import { reasonOf } from '../files.ts';
import { newSession, type Session } from '../model/llama.ts';
import { openModel } from '../model/model.ts';
import { greedyToken } from '../model/sample.ts';
import { runWindow } from '../model/scoring.ts';
import type { Design } from '../tile/design.ts';
import { tilePhysics } from '../tile/physics.ts';
import type { Job, JobResult } from './job.ts';
import { klDivergence, logSoftmax, type MetricSums } from './metrics.ts';
import { buildVariant, codingOf, type HardwareCache, type VariantLayers, variantKey } from './variant.ts';

/** Everything a thread needs to execute any job of a run: plain data, handed over once. */
export interface ExecutorOptions {
  readonly modelPath: string;
  readonly design: Design;
  readonly calibration: Calibration;
  readonly kernel: TileKernel;
  readonly contextTokens: number;
  readonly baselinePath: string;
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
  const vocabulary = model.shape.vocab;
  const baseline = new Float32Array(vocabulary);
  const own = new Float32Array(vocabulary);
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
      for (const layer of built.analog) resetActivity(layer.activity);
      const sums: MetricSums = { scored: 0, nll: 0, kl: 0, top1: 0 };
      const handle = openSync(options.baselinePath, job.variant.kind === 'digital' ? 'r+' : 'r');
      let tokens = 0;
      try {
        let row = job.baselineRow;
        for (const window of job.windows) {
          runWindow(session, window, (_position, logits, target) => {
            const best = logSoftmax(own, logits);
            if (!Number.isFinite(own[target])) {
              throw new OnefetError('internal', 'NOT_FINITE', `${job.key}: the logits are not finite`);
            }
            sums.scored++;
            sums.nll -= own[target];
            if (job.variant.kind === 'digital') {
              sums.top1++;
              writeRow(handle, row++, own);
            } else if (job.variant.kind !== 'range') {
              readRow(handle, row++, baseline);
              sums.kl += klDivergence(baseline, own);
              if (greedyToken(baseline) === best) sums.top1++;
            }
          });
          tokens += window.scoreTo;
        }
      } finally {
        closeSync(handle);
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
        metrics: sums,
        ...(job.variant.kind === 'chip'
          ? { activity: built.analog.map(({ activity }) => ({ ...activity })) }
          : {}),
      };
    },
    close: () => model.close(),
  };
}

function writeRow(handle: number, row: number, values: Float32Array): void {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  try {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(handle, bytes, at, bytes.length - at, row * bytes.length + at);
    }
  } catch (cause) {
    throw new OnefetError(
      'input',
      'FILE_UNWRITABLE',
      `cannot write the digital baseline: ${reasonOf(cause)}`,
      {
        cause,
        hint: 'free disk space and run the same command again: finished jobs are kept',
      },
    );
  }
}

function readRow(handle: number, row: number, values: Float32Array): void {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let at = 0;
  while (at < bytes.length) {
    const count = readSync(handle, bytes, at, bytes.length - at, row * bytes.length + at);
    if (count === 0) {
      throw new OnefetError('input', 'BASELINE_SHORT', 'the digital baseline of this run is damaged', {
        hint: 'remove the run folder and run again',
      });
    }
    at += count;
  }
}
