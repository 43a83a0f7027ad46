/**
 * Scores logits of one job as they come: writes the digital model's log-probabilities to the baseline file, or compares
 * with what stands there.
 */
import { closeSync, openSync } from 'node:fs';
import { OnefetError } from '../error.ts';
import { readAt, writeAt } from '../files.ts';
import { greedyToken } from '../model/sample.ts';
import { scoredPositions } from '../model/scoring.ts';
import type { Job } from './job.ts';
import { klDivergence, logSoftmax, type MetricSums } from './metrics.ts';
import { encodePositions, newPositions, type PositionRecord } from './positions.ts';

export interface Scorer {
  readonly sums: MetricSums;
  /** What came of each position so far. */
  positions(): PositionRecord;
  /** Logits of the next scored position, in the order of the job's windows, and the token that came. */
  add(logits: Float32Array, target: number): void;
  close(): void;
}

/** Positions of a job are rows job.baselineRow, job.baselineRow + 1, ... of the baseline file: [rows][vocab] f32. */
export function openScorer(job: Job, baselinePath: string, vocabulary: number): Scorer {
  const { kind } = job.variant;
  const handle = openSync(baselinePath, kind === 'digital' ? 'r+' : 'r');
  const sums: MetricSums = { scored: 0, nll: 0, kl: 0, top1: 0 };
  const own = new Float32Array(vocabulary);
  const baseline = new Float32Array(vocabulary);
  const positions = newPositions(scoredPositions(job.windows));
  let row = job.baselineRow;
  return {
    sums,
    positions: () => encodePositions(positions, kind === 'digital'),
    add(logits, target) {
      const best = logSoftmax(own, logits);
      if (!Number.isFinite(own[target])) {
        throw new OnefetError('internal', 'NOT_FINITE', `${job.key}: the logits are not finite`);
      }
      const position = sums.scored++;
      sums.nll -= own[target];
      positions.nll[position] = -own[target];
      if (kind === 'digital') {
        sums.top1++;
        writeRow(handle, row++, own);
      } else if (kind !== 'range') {
        readRow(handle, row++, baseline);
        const kl = klDivergence(baseline, own);
        sums.kl += kl;
        positions.kl[position] = kl;
        if (greedyToken(baseline) === best) {
          sums.top1++;
          positions.top1[position] = 1;
        }
      }
    },
    close: () => closeSync(handle),
  };
}

const bytesOf = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

function writeRow(handle: number, row: number, values: Float32Array): void {
  writeAt(handle, bytesOf(values), row * values.byteLength, 'the digital baseline');
}

function readRow(handle: number, row: number, values: Float32Array): void {
  if (readAt(handle, bytesOf(values), row * values.byteLength)) return;
  throw new OnefetError('input', 'BASELINE_SHORT', 'the digital baseline of this run is damaged', {
    hint: 'remove the run folder and run again',
  });
}
