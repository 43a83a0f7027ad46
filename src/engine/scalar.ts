/**
 * The scalar backends: the forward pass of src/model/forward.ts, one token at a time, with the layers that the fabric
 * builds. The readable reference that other backends are tested against. `scalar` bakes the static factors of a cell into
 * its weight; `reference` sums cell by cell, some thirty times slower.
 */
import { interrupted } from '../error.ts';
import { resetActivity } from '../fabric/activity.ts';
import { buildDigital } from '../fabric/build-digital.ts';
import { type CodingLoss, tensorCodingLoss } from '../fabric/coding-loss.ts';
import { columnCountsOf } from '../fabric/column-currents.ts';
import type { CountedLinear, Fabric } from '../fabric/fabric.ts';
import type { Linear, LinearBuilder, LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import type { RangeRecord } from '../fabric/ranges.ts';
import { FABRIC_WORDS } from '../fabric/registry.ts';
import { aroundTiles } from '../mapping/apply.ts';
import { rotateRows, rotationOf, unrotateRows } from '../mapping/hadamard.ts';
import type { ImageReader } from '../mapping/image.ts';
import type { DigitalPart } from '../mapping/image-matrix.ts';
import { matricesReading, STAGES } from '../model/architecture.ts';
import { FORWARD_FEATURES, forward, newSession, resetSession } from '../model/forward.ts';
import { buildLayers, type Model, type ModelLayers } from '../model/model.ts';
import { blockWeights, type ModelShape } from '../model/shape.ts';
import type { CellSumsKind } from '../tile/cell-sums.ts';
import { type HardwareWeights, hardwareRow, weightFormat } from '../tile/weight-code.ts';
import {
  type Backend,
  type Capabilities,
  type Engine,
  type EngineMode,
  type EngineNeeds,
  type EngineRequest,
  type Host,
  isShapeOnly,
  type MemoryEstimate,
  requireCapable,
  requireContext,
  requireThreads,
  type Visitors,
} from './backend.ts';
import { type Bases, imageBases, OWN_BASES } from './bases.ts';
import {
  digitalBytes,
  imageWeights,
  readDigitalParts,
  readGain,
  requireImageFits,
  unrotated,
  usedImage,
} from './image.ts';
import {
  newTurns,
  requireFinite,
  requireKept,
  requireSpace,
  requireTexts,
  requireVisitors,
} from './turns.ts';

/** No limits but these: cells, columns and converters are those of src/tile. */
const CAPABILITIES: Capabilities = {
  'model weights': { oneOf: ['from a file'] },
  'model features': { oneOf: FORWARD_FEATURES },
  fabric: { oneOf: FABRIC_WORDS },
  kvBits: { oneOf: [16] },
  'tuning.precision': { oneOf: ['exact'] },
  'tuning.noise': { oneOf: ['product'] },
  'tuning.refined': { oneOf: [] },
  'tuning.int8Terms': { oneOf: [] },
  'tuning.cells': { oneOf: [] },
};

export const scalar: Backend = {
  name: 'scalar',
  description: 'TypeScript, cells baked into weights',
  capabilities: CAPABILITIES,
  parallelism: 'texts',
  precisionOf: () => 'exact',
  memory: scalarMemory,
  open: (threads) => openScalar(scalar, 'baked', threads),
};

export const reference: Backend = {
  name: 'reference',
  description: 'TypeScript, cell by cell: the definition',
  capabilities: CAPABILITIES,
  parallelism: 'texts',
  precisionOf: () => 'exact',
  memory: scalarMemory,
  open: (threads) => openScalar(reference, 'reference', threads),
};

/** Engines of one thread each, in the thread that asks for them: there is nothing to keep but mapped weights (below). */
const openScalar = (backend: Backend, cellSums: CellSumsKind, threads: number): Host => ({
  create(request) {
    requireThreads(threads, request);
    return createScalar(backend, cellSums, request);
  },
  async close() {},
});

async function createScalar(
  backend: Backend,
  cellSums: CellSumsKind,
  request: EngineRequest,
): Promise<Engine> {
  requireContext(request);
  requireCapable(backend, request);
  const { model, fabric, mode, contextTokens, signal, onProgress } = request;
  if (isShapeOnly(model)) throw new Error('a shape has no weights'); // the capabilities say so
  if (signal?.aborted) throw interrupted();
  const { layers, counted, record, codingLoss, listener } = buildModel(model, cellSums, request);
  const residual = usedImage(request)?.header.residual;
  const rotation = residual ? rotationOf(residual) : undefined;
  const sessions = Array.from({ length: request.texts ?? 1 }, () => ({
    ...newSession(model, layers, contextTokens),
    window: 0,
  }));
  let session = sessions[0];
  const turns = newTurns();
  const pause = newPause(signal);
  const next = async (of: (typeof sessions)[number], id: number): Promise<Float32Array> => {
    listener.visitors = {};
    await pause();
    const { position, window } = of;
    const logits = forward(of, id, { window, position });
    requireFinite(logits, 'the logits', position);
    return logits;
  };
  return {
    backend: backend.name,
    mode,
    contextTokens,
    memory: scalarMemory(request),
    rank: largestRank(fabric, codingLoss, mode),
    prefill: (ids, window, onLogits, from = 0, visitors = {}, kept = 0) =>
      turns.take(async () => {
        requireVisitors(mode, visitors, onLogits !== undefined);
        const { states, given } = visitors;
        listener.visitors = visitors;
        requireKept(kept, ids.length, window, session);
        requireSpace(0, ids.length, contextTokens);
        resetSession(session, kept);
        session.window = window;
        for (let position = kept; position < ids.length; position++) {
          listener.position = position;
          const onBlock = states?.wants(position)
            ? (block: number, x: Float32Array) => states.visit(position, block, unrotated(x, rotation))
            : undefined;
          const logits = forward(session, ids[position], { window, position }, onBlock);
          requireFinite(logits, 'the logits', position);
          if (position >= from) onLogits?.(position, logits);
          if (await pause()) onProgress?.('prefill', (position + 1 - kept) / (ids.length - kept));
        }
        if (given) resetSession(session, kept);
        listener.visitors = {};
        onProgress?.('prefill', 1);
      }),
    decode: (id) => turns.take(() => next(session, id)),
    turnTo(text) {
      requireTexts([text], sessions.length);
      session = sessions[text];
    },
    decodeMany: (tokens, onLogits) =>
      turns.take(async () => {
        requireTexts(
          tokens.map(({ text }) => text),
          sessions.length,
        );
        for (const [index, { text, id }] of tokens.entries()) onLogits(index, await next(sessions[text], id));
      }),
    activity: () => counted.map(({ activity }) => ({ ...activity })),
    resetActivity() {
      for (const { activity } of counted) resetActivity(activity, fabric.counters);
    },
    codingLoss: () => [...codingLoss],
    ranges: () => fabric.ranges(record),
    columnCounts: () =>
      fabric.physics ? columnCountsOf(record, fabric.ranges(record), fabric.physics.meanGain) : null,
    profile: () => ({}),
    async close() {
      turns.close();
    },
  };
}

/** Between two looks at the clock of other work: Ctrl-C and progress come in. */
const PAUSE_MS = 100;

/** Lets other work in when `PAUSE_MS` have passed, and tells whether it did. Throws what `signal` asks for. */
function newPause(signal: AbortSignal | undefined): () => Promise<boolean> {
  let last = performance.now();
  return async () => {
    if (signal?.aborted) throw interrupted();
    if (performance.now() - last < PAUSE_MS) return false;
    await new Promise((resolve) => setImmediate(resolve));
    last = performance.now();
    if (signal?.aborted) throw interrupted();
    return true;
  };
}

interface BuiltModel {
  readonly layers: ModelLayers;
  /** Layers that the fabric computes on its hardware, in the order of the data flow. */
  readonly counted: readonly CountedLinear[];
  /** Of mode `range`. */
  readonly record: RangeRecord;
  readonly codingLoss: readonly CodingLoss[];
  readonly listener: Listener;
}

/** Who looks at the text that is being run, and where it is. */
interface Listener {
  visitors: Visitors;
  position: number;
}

function buildModel(model: Model, cellSums: CellSumsKind, request: EngineRequest): BuiltModel {
  const { fabric, mode, chipSeed } = request;
  const image = usedImage(request);
  if (image) requireImageFits(request, image);
  const parts = image && readDigitalParts(image, model.shape);
  const ranges = request.ranges ?? image?.readRanges();
  const counted: CountedLinear[] = [];
  const record: RangeRecord = new Map();
  const codingLoss: CodingLoss[] = [];
  const build: LinearBuilder = (name, outputs, inputs, row) => {
    if (mode === 'digital' || !fabric.carries(name)) return buildDigital(name, outputs, inputs, row);
    const part = parts?.get(tensorKey(name));
    const weights =
      image && part ? weightsOfImage(image, name) : mappedWeights(model, fabric, name, outputs, inputs, row);
    codingLoss.push(tensorCodingLoss(name, outputs, inputs, weights));
    if (mode === 'mapped') {
      const exact = buildDigital(name, outputs, inputs, (n, out) => hardwareRow(weights, n, out));
      return part ? withDigitalPart(part, exact) : exact;
    }
    const layer = fabric.build(name, weights, {
      chip: mode === 'range' ? { errors: false, seed: 0 } : { errors: true, seed: chipSeed ?? 0 },
      cellSums,
      blocks: model.shape.layers,
      ranges: mode === 'range' ? undefined : ranges,
      ...(mode === 'range' ? { record } : {}),
    });
    counted.push(layer);
    return part ? withDigitalPart(part, layer) : layer;
  };
  const listener: Listener = { visitors: {}, position: 0 };
  const own = buildLayers(model, build);
  const built: ModelLayers = {
    ...own,
    embedding(id, out) {
      const { stream } = listener.visitors;
      if (stream) stream(listener.position, out);
      else own.embedding(id, out);
    },
  };
  const imaged = image ? layersOfImage(image, model, built) : built;
  const gainsOf = ({ blocks }: ModelLayers) => blocks.map(({ norms }) => norms);
  const bases =
    image && parts
      ? imageBases({
          ...{ shape: model.shape, parts, residual: image.header.residual },
          ...{ own: gainsOf(built), mapped: gainsOf(imaged) },
        })
      : OWN_BASES;
  const layers = listening(model.shape, imaged, bases, listener);
  return { layers, counted, record, codingLoss, listener };
}

/** `layers`, with an ear at every matrix of the blocks. */
function listening(
  { architecture }: ModelShape,
  layers: ModelLayers,
  bases: Bases,
  listener: Listener,
): ModelLayers {
  const firsts = new Set(STAGES.map((stage) => matricesReading(architecture, stage)[0]));
  const listened = (
    linear: Linear,
    layer: number,
    ordinal: number,
    bias: Float32Array | undefined,
  ): Linear => {
    const stage = architecture.matrices[ordinal].reads;
    const own = new Float32Array(linear.inputs);
    return {
      ...linear,
      apply(y, a, at) {
        const { position, visitors } = listener;
        const { given } = visitors;
        const { inputs, outputs } = position < (visitors.from ?? 0) ? {} : visitors;
        if (given) {
          given(layer, stage, own, 1, position);
          bases.enter(layer, stage, own);
        }
        if (inputs && firsts.has(ordinal) && inputs.wants(layer, stage)) inputs.visit(layer, stage, a, 1);
        linear.apply(y, given ? own : a, at);
        if (!outputs) return;
        const shown = bias ? y.map((value, n) => value + bias[n]) : y.slice();
        bases.leave(layer, ordinal, shown);
        outputs.visit(layer, ordinal, shown, 1, position);
      },
    };
  };
  return {
    ...layers,
    blocks: layers.blocks.map((block, layer) => ({
      ...block,
      linears: block.linears.map((linear, ordinal) =>
        listened(linear, layer, ordinal, block.biases[ordinal]),
      ),
    })),
  };
}

function withDigitalPart(part: DigitalPart, tiles: Linear): Linear {
  const around = aroundTiles(part);
  return {
    outputs: tiles.outputs,
    inputs: tiles.inputs,
    apply: (y, a, at) => around(y, a, (sums, x) => tiles.apply(sums, x, at)),
  };
}

/** What an image changes beside the matrices: the gains of the norms, and the basis of the stream. */
function layersOfImage(image: ImageReader, { shape }: Model, layers: ModelLayers): ModelLayers {
  const blocks = layers.blocks.map((block, layer) => {
    const attentionInput = readGain(image, shape, layer, 'attention-input');
    const feedForwardInput = readGain(image, shape, layer, 'feed-forward-input');
    return {
      ...block,
      norms: {
        ...block.norms,
        ...(attentionInput ? { attentionInput } : {}),
        ...(feedForwardInput ? { feedForwardInput } : {}),
      },
    };
  });
  if (!image.header.residual) return { ...layers, blocks };
  const rotation = rotationOf(image.header.residual);
  const { embedding, output, outputNorm } = layers;
  return {
    ...layers,
    blocks,
    embedding(id, out) {
      embedding(id, out);
      rotateRows(out, 1, rotation);
    },
    // An RMS norm does not see the rotation; its gain belongs to the model's own basis.
    outputNorm: new Float32Array(shape.dim).fill(1),
    output: {
      ...output,
      apply(y, a, at) {
        const x = a.slice();
        unrotateRows(x, 1, rotation);
        for (let j = 0; j < x.length; j++) x[j] *= outputNorm[j];
        output.apply(y, x, at);
      },
    },
  };
}

/** Weights of an image, made once and shared by all engines on it. */
const imaged = new WeakMap<ImageReader, Map<string, HardwareWeights>>();

function weightsOfImage(image: ImageReader, name: LinearName): HardwareWeights {
  const known = imaged.get(image) ?? new Map<string, HardwareWeights>();
  imaged.set(image, known);
  const key = tensorKey(name);
  const weights = known.get(key) ?? imageWeights(image, name);
  known.set(key, weights);
  return weights;
}

/** Mapped weights of an open model, by tensor: made once, and shared by all engines on one format of weights. */
const mapped = new WeakMap<Model, { format: string; weights: Map<string, HardwareWeights> }>();

function mappedWeights(
  model: Model,
  fabric: Fabric,
  name: LinearName,
  outputs: number,
  inputs: number,
  row: (n: number, out: Float32Array) => void,
): HardwareWeights {
  const { weights: formats, tile } = fabric.design;
  const format = JSON.stringify([fabric.kind, formats, tile.rows]);
  let known = mapped.get(model);
  if (known?.format !== format) {
    known = { format, weights: new Map() };
    mapped.set(model, known);
  }
  const key = tensorKey(name);
  const weights = known.weights.get(key) ?? fabric.mapWeights(name, outputs, inputs, row);
  known.weights.set(key, weights);
  return weights;
}

/** Largest number of separable products of the layers that were built. */
function largestRank({ physics }: Fabric, codingLoss: readonly CodingLoss[], mode: EngineMode): number {
  if (!physics || mode === 'digital' || mode === 'mapped') return 1;
  const ranks = codingLoss.map(({ bits }) => physics.responses.get(weightFormat(bits).taps)!.separable.rank);
  return Math.max(1, ...ranks);
}

/**
 * Per weight of the linear layers and thread: 1 byte of codes, 8 bytes baked (rank 1) and 8 bytes of draws while they are
 * baked, for every bank of cells, and once more for the engine before it until the collector has taken it. The constants
 * are measured on the embedded model: 493 MB against 503 MB with one thread, 736 against 755 with two.
 */
function scalarMemory(needs: EngineNeeds): MemoryEstimate {
  const { fabric, threads } = needs;
  const { shape } = needs.model;
  const head = shape.dim * shape.vocab;
  const weightBytes =
    threads * (blockWeights(shape) * (1 + fabric.bytesPerWeight('baked')) + head * 4 + digitalBytes(needs));
  const stateBytes = threads * 165e6;
  return {
    bytes: weightBytes + stateBytes,
    weightBytes,
    tokenBytes: weightBytes / threads,
    stateBytes,
    largestMatrixBytes: head * 4,
  };
}
