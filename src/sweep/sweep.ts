/**
 * A sweep of either kind: planned, estimated, run.
 *
 *     const sweep = openSweep(loadExperiment('experiments/gallery/mismatch-scale.yaml'), { threads: 2, out: 'runs', shard: WHOLE });
 *     const { sweep: finished } = await sweep.run();
 */
import { planAccuracy } from './accuracy/plan.ts';
import { accuracyRunner, estimateAccuracy } from './accuracy/runner.ts';
import { planCalibration } from './calibration/plan.ts';
import { calibrationRunner, estimateCalibration } from './calibration/runner.ts';
import { executeSweep, type SweepRun } from './execute.ts';
import type { Experiment } from './experiment.ts';
import type { SweepOptions, SweepPlan } from './plan.ts';
import type { SweepEstimate, SweepHooks } from './runner.ts';

export interface OpenSweep {
  readonly plan: SweepPlan;
  readonly estimate: SweepEstimate;
  run(hooks?: SweepHooks): Promise<SweepRun>;
}

/** Plans a sweep. Error: SWEEP_POINTS (input) with all that is wrong with the files that points name. */
export function openSweep(experiment: Experiment, options: SweepOptions): OpenSweep {
  if (experiment.kind === 'calibration') {
    const plan = planCalibration(experiment, options);
    return {
      plan,
      estimate: estimateCalibration(plan),
      run: (hooks = {}) => executeSweep(plan, calibrationRunner(plan, hooks), hooks),
    };
  }
  const plan = planAccuracy(experiment, options);
  return {
    plan,
    estimate: estimateAccuracy(plan),
    run: (hooks = {}) => executeSweep(plan, accuracyRunner(plan, hooks), hooks),
  };
}
