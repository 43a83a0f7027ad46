/**
 * The scalar backends: the forward pass of src/model/forward.ts, one token at a time, with the layers that the fabric
 * builds. The readable reference that other backends are tested against. `scalar` bakes the static factors of a cell into
 * its weight; `reference` sums cell by cell, some thirty times slower.
 */
import { interrupted } from '../error.ts';
import { resetActivity } from '../fabric/activity.ts';
import { type TensorCoding, tensorCoding } from '../fabric/coding.ts';
import { buildDigital } from '../fabric/digital.ts';
import type { CountedLinear, Fabric } from '../fabric/fabric.ts';
import type { LinearBuilder, LinearName } from '../fabric/linear.ts';
import { tensorKey } from '../fabric/placement.ts';
import type { RangeRecord } from '../fabric/ranges.ts';
import { forward, newSession, resetSession, SCALAR_FEATURES } from '../model/forward.ts';
import { buildLayers, type Model, type ModelLayers } from '../model/model.ts';
import { blockWeights } from '../model/shape.ts';
import type { CellSumsKind } from '../tile/cell-sums.ts';
import { type HardwareWeights, hardwareRow, weightFormat } from '../tile/weight-code.ts';
import {
  type Backend,
  type Capabilities,
  type Engine,
  type EngineMode,
  type EngineNeeds,
  type EngineRequest,
  isShapeOnly,
  type MemoryEstimate,
  requireCapable,
  requireContext,
} from './backend.ts';
import { newTurns, requireFinite, requireSpace } from './turns.ts';

/** No limits but these: cells, columns and converters are those of src/tile. */
const CAPABILITIES: Capabilities = {
  'model weights': { oneOf: ['from a file'] },
  'model features': { oneOf: SCALAR_FEATURES },
  fabric: { oneOf: ['log-domain', 'digital'] },
  kvBits: { oneOf: [16] },
  'tuning.precision': { oneOf: ['exact'] },
  'tuning.noise': { oneOf: ['product'] },
  'tuning.int8Terms': { oneOf: [] },
};

export const scalar: Backend = {
  name: 'scalar',
  description: 'TypeScript, cells baked into weights',
  capabilities: CAPABILITIES,
  parallelism: 'texts',
  memory: scalarMemory,
  create: (request) => createScalar(scalar, 'baked', request),
};

export const reference: Backend = {
  name: 'reference',
  description: 'TypeScript, cell by cell: the definition',
  capabilities: CAPABILITIES,
  parallelism: 'texts',
  memory: scalarMemory,
  create: (request) => createScalar(reference, 'reference', request),
};

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
  const { layers, counted, record, coding } = buildModel(model, cellSums, request);
  const session = newSession(model, layers, contextTokens);
  const turns = newTurns();
  const pause = newPause(signal);
  let window = 0;
  return {
    backend: backend.name,
    mode,
    contextTokens,
    memory: scalarMemory(request),
    rank: largestRank(fabric, coding, mode),
    prefill: (ids, newWindow, onLogits, from = 0, states = undefined) =>
      turns.take(async () => {
        resetSession(session);
        window = newWindow;
        requireSpace(0, ids.length, contextTokens);
        for (let position = 0; position < ids.length; position++) {
          const onBlock = states?.wants(position)
            ? (block: number, x: Float32Array) => states.visit(position, block, x)
            : undefined;
          const logits = forward(session, ids[position], { window, position }, onBlock);
          requireFinite(logits, 'the logits', position);
          if (position >= from) onLogits?.(position, logits);
          if (await pause()) onProgress?.('prefill', (position + 1) / ids.length);
        }
        onProgress?.('prefill', 1);
      }),
    decode: (id) =>
      turns.take(async () => {
        await pause();
        const { position } = session;
        const logits = forward(session, id, { window, position });
        requireFinite(logits, 'the logits', position);
        return logits;
      }),
    activity: () => counted.map(({ activity }) => ({ ...activity })),
    resetActivity() {
      for (const { activity } of counted) resetActivity(activity, fabric.counters);
    },
    coding: () => [...coding],
    ranges: () => fabric.ranges(record),
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
  readonly coding: readonly TensorCoding[];
}

function buildModel(model: Model, cellSums: CellSumsKind, request: EngineRequest): BuiltModel {
  const { fabric, mode, chipSeed, ranges } = request;
  const counted: CountedLinear[] = [];
  const record: RangeRecord = new Map();
  const coding: TensorCoding[] = [];
  const build: LinearBuilder = (name, outputs, inputs, row) => {
    if (mode === 'digital' || !fabric.carries(name)) return buildDigital(name, outputs, inputs, row);
    const weights = mappedWeights(model, fabric, name, outputs, inputs, row);
    coding.push(tensorCoding(name, outputs, inputs, weights));
    if (mode === 'mapped') {
      return buildDigital(name, outputs, inputs, (n, out) => hardwareRow(weights, n, out));
    }
    const layer = fabric.build(name, weights, {
      chip: mode === 'range' ? { errors: false, seed: 0 } : { errors: true, seed: chipSeed ?? 0 },
      cellSums,
      blocks: model.shape.layers,
      ranges: mode === 'range' ? undefined : ranges,
      ...(mode === 'range' ? { record } : {}),
    });
    counted.push(layer);
    return layer;
  };
  return { layers: buildLayers(model, build), counted, record, coding };
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
function largestRank({ physics }: Fabric, coding: readonly TensorCoding[], mode: EngineMode): number {
  if (!physics || mode === 'digital' || mode === 'mapped') return 1;
  const ranks = coding.map(({ bits }) => physics.responses.get(weightFormat(bits).taps)!.separable.rank);
  return Math.max(1, ...ranks);
}

/**
 * Per weight of the linear layers and thread: 1 byte of codes, 8 bytes baked (rank 1) and 8 bytes of draws while they are
 * baked, for every bank of cells, and once more for the engine before it until the collector has taken it. The constants
 * are measured on the embedded model: 493 MB against 503 MB with one thread, 736 against 755 with two.
 */
function scalarMemory({ model, fabric, threads }: EngineNeeds): MemoryEstimate {
  const { shape } = model;
  const head = shape.dim * shape.vocab;
  const weightBytes = threads * (blockWeights(shape) * (1 + fabric.bytesPerWeight('baked')) + head * 4);
  const stateBytes = threads * 165e6;
  return { bytes: weightBytes + stateBytes, weightBytes, stateBytes, largestMatrixBytes: head * 4 };
}
