/** A plan on a small model and hand-made finished jobs of it, for tests of what comes after the work. */
import { join } from 'node:path';
import { openInputs } from '../experiment/inputs.ts';
import { type FinishedJob, finishJob, type Job, type JobResult } from '../experiment/job.ts';
import { seesLayers } from '../experiment/layer-error.ts';
import type { DesignOptions } from '../experiment/options.ts';
import { planDesign, type RunPlan } from '../experiment/plan.ts';
import { encodePositions } from '../experiment/positions.ts';
import { tensorKey } from '../fabric/placement.ts';
import { blockMatrices } from '../model/shape.ts';
import { writeFixture } from './models.ts';

/** Two windows of 16 tokens on a model of one block. */
export function smallPlan(folder: string, change: Partial<DesignOptions> = {}): RunPlan {
  const model = join(folder, 'small.gguf');
  writeFixture(model, { dim: 32, ffnDim: 32, layers: 1, heads: 2, kvHeads: 1 });
  const inputs = openInputs({
    model,
    text: 'experiments/texts/stories.txt',
    rangeText: 'experiments/texts/range.txt',
    contextTokens: 16,
    scoring: 'window',
    maxWindows: 2,
  });
  return planDesign(inputs, {
    design: 'log-domain',
    settings: ['mapping.method=round'],
    chips: 2,
    seed: 1,
    threads: 1,
    engine: 'scalar',
    attributionChips: 0,
    yieldRatio: 1.1,
    out: join(folder, 'out'),
    ...change,
  });
}

/** A job's result with round numbers: sums of `scored` positions at this NLL and KL per position. */
export function madeJob(plan: RunPlan, job: Job, nll: number, kl: number): FinishedJob {
  const scored = job.windows.reduce((sum, { scoreFrom, scoreTo }) => sum + scoreTo - scoreFrom, 0);
  const { shape } = plan.inputs.model;
  const matrices = blockMatrices(shape, 0);
  const base: JobResult = { key: job.key, tokens: 15, seconds: 1 };
  if (job.variant.kind === 'range') {
    return finishJob(job, {
      ...base,
      ranges: Object.fromEntries(matrices.map(({ name }) => [tensorKey(name), [[13]]])),
      coding: matrices.map(({ name, outputs, inputs }) => ({
        layer: name.layer,
        tensor: name.tensor,
        outputs,
        inputs,
        bits: 4,
        codingSnrDb: 20,
        zeroShare: 0.1,
      })),
    });
  }
  return finishJob(job, {
    ...base,
    metrics: { scored, nll: nll * scored, kl: kl * scored, top1: scored / 2 },
    positions: encodePositions(
      {
        nll: new Float32Array(scored).fill(nll),
        kl: new Float32Array(scored).fill(kl),
        top1: Uint8Array.from({ length: scored }, (_, i) => (i < scored / 2 ? 1 : 0)),
      },
      job.variant.kind === 'digital',
    ),
    blocks: { positions: scored, signal: [100 * scored], error: [scored] },
    ...(seesLayers(job) && job.variant.kind !== 'digital'
      ? {
          layers: {
            positions: scored,
            signal: [matrices.map(() => 100)],
            local: [matrices.map(() => 1)],
            stream: [matrices.map((_, i) => i + 1)],
          },
        }
      : {}),
    activity: matrices.map(({ name, outputs, inputs }) => ({
      layer: name.layer,
      tensor: name.tensor,
      outputs,
      inputs,
      weightBits: 4,
      tiles: 1,
      tileRows: 256,
      columns: outputs,
      cells: outputs * inputs,
      connectedCells: outputs * inputs,
      phases: 2,
      tokens: 15,
      sumCurrentA: 15 * outputs * inputs * 1e-10,
      sumActiveRows: 15 * inputs,
      dacConversions: 15 * inputs,
      adcConversions: 15 * outputs,
      adcClipped: 3 * outputs,
    })),
  });
}
