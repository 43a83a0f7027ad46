/** What the finished jobs of a run counted, as its activity file keeps it. */
import { shapeRecord } from '../model/shape.ts';
import { ACTIVITY_SCHEMA, type StoredActivity } from './activity-file.ts';
import { chipsOf } from './assemble.ts';
import { codingVariance } from './loss-prediction.ts';
import { mappingWork } from './mapping-report.ts';
import type { RunPlan } from './plan.ts';
import type { RunResult } from './result.ts';
import type { FinishedJobs } from './unit-sums.ts';

/** Gathers what the finished jobs of a run counted. */
export function activityOfRun(plan: RunPlan, finished: FinishedJobs, result: RunResult): StoredActivity {
  const { model } = plan.inputs;
  const { chips, activity } = chipsOf(plan, finished);
  return {
    schema: ACTIVITY_SCHEMA,
    onefet: plan.version,
    command: result.emulation.command,
    design: result.design,
    model: {
      name: model.name,
      file: model.file,
      parameters: model.parameters,
      synthetic: model.synthetic,
      shape: shapeRecord(model.shape) as StoredActivity['model']['shape'],
    },
    accuracy: {
      predictions: result.text.scored,
      chips: chips.length,
      digitalPerplexity: result.digital.perplexity,
      perplexity: result.summary.perplexity.mean,
      // Rounding may leave less than nothing where both are the same.
      recodedKl: Math.max(0, result.recoded.kl),
      kl: Math.max(0, result.summary.kl.mean),
      top1: result.summary.top1.mean,
      codingVariance: codingVariance(result.coding),
    },
    mapping: result.mapping === null ? null : mappingWork(result.mapping),
    ranges: (plan.rangeJob && finished.get(plan.rangeJob.key)?.ranges) ?? {},
    layers: activity.layers as StoredActivity['layers'],
  };
}
