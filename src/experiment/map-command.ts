/** `onefet map`: the mapping of a design, written where it is wanted instead of into the cache. */
import { existsSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { chooseBackend, findBackend } from '../engine/create.ts';
import type { EngineChoice } from '../engine/names.ts';
import { OnefetError } from '../error.ts';
import { checkOverrides } from '../fabric/common-design.ts';
import { loadDesign } from '../fabric/design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { loadFabric } from '../fabric/registry.ts';
import { estimateMapping, mappingRate } from '../mapping/estimate.ts';
import { METHODS } from '../mapping/method.ts';
import { tensorNames } from '../model/architecture.ts';
import type { AdapterChoice } from '../model/lora.ts';
import { type Model, modelPart, openModel } from '../model/model.ts';
import { blockWeights } from '../model/shape.ts';
import { adaptModel } from './adapters.ts';
import { blocksPerPass, bytesPerBlock } from './input-statistics.ts';
import { type MapHooks, mapToFile } from './map.ts';
import { type MappingPlan, namedMethod, planMapping, withSettings } from './mapping-plan.ts';
import type { MappingReport } from './mapping-report.ts';
import { readyCell } from './ready-cell.ts';
import { digitalPass, reportOf } from './run-mapping.ts';

export interface MapCommandOptions {
  readonly model: string;
  readonly adapters?: readonly AdapterChoice[] | undefined;
  readonly design: string;
  readonly settings: readonly string[];
  readonly out: string;
  /** Measure the error after each step. */
  readonly steps?: boolean;
  readonly threads: number;
  readonly engine: EngineChoice;
}

async function withMapping<T>(
  options: Omit<MapCommandOptions, 'out'>,
  work: (model: Model, fabric: Fabric, plan: MappingPlan) => Promise<T>,
): Promise<T> {
  const { design } = loadDesign(options.design, options.settings);
  await readyCell(design, { threads: options.threads });
  const fabric = loadFabric(design);
  const adapted = adaptModel(options.model, options.adapters);
  const model = openModel(adapted?.path ?? options.model);
  try {
    checkOverrides(design, tensorNames(model.shape.architecture));
    const plan = planMapping(model, fabric, adapted);
    if (!plan) {
      throw new OnefetError(
        'usage',
        'MAPPING_ROUND',
        `design ${design.name} rounds its weights: there is no image to make`,
        { hint: 'choose a method, as in --set mapping.method=auto' },
      );
    }
    return await work(model, fabric, plan);
  } finally {
    model.close();
  }
}

/** Heaps of the mapping's threads and the tokenizer of a large vocabulary; Node itself is in what the engine takes. */
const PROGRAM_BYTES = 1.5e8;

export interface MappingDescription {
  readonly model: string;
  readonly design: string;
  readonly method: string;
  readonly text: string;
  readonly tokens: number;
  readonly cellsPerWeight: number;
  /** Blocks whose inputs are gathered together. */
  readonly blocksPerPass: number;
  /** Of f32, the pass over the text included. */
  readonly operations: number;
  /** Of the first block, and of all. */
  readonly secondsPerBlock: number;
  readonly seconds: number;
  readonly memoryBytes: number;
  readonly freeBytes: number;
  readonly image: string;
  readonly out: string | null;
}

/** What a mapping takes: operations, seconds at this machine's rate, memory. */
export function describeMapping(options: Omit<MapCommandOptions, 'out'> & { readonly out?: string }) {
  return withMapping(options, async (model, fabric, plan): Promise<MappingDescription> => {
    const { shape } = model;
    const { threads } = options;
    const { tokens, windows } = plan.text;
    const method = namedMethod(plan) ?? withSettings(METHODS.rotated, plan.settings);
    const { operations, memoryBytes } = estimateMapping(shape, method, plan.tileRows, tokens, threads);
    const perPass = blocksPerPass(shape);
    const needs = {
      model: modelPart(model, 0, perPass),
      fabric,
      threads,
      contextTokens: Math.max(...windows.map((ids) => ids.length)),
    };
    const engine = chooseBackend(options.engine, needs, ['digital']);
    // A token costs two operations per weight; the head is not computed.
    const all = operations + 2 * tokens * blockWeights(shape);
    const seconds = all / ((await mappingRate()) * Math.min(threads, availableParallelism()));
    const streamBytes = perPass < shape.layers ? 4 * tokens * shape.dim : 0;
    return {
      model: model.name,
      design: plan.design.name,
      method: plan.settings.method,
      text: plan.text.file,
      tokens,
      cellsPerWeight: plan.cellsPerWeight,
      blocksPerPass: perPass,
      operations: all,
      secondsPerBlock: seconds / shape.layers,
      seconds,
      memoryBytes:
        PROGRAM_BYTES + memoryBytes + perPass * bytesPerBlock(shape) + streamBytes + engine.memoryBytes,
      freeBytes: freemem(),
      image: plan.key,
      out: options.out ?? null,
    };
  });
}

/** Maps into `out`; an interrupted mapping of the same is gone on with. Errors: OUT_EXISTS (usage) for a finished image. */
export function mapModelFile(options: MapCommandOptions, hooks: MapHooks): Promise<MappingReport> {
  return withMapping(options, async (model, fabric, plan) => {
    const { out, threads } = options;
    if (existsSync(out)) {
      throw new OnefetError('usage', 'OUT_EXISTS', `${out} exists already`, {
        hint: 'remove it, or name another file with --out',
      });
    }
    const contextTokens = Math.max(...plan.text.windows.map((ids) => ids.length));
    const { backend } = chooseBackend(options.engine, { model, fabric, threads, contextTokens }, ['digital']);
    const pass = digitalPass(model, plan, { fabric, threads }, findBackend(backend.name), hooks.signal);
    await mapToFile(model, plan, pass, out, { ...hooks, threads }, options.steps ? { everyStep: true } : {});
    return reportOf(out);
  });
}
