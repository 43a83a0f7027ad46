/**
 * The mapping stage: a model, a design and a calibration text become a chip image (src/mapping), before any job of a run.
 *
 *   statistics of the text  ->  method (auto: chosen, and said why)  ->  matrix by matrix into the image
 *
 * Images are kept by content below the working folder, .onefet/cache/images/<key>.image, so that the next run on the same
 * model, design and text has one at once. What was interrupted is taken up where it stopped; an image that is damaged is
 * made again, and said; where the cache cannot be written the image is made in the system's folder for passing files.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { interrupted, OnefetError } from '../error.ts';
import { reasonOf } from '../files.ts';
import { takeLock } from '../lock.ts';
import { createImage, type ImageWriter, openImage } from '../mapping/image.ts';
import type { ImageHeader } from '../mapping/image-format.ts';
import { mapModel } from '../mapping/map-model.ts';
import { chooseMethod, probedBlocks } from '../mapping/method.ts';
import { modelSource } from '../mapping/model-source.ts';
import type { MappingMethod } from '../mapping/plan.ts';
import type { Model } from '../model/model.ts';
import { formatSeconds } from '../progress.ts';
import { type AdaptedSource, openAdapted } from './adapters.ts';
import { type FollowPass, newFollowPass } from './follow-pass.ts';
import type { InputPass } from './input-pass.ts';
import { affordableBlocks, blocksPerPass, statisticsOf } from './input-statistics.ts';
import { type MappingPlan, namedMethod, residualOf, withSettings } from './mapping-plan.ts';
import { mappingOperations, mappingSeconds } from './mapping-time.ts';
import { loadSensitivity } from './sensitivity.ts';

export const IMAGES_FOLDER = join('.onefet', 'cache', 'images');

/** Models of fewer weights have the error after each step measured: it takes as long again. */
const EVERY_STEP_WEIGHTS = 2 ** 24;

export interface MapHooks {
  /** Threads that share the stages of a block; default 1. */
  readonly threads?: number;
  readonly onProgress?: ((done: number, total: number, label: string) => void) | undefined;
  readonly onNotice?: ((text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An image in a file, and what removes it where nobody keeps it. */
export interface KeptImage {
  readonly path: string;
  /** It was there. */
  readonly reused: boolean;
  discard(): void;
}

/** Where the image of a plan is kept. */
export const keptImagePath = (plan: MappingPlan, folder = IMAGES_FOLDER): string =>
  join(folder, `${plan.key}.image`);

/** Finds or makes the image of a plan below `folder`. */
export async function keepImage(
  model: Model,
  plan: MappingPlan,
  pass: InputPass,
  hooks: MapHooks,
  folder = IMAGES_FOLDER,
): Promise<KeptImage> {
  const path = keptImagePath(plan, folder);
  const notice = hooks.onNotice ?? (() => {});
  const kept = { path, discard: () => {} };
  if (existsSync(path)) {
    const damage = damageOf(path);
    if (damage === undefined) return { ...kept, reused: true };
    notice(`the kept image ${path} is damaged: it is not used and made again (${damage})`);
  }
  const seconds = await mappingSeconds(model.shape, plan, hooks.threads ?? 1);
  if (seconds >= SAID_SECONDS) notice(mappingNotice(plan, seconds));
  try {
    mkdirSync(folder, { recursive: true });
    rmSync(path, { force: true });
    await mapToFile(model, plan, pass, path, hooks);
    return { ...kept, reused: false };
  } catch (cause) {
    if (!isUnwritable(cause)) throw cause;
    notice(`no image is kept in ${folder}: ${reasonOf(cause)}`);
  }
  const own = mkdtempSync(join(tmpdir(), 'onefet-image-'));
  const discard = () => rmSync(own, { recursive: true, force: true });
  try {
    await mapToFile(model, plan, pass, join(own, basename(path)), hooks);
  } catch (error) {
    discard();
    throw error;
  }
  return { path: join(own, basename(path)), reused: false, discard };
}

/** Mappings that take longer than this are announced. */
const SAID_SECONDS = 30;

const mappingNotice = ({ settings }: MappingPlan, seconds: number): string =>
  `the weights are mapped first (mapping.method=${settings.method}): about ${formatSeconds(seconds)} on this machine, once; the image is kept for later runs. --set mapping.method=round maps nothing`;

/** A file that cannot be written, or is being written by another process. */
function isUnwritable(cause: unknown): boolean {
  if (cause instanceof OnefetError) return cause.code === 'FILE_UNWRITABLE' || cause.code === 'BUSY';
  return typeof (cause as NodeJS.ErrnoException | undefined)?.syscall === 'string';
}

/** What is wrong with an image, read through from end to end; undefined where nothing is. */
export function damageOf(path: string): string | undefined {
  try {
    const image = openImage(path);
    try {
      for (const name of image.matrices.keys()) image.readCodes(name, 0, 0);
      for (const name of image.vectors.keys()) image.readVector(name);
      image.readRanges();
    } finally {
      image.close();
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind !== 'input') throw error;
    return error.message;
  }
}

export interface MapToFileOptions {
  /** Measure the error after each step; default: of small models. */
  readonly everyStep?: boolean;
}

/** Maps a model into a file, going on where an interrupted mapping of the same stopped. */
export async function mapToFile(
  model: Model,
  plan: MappingPlan,
  pass: InputPass,
  path: string,
  hooks: MapHooks,
  options: MapToFileOptions = {},
): Promise<void> {
  const unlock = takeLock(`${path}.lock`, `the image ${path}`);
  let adapted: AdaptedSource | undefined;
  try {
    adapted = plan.adapted && openAdapted(plan.adapted);
    await mapInto(model, adapted, plan, pass, path, hooks, options);
  } catch (error) {
    if (!hooks.signal?.aborted) throw error;
    throw interrupted('interrupted', {
      hint: plan.settings.follow
        ? 'run the same command again: a mapping that follows itself begins anew'
        : 'run the same command again to resume: finished matrices are kept',
      cause: error,
    });
  } finally {
    adapted?.close();
    unlock();
  }
}

async function mapInto(
  model: Model,
  adapted: AdaptedSource | undefined,
  plan: MappingPlan,
  pass: InputPass,
  path: string,
  hooks: MapHooks,
  options: MapToFileOptions,
): Promise<void> {
  const { shape } = model;
  const { follow: follows } = plan.settings;
  const { pass: passOperations, mapping: operations } = mappingOperations(shape, plan);
  const total = passOperations + operations;
  const done = { pass: 0, mapping: 0 };
  const progress = (label: string) => hooks.onProgress?.(done.pass + done.mapping, total, label);
  const gain = modelSource(model, () => never()).gain;
  const statistics = statisticsOf(shape, gain, pass, {
    signal: hooks.signal,
    onProgress: (share, what) => {
      // Probes begin anew afterwards.
      done.pass = Math.max(done.pass, share * passOperations);
      progress(`mapping: ${what}`);
    },
  });
  const source = {
    ...modelSource(adapted?.base ?? model, statistics.of),
    ...(adapted ? { adapter: adapted.adapter } : {}),
  };
  const { method, reasons } = await settleMethod(source, plan, statistics.gather);
  for (const reason of reasons) hooks.onNotice?.(`mapping, ${reason}`);
  const header = headerOf(model, plan, method, reasons);
  // What lies before a stage decides what it reads: it is mapped from the first block on.
  if (follows) rmSync(`${path}.part`, { force: true });
  const writer = openWriter(path, header);
  let follow: FollowPass | undefined;
  try {
    if (follows) {
      follow = newFollowPass(model, gain, plan, method, header, pass.on, {
        signal: hooks.signal,
        onProgress: (share, what) => {
          done.pass = share * passOperations;
          progress(`mapping: ${what}`);
        },
      });
    }
    await mapModel(
      follow ? { ...source, statistics: follow.statistics, drift: follow.drift } : source,
      {
        has: (name) => writer.resumed.has(name),
        vector(name, values) {
          writer.writeVector(name, values);
          follow?.vector(name, values);
        },
        matrix(matrix) {
          writer.writeMatrix(matrix);
          follow?.matrix(matrix);
        },
      },
      {
        method,
        tileRows: plan.tileRows,
        threads: hooks.threads ?? 1,
        bits: (name) => plan.bits.get(`blk.${name.layer}.${name.tensor}`)!,
        moments: plan.settings.correction.source !== 'none',
        everyStep: options.everyStep ?? weightsOf(shape) < EVERY_STEP_WEIGHTS,
        onProgress: (mapped, of, label) => {
          done.mapping = (mapped / of) * operations;
          progress(label);
        },
        ...(hooks.signal ? { signal: hooks.signal } : {}),
      },
    );
  } catch (error) {
    writer.close();
    throw error;
  } finally {
    follow?.close();
  }
  writer.finish();
}

function never(): never {
  throw new OnefetError('internal', 'STATISTICS', 'asked for statistics too early');
}

const weightsOf = ({ layers, architecture: _, ...shape }: Model['shape']): number =>
  layers * (shape.dim * (2 * shape.dim + 3 * shape.ffnDim));

/** The method by name, or the one that suits the chip. */
async function settleMethod(
  source: ReturnType<typeof modelSource>,
  plan: MappingPlan,
  gather: (layers: readonly number[]) => Promise<void>,
): Promise<{ method: MappingMethod; reasons: readonly string[] }> {
  const named = namedMethod(plan);
  if (named) return { method: named, reasons: [`${named.name}: as the design says`] };
  const { shape } = source;
  const blocks = affordableBlocks(shape, probedBlocks(shape.layers));
  const all = blocksPerPass(shape) >= shape.layers;
  await gather(all ? Array.from({ length: shape.layers }, (_, layer) => layer) : blocks);
  const { method, reasons } = await chooseMethod(source, plan.chip, {
    tileRows: plan.tileRows,
    blocks,
    principal: plan.settings.principal,
    side: plan.settings.side,
    klPerError: loadSensitivity().klPerError,
    bits: (name) => plan.bits.get(`blk.${name.layer}.${name.tensor}`)!,
  });
  return { method: withSettings(method, plan.settings), reasons };
}

function headerOf(
  model: Model,
  plan: MappingPlan,
  method: MappingMethod,
  reasons: readonly string[],
): ImageHeader {
  const { coding, rotate, ...settings } = method;
  return {
    model: { name: model.name, sha256: model.sha256() },
    design: plan.design,
    text: { name: plan.text.file, sha256: plan.text.sha256, tokens: plan.text.tokens },
    method: {
      name: method.name,
      settings: {
        ...settings,
        rotate: { ...rotate },
        coding: { ...coding },
        ...(plan.settings.follow ? { follow: true } : {}),
      },
      reasons: reasons.map((reason) => reason.slice(0, 1000)),
    },
    residual: residualOf(model.shape, method),
  };
}

/** Goes on with what another run left; what it left of another mapping is removed. */
function openWriter(path: string, header: ImageHeader): ImageWriter {
  try {
    return createImage(path, header);
  } catch (error) {
    if (!(error instanceof OnefetError) || error.kind !== 'input') throw error;
    rmSync(`${path}.part`, { force: true });
    return createImage(path, header);
  }
}
