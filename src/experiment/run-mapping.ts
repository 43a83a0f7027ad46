/**
 * The chip image of a run: planned with the run, made or opened before its jobs. Either the design's own mapping, kept by
 * content (map.ts), or a file of `onefet map` that was given in its place.
 */
import { dirname } from 'node:path';
import type { Backend, EngineNeeds } from '../engine/backend.ts';
import { findBackend } from '../engine/create.ts';
import { type ImagePlan, requireImageFits } from '../engine/image.ts';
import type { BackendName } from '../engine/names.ts';
import { OnefetError } from '../error.ts';
import { EMBEDDED_CALIBRATION, tensorBits } from '../fabric/common-design.ts';
import type { Fabric } from '../fabric/fabric.ts';
import { tensorKey } from '../fabric/placement.ts';
import { displayPath, findDataFile } from '../files.ts';
import { isImage, openImage } from '../mapping/image.ts';
import { IMAGE_SCHEMA } from '../mapping/image-format.ts';
import { gainKey } from '../mapping/map-model.ts';
import { METHODS } from '../mapping/method.ts';
import { stageInput } from '../mapping/plan.ts';
import { matricesReading, STAGES } from '../model/architecture.ts';
import { type Model, openModel } from '../model/model.ts';
import { blockMatrices, type ModelShape, sourceTensor } from '../model/shape.ts';
import { requireAdaptable } from './adapters.ts';
import { plannedCorrection } from './correction.ts';
import type { ImageRanges } from './image-ranges.ts';
import { type InputPass, newInputPass } from './input-pass.ts';
import type { RunInputs } from './inputs.ts';
import { damageOf, keepImage, type MapHooks } from './map.ts';
import { type MappingPlan, namedMethod, planMapping, residualOf, withSettings } from './mapping-plan.ts';
import { type MappingReport, mappingReport } from './mapping-report.ts';
import { EMBEDDED_MODEL } from './options.ts';
import { checkCalibrationText } from './overlap.ts';

export interface RunMapping {
  /** What decides the image: part of the run's identity. */
  readonly key: string;
  /** What can be known of it beforehand. */
  readonly parts: ImagePlan;
  /** To be made; undefined: `path` was given. */
  readonly plan: MappingPlan | undefined;
  readonly path: string | undefined;
  /** Of the converters, where the image that was given has them. */
  readonly ranges?: ImageRanges | undefined;
  /** Of a calibration text that shares a passage with the scored one, or that is not of the model's kind. */
  readonly warning: string | null;
}

/** An image at hand. */
export interface ReadyImage {
  readonly path: string;
  readonly report: MappingReport;
  discard(): void;
}

/**
 * Plans the image of a run; undefined where weights are rounded on the fly.
 * Errors: MAPPING_TEXT, MAPPING_HEAD, BIT_BUDGET, IMAGE_MODEL, IMAGE_FIT (usage); IMAGE_... (input).
 */
export function openPlannedMapping(
  inputs: RunInputs,
  fabric: Fabric,
  imagePath: string | undefined,
): RunMapping | undefined {
  if (imagePath !== undefined) {
    requireTiles(fabric, inputs.model.shape);
    if (inputs.model.adapted) requireAdaptable(fabric);
    const given = givenImage(inputs.model.sha256, imagePath);
    requireImageFits({ model: inputs.model, fabric }, given.parts);
    requireDesignBits(fabric, inputs.model.shape, given.parts);
    const planned = plannedCorrection(given, fabric, inputs.model.shape);
    return planned && { ...planned, warning: otherDesign(given.parts, fabric) };
  }
  const { adapted } = inputs.model;
  if (fabric.design.mapping.method === 'round' && !adapted) return undefined;
  const model = openModel(inputs.model.path);
  try {
    const plan = planMapping(model, fabric, adapted)!;
    const warnings = [checkCalibrationText(plan.text.ids, inputs.passages), foreignText(inputs, plan)];
    const warning = warnings.filter((text) => text !== null).join(' ') || null;
    const parts = partsOf(plan, model.shape);
    const made: RunMapping = { key: plan.key, parts, plan, path: undefined, warning };
    return plannedCorrection(made, fabric, model.shape);
  } finally {
    model.close();
  }
}

/** A warning where a model is mapped on what the embedded one wrote. */
function foreignText({ model }: RunInputs, { settings, text }: MappingPlan): string | null {
  const embedded = findDataFile(EMBEDDED_MODEL);
  const itsOwn = embedded !== undefined && dirname(model.file) === dirname(displayPath(embedded));
  if (settings.text !== EMBEDDED_CALIBRATION || itsOwn) return null;
  return `The weights are mapped on ${text.file}, which the embedded model wrote: a text of the kind that ${model.name} is for (mapping.text) suits it better.`;
}

/** A warning where the weights were mapped for a chip of another name: other errors would have chosen other codes. */
function otherDesign({ header }: ImagePlan, { design }: Fabric): string | null {
  if (header.design.name === design.name) return null;
  return `The chip image was mapped for design ${header.design.name} and runs on ${design.name}: its codes were chosen for the errors of the other.`;
}

/** Throws OnefetError('usage', 'IMAGE_FIT') for a fabric that computes no matrix of the blocks, such as a GPU: what an image maps would never be met. */
function requireTiles(fabric: Fabric, shape: ModelShape): void {
  const { matrices } = shape.architecture;
  const carried = matrices.some(({ tensor }, ordinal) =>
    fabric.carries({ layer: 0, tensor, ordinal, count: matrices.length }),
  );
  if (carried) return;
  throw new OnefetError(
    'usage',
    'IMAGE_FIT',
    `design ${fabric.design.name}: a ${fabric.kind} computes the weights of the file, and no image`,
    { hint: 'leave --image out' },
  );
}

/**
 * Throws OnefetError('usage', 'IMAGE_FIT') for an image whose bits are not the design's: an engine would take them, but the
 * result would name others. A budget of cells gives some matrices six bits in place of the design's, never all.
 */
function requireDesignBits({ design }: Fabric, shape: ModelShape, { header, matrices }: ImagePlan): void {
  const allSix = [...matrices.values()].every(({ bits }) => bits === 6);
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const { name } of blockMatrices(shape, layer)) {
      const [found, wanted] = [matrices.get(tensorKey(name))!.bits, tensorBits(design, name.tensor)];
      if (found === wanted || (found === 6 && !allSix)) continue;
      throw new OnefetError(
        'usage',
        'IMAGE_FIT',
        `the chip image of design ${header.design.name} does not fit design ${design.name}: ${tensorKey(name)} has ${found} bits in it, ${wanted} in the design`,
        { hint: `set weights.bits=${found}, or map this model for this design again` },
      );
    }
  }
}

/** Throws OnefetError('usage', 'IMAGE_MODEL') for an image of another model. */
export function givenImage(modelSha256: string, path: string): RunMapping {
  const image = openImage(path);
  const { header, matrices, vectors, sha256 } = image;
  const table = image.readRanges();
  const ranges = image.ranges && table && { about: image.ranges, table };
  image.close();
  if (header.model.sha256 !== modelSha256) {
    throw new OnefetError(
      'usage',
      'IMAGE_MODEL',
      `${displayPath(path)} is the image of another model: ${header.model.name}`,
      { hint: 'give that model with --model, or map this one with onefet map' },
    );
  }
  return { key: sha256, parts: { header, matrices, vectors }, plan: undefined, path, ranges, warning: null };
}

/** An image as it will be, without its numbers; of `auto`, with all that it may choose. */
export function partsOf(plan: MappingPlan, shape: ModelShape): ImagePlan {
  const method = namedMethod(plan) ?? withSettings(METHODS.rotated, plan.settings);
  const { side, principal } = plan.settings;
  const matrices = new Map<string, ImagePlan['matrices'] extends ReadonlyMap<string, infer M> ? M : never>();
  const vectors = new Map<string, number>();
  for (let layer = 0; layer < shape.layers; layer++) {
    const all = blockMatrices(shape, layer);
    for (const stage of STAGES) {
      const { rotation } = stageInput(shape, method, stage);
      if (stage === 'attention-input' || stage === 'feed-forward-input')
        vectors.set(gainKey(layer, stage), shape.dim);
      for (const { name, outputs, inputs } of matricesReading(shape.architecture, stage).map((i) => all[i])) {
        const key = tensorKey(name);
        matrices.set(key, {
          name: key,
          outputs,
          inputs,
          tileRows: plan.tileRows,
          bits: plan.bits.get(key)!,
          centre: method.centre,
          side: side + (plan.adapted?.ranks.get(sourceTensor(name, shape)) ?? 0),
          principal,
          rotation,
          steps: [],
        });
      }
    }
  }
  const nothing = { name: '-', sha256: '0'.repeat(64) };
  return {
    header: {
      model: nothing,
      design: plan.design,
      text: { ...nothing, tokens: plan.text.tokens },
      method: { name: method.name, settings: {}, reasons: [] },
      residual: residualOf(shape, method),
    },
    matrices,
    vectors,
  };
}

/** What of a run's plan the image needs. */
interface ImageNeeds {
  readonly mapping: RunMapping | undefined;
  readonly fabric: Fabric;
  readonly inputs: { readonly model: Pick<RunInputs['model'], 'path'> };
  readonly options: { readonly threads: number };
  readonly engine: BackendName;
}

/** The image of a planned run: found, made, or the one that was given. */
export async function readyImage(
  { mapping, fabric, inputs, options: { threads }, engine }: ImageNeeds,
  hooks: MapHooks & { readonly imagesFolder?: string },
  notice: (text: string) => void,
): Promise<ReadyImage | undefined> {
  if (mapping === undefined) return undefined;
  if (mapping.path !== undefined) return openGiven(mapping.path);
  const model = openModel(inputs.model.path);
  try {
    return await makeImage(model, mapping.plan!, { fabric, threads }, findBackend(engine), hooks, notice);
  } finally {
    model.close();
  }
}

/** Throws OnefetError('input', 'IMAGE_DAMAGED') where a section of it is not what was written. */
export function openGiven(path: string): ReadyImage {
  const damage = damageOf(path);
  if (damage !== undefined) {
    throw new OnefetError('input', 'IMAGE_DAMAGED', damage, { hint: 'make it again with onefet map' });
  }
  return { path, report: reportOf(path), discard: () => {} };
}

export async function makeImage(
  model: Model,
  plan: MappingPlan,
  needs: Pick<EngineNeeds, 'fabric' | 'threads'>,
  backend: Backend,
  hooks: MapHooks & { readonly imagesFolder?: string },
  notice: (text: string) => void,
): Promise<ReadyImage> {
  const { path, discard } = await keepImage(
    model,
    plan,
    digitalPass(model, plan, needs, backend, hooks.signal),
    { ...hooks, threads: needs.threads, onNotice: notice },
    hooks.imagesFolder,
  );
  return { path, report: reportOf(path), discard };
}

export function reportOf(path: string): MappingReport {
  const image = openImage(path);
  try {
    return mappingReport(image);
  } finally {
    image.close();
  }
}

export interface ImageInspection {
  readonly schema: typeof IMAGE_SCHEMA;
  readonly file: string;
  readonly model: { readonly name: string; readonly sha256: string };
  readonly design: { readonly name: string; readonly sha256: string };
  readonly mapping: MappingReport;
}

/** Throws what reading an image from end to end finds wrong. */
function requireWhole(path: string): void {
  const damage = damageOf(path);
  if (damage === undefined) return;
  throw new OnefetError('input', 'IMAGE_DAMAGED', damage, { hint: 'make it again with onefet map' });
}

/** What an image holds; undefined for a file that is none. Errors: IMAGE_... (input) for one that is damaged. */
export function inspectImage(path: string): ImageInspection | undefined {
  if (!isImage(path)) return undefined;
  requireWhole(path);
  const image = openImage(path);
  try {
    const { model, design } = image.header;
    return {
      schema: IMAGE_SCHEMA,
      file: displayPath(path),
      model,
      design,
      mapping: mappingReport(image),
    };
  } finally {
    image.close();
  }
}

/** The calibration text of a plan through the model as shipped, on an engine. */
export const digitalPass = (
  model: Model,
  { text }: Pick<MappingPlan, 'text'>,
  needs: Pick<EngineNeeds, 'fabric' | 'threads'>,
  backend: Backend,
  signal: AbortSignal | undefined,
): InputPass => newInputPass(model, text.windows, needs, backend, signal);
