/**
 * onefet as a library, in the order in which data flows: SPICE, cell, tile and fabric, model, cost, experiment, report.
 *
 *     import { run } from 'onefet';
 *     console.log((await run({ chips: 2 })).summary.kl.mean);
 */

export { type CalibrateOptions, calibrate, calibrateToFile } from './calibrate/calibrate.ts';
export { type Calibration, loadCalibration } from './cell/calibration.ts';
export * from './cell/operating-point.ts';
export { priceModel } from './cost/chip.ts';
export { type CostConstants, loadCostConstants } from './cost/constants.ts';
export { priceFabric, projectFabric } from './cost/fabrics.ts';
export { priceLogDomain } from './cost/log-domain.ts';
export { type LogDomainCostDesign, logDomainCostDesign } from './cost/log-domain-design.ts';
export type { CostComponent, PricedDesign } from './cost/priced-design.ts';
export { projectActivity } from './cost/project.ts';
export type { CostLine, CostReport } from './cost/report.ts';
export { closeHosts } from './engine/create.ts';
export { OnefetError } from './error.ts';
export { type Generated, type Generation, generate } from './experiment/generate.ts';
export { openInputs, type RunInputs } from './experiment/inputs.ts';
export type { DesignOptions, GenerateOptions, InputOptions, RunOptions } from './experiment/options.ts';
export {
  planDesign,
  planRun,
  type RunPlan,
} from './experiment/plan.ts';
export type { RunResult } from './experiment/result.ts';
export { executeRun, type RunHooks, run } from './experiment/run.ts';
export type { Activity, LayerActivity } from './fabric/activity.ts';
export { type LoadedDesign, loadDesign } from './fabric/design.ts';
export type { Fabric } from './fabric/fabric.ts';
export type { Linear, LinearBuilder, LinearName } from './fabric/linear.ts';
export { logDomainLinear } from './fabric/log-domain.ts';
export { rangeTable } from './fabric/ranges.ts';
export { type Design, designSchema, loadFabric } from './fabric/registry.ts';
export { type Architecture, LLAMA } from './model/architecture.ts';
export { forward, newSession, type Session } from './model/forward.ts';
export { buildLayers, type Model, openModel } from './model/model.ts';
export type { ModelShape } from './model/shape.ts';
export { LLAMA_3_1_8B, type NamedShape } from './model/shapes.ts';
export { type PowerQuestion, type PowerRow, power } from './power/power.ts';
export type { TokenPosition } from './random.ts';
export { writeReport } from './report/report.ts';
export type { SpiceJob } from './spice/job.ts';
export { createSpicePool, type SpicePool } from './spice/pool.ts';
export { type Experiment, loadExperiment } from './sweep/experiment.ts';
export { type FinishedSweep, mergeSweep, readSweep } from './sweep/finish.ts';
export { type OpenSweep, openSweep } from './sweep/sweep.ts';
export { type TilePhysics, tilePhysics } from './tile/physics.ts';
