/**
 * The WebAssembly backend: the whole forward pass on several threads, behind the meaning of the scalar one (scalar.ts).
 *
 *   digital  int8 weights in blocks of 32 (two terms where they fit), activations of 14 bits
 *   mapped   the mapped weights in exact arithmetic, activations of 14 bits
 *   range    the nominal chip with its converters left open
 *   chip     one chip: its cells, converters, noise
 *
 * Results do not depend on the number of threads or on how a text is cut into batches.
 */
import { OnefetError } from '../../error.ts';
import type { RangeTable } from '../../fabric/ranges.ts';
import type { DigitalPart } from '../../mapping/image-matrix.ts';
import { requireMemory } from '../../memory.ts';
import { MAGNITUDE_COUNTS } from '../../tile/weight-code.ts';
import {
  type Backend,
  type Engine,
  type EngineRequest,
  isShapeOnly,
  requireCapable,
  requireContext,
} from '../backend.ts';
import { imageBases, OWN_BASES } from '../bases.ts';
import { readDigitalParts, requireImageFits, usedImage } from '../image.ts';
import { CAPABILITIES } from './capabilities.ts';
import { measureLimits } from './check/limits.ts';
import type { Work } from './control.ts';
import type { WorkingCrew } from './crew.ts';
import { openHost } from './host.ts';
import { dropCodesFile, finishCodesFile, prepareCodesFile } from './load/codes-cache.ts';
import { loadStarts } from './load/load.ts';
import { type EngineData, FIGURES } from './plan/context.ts';
import { allocateMemories, estimateMemory, TRIM_WINDOW } from './plan/layout.ts';
import { memorySizes, type Operation, tileStarts, virtualStarts } from './plan/operations.ts';
import { analogPhysics, defaultPrecision, type EnginePlan, planEngine } from './plan/plan.ts';
import { type Lease, leaseParts, makeRoom, partKeys } from './residents.ts';
import { clearCounts } from './run/collect.ts';
import { fillFigures, fillState, fillWindow } from './run/fill.ts';
import { STAGES } from './run/forward.ts';
import { modelVectors, withImageGains } from './source.ts';
import { newTexts } from './texts.ts';

export const wasm: Backend = {
  name: 'wasm',
  description: 'WebAssembly on several threads',
  capabilities: CAPABILITIES,
  parallelism: 'tokens',
  precisionOf: ({ mode, fabric }) => defaultPrecision(analogPhysics(mode, fabric)),
  memory: (needs) => estimateMemory(planEngine(needs).layout),
  open: (threads) => openHost(threads, createInTurn),
  measureLimits,
};

/** Engines that are being made. */
let making: Promise<unknown> = Promise.resolve();

/** One at a time: what the next one shares with it is there. */
function createInTurn(ready: () => Promise<WorkingCrew>, request: EngineRequest): Promise<Engine> {
  const made = making.then(() => createOn(ready, request));
  // Not the engine itself: its memories would stay until the next one is there.
  making = made.then(
    () => {},
    () => {},
  );
  return made;
}

/** An engine whose commands a crew runs. */
async function createOn(ready: () => Promise<WorkingCrew>, request: EngineRequest): Promise<Engine> {
  requireContext(request);
  requireCapable(wasm, request);
  const parts = readParts(request);
  const own = modelVectors(request.model);
  const image = usedImage(request);
  const vectors = image ? withImageGains(own, image, request.model.shape) : own;
  const bases =
    image && parts
      ? imageBases({
          ...{ shape: request.model.shape, parts, residual: image.header.residual },
          ...{ own: own.norms, mapped: vectors.norms },
        })
      : OWN_BASES;
  const plan = planEngine(request);
  const ranges = request.ranges ?? image?.readRanges();
  requireRanges(request, ranges, plan);
  const memory = estimateMemory(plan.layout);
  const sizes = memorySizes(plan.operations);
  const keys = partKeys(request, plan.operations, sizes);
  const presentBytes = makeRoom(keys);
  requireMemory(
    memory.bytes - presentBytes,
    `the wasm engine (${request.mode}, context ${request.contextTokens})`,
    'use a smaller model or a shorter context',
  );
  // The state has the kernels' constants, which are known when they are compiled.
  const crew = await ready();
  const lease = leaseParts(keys, sizes);
  let number: number;
  let data: EngineData;
  try {
    data = allocateData(request, ranges, plan, lease);
    fillState(data, vectors, plan.layout, parts);
    number = await crew.attach(data);
    await load({ crew, number }, data, request);
    lease.keep();
    if (plan.physics) fillFigures(data, plan.physics);
    if (data.layout.trim && data.ranges) await trim({ crew, number }, data, request);
  } catch (error) {
    lease.release(memory.bytes);
    throw error;
  }
  const run = (work: Work) => crew.run(number, work, request.signal);
  const texts = newTexts(request, plan, data, vectors, bases, run, async () => {
    await crew.detach(number);
    lease.release(memory.bytes);
  });
  return {
    ...texts,
    backend: wasm.name,
    mode: request.mode,
    contextTokens: request.contextTokens,
    memory,
    rank: Math.max(...plan.operations.map(({ rank }) => rank)),
    profile: () => Object.fromEntries(STAGES.map((name, i) => [name, data.profile?.[i] ?? 0])),
  };
}

/** What the digital part holds of an image's matrices. */
function readParts(request: EngineRequest): ReadonlyMap<string, DigitalPart> | undefined {
  const image = usedImage(request);
  if (!image) return undefined;
  requireImageFits(request, image);
  return readDigitalParts(image, request.model.shape);
}

function requireRanges(
  { mode }: EngineRequest,
  ranges: RangeTable | undefined,
  { physics }: EnginePlan,
): void {
  if (mode === 'chip' && physics && !ranges && physics.adc.bits !== 'float') {
    throw new OnefetError('internal', 'RANGES', 'a chip needs the ranges of its converters');
  }
}

/** The part of the mapped weights; none in mode `digital`. */
const partOfCodes = (operations: readonly Operation[]): number =>
  operations.find(({ kind }) => kind !== 'int8')?.part ?? -1;

/** The memories, and the shared arrays beside them. */
function allocateData(
  request: EngineRequest,
  ranges: RangeTable | undefined,
  plan: EnginePlan,
  { parts, missing }: Lease,
): EngineData {
  const { model, fabric, mode, chipSeed, codesCache, profile } = request;
  const image = usedImage(request);
  const { operations, layout: choice } = plan;
  const { layout, state, weights, tables } = allocateMemories(choice, parts);
  const virtualTiles = virtualStarts(operations)[operations.length];
  const tiles = tileStarts(operations)[operations.length];
  const modelPath = isShapeOnly(model) ? undefined : model.file.path;
  const shared = (count: number, size: number) => new SharedArrayBuffer(count * size);
  return {
    modelPath,
    imagePath: image?.path,
    shape: model.shape,
    mode,
    operations,
    layout,
    state,
    weights,
    tables,
    parts,
    missing,
    threads: choice.threads,
    cache: choice.cache,
    ownInputs: choice.ownInputs,
    physics: plan.physics,
    integerResponses: choice.integerResponses,
    cellFormats: choice.cellFormats,
    chip: mode === 'chip' ? { errors: true, seed: chipSeed ?? 0 } : { errors: false, seed: 0 },
    ranges,
    figures: new Float64Array(shared(virtualTiles * FIGURES, 8)),
    misreads: mode === 'chip' ? fabric.misreads : undefined,
    magnitudes:
      mode === 'chip' && fabric.countsCodes
        ? new Int32Array(shared(operations.length * MAGNITUDE_COUNTS, 4))
        : undefined,
    rowSums: new Float64Array(shared(choice.threads * tiles * 2, 8)),
    codesFile:
      codesCache && modelPath !== undefined && !image && missing.includes(partOfCodes(operations))
        ? prepareCodesFile(codesCache.folder, codesCache.modelSha256, operations, codesCache.leastWeights)
        : undefined,
    profile: profile ? new Float64Array(shared(8, 8)) : undefined,
  };
}

/** An engine's place in a crew. */
interface Seat {
  readonly crew: WorkingCrew;
  readonly number: number;
}

/** Trims the columns of a chip, and forgets what was counted meanwhile; the crew lets the engine go where that fails. */
async function trim({ crew, number }: Seat, data: EngineData, { signal }: EngineRequest): Promise<void> {
  fillWindow(data, TRIM_WINDOW);
  try {
    await crew.run(number, { kind: 'trim' }, signal);
  } catch (error) {
    await crew.detach(number);
    throw error;
  }
  clearCounts(data);
}

/** Between two looks at how far the loading is. */
const WATCH_MS = 500;

/** Fills the weights memories; the crew lets the engine go where that fails. */
async function load(
  { crew, number }: Seat,
  { operations, missing, codesFile }: EngineData,
  { onProgress, signal }: EngineRequest,
): Promise<void> {
  const loaded = operations.filter(({ part }) => missing.includes(part));
  const items = loadStarts(loaded)[loaded.length];
  const watch = setInterval(() => {
    onProgress?.('load', Math.min(1, crew.itemsTaken() / items));
  }, WATCH_MS);
  try {
    if (items > 0) await crew.run(number, { kind: 'load' }, signal);
    if (codesFile) finishCodesFile(codesFile);
    await crew.run(number, { kind: 'chip' }, signal);
  } catch (error) {
    await crew.detach(number);
    if (codesFile) dropCodesFile(codesFile);
    throw error;
  } finally {
    clearInterval(watch);
  }
}
