/**
 * The plan of a run: inputs, design, jobs, memory and the folder. `--dry-run` stops here.
 *
 *   openInputs    model and texts, once for any number of designs (inputs.ts)
 *   bindDesign    a design as a fabric with its cost data, checked
 *   planDesign    the two together: jobs, backend, memory, manifest, folder
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Comparators, loadComparators } from '../cost/comparators.ts';
import { type CostConstants, loadCostConstants } from '../cost/constants.ts';
import { checkPriceable } from '../cost/fabrics.ts';
import { neededModes } from '../engine/backend.ts';
import { chooseBackend, requireFreeMemory } from '../engine/create.ts';
import type { BackendName, Precision } from '../engine/names.ts';
import { checkOverrides } from '../fabric/common-design.ts';
import { type LoadedDesign, loadDesign } from '../fabric/design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { loadFabric } from '../fabric/registry.ts';
import { packageVersion, sha256 } from '../files.ts';
import { tensorNames } from '../model/architecture.ts';
import { type ScoredUnit, scoredPositions } from '../model/scoring.ts';
import { bits32, streamKey } from '../random.ts';
import { attributionSeeds } from './attribution.ts';
import { type ImageRanges, takenRanges } from './image-ranges.ts';
import { openInputs, type RunInputs } from './inputs.ts';
import { type Job, jobKey } from './job.ts';
import { IMAGES_FOLDER } from './map.ts';
import { mappingMemory } from './mapping-memory.ts';
import { DESIGN_DEFAULTS, type DesignOptions, type RunOptions, withDefaults } from './options.ts';
import { runFolderPath } from './run-folder.ts';
import { openPlannedMapping, type RunMapping } from './run-mapping.ts';

/** A design as a fabric, and what its cost needs. */
export interface BoundDesign {
  readonly loaded: LoadedDesign;
  readonly fabric: Fabric;
  readonly costConstants: CostConstants;
}

export interface RunPlan extends BoundDesign {
  readonly options: DesignOptions;
  readonly inputs: RunInputs;
  /** The chip image that all variants but the digital one run on; undefined: weights are rounded on the fly. */
  readonly mapping: RunMapping | undefined;
  readonly chipSeeds: readonly number[];
  readonly digitalJobs: readonly Job[];
  /** The converters' ranges in the image that was given, where they are taken. */
  readonly imageRanges: ImageRanges | undefined;
  /** undefined: a fabric without converters, or ranges that are the image's. */
  readonly rangeJob: Job | undefined;
  /** Everything that needs the digital baseline and the ranges. */
  readonly dependentJobs: readonly Job[];
  readonly memoryBytes: number;
  /** The backend that will execute the jobs, and why `auto` did not take another. */
  readonly engine: BackendName;
  /** In which it computes chips. */
  readonly precision: Precision;
  readonly engineReason: string | undefined;
  readonly folder: string;
  readonly manifest: Record<string, unknown>;
  /** Of onefet, for the result. */
  readonly version: string;
  /** Published accuracies, and the law that carries errors over to another model. */
  readonly comparators: Comparators;
}

/** Seeds of the chips: a chip's seed depends on the run's seed and its number, not on how many chips there are. */
export function chipSeed(seed: number, chip: number): number {
  return bits32(streamKey(seed, 0x63686970), chip);
}

/** Plans a run of one design; the design is checked before the model is read. */
export function planRun(asked: Partial<RunOptions> = {}): RunPlan {
  const options = withDefaults(DESIGN_DEFAULTS, asked);
  const bound = bindDesign(options);
  return makePlan(openInputs(asked), bound, options);
}

/** Plans a run of a design on inputs that are open already. */
export function planDesign(inputs: RunInputs, asked: Partial<DesignOptions> = {}): RunPlan {
  const options = withDefaults(DESIGN_DEFAULTS, asked);
  return makePlan(inputs, bindDesign(options), options);
}

/**
 * Loads a design with what its fabric needs and its cost data, and checks them against each other: whatever a run would
 * end in must be possible before its work begins. Errors: FABRIC, FLOAT_INPUT, COST_DESIGN, OUT_OF_RANGE (usage) and
 * others.
 */
function bindDesign(options: DesignOptions): BoundDesign {
  const loaded = loadDesign(options.design, options.settings, options.overrides);
  const { design } = loaded;
  const fabric = loadFabric(design, options.calibration);
  const costConstants = loadCostConstants(design.process, design.costs);
  checkPriceable(fabric, costConstants);
  return { loaded, fabric, costConstants };
}

function makePlan(inputs: RunInputs, bound: BoundDesign, options: DesignOptions): RunPlan {
  const { design } = bound.fabric;
  const { shape, codecs } = inputs.model;
  checkOverrides(design, tensorNames(shape.architecture));
  const { threads, precision: asked = 'auto' } = options;
  const { fabric } = bound;
  const mapping = openPlannedMapping(inputs, fabric, options.image);
  const needs = {
    model: { shape, codecs },
    fabric,
    threads,
    contextTokens: inputs.contextTokens,
    image: mapping?.parts,
    ...(asked === 'auto' ? {} : { tuning: { precision: asked } }),
  };
  const engine = chooseBackend(options.engine, needs, neededModes(fabric));
  // An image that is not kept yet is made before the engine's first job.
  const made =
    mapping?.plan && !existsSync(join(IMAGES_FOLDER, `${mapping.key}.image`)) ? mapping.plan : undefined;
  const mappingBytes = made
    ? mappingMemory({ model: { shape, codecs }, fabric, threads, engine: options.engine }, made)
    : 0;
  const memoryBytes = Math.max(engine.memoryBytes, mappingBytes);
  requireFreeMemory({ ...engine, memoryBytes }, threads);
  const imageRanges = inputs.rangeText.given ? undefined : takenRanges(mapping, fabric);
  const version = packageVersion();
  const precision = asked === 'auto' ? engine.backend.precisionOf({ ...needs, mode: 'chip' }) : asked;
  const chosen = { engine: engine.backend.name, precision };
  const manifest = makeManifest(inputs, bound, options.seed, chosen, version, mapping, imageRanges);
  return {
    ...bound,
    options,
    inputs,
    mapping,
    imageRanges,
    ...planChips(inputs, bound.fabric, options, imageRanges),
    memoryBytes,
    ...chosen,
    engineReason: engine.reason,
    folder: runFolderPath(options.out, design.name, bound.loaded.overrides, hashIdentity(manifest)),
    // How the design came about is recorded, but what it has become decides the results.
    manifest: { ...manifest, overrides: bound.loaded.overrides },
    version,
    comparators: loadComparators(),
  };
}

function makeManifest(
  inputs: RunInputs,
  { loaded, fabric }: BoundDesign,
  seed: number,
  chosen: Pick<RunPlan, 'engine' | 'precision'>,
  version: string,
  mapping: RunMapping | undefined,
  imageRanges: ImageRanges | undefined,
) {
  const { model, text, rangeText, scoring, contextTokens } = inputs;
  const { cell, circuit } = fabric;
  return {
    schema: 'onefet.manifest/5',
    onefet: version,
    model: { file: model.file, sha256: model.sha256 },
    text: { file: text.file, sha256: text.sha256, scoring, contextTokens },
    ...(inputs.task
      ? { task: { kind: inputs.task.kind, questions: inputs.task.questions.length, draws: 'by question' } }
      : {}),
    // Ranges of the image are part of its key.
    rangeText:
      fabric.measuresRanges && !imageRanges ? { file: rangeText.file, sha256: rangeText.sha256 } : null,
    windows: inputs.windows.length,
    design: { name: loaded.design.name, sha256: loaded.sha256 },
    calibration: cell ? { process: cell.process, cell: cell.cell, sha256: cell.sha256 } : null,
    seed,
    ...chosen,
    // Of what is drawn from a seed (src/tile/cell-draws.ts): chips of other draws are not of the same run.
    draws: 2,
    // A run without a circuit beside its cell or without an image has no such key: its folder stays what it was.
    ...(circuit
      ? { circuit: { process: circuit.process, circuit: circuit.circuit, sha256: circuit.sha256 } }
      : {}),
    ...(mapping ? { image: mapping.key } : {}),
  };
}

/** Hash of what decides a job's outcome: contents, not the names of files. */
function hashIdentity(manifest: ReturnType<typeof makeManifest>): string {
  return sha256(
    JSON.stringify({
      ...manifest,
      model: manifest.model.sha256,
      text: { ...manifest.text, file: '' },
      rangeText: manifest.rangeText?.sha256 ?? null,
    }),
  );
}

/** The plan with another number of chips: of the same folder, as chips are numbered from the first. */
export function withChips(plan: RunPlan, chips: number, attributionChips: number): RunPlan {
  const options = { ...plan.options, chips, attributionChips };
  return { ...plan, options, ...planChips(plan.inputs, plan.fabric, options, plan.imageRanges) };
}

type ChipOptions = Pick<DesignOptions, 'seed' | 'chips' | 'attributionChips'>;

/** Where nothing is drawn, one chip stands for all that are asked for. */
function planChips(
  { groups, rangeWindows }: RunInputs,
  fabric: Fabric,
  { seed, chips, attributionChips }: ChipOptions,
  imageRanges: ImageRanges | undefined,
): Pick<RunPlan, 'chipSeeds' | 'digitalJobs' | 'rangeJob' | 'dependentJobs'> {
  const length = fabric.chipsDiffer ? chips : Math.min(1, chips);
  const chipSeeds = Array.from({ length }, (_, chip) => chipSeed(seed, chip));
  const over = jobsOver(groups);
  return {
    chipSeeds,
    digitalJobs: over({ kind: 'digital' }),
    rangeJob:
      fabric.measuresRanges && !imageRanges
        ? {
            key: jobKey({ kind: 'range' }, 'all'),
            variant: { kind: 'range' },
            number: 'all',
            windows: rangeWindows,
            baselineRow: 0,
          }
        : undefined,
    dependentJobs: [
      ...chipSeeds.flatMap((seed) => over({ kind: 'chip', seed })),
      ...fabric.errorSources.flatMap((source) =>
        attributionSeeds(source, chipSeeds, attributionChips).flatMap((seed) =>
          over({ kind: 'source', source: source.name, seed }),
        ),
      ),
      ...over({ kind: 'recoded' }),
    ],
  };
}

/** Makes the jobs of a variant, one per group of units, each with its first row of the baseline. */
function jobsOver(groups: readonly (readonly ScoredUnit[])[]): (variant: Job['variant']) => Job[] {
  const jobs: Pick<Job, 'windows' | 'baselineRow'>[] = [];
  let row = 0;
  for (const group of groups) {
    const windows = group.flat();
    jobs.push({ windows, baselineRow: row });
    row += scoredPositions(windows);
  }
  return (variant) => jobs.map((job, number) => ({ key: jobKey(variant, number), variant, number, ...job }));
}
