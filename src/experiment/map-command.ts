/** `onefet map`: the mapping of a design, written where it is wanted instead of into the cache. */
import { existsSync } from 'node:fs';
import { freemem } from 'node:os';
import { type ChosenBackend, chooseBackend, findBackend, requireFreeMemory } from '../engine/create.ts';
import type { EngineChoice } from '../engine/names.ts';
import { OnefetError } from '../error.ts';
import { checkOverrides } from '../fabric/common-design.ts';
import { loadDesign } from '../fabric/design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { loadFabric } from '../fabric/registry.ts';
import type { AdapterChoice } from '../model/adapter-choice.ts';
import { tensorNames } from '../model/architecture.ts';
import { type Model, openModel } from '../model/model.ts';
import { adaptModel } from './adapters.ts';
import { addRanges, rangeWindows, unmeasuredPath } from './image-ranges.ts';
import { blocksPerPass } from './input-statistics.ts';
import { type MapHooks, mapToFile } from './map.ts';
import { mappingMemory } from './mapping-memory.ts';
import { type MappingPlan, planMapping } from './mapping-plan.ts';
import type { MappingReport } from './mapping-report.ts';
import { mappingOperations, mappingSeconds } from './mapping-time.ts';
import { readyCell } from './ready-cell.ts';
import { digitalPass, partsOf, reportOf } from './run-mapping.ts';

export interface MapCommandOptions {
  readonly model: string;
  readonly adapters?: readonly AdapterChoice[] | undefined;
  readonly design: string;
  readonly settings: readonly string[];
  readonly out: string;
  /** Measure the error after each step. */
  readonly steps?: boolean;
  /** Measure the converters' ranges on the calibration text and keep them in the image; default: where the fabric has any. */
  readonly ranges?: boolean;
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

const withRanges = ({ ranges }: Pick<MapCommandOptions, 'ranges'>, fabric: Fabric): boolean =>
  fabric.measuresRanges && ranges !== false;

/** The engine on which ranges are measured, of the whole model: chosen before the mapping begins. */
function rangeEngine(
  model: Model,
  fabric: Fabric,
  plan: MappingPlan,
  { engine, threads }: Pick<MapCommandOptions, 'engine' | 'threads'>,
): ChosenBackend {
  const contextTokens = Math.max(...rangeWindows(plan.text).map((ids) => ids.length));
  const image = partsOf(plan, model.shape);
  return chooseBackend(engine, { model, fabric, threads, contextTokens, image }, ['range']);
}

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
  /** Tokens on which the converters' ranges are measured; null where they are not. */
  readonly ranges: number | null;
  readonly image: string;
  readonly out: string | null;
}

/** What a mapping takes: operations, seconds at this machine's rate, memory. */
export function describeMapping(options: Omit<MapCommandOptions, 'out'> & { readonly out?: string }) {
  return withMapping(options, async (model, fabric, plan): Promise<MappingDescription> => {
    const { shape } = model;
    const { threads } = options;
    const { tokens } = plan.text;
    const { follow } = plan.settings;
    const { pass, mapping } = mappingOperations(shape, plan);
    const seconds = await mappingSeconds(shape, plan, threads);
    const ranged = withRanges(options, fabric) ? rangeEngine(model, fabric, plan, options) : undefined;
    return {
      model: model.name,
      design: plan.design.name,
      method: plan.settings.method,
      text: plan.text.file,
      tokens,
      cellsPerWeight: plan.cellsPerWeight,
      blocksPerPass: follow ? 1 : blocksPerPass(shape),
      operations: pass + mapping,
      secondsPerBlock: seconds / shape.layers,
      seconds,
      // The ranges are measured when the mapping has let its memory go.
      memoryBytes: Math.max(
        mappingMemory({ model, fabric, threads, engine: options.engine }, plan),
        ranged?.memoryBytes ?? 0,
      ),
      ranges: ranged ? rangeWindows(plan.text).reduce((sum, ids) => sum + ids.length, 0) : null,
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
    const ranged = withRanges(options, fabric) && rangeEngine(model, fabric, plan, options);
    if (ranged) requireFreeMemory(ranged, threads);
    const pass = digitalPass(model, plan, { fabric, threads }, findBackend(backend.name), hooks.signal);
    const mapped = ranged ? unmeasuredPath(out) : out;
    const every = options.steps ? { everyStep: true } : {};
    await mapToFile(model, plan, pass, mapped, { ...hooks, threads }, every);
    if (ranged) {
      const onProgress = (share: number) => hooks.onProgress?.(share, 1, 'converter ranges');
      const rangeHooks = { onProgress, signal: hooks.signal };
      await addRanges(model, plan.text, { fabric, threads }, ranged.backend.name, mapped, out, rangeHooks);
    }
    return reportOf(out);
  });
}
